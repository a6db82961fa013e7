"""Published single operators become products, bytes and passes by hand; what cannot says why."""

import math
import re
from types import SimpleNamespace

import pandas as pd
import pytest

from dse.calibrate.kernels import kernel_cases
from dse.calibrate.measurements import read
from dse.calibrate.operators import (
    array_frac,
    calibrates,
    data_type,
    gemm,
    is_host_timed,
    n_experts_touched,
    narrowing,
    row_ops,
)
from dse.hardware.presets import chip
from dse.lowering.tiling import array_shape, rank_ops
from dse.workload.op import Op, passes


def op(**columns) -> Op:
    found = row_ops(SimpleNamespace(**columns), hosted=True)
    assert not isinstance(found, str), found
    return found[-1]


@pytest.mark.parametrize(
    ("published", "precision", "weight_B", "kv_B"),
    [
        ("bfloat16", "bf16", 2.0, 2.0),
        ("bf16, KV bf16", "bf16", 2.0, 2.0),
        ("bfloat16, KV fp8", "bf16", 2.0, 1.0),
        ("FP8 (presumed; mfu column back-solves the peak)", "fp8", 1.0, 1.0),
        ("int8_wo", "bf16", 1.0, 2.0),
        ("int4_wo", "bf16", 0.5, 2.0),
        ("sq", "int8", 1.0, 1.0),
    ],
)
def test_published_data_types(published, precision, weight_B, kv_B):
    found = data_type(published)
    assert found is not None
    assert (found.precision, found.weight_B, found.kv_B) == (precision, weight_B, kv_B)


@pytest.mark.parametrize("published", ["", "int3", "bf16, KV int2"])
def test_unknown_data_types_are_refused(published):
    assert data_type(published) is None


def test_narrow_weights_move_fewer_bytes_but_multiply_alike():
    """256 x 5120 x 5120: inputs and results 2 B, weights 2, 1 and half a byte."""
    m, n, k = 256.0, 5120.0, 5120.0
    ops = {d: gemm(m, n, k, data_type(d)) for d in ("bf16", "int8_wo", "int4_wo")}
    for d, weight_B in (("bf16", 2.0), ("int8_wo", 1.0), ("int4_wo", 0.5)):
        assert ops[d].hbm_B == 2 * m * k + weight_B * k * n + 2 * m * n
        assert ops[d].precision == "bf16" and ops[d].products[0].macs == m * n * k


def test_decode_attention_streams_the_queries_of_a_group():
    """32 sequences, 1,024 cached, 32 query and 8 KV heads of 128: keys and values 2 x 8 x 1024 x 128 in 8 bit each."""
    one = op(op="attention decode", dtype="bfloat16, KV fp8", heads="32/8", seq_len=1024, head_dim=128, batch=32)
    queries_B = 2 * 2 * 32 * 128
    assert one.hbm_B == 32 * (2 * 8 * 1024 * 128 * 1.0 + queries_B)
    scores = one.products[0]
    assert (scores.moving, scores.stationary, scores.count) == (4, 1024, 8 * 32)
    assert sum(p.macs for p in one.products) == 2 * 32 * 32 * 1024 * 128


def test_a_chunk_of_a_prompt_sees_the_cache_and_half_of_itself():
    """512 tokens after 1,024: 1,280 positions each on average, 1,536 cached ones are read."""
    one = op(
        op="attention prefill chunk", dtype="BF16", heads="32/8", seq_len=512, head_dim=128, batch=1,
        shape="Llama-3.1-8B TP1: batch 1, chunk 512, kv 1024",
    )  # fmt: skip
    assert one.products[0].macs == 32 * 512 * 1280 * 128
    assert one.hbm_B == 128 * (2 * 32 * 512 * 2 + 2 * 8 * 1536 * 2)


def test_experts_that_nobody_chose_are_not_read():
    """256 experts, 8 chosen by each of 32 tokens: 256 (1 - (31/32)^32) = 163.3 are touched, by all tokens 256."""
    assert n_experts_touched(256, 8, 32) == pytest.approx(163.3, abs=0.1)
    assert n_experts_touched(256, 8, 1) == pytest.approx(8)
    assert n_experts_touched(256, 8, 1e6) == pytest.approx(256)


@pytest.mark.parametrize(("name", "k", "n"), [("up/gate", 7168, 4096), ("down", 2048, 7168)])
def test_grouped_products_of_one_rank(name, k, n):
    """8 of 256 experts on a rank, 16 tokens on each of 32: 512 tokens choose 8, so 16 reach every expert."""
    one = op(
        op=f"grouped GEMM MoE {name} (decode)", dtype="FP8 (presumed)", note="M = tokens per expert; 32 GPUs EP",
        shape="experts 256 local 8 topk 8 h 7168 ffn 2048 tokens/GPU 16",
    )  # fmt: skip
    product = one.products[0]
    assert product.count == pytest.approx(8, rel=1e-6)
    assert (product.moving, product.contract, product.stationary) == (pytest.approx(16, rel=1e-6), k, n)
    assert one.hbm_B == pytest.approx(8 * (k * n + 16 * k + 2 * 16 * n), rel=1e-6)


