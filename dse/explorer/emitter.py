"""JavaScript emitter: lines of code, with values that are constants here or variables there, and their arrays."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Value:
    """One value while a function is followed."""

    shape: tuple[int, ...]
    known: np.ndarray | None = None
    """The numbers, where they depend on no argument."""
    name: str = ""
    """Its name in JavaScript, where they do."""

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


def literal(value: float) -> str:
    """A number as JavaScript reads it back, to the last bit."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    # up to 2^53 every whole number is a float of its own
    text = repr(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    return f"({text})" if value < 0 else text


@dataclasses.dataclass
class Emitter:
    """Lines of JavaScript so far, and the arrays that they read from `D`."""

    lines: list[str] = dataclasses.field(default_factory=list)
    tables: list[np.ndarray] = dataclasses.field(default_factory=list)
    """Coefficients and positions."""
    n_names: int = 0
    placed: dict[tuple[bytes, int], int] = dataclasses.field(default_factory=dict)

    def name(self) -> str:
        """A name that is new."""
        self.n_names += 1
        return f"v{self.n_names}"

    def table(self, numbers: Any) -> str:
        """Expression of an array of known numbers."""
        flat = np.ascontiguousarray(np.asarray(numbers, dtype=float).ravel())
        # by content: structure tables of all operators are mostly alike, and a page holds each once
        key = (flat.tobytes(), flat.size)
        if key not in self.placed:
            self.placed[key] = len(self.tables)
            self.tables.append(flat)
        return f"D[{self.placed[key]}]"

    def at(self, v: Value, index: str) -> str:
        """Expression of one entry of a value; the index is ignored for a single number."""
        if v.known is not None:
            return literal(float(v.known.ravel()[0])) if v.size == 1 else f"{self.table(v.known)}[{index}]"
        return v.name if v.size == 1 else f"{v.name}[{index}]"

    def whole(self, v: Value) -> str:
        """Expression of a whole value, a number or an array."""
        return self.at(v, "0") if v.size == 1 else (v.name or self.table(v.known if v.known is not None else []))

    def each(self, shape: tuple[int, ...], parts: Sequence[Value], form: str) -> Value:
        """An expression of one or more values, entry by entry."""
        size, name = math.prod(shape), self.name()
        if size == 1:
            self.lines.append(f"const {name}={form.format(*(self.at(p, '0') for p in parts))};")
        else:
            inside = form.format(*(self.at(p, self._index(p, shape)) for p in parts))
            self.lines.append(f"const {name}=new Float64Array({size});for(let i=0;i<{size};i++){name}[i]={inside};")
        return Value(shape, name=name)

    def _index(self, v: Value, shape: tuple[int, ...]) -> str:
        """Which entry of a value stands at entry i of `shape`."""
        if v.size in (1, math.prod(shape)):
            return "0" if v.size == 1 else "i"
        # a column and a row make a matrix without a word of broadcasting in between
        places = np.broadcast_to(np.arange(v.size).reshape(v.shape), shape)
        return f"{self.table(places)}[i]"

    def picked(self, shape: tuple[int, ...], source: Value, index: np.ndarray) -> Value:
        """The value of `shape` whose entry i is entry `index[i]` of another."""
        places, size = np.asarray(index).ravel(), math.prod(shape)
        if source.name and source.size == size and np.array_equal(places, np.arange(size)):
            return Value(shape, name=source.name)
        name = self.name()
        if size == 1:
            self.lines.append(f"const {name}={self.at(source, str(int(places[0])))};")
        elif np.all(places == places[0]):
            one = self.at(source, str(int(places[0])))
            self.lines.append(f"const {name}=new Float64Array({size}).fill({one});")
        else:
            one = self.at(source, f"{self.table(places)}[i]")
            self.lines.append(f"const {name}=new Float64Array({size});for(let i=0;i<{size};i++){name}[i]={one};")
        return Value(shape, name=name)
