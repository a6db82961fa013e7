"""Where in a TOML file a key stands, for messages: the parser does not say."""

from __future__ import annotations

import re
from collections.abc import Sequence

HEADER = re.compile(r"\s*\[(\[?)\s*([^\]]+?)\s*\]")
PAIR = re.compile(r"\s*([A-Za-z0-9_.\"'-]+)\s*=")


def line_of(text: str, place: Sequence[str | int]) -> int | None:
    """Line of the deepest part of `place`, such as ("axes", 2, "values"), that has a line of its own; None if none has.

    Tables written inline have no lines of their own: the answer is then the line on which they begin.
    """
    best, depth, here, counts = None, 0, (), {}
    for number, line in enumerate(text.splitlines(), start=1):
        header, pair = HEADER.match(line), PAIR.match(line)
        if header:
            name = tuple(_bare(part) for part in header[2].split("."))
            if header[1]:
                counts[name] = counts.get(name, -1) + 1
                name = (*name, counts[name])
            here, found = name, name
        elif pair:
            found = (*here, *(_bare(part) for part in pair[1].split(".")))
        else:
            continue
        if len(found) > depth and tuple(place[: len(found)]) == found:
            best, depth = number, len(found)
    return best


def _bare(part: str) -> str:
    return part.strip().strip("\"'")
