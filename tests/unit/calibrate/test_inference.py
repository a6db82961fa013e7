"""Rows of inference as requests: what each holds, how stacks lay it out, and why some are refused."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from dse.calibrate.batch import predict
from dse.calibrate.inference import inference_cases
from dse.calibrate.inference_score import baseline_s, held_out_baseline_s, score_requests, two_constants
from dse.calibrate.loops import n_clients, n_met
from dse.calibrate.measurements import complete, read
from dse.calibrate.request_rows import checkpoint, drawn_frac, lengths, padded_heads, row_storage
from dse.core.errors import SpecError
from dse.hardware.presets import chip
from dse.physics.calibration import calibration, default_calibration
from dse.physics.step import request_s, step_time
from dse.workload.blocks import Block
from dse.workload.mixers import Attention
from dse.workload.presets import model
from dse.workload.transformer import uniform

TINY = Path(__file__).parents[2] / "data" / "inference_tiny.csv"


@pytest.fixture(scope="module")
def found():
    cases, rest = inference_cases(read("inference", TINY))
    return {c.point_id: c for c in cases}, {u.point_id: u.why for u in rest}


def row(point):
    (first, *_) = [r for r in read("inference", TINY).itertuples(index=False) if r.point_id == point]
    return first


def test_what_each_metric_holds(found):
    cases, _ = found
    counts = {i: (float(c.demand.n_prefill), float(c.demand.n_decode)) for i, c in cases.items()}
    assert counts["one#1:ttft"] == (1, 0)
    assert counts["one#1:tpot"] == (0, 1)
    # 20 tokens: the first with the prompt, 19 after it
    assert counts["two#1:request_latency"] == (1, 19)
    # of 31 other clients' prompts two are read while one waits for its first token, 29 while it writes 1023 more, in
    # passes that write as well
    assert counts["two#3:tpot"] == (pytest.approx(29 / 1023), pytest.approx(1 - 29 / 1023))


def test_throughput_of_a_static_batch_is_the_time_of_its_request(found):
    # 16 sequences x 100 tokens at 1300 tokens/s
    assert found[0]["two#2:throughput"].measured_s == pytest.approx(1600 / 1300)


@pytest.mark.parametrize(
    ("point", "words"),
    [
        ("one#1:output_throughput", "whose latencies are scored"),
        ("two#4:tpot", "512 clients, more than a stack runs at once"),
        ("two#5:request_latency", "no preset for chip 'Abacus 9000'"),
        ("two#6:request_latency", "no in_len"),
    ],
)
def test_refused_rows_say_why(found, point, words):
    assert words in found[1][point]


@pytest.mark.parametrize(
    ("said", "stored"),
    [
        ("W4A16", ("int4", "")),
        ("INT4 (AWQ)", ("int4", "")),
        ("w8a16", ("int8", "")),
        ("W8A8", ("int8", "int8")),
        ("NVFP4", ("nvfp4", "bf16")),
        ("FP16/BF16 (default)", ("bf16", "")),
        ("Q4_K_M", ("q4_k_m", "")),
        ("GGUF Q8_0", ("q8_0", "")),
        ("BitNet 1.58-bit", ("ternary", "")),
        ("", ("bf16", "")),
    ],
)
def test_storage_of_weights_is_read_from_common_names(said, stored):
    assert row_storage(SimpleNamespace(precision=said), chip("h100")) == stored


def test_a_precision_that_nobody_knows_is_refused():
    with pytest.raises(SpecError, match="Q4_X"):
        row_storage(SimpleNamespace(precision="Q4_X"), chip("h100"))


def test_a_gguf_file_is_narrow_throughout():
    assert checkpoint("q4_k_m", model("llama-3.1-8b"), "llama.cpp") == ("q4_k_m,rest=bf16", "bf16")


def test_tails_are_refused():
    rows = read("inference", TINY)
    cases, rest = inference_cases(rows[rows.stat == "p99"])
    assert not cases and "a tail (p99)" in rest[0].why


def test_compiled_programs_attend_to_their_whole_length():
    assert lengths(row("one#1"), "neuronx") == (4096, 8192)
    assert lengths(row("one#1"), "vllm") == (4096, 4096 + 2048)
    assert lengths(row("two#1"), "neuronx") == (128, 80)


def test_a_checkpoint_says_what_stays_wide_and_how_the_cache_is_kept():
    """One narrowed for serving: wide head, FP8 cache; the maker's own: its parts, and nothing of the cache."""
    llama, oss = model("llama-3.1-70b"), model("gpt-oss-120b")
    assert checkpoint("fp8", llama, "trtllm") == ("fp8,head=bf16,embedding=bf16,rest=bf16", "fp8")
    assert checkpoint("nvfp4", llama, "vllm") == ("nvfp4,head=bf16,embedding=bf16,rest=bf16", "fp8")
    assert checkpoint("nvfp4", oss, "vllm") == (oss.weight_format, "bf16")
    assert checkpoint("int4", llama, "vllm")[1] == checkpoint("fp8", llama, "neuronx")[1] == "bf16"
    assert checkpoint("bf16", llama, "vllm") == ("bf16", "bf16")


