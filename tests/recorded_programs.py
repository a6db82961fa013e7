"""A stand-in for a compiled program, which notes what it is made for and called with, and runs nothing."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np


class Asked(Exception):
    """A program was called: enough is known."""


class Recorded:
    """The program: structure, shapes and types of its arguments in `forms`, of those prepared and of those called."""

    def __init__(self) -> None:
        self.forms: list[Any] = []

    def prepare(self, *args: Any) -> None:
        """Note what a program is made for."""
        arrays, form = jax.tree.flatten(args)
        self.forms.append((form, [(np.shape(x), getattr(x, "dtype", x)) for x in arrays]))

    def __call__(self, *args: Any) -> None:
        """Note what it is called with, and stop."""
        self.prepare(*args)
        raise Asked
