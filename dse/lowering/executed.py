"""Precision in which a workload's matrix products run on a matrix unit that may lack the requested one."""

from __future__ import annotations

import dataclasses
from typing import TypeVar

from ..workload.storage import PARTS
from ..workload.transformer import Training, Workload, products_of
from .tiling import ArrayShape

Asked = TypeVar("Asked", bound=Workload)


def as_run(workload: Asked, array: ArrayShape) -> Asked:
    """`workload` with products and operands in the precision asked for or the next wider that `array` has."""
    if isinstance(workload, Training):
        return dataclasses.replace(workload, precision=array.runs_in(workload.precision))
    usual = array.runs_in(products_of(workload, ""))
    parts = {p: array.runs_in(products_of(workload, p)) for p in PARTS}
    others = [f"{p}={x}" for p, x in parts.items() if x != usual]
    return dataclasses.replace(workload, product_precision=",".join([usual, *others]))
