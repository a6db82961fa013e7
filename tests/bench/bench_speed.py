"""What a command costs, cold and warm: `python tests/bench/bench_speed.py [--only NAME ...] [--write docs/speed.md]`.

Every command runs twice in a process of its own, first with an empty cache of compiled programs, then with the one that
the first run filled. Prints a Markdown table of wall and processor seconds and of the largest resident memory, beside
what is aimed at on two idle cores. `--before CHECKOUT` runs the same commands from another checkout in between (the
first version is b7a1a952: `git worktree add --detach ../before b7a1a952`), so that both are measured in one run;
without it a page that is written anew keeps what it says of the first version.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

HERE = Path(__file__).resolve().parents[2]
STUDY = "sweeps/trainium4.toml"
COMMANDS = {
    "optimize, counts broken": (("optimize", STUDY, "--continuous"), 15.0, 3.0),
    "optimize, proved to 10 %": (("optimize", STUDY, "--gap", "0.1"), 20.0, 8.0),
    "front of 100 points": (("front", STUDY), 25.0, 10.0),
    "sensitivity --target 6": (("sensitivity", STUDY, "--target", "6"), 20.0, 5.0),
    "risk, 1,000 worlds": (("risk", STUDY), 45.0, 15.0),
    "back-test of one step": (("backtest", "sweeps/backtest_trainium2.toml", "--seconds", "1"), 15.0, 4.0),
    "evaluate": (("evaluate", "trainium2", "llama-3.1-70b", "--phase", "decode", "--chips", "16"), 1.5, 1.0),
}  # fmt: skip
"""Command, seconds aimed at cold and warm."""
FIRST_VERSION = {
    "optimize, counts broken": ("optimize", STUDY),
    "optimize, proved to 10 %": ("optimize", STUDY, "--gap", "0.1"),
    "back-test of one step": ("backtest",),
}
"""Commands as the first version knew them where they differ: it rounded counts and ran both of its back-tests."""
MEMORY_GB = 2.0
"""Peak memory aimed at."""
HEAD = """# What commands cost

Written by `python tests/bench/bench_speed.py {words}` on {cores} cores, load {load:.1f} before it began:
wall seconds count what else ran, processor seconds hardly do. Cold is with an empty cache of compiled programs, warm
with the one that the cold run filled; figures are left out. Aims are wall seconds on two idle cores, and {memory:g} GB.
{note}
| command | {columns} |
|---|{rule}|
"""
COLUMNS = ["cold wall s", "processor s", "aim", "warm wall s", "processor s", "aim", "peak GB"]
BEFORE_COLUMNS = ["before: cold wall s", "warm wall s", "peak GB"]


def measured(words: tuple[str, ...], cache: str, home: Path) -> tuple[float, float, float]:
    """Wall and processor seconds and largest resident memory [GB] of one command of a checkout."""
    begin = time.perf_counter()
    dropped = ("JAX_", "PYTHONDONTWRITEBYTECODE")  # an installed package has its bytecode
    kept = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
    command = [sys.executable, "-m", "dse.cli", *words]
    env = {**kept, "XDG_CACHE_HOME": cache, "PYTHONPATH": str(home)}
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=env, cwd=home)
    _, status, used = os.wait4(run.pid, 0)
    if os.waitstatus_to_exitcode(status) not in (0, 1):  # 1 is an answer too, such as a target out of reach
        raise SystemExit(f"failed: {' '.join(command)}")
    return time.perf_counter() - begin, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024.0 / 1e9


def cold_and_warm(words: tuple[str, ...], home: Path) -> list[tuple[float, float, float]]:
    """What a command costs with an empty cache, then with the one that this filled, as `measured` tells."""
    with tempfile.TemporaryDirectory() as cache, tempfile.TemporaryDirectory() as results:
        shown = () if words[0] == "evaluate" else ("--results", results)
        return [measured((*words, *shown), cache, home) for _ in range(2)]


def kept_cells(page: Path | None) -> dict[str, list[str]]:
    """What the first version took, by command, as the page on disk has it; nothing where it has no such columns."""
    lines = page.read_text(encoding="utf-8").splitlines() if page and page.exists() else []
    rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| "))
    wide = 1 + len(COLUMNS) + len(BEFORE_COLUMNS)
    return {cells[0]: cells[-len(BEFORE_COLUMNS) :] for cells in rows if len(cells) == wide}


def row(name: str, before: Path | None, kept: list[str]) -> str:
    """One command, cold and warm, here and in the checkout before; without one, what was `kept` of it."""
    words, *aims = COMMANDS[name]
    figures = () if words[0] == "evaluate" else ("--no-figures",)
    runs = cold_and_warm((*words, *figures), HERE)
    cells = [f"{wall:.1f} | {cpu:.1f} | {aim:g}" for (wall, cpu, _), aim in zip(runs, aims, strict=True)]
    cells.append(f"{max(memory for *_, memory in runs):.2f}")
    if before:
        runs = cold_and_warm(FIRST_VERSION.get(name, words), before)
        kept = [f"{wall:.1f}" for wall, *_ in runs] + [f"{max(memory for *_, memory in runs):.2f}"]
    cells += kept
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="*", choices=COMMANDS, default=list(COMMANDS))
    parser.add_argument("--before", type=Path)
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    before = asked.before and asked.before.resolve()
    kept = {} if before else kept_cells(asked.write)
    columns = [*COLUMNS, *(BEFORE_COLUMNS if before or kept else ())]
    note = '"Before" is CHECKOUT, the first version, in the same run.\n' if before else ""
    note = '"Before" is the first version, as an earlier run measured it.\n' if kept else note
    page = HEAD.format(
        words="--before CHECKOUT --write docs/speed.md" if before else "--write docs/speed.md",
        cores=os.cpu_count(),
        load=psutil.getloadavg()[0],
        memory=MEMORY_GB,
        note=note,
        columns=" | ".join(columns),
        rule="|".join("---" for _ in columns),
    )
    print(page, end="", flush=True)
    for name in asked.only:
        line = row(name, before, kept.get(name, ["-"] * len(BEFORE_COLUMNS) if kept else []))
        print(line, flush=True)
        page += f"{line}\n"
    if asked.write:
        asked.write.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
