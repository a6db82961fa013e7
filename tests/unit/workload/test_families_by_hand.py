"""Small configurations of families of which no model ships, counted by hand.

All are 64 wide with 4 heads of 16 (2 of keys and values), MLPs of 96 and 100 tokens. In a layer: attention
64 x 64 + 2 x 64 x 32 + 64 x 64 = 12,288 weights, a gated MLP 3 x 64 x 96 = 18,432, two norms 128. Around: two tables
of 6,400 and a norm of 64. Four plain layers: 4 (12,288 + 18,432 + 128) + 64 + 12,800 = 136,256.
"""

import pytest

from dse.core.errors import SpecError
from dse.lowering.linears import Shard
from dse.lowering.training_ops import block_elementwise
from dse.workload.blocks import Experts
from dse.workload.counts import ahead_parameters, parameters_by_part
from dse.workload.huggingface import reading
from dse.workload.latent import Latent
from dse.workload.mixers import Attention
from dse.workload.recurrences import Recurrence
from dse.workload.transformer import total_parameters

PLAIN = {
    "hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
    "intermediate_size": 96, "vocab_size": 100, "tie_word_embeddings": False, "max_position_embeddings": 256,
}  # fmt: skip
ROUTED = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
"""Eight experts of 3 x 64 x 32 = 6,144 weights behind a router of 8 x 64 = 512, two per token."""
LATENT = {
    "kv_lora_rank": 32, "q_lora_rank": 48, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 16,
    "index_n_heads": 2, "index_head_dim": 8, "index_topk": 16,
}  # fmt: skip
ATTENTION, MLP, LAYER = 12_288, 18_432, 30_848
EXPERT, ROUTER, FOUR = 6_144, 512, 136_256


def read(kind, **keys):
    """A model of a type, with some keys of the plain one changed."""
    return reading(PLAIN | {"model_type": kind} | keys, "x.json", "x").model


def blocks(model):
    """The blocks of a model one by one, in its order where its runs are; runs of a mixture are kept together."""
    return [r.block for r in model.runs for _ in range(round(r.n))]


def test_four_plain_layers():
    m = read("llama")
    assert total_parameters(m) == FOUR == 4 * LAYER + 64 + 2 * 6400
    assert LAYER == ATTENTION + MLP + 2 * 64


def test_chatglm_says_the_same_in_its_own_words():
    """Groups of keys, width of the MLP and vocabulary have other names; the MLP is gated."""
    own = {"num_layers": 4, "ffn_hidden_size": 96, "padded_vocab_size": 100, "kv_channels": 16, "seq_length": 256}
    shared = {k: PLAIN[k] for k in ("hidden_size", "num_attention_heads", "tie_word_embeddings")}
    for more, keys in (({"multi_query_attention": True, "multi_query_group_num": 2}, 32), ({}, 64)):
        m = reading(shared | own | more | {"model_type": "chatglm"}, "x.json", "x").model
        # without groups every head has keys and values of its own: 2 x 64 x 64 in place of 2 x 64 x 32
        assert total_parameters(m) == FOUR + 4 * 2 * 64 * (keys - 32)


@pytest.mark.parametrize(
    ("said", "n"), [({}, 1), ({"num_nextn_predict_layers": 0}, 0), ({"num_nextn_predict_layers": 3}, 3)]
)
def test_mimo_predicts_further_tokens_beside_the_model(said, n):
    """A block more, and what joins its two inputs: 2 x 64 x 64, and norms of both and of its result, 3 x 64."""
    m = read("mimo", **said)
    assert total_parameters(m) == FOUR
    assert ahead_parameters(m) == n * (LAYER + 2 * 64 * 64 + 3 * 64)


def test_exaone_may_share_its_further_blocks():
    """Three of them, or one set of weights for all three; every fourth layer sees everything."""
    keys = {"num_nextn_predict_layers": 3, "sliding_window": 32}
    each, one = (read("exaone4_5_text", mtp_share_layers=x, **keys) for x in (False, True))
    assert total_parameters(each) == total_parameters(one) == FOUR
    assert ahead_parameters(each) == 3 * ahead_parameters(one) > 0
    assert [b.mixers[0].window for b in blocks(one)] == [32, 32, 32, 0]


