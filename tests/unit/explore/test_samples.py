"""A study's world under many draws."""

import numpy as np
import pytest

from dse.explore.samples import Samples, by_name
from dse.explore.unknowns import draw, unknowns
from dse.lowering.software import framework_receipts
from dse.physics.calibration import calibration_receipts
from dse.study.study import names_of_fits


def test_kernels_per_operator_are_drawn_and_stretch_the_time_of_the_host(tiny, solved):
    """The host takes n_host t_host, n_host = k (...): a draw of k moves the product as lowering again with it would."""
    drawn = draw(unknowns(tiny), 16, 0)
    kernels = drawn.values("framework", by_name(framework_receipts())["n_kernels_per_operator"])
    (name,) = names_of_fits(tiny)
    host_s = drawn.values(f"calibration {name}", by_name(calibration_receipts(name))["host_s"])
    assert kernels is not None and host_s is not None and 1.0 <= kernels.min() < 3.0 < kernels.max() <= 5.0
    found = Samples(solved, drawn)
    assert np.asarray(found.calibrations[0].host_s) == pytest.approx(host_s * kernels / 3.0)
