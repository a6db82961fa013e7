"""Reading what programs that time collectives print: nccl-tests, rccl-tests and Neuron's nccom-test."""

from __future__ import annotations

import re

import pandas as pd

from ..core.errors import SpecError

HEADER = re.compile(r"^[#\s]*(size\b.*\bbusbw\b.*)$", re.MULTILINE)
"""The line that names the columns; nccl-tests write it as a comment."""
OSU = re.compile(r"^#\s*OSU MPI\S*\s+(?:(.+?)\s+)?Latency Test", re.MULTILINE)
OSU_HEADER = re.compile(r"^#\s*Size\s+(?:Avg )?Latency\s?\(us\)", re.MULTILINE)
OTHERS = (
    (re.compile(r"^#\s*OSU MPI\S*\s+.*\bBandwidth\b.*Test", re.MULTILINE),
     "an OSU bandwidth test has many messages on the way at once, which is not predicted; its latency tests are read"),
    (re.compile(r"^\s*#bytes\s+#iterations\b", re.MULTILINE),
     "perftest times a network card between hosts rather than a collective of chips, which is not predicted"),
)  # fmt: skip
"""Programs whose numbers are of nothing that is predicted, with why."""
RANK = re.compile(r"^#\s+Rank\s+\d+\b.*\bon\s+(\S+)\s+device\s+\d+\s+\[[^\]]*\]\s*(.*?)\s*$", re.MULTILINE)
"""A rank with its host and its chip."""
STARTS = re.compile(r"Collective test starting:\s*(\w+)")


def is_log(text: str) -> bool:
    """Whether a text is such a program's output rather than a table with marks between its cells.

    SpecError for one of a program whose numbers are not predicted.
    """
    if why := next((why for pattern, why in OTHERS if pattern.search(text)), ""):
        raise SpecError(why)
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
    """A row for each size of an OSU micro-benchmark: what each rank sends, in an all-to-all what each sends to each.

    A latency without a collective is half of what a message takes to another rank and back. Source: its README.
    """
    cells = re.findall(r"^\s*(\d+)\s+([\d.]+)", text, re.MULTILINE)
    test = OSU.search(text)
    rows = pd.DataFrame([x for x in cells if x[0] != "0"], columns=["message_bytes", "time (us)"])
    if test is None:
        return rows.assign(size_convention="per rank")
    if test[1] is None:
        return rows.assign(collective="send_recv", num_ranks=2)
    if test[1].lower().startswith("all-to-all"):
        return rows.assign(collective="all_to_all", size_convention="per peer")
    return rows.assign(collective=test[1], size_convention="per rank")