def test_hyperclovax_norms_both_sides_unless_told():
    both, before = (read("hyperclovax", use_post_norm=x) for x in (True, False))
    assert total_parameters(before) == FOUR and total_parameters(both) == FOUR + 4 * 2 * 64


def test_phi_with_images_counts_its_language_model_and_names_the_rest():
    m = read("phi4mm", vision_lora={"r": 8}, embd_layer={"embedding_cls": "image"}, sliding_window=None)
    assert total_parameters(m) == FOUR
    assert {p.name for p in m.left_out} == {"vision lora", "embd layer"}


@pytest.mark.parametrize("sparse", [(1, 1, 1, 1), (0, 1, 1, 1), (0, 1, 0, 1)])
def test_mellum_lists_which_layers_have_experts(sparse):
    m = read("mellum", mlp_layer_types=["sparse" if x else "dense" for x in sparse], **ROUTED)
    n = sum(sparse)
    parts = parameters_by_part(m)
    assert parts["routed experts"] == n * 8 * EXPERT
    assert parts["other MLPs"] == n * ROUTER + (4 - n) * MLP
    assert sum(isinstance(b.feed, Experts) for b in blocks(m)) == n


def test_kolibri_sees_everything_in_every_fifth_layer():
    """Ten layers with four norms each, one shared expert of 512: 3 x 64 x 512 = 98,304 weights."""
    m = read("kolibri1", num_hidden_layers=10, **ROUTED)
    assert sorted(b.mixers[0].window for b in blocks(m)) == [0] * 2 + [513] * 8
    beside = 3 * 64 * 512 + ROUTER
    assert total_parameters(m) == 10 * (ATTENTION + 8 * EXPERT + beside + 4 * 64) + 64 + 2 * 6400


def test_granite_with_windows_sees_everything_first():
    """Experts as wide as the MLP: 8 x 18,432."""
    m = read("granitemoe_swa", num_local_experts=8, num_experts_per_tok=2)
    assert [b.mixers[0].window for b in blocks(m)] == [0, 128, 128, 128]
    assert total_parameters(m) == 4 * (ATTENTION + 8 * MLP + ROUTER + 128) + 64 + 2 * 6400


@pytest.mark.parametrize("listed", [False, True])
def test_hunyuan_takes_a_number_or_the_same_for_every_layer(listed):
    """The first layer is dense; three have a shared expert as wide as a routed one."""
    keys = {"moe_topk": 2, "num_shared_expert": 1, "moe_intermediate_size": 32}
    keys = {k: [v] * 4 if listed else v for k, v in keys.items()}
    m = read("hunyuan_v1_moe", num_experts=8, moe_layer_num_skipped=1, **keys)
    parts = parameters_by_part(m)
    assert parts["routed experts"] == 3 * 8 * EXPERT and parts["other MLPs"] == MLP + 3 * (EXPERT + ROUTER)
    assert [isinstance(b.feed, Experts) for b in blocks(m)] == [False, True, True, True]


def test_hunyuan_dense_has_the_keys_of_its_mixtures():
    """Published files of the 7B have them; before, refused for `add_classification_head`."""
    keys = {"num_experts": 1, "num_shared_expert": 1, "use_cla": False, "cla_share_factor": 2, "class_num": 0}
    m = read("hunyuan_v1_dense", add_classification_head=False, dense_list=[64, 0], pool_type="last", **keys)
    assert total_parameters(m) == 4 * LAYER + 64 + 2 * 6400
    with pytest.raises(SpecError, match="num_experts = 8"):
        read("hunyuan_v1_dense", num_experts=8)


def test_hunyuan_refuses_layers_of_different_sizes():
    with pytest.raises(SpecError, match="moe_intermediate_size"):
        read("hunyuan_v1_moe", num_experts=8, moe_topk=2, moe_intermediate_size=[32, 32, 64, 64])