def test_lengths_drawn_from_a_range_count_by_their_middle():
    said = SimpleNamespace(**row("two#3")._asdict(), note="random lengths (80-100 % of nominal)")
    assert drawn_frac(said) == 0.9 and drawn_frac(row("two#3")) == 1.0
    prompt, context = lengths(row("two#3"), "vllm")
    assert lengths(said, "vllm") == pytest.approx((0.9 * prompt, 0.9 * context), abs=1)


def test_a_closed_loop_without_a_number_of_clients_has_those_of_its_batch():
    told = row("two#3")
    assert n_clients(told) == 32 and n_clients(row("two#1")) == 0
    unsaid = told._replace(concurrency=np.nan, batch=8.0, dp=4.0)
    unsaid = SimpleNamespace(**unsaid._asdict(), note="aggregated serving, closed loop")
    assert n_clients(unsaid) == 32


def test_data_ranks_read_a_prompt_each_in_the_pass_that_reads_one(found):
    """4 data ranks with 8 of 32 clients each: 5 of 7 prompts of its own while a rank writes 1023 tokens, 4 at once.

    In a pass that reads one a rank has as many tokens of prompts as its own has, besides those it writes.
    """
    rows = read("inference", TINY)
    rows = rows[rows.point_id == "two#3"].assign(dp=4.0, tp=2.0, num_chips=8.0)
    case = inference_cases(rows)[0][0]
    assert float(case.demand.n_prefill) == pytest.approx(5 / 1023)
    each, both = (float(np.sum(d.macs)) for d in (case.demand.decode, case.demand.prefill))
    assert both / each == pytest.approx((8 + lengths(row("two#3"), "vllm")[0]) / 8, rel=0.2)


def client(n, prompt, stack):
    """One of n clients of a closed loop, whose prompts and answers are all as long."""
    return SimpleNamespace(**(row("two#3")._asdict() | {"concurrency": n, "in_len": prompt, "framework": stack}))


@pytest.mark.parametrize(
    ("stack", "n", "prompt", "met"),
    [
        ("vllm", 8, 1024, 5), ("trtllm", 2, 1024, 0), ("jetstream", 8, 1024, 7), ("jetstream", 0, 1024, 0),
        # in one pass nobody waits for others' prompts; in two half of the clients wait for a pass of half of them
        ("sglang", 8, 1024, 0), ("sglang", 16, 1024, 4), ("sglang", 16, 8192, 7.5),
        # prompts of two passes end one by one, and behind the first of two clients one is left: half of one in the mean
        ("sglang", 2, 16384, 0.5), ("sglang", 1, 16384, 0), ("sglang", 0, 1024, 0),
    ],
)  # fmt: skip
def test_prompts_that_a_client_meets_while_it_writes(stack, n, prompt, met):
    assert n_met(client(n, prompt, stack), n, stack) == met


