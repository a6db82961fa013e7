"""Why chips of a ranking have gaps: each reason once, however many chips share it."""

from dse.report.ranking import _gaps


def test_many_chips_share_a_reason_few_do_not():
    names = ["h100", "rubin", "mi300x", "tpu-v4", "mine"]
    gaps = ["", *(f"no on demand price of {n}; give --rent {n}=USD" for n in names[1:4]), "fits no memory"]
    assert [t.plain for t in _gaps(names, gaps)] == [
        "mine: fits no memory", "rubin, mi300x, tpu-v4: no on demand price of CHIP; give --rent CHIP=USD",
    ]  # fmt: skip
    two = _gaps(names[:3], ["", *(f"no price of {n}" for n in names[1:3])])
    assert [t.plain for t in two] == ["rubin: no price of rubin", "mi300x: no price of mi300x"]


def test_a_name_within_another_stays():
    assert [t.plain for t in _gaps(["mi300", "b", "c"], ["as mi300x", "as mi300x", "as mi300x"])] == [
        "mi300, b, c: as mi300x"
    ]