def test_ernie_leaves_out_the_experts_of_images():
    """Of two lists the first is of text. Left out: 3 layers of 6 experts of 3 x 64 x 16, and their router's rows."""
    m = read(
        "ernie4_5_vl_moe_text", moe_num_experts=[8, 6], moe_intermediate_size=[32, 16], moe_k=2,
        moe_layer_start_index=[1, 1], moe_layer_end_index=[3, 3], moe_num_shared_experts=0,
    )  # fmt: skip
    assert parameters_by_part(m)["routed experts"] == 3 * 8 * EXPERT
    (part,) = m.left_out
    assert part.n_parameters == 3 * 6 * (3 * 64 * 16 + 64) == 56_448


@pytest.mark.parametrize(("layers", "attends"), [(4, 1), (3, 1), (8, 2)])
def test_olmo_hybrid_ends_in_attention(layers, attends):
    """A delta net of 4 heads, keys of 12 (three quarters of 64 / 4), values of 24.

    Q and K 2 x 64 x 48, V, gate and output 3 x 64 x 96, two numbers per head 2 x 64 x 4; taps 4 (2 x 48 + 96): 25,856.
    """
    m = read("olmo_hybrid", num_hidden_layers=layers, linear_num_key_heads=4)
    kinds = [type(b.mixers[0]) for b in blocks(m)]
    assert kinds.count(Attention) == attends and kinds[-1] is Attention
    delta = 2 * 64 * 48 + 3 * 64 * 96 + 2 * 64 * 4 + 4 * (2 * 48 + 96)
    assert delta == 25_856
    assert parameters_by_part(m)["mixers"] == attends * ATTENTION + (layers - attends) * delta


def test_glm_of_three_delta_layers_to_one():
    m = read("glm5_next_text", num_hidden_layers=8, n_shared_experts=1, first_k_dense_replace=1,
             linear_num_heads=4, linear_head_dim=16, **LATENT, **ROUTED)  # fmt: skip
    kinds = [type(b.mixers[0]) for b in blocks(m)]
    assert kinds.count(Latent) == 2 and kinds.count(Recurrence) == 6
    assert sum(isinstance(b.feed, Experts) for b in blocks(m)) == 7


def test_hunyuan_4_makes_a_choice_in_every_fourth_layer():
    """Six layers choose at 0, 1 and 5 and take another's choice in between.

    Latent attention: 64 x 48 + 48 x 96 down and up for queries, 64 x 40 and 32 x 128 for keys and values, output and
    gate 64 x 64 each: 22,528. An indexer: 48 x 16 + 64 x 8 + 64 x 2 = 1,408.
    """
    m = read("hy_v4", num_hidden_layers=6, **LATENT, **ROUTED)
    latent = 64 * 48 + 48 * 4 * 24 + 64 * (32 + 8) + 32 * 4 * 32 + 2 * 64 * 64
    chooses = 48 * 2 * 8 + 64 * 8 + 64 * 2
    assert (latent, chooses) == (22_528, 1_408)
    assert parameters_by_part(m)["mixers"] == 6 * latent + 3 * chooses
    assert sorted(b.mixers[0].indexer.shared for b in blocks(m)) == [False] * 3 + [True] * 3


def test_mistral_large_4_has_no_positions_in_every_fourth_layer():
    """Queries straight from the input, 64 x 96. Without rotary positions keys grow from 16 to 24 and none are shared:

    32 x 4 x 8 more, 64 x 8 less. An indexer reads the input: 64 x 16 + 64 x 8 + 64 x 2 = 1,664.
    """
    m = read("mistral_large4_text", **LATENT, **ROUTED)
    latent = 64 * 96 + 64 * 40 + 32 * 4 * 32 + 64 * 64
    chooses = 64 * 16 + 64 * 8 + 64 * 2
    assert parameters_by_part(m)["mixers"] == 4 * (latent + chooses) + 32 * 4 * 8 - 64 * 8
    assert sorted(b.mixers[0].rope_dim for b in blocks(m)) == [0, 8, 8, 8]


def test_gemma_3n_by_hand():
    """Six norms; a low-rank branch of 4 and embeddings per layer of 8, each 2 x 64 wide, in every layer.

    Tables of 4 x 8 x (50 + 64), and 2 (streams - 1) 64 x 64 to part and join two streams.
    """
    m = read("gemma3n_text", sliding_window=32, hidden_size_per_layer_input=8, vocab_size_per_layer_input=50,
                 num_kv_shared_layers=0,
             laurel_rank=4, altup_num_inputs=2)  # fmt: skip
    layer = ATTENTION + MLP + 6 * 64 + 2 * 64 * (4 + 8)
    assert total_parameters(m) == 4 * layer + 64 + 2 * 6400 + 4 * 8 * (50 + 64) + 2 * 64 * 64 == 155_264