@pytest.mark.parametrize("passes", [5, 8, 16])
def test_first_and_later_tokens_share_what_all_prompts_take(passes):
    """A client of pass i of p waits for i passes: its own first token and what it meets later are all n prompts."""
    n = 4 * passes
    told = client(n, 2048, "sglang")
    waits = np.mean([i * n / passes for i in range(1, passes + 1)])
    assert waits + n_met(told, n, "sglang") == pytest.approx(n)


def test_drawn_lengths_let_clients_drift_apart():
    """Before, SGLang's times per token at 64 clients, 1024 tokens in and 128 out were a third too slow.

    What another benchmark draws says nothing of this run.
    """
    told = client(64, 1024, "SGLang 0.5")
    remark = "random lengths (InferenceMAX uses 80-100 % of nominal)"
    told.note = f"InferenceMAX dump: {remark}"
    assert drawn_frac(told) == 0.9 and n_met(told, 64, "sglang") == 63
    told.note = f"own sweep: {remark}"
    assert drawn_frac(told) == 1.0 and n_met(told, 64, "sglang") == 28


def test_a_pass_that_reads_a_prompt_does_the_work_of_both(found):
    """The prompt of a pass alone and the tokens of another, whose weights are read once."""
    mixed = found[0]["two#3:tpot"].demand
    rows = read("inference", TINY)
    apart = inference_cases(rows[rows.point_id == "two#3"].assign(framework="jetstream"))[0][0].demand
    assert np.sum(mixed.prefill.macs) == pytest.approx(np.sum(apart.prefill.macs) + np.sum(apart.decode.macs), rel=1e-3)
    c, card = default_calibration("h100", "vllm"), chip("h100")
    both, prompt, token = (float(step_time(d, card, c).total_s) for d in (mixed.prefill, apart.prefill, apart.decode))
    assert 0.9 * max(prompt, token) < both < prompt + token


def test_heads_are_padded_to_the_ranks():
    # 40 heads over 32 ranks: two each; 32 query and 8 KV heads over 24 ranks: 48, and each rank a KV head
    padded = padded_heads(model("llama-2-13b"), 32)
    assert (padded.attention.n_heads, padded.attention.n_kv_heads) == (64, 64)
    grouped = padded_heads(model("llama-3.1-8b"), 24)
    assert (grouped.attention.n_heads, grouped.attention.n_kv_heads) == (48, 24)
    assert padded_heads(model("llama-3.1-8b"), 8) == model("llama-3.1-8b")
    # 12 KV heads on 8 ranks are two each; before, one each, a third of them lost
    uneven = dataclasses.replace(model("llama-3.1-8b"), runs=uniform(Block((Attention(36, 12, 128),), None), 1))
    assert padded_heads(uneven, 8).attention == Attention(40, 16, 128)


def test_four_bit_weights_meet_wide_products_without_fp4():
    assert row_storage(row("two#3"), chip("h100")) == ("mxfp4", "bf16")
    assert row_storage(row("two#3"), chip("b200")) == ("mxfp4", "")


def test_a_request_is_its_prompt_and_its_tokens(found):
    case, c = found[0]["two#1:request_latency"], default_calibration("a100-80", "fastertransformer")
    first, each = (float(step_time(d, case.chip, c).total_s) for d in (case.demand.prefill, case.demand.decode))
    assert float(request_s(case.demand, case.chip, c)) == pytest.approx(first + 19 * each)
    every = list(found[0].values())
    together, _ = predict(every, [calibration("prior-cuda")] * len(every))
    alone, _ = predict([case], [calibration("prior-cuda")])
    at = list(found[0]).index("two#1:request_latency")
    assert float(together[at]) == pytest.approx(float(alone[0]))


