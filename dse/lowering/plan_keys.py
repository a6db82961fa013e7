"""Keys of a plan in texts such as `tp=8,pp=4`, and the values that each may have whatever the model and the system."""

from __future__ import annotations

import difflib
import re
from contextlib import suppress

from ..core.errors import PlanError

RECOMPUTE = ("none", "selective", "full")
"""Activation recomputation in the backward pass: nothing, attention scores, whole layers."""
ZERO = (0, 1, 2, 3)
"""ZeRO stage, sharded over replicas: nothing, optimizer states, also gradients, also weights (FSDP)."""
SCHEDULES = ("1f1b", "zb")
"""Pipeline schedules: one-forward-one-backward (1F1B), and zero bubble (weight gradients fill the drain)."""
ORDERS = ("turn", "stream")
"""Operators of a block one after the other ("turn"), or with weights prefetched into free SRAM ("stream")."""

_YES_OR_NO = ("sequence_parallel", "offload")
_WORDS = {"recompute": RECOMPUTE, "schedule": SCHEDULES, "order": ORDERS}
_ANSWERS = {"yes": True, "no": False}
KEYS = ("tp", "pp", "dp", "micro", "interleave", "zero", "recompute", "cp", "ep", "schedule", "order",
         "recompute_frac", "n_copies", "sequence_parallel", "offload")  # fmt: skip
"""Keys in the order of plan texts: every field, so that two plans never read alike."""


def _near(word: str, known: tuple[str, ...]) -> str:
    """The nearest of `known` as a question, or an empty text."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""


def check_value(key: str, value: object) -> None:
    """PlanError unless `value` is valid for the field of `key` regardless of model and system."""
    if key in _WORDS:
        if value not in _WORDS[key]:
            near = _near(str(value), _WORDS[key])
            raise PlanError(f"plan: {key}={value} is not one of {', '.join(_WORDS[key])}{near}")
    elif key == "zero":
        # True would pass as 1
        if isinstance(value, bool) or value not in ZERO:
            raise PlanError(f"plan: zero={value} is not one of {', '.join(map(str, ZERO))}")
    elif key in _YES_OR_NO:
        if not isinstance(value, bool):
            raise PlanError(f"plan: {key}={value} is not one of {', '.join(_ANSWERS)}")
    elif key == "recompute_frac":
        if not isinstance(value, int | float) or not 0 <= value <= 1:
            raise PlanError(f"plan: {key}={value} is not allowed; give a share, 0 to 1")
    elif not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise PlanError(f"plan: {key}={value} is not allowed; give a whole number, at least 1")


def _value(key: str, text: str) -> object:
    """The value of a text, or the text where it is none that `key` may have."""
    if key in _YES_OR_NO:
        return _ANSWERS.get(text, text)
    if key == "recompute_frac":
        with suppress(ValueError):
            return float(text)
        return text
    # `_pair` lets nothing but whole numbers come here
    return text if key in _WORDS else int(text)


def _pair(part: str) -> tuple[str, object]:
    """Key and value of one `key=value`, or PlanError."""
    key, equals, text = (s.strip() for s in part.partition("="))
    if not equals:
        raise PlanError(f"plan: '{part.strip()}' is not key=value; write for example tp=8,pp=4,dp=2")
    if key not in KEYS:
        raise PlanError(f"plan: unknown key '{key}'; allowed: {', '.join(KEYS)}{_near(key, KEYS)}")
    # int() also reads underscores and digits of any script, and numbers beyond any plan
    if key not in (*_WORDS, *_YES_OR_NO, "recompute_frac") and not re.fullmatch(r"-?[0-9]{1,9}", text):
        allowed = "0 to 3" if key == "zero" else "a whole number, at least 1 and below 1e9"
        raise PlanError(f"plan: {key}={text} is not allowed; give {allowed}")
    value = _value(key, text)
    check_value(key, value)
    return key, value


def read_pairs(text: str) -> dict[str, object]:
    """Keys and values of a text; PlanError for an unknown or repeated key, or a value out of range."""
    values: dict[str, object] = {}
    # capitals and spaces between pairs are how people write plans; no key or word has either
    for part in re.split(r",|(?<=\w)\s+(?=[a-z_]+\s*=)", text.lower()):
        key, value = _pair(part)
        if key in values:
            raise PlanError(f"plan: key '{key}' appears twice ({values[key]} and {value}); keep one")
        values[key] = value
    return values


def written(key: str, value: object) -> str:
    """A key and its value as `read_pairs` reads them."""
    return f"{key}={next(k for k, v in _ANSWERS.items() if v == value) if key in _YES_OR_NO else value}"
