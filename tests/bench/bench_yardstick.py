"""4.7 million accelerators around an A100, all of them and by proof: `python tests/bench/bench_yardstick.py`.

LUMINA (Zhang et al., arXiv 2603.05904) searches 4.7 million designs with LLMCompass for chips that serve GPT-3 on eight
chips in less time per token, less time to the first token and less area than an A100. The axes here are theirs (links,
cores, arrays, vector width, scratchpad and cache, memory channels), the values ours: the paper's lists were not at
hand, and an SM's scratchpad and its share of the cache are one number in this model. So the answers compare
enumeration with proof in one model, not this model with LLMCompass.

Prints, and with `--write FILE` writes as a page: rate of evaluation, designs that beat the A100 in all three, and what
the solver says under limits of its own choosing beside the best of all designs that were enumerated.
"""

import argparse
import dataclasses
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import moocore
import numpy as np

import dse
from dse.explore.built import as_built
from dse.optimize.solve import solve
from dse.optimize.space import data_of, space_of
from dse.study.convex import chip_at, separate
from dse.study.design import steps, with_free
from dse.study.metrics import chip_state
from dse.technology.presets import memory

GOALS = {
    "ttft_s": lambda s: s.loads[0].step_s,
    "tpot_s": lambda s: s.loads[1].step_s,
    "die_area_mm2": lambda s: s.chip.n_dies * s.die_mm2,
}
ARRAYS = ("16x16", "16x32", "32x32", "32x64", "64x64", "64x128", "128x128")
CORES, STACKS = ("20", "192"), ("2", "8")
CACHE_KiB = (64, 488)
LANES = (16.0, 32.0, 64.0, 128.0)
LINKS = tuple(25e9 * n for n in (4, 6, 8, 12, 16, 18, 24))
"""Bytes per second of 4 to 24 links of 25 GB/s a direction; the A100 has 12."""
CAPS = [(first, token) for first in (0.75, 0.8, 0.85, 0.9) for token in (0.66, 0.68, 0.72, 0.78, 0.88)]
"""Twenty questions: times to the first and the next token over the A100's that are not to be exceeded."""
CHUNK = 4096
FEASIBLE = 1e-7
PROOF = 1e-5
"""Gap at which a proof may stop [relative]."""


def study(lanes="64", link="300 GBps", limits=()):
    """Eight chips in a DGX A100 serve GPT-3: on the least silicon."""
    sizes = {"model": "gpt-3-175b", "chips": 8, "batch": 8}
    return dse.Study(
        "yardstick", baseline="a100-80", system="dgx-a100", scaleout_per_dir="25 GBps", package="CoWoS-S",
        workloads={
            "prefill": {"phase": "prefill", "prompt": 1024, **sizes},
            "decode": {"phase": "decode", "context": 1536, **sizes},
        },
        choices={
            "node": "N7", "hbm": "HBM2E", "link": "NVLink3", "n_dies": 1, "pe_array": ARRAYS, "native_fp4": False,
            "spare_cores": 20,
        },
        free={
            "n_cores": CORES, "n_stacks": STACKS, "scratchpad": tuple(f"{k} KiB" for k in CACHE_KiB),
            "vector_lanes": lanes, "hbm_bandwidth": ("0.5 TBps", "4 TBps"), "scaleup_bandwidth_per_dir": link,
        },
        minimise="die_area_mm2", metrics=GOALS, limits=limits,
    )  # fmt: skip


def measured(core, data, free):
    """The three goals of one chip as built, infinite where something does not fit."""
    x = as_built(core, free, data)
    state, _ = chip_at(core, with_free(data.chip, free), x, data)
    _, *ratios = separate(core, x, data)
    fits = jnp.all(jnp.stack(ratios) <= 1.0 + FEASIBLE) & (x["supply_V"] <= data.tech.node.maximum_V)
    return jnp.where(fits, jnp.stack([jnp.asarray(g(state)) for g in GOALS.values()]), jnp.inf)


def grid():
    """Every combination of the numbers that are not choices, one column each."""
    of = partial(steps, n_dies=1)
    axes = {
        "n_cores": of("n_cores", lower=float(CORES[0]), upper=float(CORES[1])),
        "scratchpad_B": of("scratchpad_B", lower=CACHE_KiB[0] * 1024.0, upper=CACHE_KiB[1] * 1024.0),
        "n_stacks": of("n_stacks", lower=float(STACKS[0]), upper=float(STACKS[1])),
        "vector_lanes": np.asarray(LANES),
        "scaleup_bandwidth_per_dir_Bps": np.asarray(LINKS),
    }
    columns = dict(zip(axes, (m.ravel() for m in np.meshgrid(*axes.values(), indexing="ij")), strict=True))
    per_stack = float(memory("HBM2E").stack_bandwidth_Bps)
    return {**columns, "hbm_bandwidth_Bps": columns["n_stacks"] * per_stack}


