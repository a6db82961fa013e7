"""Headers of two lines: a group above the names of its columns, or the units below them."""

from __future__ import annotations

import re

from .cell_units import is_unit
from .columns import column_of
from .spelling import is_metric

NUMBER = r"\s*[~<>\u2248]?\s*[-+]?[\d.,]*\d[\d.,]*\s*([eE][-+]?\d+)?\s*\S{0,6}"
"""A cell that is a number, perhaps with a unit: no name of a column is."""
UNIT = re.compile(r"\s*[(\[][^()\[\]]+[)\]]$")
"""A unit behind a name."""
OF_COUNTS = r"tok(en)?s?|seq(uence)?s?|samples?|#|count|-"
"""Units of counts, which the name tells."""
SIZES = r"[KMGT]i?B(/s)?|[KMG]b(ps|/s)|B|bytes"
GROUPS = (
    r"latency|latencies|throughput|performance|results?|metrics?|config(uration)?|settings?|hardware|system|model"
    r"|workload|parallelism|input|setup|timings?|time|measured|serving|training|inference"
)
"""Words above names that say nothing which the names do not."""


def in_one_line(lines: list[list[str]], kind: str) -> list[list[str]]:
    """`lines` with a header of one line where two of them are the header, or three, the last of units; else as is."""
    if len(lines) < 3 or any(re.fullmatch(NUMBER, cell) for cell in lines[1]):
        return lines
    if len(lines) > 3 and any(lines[2]) and all(not c.strip() or _is_unit(c) for c in lines[2]):
        return in_one_line([lines[0], *in_one_line(lines[1:], kind)], kind)
    width = max(len(lines[0]), len(lines[1]))
    above, below = ([*(c.strip() for c in line), *[""] * (width - len(line))] for line in lines[:2])
    if any(below) and all(not c or _is_unit(c) for c in below):
        return [[_with_unit(a, b) for a, b in zip(above, below, strict=True)], *lines[2:]]
    # a group stands once, above the first of its columns; a row has no names of metrics
    few = any(b and not a for a, b in zip(above, below, strict=True)) and 2 * _n_known(above, kind) < len(above)
    named = any(map(is_metric, below)) and all(not b or _is_unit(b) or _n_known([b], kind) for b in below)
    return [_joined(above, below, kind), *lines[2:]] if few or named else lines


def _with_unit(name: str, unit: str) -> str:
    bare = unit.strip("()[] ")
    # what counts has its unit in its name, and a column needs none
    return f"{name} ({bare})" if bare and not re.fullmatch(OF_COUNTS, bare.lower()) else name


def _is_unit(said: str) -> bool:
    bare = said.strip("()[] ")
    return is_unit(bare) or bool(re.fullmatch(OF_COUNTS, bare.lower()) or re.fullmatch(SIZES, bare))


def _n_known(names: list[str], kind: str) -> int:
    return sum(bool(n) and (column_of(n, kind) is not None or is_metric(n)) for n in names)


def _joined(above: list[str], below: list[str], kind: str) -> list[str]:
    """A name for each column: that below after its group, which the first column of the next group ends."""
    found, group = [], ""
    for a, b in zip(above, below, strict=True):
        group = a or (group if b else "")
        if a and _is_unit(b):
            found.append(_with_unit(a, b))
            continue
        words, unit = _parted(group)
        # a setting has no group: which one it stands under is where it had room
        setting = column_of(b, kind)
        alone = not words or re.fullmatch(GROUPS, words.lower()) or setting
        name = (b if alone else f"{words} {b}") if b else a
        found.append(_with_unit(name, unit) if b and not setting and not UNIT.search(b) else name)
    return found


def _parted(group: str) -> tuple[str, str]:
    """Words and unit of a group, such as "Latency (ms)"; one without a unit has an empty one."""
    unit = UNIT.search(group)
    return (group[: unit.start()].strip(), unit[0]) if unit and _is_unit(unit[0].strip()) else (group, "")
