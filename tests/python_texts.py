"""What no answer may hold: texts as Python spells things."""

import re
from collections.abc import Iterator
from typing import Any

PYTHON = re.compile(
    r"\b[A-Z]\w*\(\w+=|\bobject at 0x|\b[Aa]rray\(|\bnp\.\w+\(|Path\('|<[A-Z]\w+\.\w+: |\b[if](32|64)\["
    r"|^[\[({]'|^\(\d+, |\bnan\b"
)
"""How Python spells records, arrays, paths, enumerations, tuples and what is no number."""


def texts(value: Any) -> Iterator[str]:
    """Every text in an answer, keys too."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)
    elif isinstance(value, str):
        yield value
