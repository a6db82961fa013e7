"""Published rates: what their units mean, and the times behind them (bandwidths, FLOP/s, items per second)."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from .operators import attended_FLOP, copied_B, n_products
from .reading import row_number, row_text

THINGS: tuple[tuple[str, str], ...] = (
    # letters alone as llama-bench ("t/s") and MosaicML ("S/s") write them
    (r"tok(en)?s?|t", "tokens"),
    (r"s|seq(uence)?s?|samples?|sents?|sentences?|examples?|prompts?|req(uest)?s?", "sequences"),
    (r"steps?|it(er(ation)?)?s?", "steps"),
)
"""Words for what is counted."""
SCALES = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "B": 1e9, "G": 1e9, "T": 1e12}
SECONDS = {
    "ns": 1e-9, **dict.fromkeys(("us", "\u00b5s"), 1e-6), **dict.fromkeys(("ms", "msec", "ms/step"), 1e-3),
    **dict.fromkeys(("s", "sec", "second", "seconds", "s/step", "s/it"), 1.0),
    **dict.fromkeys(("min", "minute", "minutes"), 60.0), **dict.fromkeys(("h", "hour", "hours"), 3600.0),
    "day": 86400.0,
}  # fmt: skip
"""Seconds of a unit of time."""
PER_CHIP = ("gpu", "chip", "device", "tpu", "accelerator", "card", "hpu")
"""Words after a second stroke that make a rate one chip's."""


@dataclasses.dataclass(frozen=True)
class Rate:
    """What a published unit of throughput means."""

    of: str
    """"tokens", "sequences" or "steps"."""
    per_s: float
    """Things per second of a value of 1."""
    per_chip: bool
    """Whether it is the rate of one chip."""


def rate(unit: str) -> Rate | None:
    """The meaning of a unit such as "tokens/s/GPU" or "ktok/min"; None for an unknown one, such as "tok/s/user"."""
    if unit.lower() == WHOSE:
        return Rate("tokens", 1.0, False)
    unit = re.sub(WRITTEN, "", unit, flags=re.IGNORECASE)
    parts = [p.strip() for p in re.sub(r"\bper\b", "/", unit.replace("_", " "), flags=re.IGNORECASE).split("/")]
    if len(parts) not in (2, 3):
        return None
    if parts[1].lower().removesuffix("s") in PER_CHIP:
        parts[1:] = reversed(parts[1:])  # tokens/GPU/s
    # letters match in any case ("Ktok"), so that the t of "tokens" is first taken for tera and then put back
    multiple = re.fullmatch(r"([kKMBGT]?)\s*([a-z]+)", parts[0], re.IGNORECASE)
    if multiple is None:
        return None
    found = _thing(multiple.group(1), multiple.group(2)) or _thing("", multiple.group(1) + multiple.group(2))
    time = SECONDS.get(parts[1].lower()) or SECONDS.get(parts[1].lower().removesuffix("s"))
    per_chip = len(parts) == 3 and parts[2].lower().removesuffix("s") in PER_CHIP
    if found is None or time is None or (len(parts) == 3 and not per_chip):
        return None
    return Rate(found[0], found[1] / time, per_chip)


WRITTEN = (
    r"^(output|out|generated|generation|decode)[\s_]+(?=tok)|^(curr(ent)?|running[\s_]+avg)[\s_]+(?=tok|samples)"
    r"|^train(ing)?[\s_]+(?=(samples|steps|tok))"
)
"""Words before what a rate counts that say no more: tokens are those written anyway."""
WHOSE = "tps"
"""Tokens per second: of a server where requests are timed; in training stacks differ in whether of all chips or one."""


def _thing(multiple: str, word: str) -> tuple[str, float] | None:
    """What `word` counts and how many of it a value of 1 are; None for another word."""
    for pattern, name in THINGS:
        if multiple in SCALES and re.fullmatch(pattern, word.lower()):
            return name, SCALES[multiple]
    return None