@pytest.mark.parametrize("widths", [[96, 96, 96], [96, 96, 96, 0], [96, 96, 96, "96"], [96, 96, 96, True]])
def test_gemma_3n_wants_a_width_for_every_layer(widths):
    with pytest.raises(SpecError, match="intermediate_size has no whole number for each of 4 layers"):
        read("gemma3n_text", intermediate_size=widths, num_kv_shared_layers=0)


@pytest.mark.parametrize("shared", [0, 1, 3])
def test_the_last_layers_of_gemma_3n_may_use_earlier_keys_and_values(shared):
    """Without keys and values of its own a layer has 2 x 64 x 32 weights less; queries and output stay."""
    own, some = (read("gemma3n_text", num_kv_shared_layers=n) for n in (0, shared))
    assert total_parameters(own) - total_parameters(some) == shared * 2 * 64 * 32
    assert [b.mixers[0].own_kv for b in blocks(some)] == [True] * (4 - shared) + [False] * shared


def test_not_every_layer_can_use_another_one():
    with pytest.raises(SpecError, match=r"num_kv_shared_layers.*fewer than the 4 layers"):
        read("gemma3n_text", num_kv_shared_layers=4)


def test_gemma_3n_takes_a_width_of_every_layer():
    m = read("gemma3n_text", intermediate_size=[32, 64, 96, 128], num_kv_shared_layers=0)
    assert parameters_by_part(m)["other MLPs"] == 3 * 64 * (32 + 64 + 96 + 128)


def test_norms_without_weights_take_as_long_as_others():
    """OLMo: 4 layers of two norms of 64 hold no weights, and are passed over like those of Orion, which do."""
    olmo, orion = read("olmo"), read("orion")
    assert total_parameters(orion) - total_parameters(olmo) == 4 * 2 * 64
    (a, *_), (b, *_) = (block_elementwise(m, Shard(1), 10.0, "forward", lambda _: "bf16") for m in (olmo, orion))
    assert (a.vector_elements, a.hbm_B) == (b.vector_elements, b.hbm_B)


@pytest.mark.parametrize(
    ("said", "width"),
    # two thirds of 96 are 64: rounded up to 256, to 48; times 1.5 and up to 20; left alone by a null
    [({}, 256), ({"block_multiple_of": 48}, 96), ({"block_multiple_of": 20, "block_ffn_dim_multiplier": 1.5}, 100),
     ({"block_ffn_dim_multiplier": None}, 64), ({"block_auto_adjust_ff_dim": False}, 96)],
)  # fmt: skip
def test_lfm2_rounds_its_mlp(said, width):
    m = read("lfm2", **said)
    assert parameters_by_part(m)["other MLPs"] == 4 * 3 * 64 * width


@pytest.mark.parametrize("odd", [{"block_multiple_of": 0}, {"block_multiple_of": None, "block_ffn_dim_multiplier": "2"},
                                 {"block_ffn_dim_multiplier": -1.0}, {"block_ffn_dim_multiplier": 1e400}])  # fmt: skip
def test_lfm2_refuses_odd_factors(odd):
    with pytest.raises(SpecError, match="block_"):
        read("lfm2", **odd)


@pytest.mark.parametrize("kind", ["ernie4_5_moe", "laguna", "mellum", "mimo_v2", "deepseek_v3", "kolibri1"])
def test_a_mixture_of_no_experts_is_dense(kind):
    """Layers that a pattern gives to experts have the dense MLP of 96 where the file counts none."""
    none = {"num_experts": 0, "moe_num_experts": 0} if kind == "ernie4_5_moe" else {"num_experts": 0}
    latent = {k: v for k, v in LATENT.items() if not k.startswith("index")} if kind == "deepseek_v3" else {}
    m = read(kind, **none, **latent, moe_intermediate_size=32, num_experts_per_tok=2)
    assert parameters_by_part(m)["other MLPs"] == 4 * MLP and parameters_by_part(m)["routed experts"] == 0


