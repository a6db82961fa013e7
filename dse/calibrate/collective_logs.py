"""Reading what programs that time collectives print: nccl-tests, rccl-tests and Neuron's nccom-test."""

from __future__ import annotations

import re

import pandas as pd

HEADER = re.compile(r"^[#\s]*(size\b.*\bbusbw\b.*)$", re.MULTILINE)
"""The line that names the columns; nccl-tests write it as a comment."""
OSU = re.compile(r"^#\s*OSU MPI\S*\s+(.+?)\s+Latency Test", re.MULTILINE)
OSU_HEADER = re.compile(r"^#\s*Size\s+(?:Avg )?Latency\s?\(us\)", re.MULTILINE)
RANK = re.compile(r"^#\s+Rank\s+\d+\b.*\bon\s+(\S+)\s+device\s+\d+\s+\[[^\]]*\]\s*(.*?)\s*$", re.MULTILINE)
"""A rank with its host and its chip."""
STARTS = re.compile(r"Collective test starting:\s*(\w+)")


def is_log(text: str) -> bool:
    """Whether a text is such a program's output rather than a table with marks between its cells."""
    found = HEADER.search(text)
    return bool(OSU_HEADER.search(text)) or (found is not None and not re.search("[,;\t|]", found[1]))


def read_log(text: str) -> pd.DataFrame:
    """A row for each message size: bytes, microseconds, and what the head of the log says of ranks, hosts and chip.

    Of two times the first counts, which is out of place. Source: [nvidia2024nccltests] for the columns.
    """
    if OSU_HEADER.search(text):
        return _read_osu(text)
    found = HEADER.search(text)
    names = [re.sub(r"[(:].*", "", word.lower()) for word in found[1].split()] if found else []
    lines = [line.split() for line in text.splitlines() if re.match(r"\s*\d+\s", line)]
    # columns come out of place, then in place, under the same names: the first is out of place
    size, time = (names.index(n) for n in ("size", "time"))
    cells = [(line[size], line[time]) for line in lines if len(line) == len(names)]
    rows = pd.DataFrame(cells, columns=["message_bytes", "time (us)"])
    ranks, test = RANK.findall(text), STARTS.search(text)
    said = {"num_ranks": len(ranks), "num_nodes": len({host for host, _ in ranks})} if ranks else {}
    chips = {chip for _, chip in ranks}
    # of two kinds of chip in one run no system is modelled
    if len(chips) == 1:
        said["chip"] = chips.pop()
    return rows.assign(**said, **({"collective": test[1]} if test else {}))


def _read_osu(text: str) -> pd.DataFrame:
    """A row for each size of an OSU micro-benchmark, whose sizes are what each rank sends."""
    cells = re.findall(r"^\s*(\d+)\s+([\d.]+)", text, re.MULTILINE)
    test = OSU.search(text)
    rows = pd.DataFrame(cells, columns=["message_bytes", "time (us)"]).assign(size_convention="per rank")
    return rows.assign(collective=test[1]) if test else rows
