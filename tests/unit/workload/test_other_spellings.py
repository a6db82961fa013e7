"""Headers of GGUF and files of mamba_ssm in the library's words; sizes from the models' papers, counted by hand."""

import json
import struct

import pytest

from dse.core.errors import SpecError
from dse.workload.huggingface import read_config, reading
from dse.workload.transformer import kv_B_per_token, total_parameters

LLAMA = {
    "general.architecture": "llama", "general.name": "Llama 3.1 8B", "llama.block_count": 32,
    "llama.context_length": 131072, "llama.embedding_length": 4096, "llama.feed_forward_length": 14336,
    "llama.attention.head_count": 32, "llama.attention.head_count_kv": 8, "llama.rope.freq_base": 5e5,
    "llama.rope.dimension_count": 128, "llama.attention.layer_norm_rms_epsilon": 1e-5, "llama.vocab_size": 128256,
}  # fmt: skip
SHAPES = {"token_embd.weight": [4096, 128256], "output.weight": [4096, 128256]}
WEIGHTS = 8_030_261_248
"""Of Llama 3.1 8B, whose head is no table."""
TABLE = 128256 * 4096


def read(raw):
    return reading(raw, "x.json", "x").model


def refusal(raw):
    with pytest.raises(SpecError) as error:
        read(raw)
    assert "\n" not in str(error.value)
    return str(error.value)


def _text(said):
    return struct.pack("<Q", len(said)) + said.encode()


def _value(said):
    if isinstance(said, str):
        return struct.pack("<I", 8) + _text(said)
    if isinstance(said, list):
        return struct.pack("<IIQ", 9, 8, len(said)) + b"".join(map(_text, said))
    kind, letter = (6, "f") if isinstance(said, float) else (10, "Q") if said >= 2**32 else (4, "I")
    return struct.pack(f"<I{letter}", kind, said)


def binary(keys, shapes, version=3):
    """A GGUF file of a header alone."""
    out = b"GGUF" + struct.pack("<IQQ", version, len(shapes), len(keys))
    out += b"".join(_text(k) + _value(v) for k, v in keys.items())
    for name, shape in shapes.items():
        out += _text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 12, 0)
    return out


def test_a_gguf_file(tmp_path):
    """Before: "not UTF-8 text". The vocabulary is that of the table where no key says it."""
    keys = {k: v for k, v in LLAMA.items() if "vocab" not in k}
    path = tmp_path / "llama.gguf"
    path.write_bytes(binary(keys | {"general.file_type": 15, "tokenizer.ggml.tokens": ["a", "b"]}, SHAPES))
    m = read_config(path).model
    assert (total_parameters(m), kv_B_per_token(m, "bf16")) == (WEIGHTS, 2 * 32 * 8 * 128 * 2)
    assert m.weight_format.startswith("q4_k_m")
    path.write_bytes(binary(keys, {"token_embd.weight": [4096, 128256]}))
    assert total_parameters(read_config(path).model) == WEIGHTS - TABLE
    for content, said in ((binary(keys, SHAPES)[:300], "cut off"), (binary(keys, SHAPES, version=1), "version 1")):
        path.write_bytes(content)
        with pytest.raises(SpecError, match=said):
            read_config(path)


def test_headers_as_tools_print_them():
    """gguf-dump has an object for each key, Ollama a list of tensors; without tensors the count tells the head."""
    tensors = {name: {"shape": shape, "type": "Q4_K"} for name, shape in SHAPES.items()}
    dump = {"metadata": {k: {"index": 1, "type": "X", "value": v} for k, v in LLAMA.items()}, "tensors": tensors}
    shown = {"model_info": LLAMA, "tensors": [{"name": n, "shape": s} for n, s in SHAPES.items()], "details": {}}
    counted = LLAMA | {"general.parameter_count": WEIGHTS + 64}
    for raw in (dump, shown, counted, LLAMA | {"tie_word_embeddings": False}):
        assert total_parameters(read(json.loads(json.dumps(raw)))) == WEIGHTS
    assert total_parameters(read(LLAMA | {"general.parameter_count": WEIGHTS - TABLE})) == WEIGHTS - TABLE
    assert "its sizes make" in refusal(LLAMA | {"general.parameter_count": 70_000_000_000})


def test_a_file_of_several_and_one_of_a_big_endian_machine(tmp_path):
    """The first file of three may hold the table and not the head, which is in another: before, they passed for one."""
    path = tmp_path / "llama-00001-of-00003.gguf"
    part = binary(LLAMA | {"split.count": 3}, {"token_embd.weight": [4096, 128256]})
    for content, said in ((part, "one file of 3"), (binary(LLAMA, SHAPES, version=3 << 24), "big-endian")):
        path.write_bytes(content)
        with pytest.raises(SpecError, match=said):
            read_config(path)
    for keys, shapes in (({"split.count": 3}, SHAPES), ({"split.count": 3, "general.parameter_count": WEIGHTS}, {})):
        path.write_bytes(binary(LLAMA | keys, shapes))
        assert total_parameters(read_config(path).model) == WEIGHTS


