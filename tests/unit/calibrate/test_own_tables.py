"""What people have: files of benchmarks, logs of collectives, chips and models of their own; numbers by hand."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

import dse.calibrate
from dse.calibrate.columns import KINDS, columns, example, needed, unread
from dse.calibrate.inference import InferenceCase, inference_cases
from dse.calibrate.kernels import collective_cases
from dse.calibrate.measurements import read
from dse.calibrate.validate import validate
from dse.cli import main
from dse.core.errors import SpecError
from dse.hardware.presets import chip
from dse.lowering.headroom import usable_frac

VLLM = {
    "date": "20251101-101010", "backend": "vllm", "model_id": "meta-llama/Llama-3.1-70B-Instruct", "num_prompts": 640,
    "request_rate": "inf", "max_concurrency": 64, "duration": 230.5, "completed": 640, "total_input_tokens": 655360,
    "total_output_tokens": 327680, "request_throughput": 5.5, "output_throughput": 2816.0,
}  # fmt: skip
TOLD = {
    "total_token_throughput": 5686.4, "mean_ttft_ms": 512.3, "median_ttft_ms": 490.1, "mean_tpot_ms": 21.9,
    "median_tpot_ms": 21.8, "median_itl_ms": 21.3, "std_tpot_ms": 0.4,
}  # fmt: skip
SAID = ("chip=h100", "tp=8", "precision=fp8")


def written(tmp_path, text, name="bench.json"):
    path = tmp_path / name
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    return path


def cases_of(rows):
    found, rest = inference_cases(rows)
    return {c.point_id: c for c in found if isinstance(c, InferenceCase)}, {u.point_id: u.why for u in rest}


def test_a_serving_benchmark_as_it_is_written(tmp_path):
    """Before: refused, as no column is called in_len or num_chips. 655,360 tokens of 640 prompts are 1,024 each."""
    rows = read("inference", written(tmp_path, VLLM | TOLD), SAID)
    assert (set(rows.in_len), set(rows.out_len), set(rows.num_chips)) == ({1024.0}, {512.0}, {8.0})
    found, why = cases_of(rows)
    assert {n: c.measured_s for n, c in found.items()} == {"line 1:tpot": pytest.approx(0.0218)}
    assert "closed loop" in why["line 1:ttft"] and "latencies are scored" in why["line 1:throughput"]
    assert set(unread(rows, "inference")) == {
        "date", "mean_ttft_ms", "mean_tpot_ms", "median_itl_ms", "std_tpot_ms"}  # fmt: skip


def test_the_throughput_of_a_closed_loop_is_its_requests_time(tmp_path):
    """64 clients at 2,816 tokens/s of 512 each: a request takes 64 x 512 / 2816 s, as 64 / 5.5 per second says too."""
    found, _ = cases_of(read("inference", written(tmp_path, VLLM), SAID))
    for name in ("line 1:output_throughput", "line 1:throughput"):
        assert found[name].measured_s == pytest.approx(64 / 5.5)
        # all 64 prompts are read once while a request writes its other 511 tokens, in passes that write as well
        assert (found[name].demand.n_prefill, found[name].demand.n_decode) == (64.0, 511.0 - 64.0)


def test_first_tokens_of_a_loop_say_nothing_of_its_throughput(tmp_path):
    """Before: refused since "latencies are scored", where the one latency there was itself refused."""
    found, why = cases_of(read("inference", written(tmp_path, VLLM | {"median_ttft_ms": 490.1}), SAID))
    assert set(found) == {"line 1:output_throughput", "line 1:throughput"} and "closed loop" in why["line 1:ttft"]
    alone = VLLM | {"median_ttft_ms": 490.1, "max_concurrency": 1}
    assert "line 1:ttft" in cases_of(read("inference", written(tmp_path, alone), SAID))[0]


def test_an_open_loop_is_told_apart(tmp_path):
    _, why = cases_of(read("inference", written(tmp_path, VLLM | {"request_rate": 4.0}), SAID))
    assert all(x.startswith("open loop at 4 requests/s") for n, x in why.items() if "throughput" in n)
    at_once = VLLM | {"max_concurrency": None, "num_prompts": 32, "completed": 32}
    rows = read("inference", written(tmp_path, at_once), SAID)
    assert set(rows.concurrency) == {32.0}


def test_what_memory_does_not_hold_waits(tmp_path):
    """Llama 3.1 70B in bf16 on two chips of 80 GB, 128 clients with 8,192 tokens each.

    A rank holds (70.6e9 2 B - the embedding's copies) / 2 = 70 GB of weights of its 79 GB; a context of 8,192 + 64
    tokens takes 80 layers x 8 heads x 128 x 2 x 2 B = 328 kB a token, half of it on a rank: 1.35 GB. So at most 6 run.
    """
    told = VLLM | {"total_input_tokens": 640 * 8192, "total_output_tokens": 640 * 128, "max_concurrency": 128}
    said = ("chip=h100", "tp=2", "precision=bf16")
    found, _ = cases_of(read("inference", written(tmp_path, told | {"median_tpot_ms": 50.0}), said))
    running = round(found["line 1:tpot"].demand.n_prefill * 128 + 1)
    room_B = usable_frac() * float(chip("h100").hbm_capacity_B) - 70.6e9
    assert running == int(room_B / ((8192 + 64) * 327_680 / 2)) == 6
    slow, _ = cases_of(read("inference", written(tmp_path, told), said))
    request = slow["line 1:throughput"].demand
    assert (request.n_prefill, request.n_decode) == (128.0, pytest.approx(128 / 6 * 127 - 128))


LOG = """# nThread 1 nGpus 8 minBytes 1048576 maxBytes 67108864 step: 2(factor) warmup iters: 5 iters: 20
# Collective test starting: all_reduce_perf
# Using devices
#  Rank  0 Group  0 Pid  12 on   node-a device  0 [0000:18:00] NVIDIA H100 80GB HBM3
#  Rank  1 Group  0 Pid  12 on   node-a device  1 [0000:2a:00] NVIDIA H100 80GB HBM3
#
#                                                              out-of-place                       in-place
#       size         count      type   redop    root     time   algbw   busbw #wrong     time   algbw   busbw #wrong
#        (B)    (elements)                               (us)  (GB/s)  (GB/s)            (us)  (GB/s)  (GB/s)
     1048576        262144     float     sum      -1    45.12   23.24   23.24      0    44.80   23.41   23.41      0
    67108864      16777216     float     sum      -1   290.10  231.33  231.33      0   289.90  231.50  231.50    N/A
# Out of bounds values : 0 OK
"""


def test_a_log_of_nccl_tests(tmp_path):
    found, rest = collective_cases(read("collectives", written(tmp_path, LOG, "a.log")))
    assert not rest and [c.measured_s for c in found] == pytest.approx([45.12e-6, 290.1e-6])
    rows = read("collectives", written(tmp_path, LOG, "a.txt"))
    assert (set(rows.chip), set(rows.num_ranks), set(rows.num_nodes)) == ({"NVIDIA H100 80GB HBM3"}, {2}, {1})
    neuron = "size(B) count(elems) type time:avg(us) algbw(GB/s) busbw(GB/s)\n  1024 512 bf16 15.3 0.07 0.12\n"
    rows = read("collectives", written(tmp_path, neuron, "b.txt"), ("chip=trn2", "collective=allg", "ranks=16"))
    assert list(zip(rows.message_bytes, rows.value, rows.unit, strict=True)) == [(1024, 15.3, "us")]


def test_sizes_in_headers_and_what_ranks_tell(tmp_path):
    sizes = "chip,n_gpus,op,size (MiB),time (us)\nH100,8,all_reduce,64,290\n"
    rows = read("collectives", written(tmp_path, sizes, "a.csv"))
    assert (list(rows.message_bytes), list(rows.num_ranks), list(rows.collective)) == ([2**26], [8], ["all_reduce"])
    with pytest.raises(SpecError, match="no column message_bytes"):  # 10^6 or 2^20 B
        read("collectives", written(tmp_path, sizes.replace("MiB", "MB"), "a.csv"))
    steps = "chip,model,seq_len,gbs,tp,pp,dp,step_time_s\nH100,llama-3.1-8b,8192,256,2,4,8,5.1\n"
    assert list(read("training", written(tmp_path, steps, "a.csv")).num_chips) == [64]
    assert list(read("kernels", written(tmp_path, "chip,m,n,k,time_us\nH100,8,8,8,5\n", "a.csv")).op) == ["gemm"]


def test_chips_and_models_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text('[mine]\nbase = "h100"\nhbm_bandwidth = "6.7 TB/s"\n')
    (tmp_path / "small.json").write_text(
        json.dumps({"model_type": "llama", "hidden_size": 2048, "num_hidden_layers": 16, "num_attention_heads": 16,
                    "intermediate_size": 8192, "vocab_size": 32000, "num_key_value_heads": 16,
                    "max_position_embeddings": 4096})
    )  # fmt: skip
    text = "chip,tp,model,isl,osl,batch,tpot_ms\nmine.toml,1,small.json,1024,128,1,1\nnone.toml,1,small.json,9,9,1,1\n"
    found, why = cases_of(read("inference", written(tmp_path, text, "a.csv")))
    case = found["line 1:tpot"]
    assert float(case.chip.hbm_bandwidth_Bps) == pytest.approx(6.7e12) and case.chip_name == "h100"
    # 16 layers of 4 x 2048^2 + 3 x 2048 x 8192 weights and a head of 32000 x 2048, 2 B each, and a little cache
    weights_B = 2 * (16 * (4 * 2048**2 + 3 * 2048 * 8192) + 32000 * 2048)
    assert case.ideal_s * 6.7e12 == pytest.approx(weights_B, rel=0.15)
    assert why["line 2:tpot"] == "no preset for chip 'none.toml'"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("chip", "expected column=cell of point_id"), ("chips_in_all=8", "expected column=cell"), ("=8", "expected"),
        ("backend=sglang", "the table's own column framework says otherwise"),
    ],
)  # fmt: skip
def test_what_cannot_be_given(tmp_path, said, why):
    with pytest.raises(SpecError, match=why):
        read("inference", written(tmp_path, VLLM), (*SAID, said))


def test_given_cells_may_repeat_the_tables(tmp_path):
    rows = read("inference", written(tmp_path, VLLM), (*SAID, "max_concurrency=64", "engine=vLLM"))
    assert set(rows.framework) == {"vLLM"} and set(rows.concurrency) == {64.0}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_shows_its_columns_and_a_table_that_is_read(kind, tmp_path, capsys):
    assert main(["validate", "--kind", kind, "--columns", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {c["name"] for c in told["columns"] if c["needed"]} == set(needed(kind))
    path = written(tmp_path, told["example"], "example.csv")
    found = validate(kind, str(path))
    assert len(found.modelled) == 1 and found.unread == ()
    assert main(["validate", "--kind", kind, "--columns"]) == 0
    assert told["example"].splitlines()[0][:40] in capsys.readouterr().out


def test_every_cell_that_is_read_has_a_column():
    """What `row_number(row, "...")` and the like ask for is in columns.toml; "id" is that of shipped rows alone."""
    room = Path(dse.calibrate.__file__).parent
    asked = re.findall(r'row_(?:number|text|switch)\(\w+, "(\w+)"', "".join(p.read_text() for p in room.glob("*.py")))
    assert set(asked) <= {c.name for kind in KINDS for c in columns(kind)} and len(set(asked)) > 40
    assert all(example(kind) for kind in KINDS)


def test_nothing_is_said_of_no_file(capsys):
    assert main(["validate", "--given", "chip=h100"]) == 2
    assert "name yours with --data" in capsys.readouterr().err
    assert pd.isna(read("training")["value"]).sum() == 0