FLOWS = r"(?:throughput|tput|speed)"
"""What rates of tokens are called."""
EACH_ONE = r"(?:per_)?(?:gpu|chip|device|accelerator)"
FLOW_NAMES: tuple[tuple[str, str, str], ...] = (
    # the one benchmark that writes its name so counts what it reads too
    (r"tput_per_gpu", "total_throughput_per_chip", "tok/s"),
    (rf"total_tokens?_{FLOWS}", "total_throughput", "tok/s"),
    (rf"(?:total_tokens?_{FLOWS}_{EACH_ONE}|{EACH_ONE}_total_tokens?_{FLOWS})", "total_throughput_per_chip", "tok/s"),
    (rf"(?:{EACH_ONE}_(?:output_)?(?:tokens?_)?{FLOWS}|output_(?:tokens?_)?{FLOWS}_{EACH_ONE})",
     "throughput_per_chip", "tok/s"),
    (rf"(?:total|system|overall)_output_(?:tokens?_)?{FLOWS}", "output_throughput", "tok/s"),
    (rf"(?:(?:output_)?(?:tokens?_)?{FLOWS}_per_user|per_user_(?:output_)?(?:tokens?_)?{FLOWS}|interactivity|intvty"
     r"|(?:output_)?(?:tps|tok(?:en)?s?(?:/s|/sec|/second|_per_s|_per_sec|_per_second))(?:/|_per_|_)(?:user|request))",
     "interactivity", "tok/s/user"),
)  # fmt: skip
"""Pattern of a rate's name, its metric and the unit that it tells: whose, and of which tokens."""


def named_flow(name: str) -> tuple[str, str] | None:
    """Metric and unit of a rate whose name says whose it is, small letters joined by underscores; None for another."""
    return next(((metric, unit) for pattern, metric, unit in FLOW_NAMES if re.fullmatch(pattern, name)), None)


SIZED = ("busbw", "algbw", "bandwidth_per_chip", "bandwidth_per_core", "bandwidth", "throughput")
"""Metrics that are a size over a time."""

RATES = {
    "TB/s": 1e12, "GB/s": 1e9, "GiB/s": 2.0**30, "MB/s": 1e6, "TFLOP/s": 1e12, "TFLOPS": 1e12, "PFLOP/s": 1e15,
    "Gelem/s": 1e9, "GFLOP/s": 1e9, "Gb/s": 1e9 / 8, "Gbps": 1e9 / 8, "GBps": 1e9,
    "Gbit/s": 1e9 / 8,
}  # fmt: skip
"""Size per second of a published unit."""

WIRE = {
    # a ring sends (n - 1) / n of the message to sum it, and once more to tell the sum
    "all_reduce": lambda n: 2 * (n - 1) / n,
    **dict.fromkeys(("all_gather", "reduce_scatter", "all_to_all"), lambda n: (n - 1) / n),
    "send_recv": lambda n: 1.0,
}
"""Bus bandwidth over algorithm bandwidth of n ranks, as nccl-tests defines it."""


def _size(row: Any) -> float:
    """What a row's rate counts: bytes of its message or copy, FLOP of its product, elements; 0 where unknown."""
    unit, metric = row_text(row, "unit"), row_text(row, "metric")
    if "elem" in unit:
        return row_number(row, "elements", 0)
    if "FLOP" in unit:
        m, n, k = (row_number(row, c, 0) for c in ("M", "N", "K"))
        return 2 * m * n * k * n_products(row) or attended_FLOP(row)
    # a copy has no collective: what it reads and writes is what its rate counts
    wire = WIRE.get(row_text(row, "collective").lower())
    if wire is None:
        return copied_B(row)
    if metric not in ("busbw", "algbw"):
        return 0.0  # which of the two a plain bandwidth means is not said
    ranks = max(row_number(row, "num_ranks", 0), 1.0)
    return message_B(row) * (wire(ranks) if metric == "busbw" else 1.0)


def message_B(row: Any) -> float:
    """Bytes of a row's collective as nccl-tests counts them: of an all-gather what all ranks have together.

    Of a size per rank that is its share, unless the size is a buffer's, which holds the result; of an all-to-all where
    the size is what a rank sends to each other.
    """
    said, size = row_text(row, "size_convention").lower(), row_number(row, "message_bytes", 0)
    share = "per rank" in said and "buffer" not in said and "gather" in row_text(row, "collective").lower()
    share = share or ("per peer" in said and row_text(row, "collective").lower() == "all_to_all")
    return size * max(row_number(row, "num_ranks", 0), 1.0) if share else size


def rated_s(row: Any) -> float | None:
    """Seconds behind a row's rate; None where the rate or the size of what it counts is not known."""
    per_s = RATES.get(row_text(row, "unit"), 0.0) * row_number(row, "value", 0)
    size = _size(row) if row_text(row, "metric") in SIZED else 0.0
    return size / per_s if size > 0 and per_s > 0 else None
