"""Runs every fault, those of a random moment many times, and writes the table of the documentation.

python -m tests.faults [rounds] [--write docs/faults.md] [--only WORD,WORD]
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from pathlib import Path

from dse.core.origin import git_commit

from .bed import Bed
from .kinds import FAULTS, KILLS

HEAD = """# Faults on purpose

Written by `python -m tests.faults {rounds} --write docs/faults.md` at commit {commit} (`make faults` kills twelve
times). Each row breaks a running sweep, front or search on purpose, as a user could meet it, and asks that it ends with
the bits of an undisturbed run or in one clear line. {points:,} points in {shards} shards; kills come at random moments
(seed {seed}). On {cores} cores, with whatever else ran there. Six of the kinds run once in every test of this
repository, on half as many points.

| fault | rounds | ended in | seconds |
|---|---|---|---|
"""


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("rounds", type=int, nargs="?", default=1)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--points", type=int, default=512)
    asked = parser.parse_args()
    dice, lines, wrong = random.Random(0), [], 0
    with tempfile.TemporaryDirectory() as folder:
        bed = Bed(Path(folder), asked.points)
        for name, fault in FAULTS.items():
            if not any(word in name for word in asked.only.split(",")):
                continue
            rounds, ends, begin = asked.rounds if name in KILLS else 1, {}, time.monotonic()
            for _ in range(rounds):
                try:
                    end = fault(bed, dice)
                except AssertionError as error:
                    end, wrong = f"WRONG: {' '.join(str(error).split())[-600:]}", wrong + 1
                ends[end] = ends.get(end, 0) + 1
            told = ", ".join(f"{end} ({n})" if len(ends) > 1 else end for end, n in ends.items())
            lines.append(f"| {name} | {rounds} | {told} | {time.monotonic() - begin:.0f} |")
            print(lines[-1], flush=True)
    commit = (git_commit() or "unknown")[:12]
    head = HEAD.format(
        rounds=asked.rounds, commit=commit, cores=os.cpu_count(), points=asked.points, shards=asked.points // 64, seed=0
    )
    if asked.write and not wrong:
        asked.write.write_text(head + "\n".join(lines) + "\n", encoding="utf-8")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
