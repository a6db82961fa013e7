"""Units of published throughputs: items per time, per chip or in total."""

from __future__ import annotations

import dataclasses
import re

THINGS: tuple[tuple[str, str], ...] = (
    (r"tok(en)?s?", "tokens"),
    (r"seq(uence)?s?|samples?|sents?|sentences?|examples?|prompts?|req(uest)?s?", "sequences"),
    (r"steps?|it(er(ation)?)?s?", "steps"),
)
"""Words for what is counted."""
SCALES = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "B": 1e9, "G": 1e9, "T": 1e12}
TIMES = {"s": 1.0, "sec": 1.0, "second": 1.0, "min": 60.0, "minute": 60.0, "h": 3600.0, "hour": 3600.0, "day": 86400.0}
"""Seconds of the time in a rate."""
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
    parts = [p.strip() for p in re.sub(r"\bper\b", "/", unit.replace("_", " ")).split("/")]
    if len(parts) not in (2, 3):
        return None
    if parts[1].lower().removesuffix("s") in PER_CHIP:
        parts[1:] = reversed(parts[1:])  # tokens/GPU/s
    multiple = re.fullmatch(r"([kKMBGT]?)\s*([a-z]+)", parts[0], re.IGNORECASE)
    if multiple is None:
        return None
    found = _thing(multiple.group(1), multiple.group(2)) or _thing("", multiple.group(1) + multiple.group(2))
    time = TIMES.get(parts[1].lower()) or TIMES.get(parts[1].lower().removesuffix("s"))
    per_chip = len(parts) == 3 and parts[2].lower().removesuffix("s") in PER_CHIP
    if found is None or time is None or (len(parts) == 3 and not per_chip):
        return None
    return Rate(found[0], found[1] / time, per_chip)


def _thing(multiple: str, word: str) -> tuple[str, float] | None:
    """What `word` counts and how many of it a value of 1 are; None for another word."""
    for pattern, name in THINGS:
        if multiple in SCALES and re.fullmatch(pattern, word.lower()):
            return name, SCALES[multiple]
    return None