@pytest.mark.parametrize(
    ("said", "key"),
    [({"n_routed_experts": 0}, "n_routed_experts"),
     ({"n_routed_experts": 8, "num_nextn_predict_layers": 1, "mtp_hybrid_override_pattern": "*?"}, "mtp_hybrid")],
)  # fmt: skip
def test_nemotron_wants_the_blocks_that_its_patterns_name(said, key):
    with pytest.raises(SpecError, match=key):
        read("nemotron_h", hybrid_override_pattern="M*E-", num_experts_per_tok=2, moe_intermediate_size=32, **said)


PHI_3_SMALL = {
    "model_type": "phi3small", "attention_dropout_prob": 0.0, "blocksparse_block_size": 64,
    "blocksparse_homo_head_pattern": False, "blocksparse_num_local_blocks": 16, "blocksparse_vert_stride": 8,
    "blocksparse_triton_kernel_block_size": 64, "dense_attention_every_n_layers": 2, "embedding_dropout_prob": 0.1,
    "ff_dim_multiplier": None, "ff_intermediate_size": 14336, "ffn_dropout_prob": 0.1, "gegelu_limit": 20.0,
    "gegelu_pad_to_256": True, "hidden_act": "gegelu", "hidden_size": 4096, "layer_norm_epsilon": 1e-05,
    "max_position_embeddings": 8192, "mup_attn_multiplier": 1.0, "mup_embedding_multiplier": 10.0,
    "mup_use_scaling": True, "mup_width_multiplier": 8.0, "num_attention_heads": 32, "num_hidden_layers": 32,
    "num_key_value_heads": 8, "pad_sequence_to_multiple_of_64": True, "reorder_and_upcast_attn": False,
    "rope_embedding_base": 1000000, "rope_position_scale": 1.0, "vocab_size": 100352,
}  # fmt: skip
CTRL = {
    "model_type": "ctrl", "attn_pdrop": 0.1, "dff": 8192, "embd_pdrop": 0.1, "from_tf": False,
    "layer_norm_epsilon": 1e-06, "n_ctx": 512, "n_embd": 1280, "n_head": 16, "n_layer": 48, "n_positions": 50000,
    "resid_pdrop": 0.1, "vocab_size": 246534,
}  # fmt: skip
SKYWORK = {
    "model_type": "skywork", "hidden_size": 4608, "intermediate_size": 12288, "num_attention_heads": 36,
    "num_hidden_layers": 52, "num_key_value_heads": 36, "vocab_size": 65519, "max_position_embeddings": 4096,
    "tie_word_embeddings": False, "rms_norm_eps": 1e-06,
}  # fmt: skip


@pytest.mark.parametrize(
    ("raw", "n_B", "kv"),
    [
        # [abdin2024phi3] "7B": 32 (2 x 4096^2 + 2 x 4096 x 1024 + 3 x 4096 x 14336) and one table of 100,352
        (PHI_3_SMALL, 7.39, 32 * 2 * 8 * 128),
        # [keskar2019ctrl] abstract: 1.63 billion; 48 (4 x 1280^2 + 2 x 1280 x 8192) and one table of 246,534
        (CTRL, 1.63, 48 * 2 * 1280),
        # the model's card: 13.85 billion; 52 (4 x 4608^2 + 3 x 4608 x 12288) and two tables of 65,519
        (SKYWORK, 13.85, 52 * 2 * 4608),
    ],
)
def test_types_that_were_refused_count_as_published(raw, n_B, kv):
    m = reading(raw, "x.json", "x").model
    assert total_parameters(m) == pytest.approx(n_B * 1e9, rel=0.01)
    assert sum(r.n * x.n_kv for r in m.runs for x in r.block.mixers) == kv


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("diffllama", {"lambda_std_dev": 0.1}),
        ("open-llama", {"use_memory_efficient_attention": True, "shared_input_output_embedding": False}),
        ("stablelm_epoch", {}),
    ],
)
def test_types_that_are_llama_in_size(kind, keys):
    assert total_parameters(read(kind, **keys)) == FOUR