def test_storage_that_ollama_says_beside_the_header():
    """Before: 16 bits, in silence."""
    shown = {"model_info": LLAMA | {"tie_word_embeddings": False}, "details": {"quantization_level": "Q8_0"}}
    assert read(shown).weight_format.startswith("q8_0")
    assert read(shown | {"model_info": shown["model_info"] | {"general.file_type": 15}}).weight_format.startswith("q4")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({}, "does not say tie_word_embeddings"), ({"llama.new_thing": 3}, "llama.new_thing"),
        ({"llama.attention.head_count_kv": [8, 4]}, "layer to layer"), ({"general.architecture": "openelm"}, "openelm"),
        ({"general.file_type": 99, "tie_word_embeddings": True}, "file_type"),
    ],
)  # fmt: skip
def test_a_header_that_tells_too_little_is_refused_by_name(keys, said):
    assert said in refusal(LLAMA | keys)


def of(architecture, **keys):
    return {"general.architecture": architecture} | {
        f"{architecture}.{k.replace('__', '.')}": v for k, v in keys.items()
    }


@pytest.mark.parametrize(
    ("raw", "weights", "kv_B"),
    [
        # Mixtral 8x7B: 46.7 B
        (LLAMA | {"llama.expert_count": 8, "llama.expert_used_count": 2, "llama.vocab_size": 32000,
                  "tie_word_embeddings": False}, 46_702_792_704, 131072),
        # DeepSeek-V3: 671.0 B without the block that predicts one token more; 576 values a token and layer
        (of("deepseek2", block_count=61, context_length=163840, embedding_length=7168, feed_forward_length=18432,
            attention__head_count=128, attention__head_count_kv=1, attention__q_lora_rank=1536,
            attention__kv_lora_rank=512, attention__key_length=576, attention__key_length_mla=192,
            attention__value_length=512, attention__value_length_mla=128, rope__dimension_count=64, expert_count=256,
            expert_used_count=8, expert_shared_count=1, expert_feed_forward_length=2048, leading_dense_block_count=3,
            vocab_size=129280) | {"tie_word_embeddings": False}, 671.03e9, 61 * 576 * 2),
        # Qwen3 30B-A3B
        (of("qwen3moe", block_count=48, context_length=40960, embedding_length=2048, feed_forward_length=6144,
            attention__head_count=32, attention__head_count_kv=4, attention__key_length=128, expert_count=128,
            expert_used_count=8, expert_feed_forward_length=768, vocab_size=151936)
         | {"tie_word_embeddings": False}, 30.53e9, 2 * 48 * 4 * 128 * 2),
        # Gemma 2 9B, whose head is always its table
        (of("gemma2", block_count=42, context_length=8192, embedding_length=3584, feed_forward_length=14336,
            attention__head_count=16, attention__head_count_kv=8, attention__key_length=256,
            attention__sliding_window=4096, vocab_size=256000), 9.24e9, 2 * 42 * 8 * 256 * 2),
        # Mamba 2.8B: no heads, no MLP
        (of("mamba", block_count=64, context_length=2**20, embedding_length=2560, feed_forward_length=0,
            attention__head_count=0, ssm__conv_kernel=4, ssm__inner_size=5120, ssm__state_size=16,
            ssm__time_step_rank=160, vocab_size=50280) | {"tie_word_embeddings": True}, 2.768e9, 0),
    ],
)  # fmt: skip
def test_architectures_of_gguf(raw, weights, kv_B):
    m = read(raw)
    assert total_parameters(m) == pytest.approx(weights, rel=1e-3) and kv_B_per_token(m, "bf16") == kv_B


def test_files_of_mamba_ssm():
    """50,277 words padded to 50,280 and 50,288; state-spaces/mamba-2.8b and mamba2-2.7b. Before: refused."""
    raw = {"d_model": 2560, "n_layer": 64, "vocab_size": 50277, "ssm_cfg": {}, "rms_norm": True,
           "residual_in_fp32": True, "fused_add_norm": True, "pad_vocab_size_multiple": 8}  # fmt: skip
    first, second = read(raw), read(raw | {"ssm_cfg": {"layer": "Mamba2"}, "pad_vocab_size_multiple": 16})
    assert (first.vocab, second.vocab) == (50280, 50288)
    assert total_parameters(first) == pytest.approx(2.768e9, rel=1e-3)
    assert total_parameters(second) == pytest.approx(2.702e9, rel=1e-3)
    assert "between the mixers" in refusal(raw | {"attn_layer_idx": [9, 18]})


def test_windows_that_repeat_over_the_layers():
    """Ministral 8B's params.json: one layer of four sees everything. Before: refused."""
    raw = {"dim": 4096, "n_layers": 36, "head_dim": 128, "hidden_dim": 12288, "n_heads": 32, "n_kv_heads": 8,
           "norm_eps": 1e-5, "vocab_size": 131072, "max_seq_len": 131072,
           "sliding_window": [None, 32768, 32768, 32768], "_sliding_window": [None, 32768, 32768, 32768]}  # fmt: skip
    m = read(raw)
    assert total_parameters(m) == pytest.approx(8.02e9, rel=1e-3)
    assert {r.block.mixers[0].window: r.n for r in m.runs} == {0: 9, 32768: 27}
    assert "one width" in refusal(raw | {"sliding_window": [None, 1024, 2048]})