def enumerated(space, columns):
    """Goals of every design under its best plans, by array; the seconds once compiled, and evaluations.

    Each phase tries every plan beside the other's last one: eight-way tensor parallelism, which needs least memory.
    """
    core, last = space.study.core(), [len(kept) - 1 for kept in space.plans]
    pairs = {(i, last[1]) for i in range(last[0] + 1)} | {(last[0], j) for j in range(last[1] + 1)}
    run = jax.jit(lambda data, free: jax.lax.map(partial(measured, core, data), free, batch_size=CHUNK))
    jax.block_until_ready(run(data_of(space, 0, (0, 0)), {k: v[:CHUNK] for k, v in columns.items()}))
    begin = time.perf_counter()
    found = [
        np.min([np.asarray(run(data_of(space, array, pair), columns)) for pair in pairs], axis=0)
        for array in range(len(ARRAYS))
    ]
    return np.concatenate(found), time.perf_counter() - begin, len(pairs)


def of_the_a100(space):
    """The three goals of the chip that is sold, by the same model."""
    told = dict(zip(("ttft_s", "tpot_s"), (s for _, s in space.ground.baselines), strict=True))
    return np.asarray([*told.values(), float(GOALS["die_area_mm2"](chip_state(space.study.baseline.chip)))])


def volume(points):
    """Share of the box below the A100 that the points dominate, all goals over the A100's."""
    return float(moocore.hypervolume(points, ref=np.ones(3)))


def proved(base, lanes, link, first, token):
    """What the solver says of one question, and its seconds."""
    limits = [f"ttft_s <= {float(first * base[0])}", f"tpot_s <= {float(token * base[1])}"]
    asked = study(lanes, link, limits)
    begin = time.perf_counter()
    return solve(asked, gap_frac=PROOF), time.perf_counter() - begin


@dataclasses.dataclass(frozen=True)
class Answer:
    """One question, answered three times; areas and times over the A100's."""

    first: float
    """Time to the first token not to be exceeded."""
    token: float
    """Time per token not to be exceeded."""
    listed: float
    """Least area of all designs in the list; not a number where none meets both."""
    same: float
    """What the solver proves least where lanes and links are those of that design."""
    point: np.ndarray
    """All goals of the design that it proves best where lanes and links are free between the ends of the list."""
    seconds: float
    """Time of that proof, lowering of the study included."""


def answered(base, over, columns, first, token):
    """One question by looking through the list and by proof; None where no design meets it."""
    met = np.flatnonzero((over[:, 0] <= first) & (over[:, 1] <= token))
    ends = ([str(f(x)) for f in (min, max)] for x in (LANES, LINKS))
    wide, seconds = proved(base, *ends, first, token)
    if wide.chip is None:
        assert not len(met), (first, token)
        return None
    value = {x.name: x.value for x in wide.limits}
    point = np.asarray([value["ttft_s"], value["tpot_s"], wide.goal]) / base
    if not len(met):
        return Answer(first, token, np.nan, np.nan, point, seconds)
    best = met[over[met, 2].argmin()]
    row = best % len(columns["n_cores"])
    lanes, link = (float(columns[n][row]) for n in ("vector_lanes", "scaleup_bandwidth_per_dir_Bps"))
    same, _ = proved(base, lanes, link, first, token)
    return Answer(first, token, over[best, 2], same.goal / base[2], point, seconds)


def page(over, seconds, each, answers):
    """What was found, in lines."""
    better = over[(over < 1).all(axis=1)]
    exact, ours = volume(better), volume(np.stack([a.point for a in answers]))
    apart = max(abs(a.same / a.listed - 1) for a in answers if a.listed > 0)
    return [
        "# A published yardstick",
        "",
        *__doc__.split("\n\n")[1].splitlines(),
        "",
        f"- {len(over):,} designs, both phases under {each} pairs of plans: {seconds:.1f} s, "
        f"{len(over) * each / seconds:,.0f} evaluations/s.",
        f"- {len(better):,} beat the A100 in all three ({len(better) / len(over):.2%}); "
        f"{moocore.is_nondominated(better).sum():,} of them are beaten by no other.",
        f"- {len(answers)} proofs reach {ours / exact:.0%} of the hypervolume of the whole list (reference: the A100).",
        f"- On the list's own lanes and links the least area by proof and by the list differ by at most {apart:.1e}.",
        "",
        "| first token at most | next token at most | least area listed | proved, same lanes and links | "
        "lanes and links free | s |",
        "|---|---|---|---|---|---|",
        *(
            f"| {a.first:.2f} | {a.token:.2f} | {a.listed:.5f} | {a.same:.5f} | {a.point[2]:.5f} | {a.seconds:.1f} |"
            for a in answers
        ),
        "",
        "Times and areas over the A100's by the same model. A question is missing where no design meets it; `nan` "
        "where only one between the listed lanes and links does.",
    ]


def main(write=None):
    space, columns = space_of(study()), grid()
    base = of_the_a100(space)
    goals, seconds, each = enumerated(space, columns)
    answers = [answered(base, goals / base, columns, *caps) for caps in CAPS]
    lines = page(goals / base, seconds, each, [a for a in answers if a])
    print("\n".join(lines))
    if write:
        Path(write).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--write", metavar="FILE", help="page to write")
    main(parser.parse_args().write)