def test_scores_keep_every_row(found):
    rows = read("inference", TINY)
    cases, rest = inference_cases(rows)
    table = score_requests(cases, rest).predictions
    assert len(table) == len(rows)
    done = table.dropna(subset=["predicted_s"])
    assert set(done.what) >= {"ttft on trainium1", "tpot on h100", "request on a100-80"}
    assert ((done.predicted_s / done.measured_s) > 0.3).all() and ((done.predicted_s / done.measured_s) < 3).all()
    assert table[table.predicted_s.isna()].why.str.len().min() > 0


def test_nothing_to_predict_is_an_answer():
    _, rest = inference_cases(read("inference", TINY).query("point_id == 'two#5'"))
    assert score_requests([], rest).predictions.why.str.contains("Abacus").all()


def test_two_constants_recover_a_straight_line(found):
    """Times made as 2 x + 3 ms n are told exactly; with one point the larger term takes all."""
    import dataclasses

    cases = [c for c in found[0].values()]
    made = [dataclasses.replace(c, metric="tpot", measured_s=2 * c.ideal_s + 3e-3 * c.n_passes) for c in cases]
    assert two_constants(made) == pytest.approx([2, 3e-3])
    assert (two_constants(made[:1]) >= 0).all()
    same = [dataclasses.replace(c, chip_name="a100-80") for c in made]
    assert baseline_s(same, same) == pytest.approx([c.measured_s for c in same])


def test_held_out_baseline_never_sees_the_source(found):
    cases = list(found[0].values())
    seconds = held_out_baseline_s(cases)
    assert np.isfinite(seconds).all() and (seconds > 0).all()
    one = [c for c in cases if c.source == "lab-one"]
    other = [c for c in cases if c.source != "lab-one"]
    at = [i for i, c in enumerate(cases) if c.source == "lab-one"]
    assert seconds[at] == pytest.approx(baseline_s(one, other))


def test_shipped_rows_are_modelled_or_say_why():
    rows = complete(read("inference")).groupby("source", sort=False).head(12)
    cases, rest = inference_cases(rows)
    assert len(cases) + len(rest) == len(rows)
    assert all(u.why for u in rest)
    assert len({c.point_id for c in cases}) == len(cases) >= len(rows) // 3


def test_a_request_whose_passes_write_several_tokens_is_no_row_of_plain_decode():
    """A point that prints the time of a round of speculation: 123 tokens were 70 passes, which no column says."""
    rows = read("inference", TINY)
    request = rows[rows.point_id == "two#1"]
    cases, rest = inference_cases(pd.concat([request, request.assign(metric="round_latency", value=9.4)]))
    assert not cases
    assert any("several tokens" in u.why for u in rest)


def test_a_batch_larger_than_the_memory_runs_in_turns(tmp_path):
    """64 sequences with 3072 tokens at the middle of their answers, and one card of 40 GB.

    Llama 2 7B keeps 2 x 32 x 4096 x 2 B = 0.52 MB a token, so 1.6 GB a sequence. Of 40 GiB serving stacks use 0.9 to
    0.95 (vLLM 0.9), and 13.5 GB hold weights: (0.9 to 0.95 x 42.9 - 13.5) / 1.61 = 15.6 to 17.
    """
    said = dict(
        source="nobody", chip="NVIDIA A100 40GB SXM", num_chips=1.0, model="Llama-2-7B", tp=1.0,
        in_len=2048.0, out_len=2048.0, precision="BF16", framework="vLLM", metric="request_latency",
        value=316.0, unit="s",
    )  # fmt: skip
    pd.DataFrame([{**said, "batch": 64}, {**said, "batch": 8}]).to_csv(tmp_path / "turns.csv", index=False)
    (many, few), _ = inference_cases(read("inference", tmp_path / "turns.csv"))
    assert float(few.demand.n_decode) == 2047
    at_once = 64 * 2047 / float(many.demand.n_decode)
    assert 15 <= at_once <= 16 and at_once == float(many.demand.decode.tokens)
    assert float(many.demand.prefill.tokens) == 64 * 2048
