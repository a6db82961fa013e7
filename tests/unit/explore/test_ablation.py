"""Corrections undone by hand, and variants that hold none, each and all of them."""

import dataclasses

import numpy as np
import pytest

from dse.explore.ablation import CORRECTIONS, _no_spread, _operands_alone, variants
from dse.hardware.presets import chip
from dse.lowering.tiling import array_shape, op_demand, rank_ops
from dse.study.design import Choice
from dse.workload.op import linear

ARRAY = array_shape(chip("trainium3").core.tensor)


@dataclasses.dataclass(frozen=True)
class Holder:
    """Stands in for a demand: corrections only touch its operators."""

    ops: object


def test_operands_alone_by_hand():
    """2 M K N w^1.5 instead of 2 M K N w sqrt(4): 0.5 at one byte, 0.707 at two."""
    for precision, width in (("bf16", 2.0), ("fp8", 1.0)):
        op = linear("x", 512, 1024, 2048, precision)
        before = Holder(op_demand(rank_ops([op], ARRAY), np.ones(1)))
        after = _operands_alone(before)
        ratio = float(after.ops.reuse_half[0] / before.ops.reuse_half[0])
        assert ratio == pytest.approx((width / 4) ** 0.5)
        assert float(after.ops.reuse_half[0]) == pytest.approx(2 * op.macs * width**1.5)


def test_nothing_between_cores():
    op = dataclasses.replace(linear("x", 64, 1024, 2048, "fp8"), spread_B=5.0)
    before = Holder(op_demand(rank_ops([op], ARRAY), np.ones(1)))
    assert float(before.ops.spread_B[0]) == 5.0
    assert float(_no_spread(before).ops.spread_B[0]) == 0.0


def test_variants_hold_none_each_and_all():
    labels, sets = zip(*variants(), strict=True)
    assert labels[0] == "none" and labels[-1] == "all" and len(labels) == len(CORRECTIONS) + 2
    assert [len(s) for s in sets] == [0, *[1] * len(CORRECTIONS), len(CORRECTIONS)]


def test_what_was_not_on_offer():
    new = Choice("N2", "NVHBM", "NVLink6", 2, "128x128", True)
    offers = {c.name: c.offers(new) for c in CORRECTIONS}
    assert [n for n, offered in offers.items() if not offered] == ["7 memory"]
    assert not next(c for c in CORRECTIONS if c.name == "8 rates").offers(dataclasses.replace(new, fp8_rate=2.0))
