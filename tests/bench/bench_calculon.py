"""Prints accuracy and speed on the runs Calculon was published with, its own numbers beside ours.

Runs: table 5 of Korthikanti et al. 2022 (arXiv 2205.05198), GPT on A100, seconds per iteration. Our calibration has
seen the 22B and 530B rows, not the 175B ones; Calculon's A100 file was fitted by its authors to such runs as well.
Timings are ratios on one machine; Calculon's rate was taken on one core of another.
"""

import numpy as np
from bench_step import CASES, functions, per_point_s, timed_s

import dse
from dse.calibrate.cases import training_case
from dse.calibrate.measurements import read
from dse.calibrate.score import predict_cases
from dse.evaluation.assembly import chip_reference
from dse.lowering.demand import demand
from dse.physics.calibration import default_calibration

# Calculon at commit caa4b11 (Isaev et al., SC 2023, github.com/calculon-ai/calculon), a100_80g.json as shipped, run in
# November 2026: GPT-3 175B on 1,024 A100 takes 14.5 ms per evaluation with statistics on one core; a mean absolute
# error of 3.65 % (at most 8.9 %) on the eight rows of table 5, of which its predictions for four are below
CALCULON_PER_S = 68.9
CALCULON_MEAN_ERROR = 0.0365
CALCULON_S = {"22B full": 1.3956, "22B selective": 1.1367, "530B full": 49.893, "530B selective": 34.473}
CALCULON_1024_S = 20.671
PUBLISHED_175B_S = {"full": 18.13, "selective": 13.75}
SPEED = "GPT-3 175B, 1,024 A100"


def shipped():
    """Name, published and predicted seconds of the table's rows among the shipped measurements."""
    rows = read("training")
    points = [p for _, p in rows[rows.source == "korthikanti2022-table5"].groupby("point_id")]
    found = predict_cases([training_case(p) for p in points]).set_index("point_id")
    for p in points:
        name, one = f"{p.model.iloc[0].removeprefix('GPT-')} {p.recompute.iloc[0]}", found.loc[p.point_id.iloc[0]]
        yield name, one.measured_s, one.predicted_s


def held_out():
    """The same of the 175B rows, which no calibration has seen."""
    workload = dse.Training(dse.model("gpt-3-175b"), 64, 2048, fused_attention=False)
    for recompute, published_s in PUBLISHED_175B_S.items():
        plan = dse.Plan(
            tp=8, pp=8, interleave=3, zero=0, recompute=recompute, sequence_parallel=recompute == "selective"
        )
        yield (
            f"175B {recompute}",
            published_s,
            float(dse.evaluate(dse.system("dgx-a100", 64), workload, plan).result.step_s),
        )


def accuracy() -> None:
    print(f"{'table 5':16s} {'published':>10s} {'dse':>10s} {'error':>8s} {'Calculon':>10s} {'error':>8s}")
    errors = []
    for name, published_s, predicted_s in [*shipped(), *held_out()]:
        errors.append(predicted_s / published_s - 1)
        theirs = CALCULON_S.get(name)
        beside = "" if theirs is None else f" {theirs:8.2f} s {theirs / published_s - 1:+8.1%}"
        print(f"{name:16s} {published_s:8.2f} s {predicted_s:8.2f} s {errors[-1]:+8.1%}{beside}")
    print(f"mean absolute error: dse {np.mean(np.abs(errors)):.1%} of these {len(errors)} rows", end="; ")
    print(f"Calculon {CALCULON_MEAN_ERROR:.2%} of eight")


def speed() -> None:
    kind, n_chips, workload, plan = CASES[SPEED]
    system = dse.system(kind, n_chips)
    ref = chip_reference(system.chip, default_calibration(system.chip.name))
    breakdown, _, base = functions(system, workload, plan)
    step_s = float(dse.evaluate(system, workload, plan).result.step_s)
    print(f"\n{SPEED}, batch 1,536: dse {step_s:.1f} s, Calculon {CALCULON_1024_S:.1f} s per step")

    def once():
        return dse.evaluate(system, workload, plan).result.step_s

    ways = {
        "lowering one plan": min(timed_s(demand, workload, plan, system, ref) for _ in range(50)),
        "one evaluation, evaluate()": min(timed_s(once) for _ in range(20)),
        "many chips, vmapped": per_point_s(breakdown, base)[0],
    }
    for what, seconds in ways.items():
        print(f"{what:28s} {1 / seconds:12,.0f} /s   {1 / seconds / CALCULON_PER_S:10,.1f} x Calculon's rate")


if __name__ == "__main__":
    accuracy()
    speed()