def test_small_operators_read_and_write_each_element_once():
    one = op(op="softmax", dtype="FP16", elements=4096.0)
    assert one.hbm_B == 2 * 2 * 4096
    assert one.vector_elements == passes()["softmax_forward"] * 4096


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"op": "GEMM", "dtype": "int3"}, "data type 'int3'"),
        ({"op": "GEMM", "dtype": "fp8", "M": math.nan}, "without M, N or K"),
        ({"op": "attention decode", "dtype": "bf16", "heads": "many"}, "attention without heads"),
        ({"op": "grouped GEMM MoE down", "dtype": "fp8", "shape": "experts 8"}, "grouped product without"),
        ({"op": "top-k", "dtype": "bf16", "elements": 8.0}, "operator 'top-k'"),
    ],
)
def test_what_cannot_be_modelled_says_why(columns, why):
    found = row_ops(SimpleNamespace(**columns), hosted=True)
    assert isinstance(found, str) and why in found


def test_what_is_presumed_or_timed_on_the_host_is_scored_but_teaches_nothing():
    def learnt(**columns):
        return calibrates(SimpleNamespace(**columns))

    assert learnt(op="GEMM", dtype="int4_wo") and learnt(op="attention decode", dtype="bf16, KV bf16")
    assert not learnt(op="FP8 GEMM (DeepGEMM)", dtype="FP8 (presumed)")
    assert not learnt(op="softmax", dtype="FP16")


def test_every_shipped_operator_with_a_time_and_a_preset_is_modelled():
    rows = read("kernels")
    kept = rows[rows.point_id.isin(set(rows.point_id.drop_duplicates().iloc[::12]))]
    cases, rest = kernel_cases(kept)
    assert len(cases) + len(rest) == kept.groupby(["point_id", "op"]).ngroups and len(cases) > 150
    assert {re.sub(r" \(.*", "", u.why) for u in rest} <= {
        "no time, nor a rate of something whose size is known", "no preset for chip 'NVIDIA A40'",
        *(f"operator '{name}' is not modelled" for name in ("mlp activation", "rope", "residual add")),
    }  # fmt: skip


def test_a_clock_of_the_host_holds_the_start_of_a_kernel():
    """The same product, timed on the host: the device waits for a start that takes longer than the product."""
    gemm_row = {
        "point_id": "k#1", "source": "s", "chip": "NVIDIA A100 SXM", "num_chips": 1, "op": "matmul", "M": 64.0,
        "N": 64.0, "K": 64.0, "dtype": "FP16", "metric": "latency", "value": 30.0, "unit": "us",
    }  # fmt: skip
    notes = ("CUDA time", "host-side timing, so small shapes include launch overhead")
    cases, _ = kernel_cases(pd.DataFrame([{**gemm_row, "point_id": n, "note": n} for n in notes]))
    assert [float(c.demand.n_host) for c in cases] == [0.0, 1.0]
    assert is_host_timed(SimpleNamespace(op="softmax")) and not is_host_timed(SimpleNamespace(op="GEMM"))


def test_linear_layers_narrow_their_input_in_a_kernel_of_its_own_and_bare_products_do_not():
    """64 x 4096 x 8192: 8-bit operands and bf16 results; narrowing reads 2 and writes 1 byte per input."""
    layer, bare, block = (data_type(t) for t in ("fp8", "FP8 e4m3", "fp8_block"))
    assert layer is not None and bare is not None and block is not None
    assert gemm(64, 4096, 8192, layer).hbm_B == gemm(64, 4096, 8192, bare).hbm_B
    (first,) = narrowing(64, 8192, layer)
    assert (first.hbm_B, first.n_launches) == (3 * 64 * 8192, 1)
    assert narrowing(64, 8192, block)[0].n_launches == 0 and narrowing(64, 8192, bare) == []
    assert data_type("FP8 (presumed)") == bare


def test_attention_to_a_cache_is_split_and_joined_where_a_host_starts_kernels():
    columns = {
        "op": "attention decode",
        "dtype": "bf16",
        "heads": "32/8",
        "seq_len": 1024,
        "head_dim": 128,
        "batch": 32,
    }
    hosted, compiled = (row_ops(SimpleNamespace(**columns), hosted=h) for h in (True, False))
    assert [hosted[0].n_launches, compiled[0].n_launches] == [2, 1]


def test_weights_stored_narrower_than_products_are_widened():
    """Of 4-bit weights every one is converted; of 8-bit operands in 8-bit products none."""
    array = array_shape(chip("h100").core.tensor)
    ops = [gemm(16, 1024, 2048, data_type(t)) for t in ("int4_wo", "fp8")]
    passes_more = rank_ops(ops, array).columns[7] - [o.vector_elements for o in ops]
    assert passes_more.tolist() == [1024 * 2048 * passes()["dequantise"], 0]


def test_the_winner_of_a_search_over_shapes_is_faster_than_a_usual_product():
    plain = {"op": "matmul", "note": "", "dtype": "BF16", "M": 2048.0, "N": 2048.0, "K": 13312.0}
    usual = SimpleNamespace(**plain)
    winners = [
        SimpleNamespace(**plain | {"op": "matmul (best shape)"}),
        SimpleNamespace(**plain | {"note": "maximum over a brute-force shape sweep"}),
    ]
    assert array_frac(usual) == 1.0
    assert [array_frac(w) for w in winners] == [0.92, 0.92]
