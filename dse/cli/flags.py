"""Flags shared by several commands, with their help texts."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from ..core.errors import SpecError
from ..core.units import positive

if TYPE_CHECKING:
    from ..serving.curve import Promise
    from ..workload.requests import Length

FLAG = Annotated[bool, tyro.conf.arg(help_behavior_hint="")]
JSON = Annotated[bool, tyro.conf.arg(help="Print JSON, canonical units.", help_behavior_hint="")]
FIGURE = Annotated[bool, tyro.conf.arg(help="Skip the figure.", help_behavior_hint="")]
FIGURES = Annotated[bool, tyro.conf.arg(help="Skip the figures.", help_behavior_hint="")]
STUDY = Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="STUDY.toml")]
SECONDS = Annotated[float, tyro.conf.arg(metavar="S")]
COUNT = Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")]
RESULTS = Annotated[
    str, tyro.conf.arg(metavar="DIR", help_behavior_hint="(default: results; runs in a checkout of dse)")
]
STORAGE = Annotated[str | None, tyro.conf.arg(metavar="FORMAT", help_behavior_hint="")]
PRECISION = Annotated[
    Literal["bf16", "fp8", "fp4"] | None, tyro.conf.arg(metavar="{bf16,fp8,fp4}", help_behavior_hint="")
]
TEXT = Annotated[str | None, tyro.conf.arg(metavar="TEXT", help_behavior_hint="")]
BASIS = Annotated[
    Literal["capacity_block", "on_demand", "reserved", "spot", "owned"] | None,
    tyro.conf.arg(
        metavar="{capacity_block,on_demand,reserved,spot,owned}",
        help="How every chip is paid for; by default the contract that most of them are listed under.",
        help_behavior_hint="",
    ),
]
RENT = Annotated[
    str | None,
    tyro.conf.arg(
        metavar="TEXT",
        help="Prices of a chip-hour instead: USD for all, or by chip such as h100=2.5,trainium2=1.2.",
        help_behavior_hint="",
    ),
]
CHIP = Annotated[
    tyro.conf.Positional[str],
    tyro.conf.arg(metavar="CHIP", help="Chip preset, see `dse chips`, or the path of your own TOML file."),
]
MODEL = Annotated[
    tyro.conf.Positional[str],
    tyro.conf.arg(metavar="MODEL", help="Model preset, see `dse models`, or the path of a Hugging Face config.json."),
]


EVERY = "all"
"""What stands for all chip presets where a command takes several."""


def chips_of(text: str) -> list[str]:
    """Chips by name or path, each once; `EVERY` among them stands for all presets."""
    from ..hardware.presets import chip_names

    named = [name.strip() for name in text.split(",")]
    return list(dict.fromkeys(n for name in named for n in (chip_names() if name == EVERY else [name])))


def counted(flag: str, value: int | None) -> int | None:
    """`value`; SpecError where it is given and below 1."""
    if value is not None and value < 1:
        raise SpecError(f"--{flag} {value}: give a whole number, at least 1")
    return value


def check_above_zero(**given: float | None) -> None:
    """SpecError for a flag that is given and no number above 0."""
    for flag, value in given.items():
        if value is not None and not 0 < value < float("inf"):
            raise SpecError(f"--{flag} {value:g}: give a number above 0")


def length_of(prompt: int | None, output: int | None) -> Length:
    """Tokens in and out of a request, the usual ones where none are given."""
    from ..serving.comparison import LENGTH

    given = {"prompt": prompt, "output": output}
    return dataclasses.replace(LENGTH, **{k: n for k, n in given.items() if n is not None})


def promise_of(tpot: str | None, ttft: str | None, quantile_pct: float) -> Promise:
    """Limits, each a time with its unit or none, and the share of requests they hold for."""
    from ..serving.curve import Promise

    if not 50 <= quantile_pct < 100:  # the tail of a queue has no end: nothing holds for all
        raise SpecError(f"--percentile {quantile_pct:g}: give 50 or more and less than 100")
    given = {"tpot": tpot, "ttft": ttft}
    limits = {f: None if x is None else positive(x, "s", f"--{f}", bare=False) for f, x in given.items()}
    return Promise(limits["tpot"], limits["ttft"], quantile_pct / 100)


def rents_of(text: str | None, names: list[str]) -> dict[str, float]:
    """Prices by chip: one for all, or NAME=USD,...; SpecError for another form or a chip that is not compared."""
    if text is None:
        return {}
    if "=" not in text:
        return dict.fromkeys(names, positive(text, "USD", "--rent"))
    pairs = [part.strip().rpartition("=") for part in text.split(",")]  # from the right: a path may hold the sign too
    priced = [name for name, _, _ in pairs]
    for name in priced:
        if name not in names:
            raise SpecError(f"--rent {text}: '{name}' is not among {', '.join(names)}")
        if priced.count(name) > 1:
            raise SpecError(f"--rent {text}: {name} has {priced.count(name)} prices; give one")
    return {name: positive(price, "USD", f"--rent {name}") for name, _, price in pairs}
