"""Tables as text: rows longer than their header, columns of one name, files without a line."""

import pytest

from dse.calibrate.measurements import read
from dse.calibrate.reading import readable
from dse.calibrate.validate import reasons, validate
from dse.core.errors import SpecError

HEAD = "point_id,source,chip,op,M,N,K,metric,value,unit\n"
ROW = "lab,H100,gemm,4096,4096,4096,latency,300,us"


def written(tmp_path, text):
    path = tmp_path / "rows.csv"
    path.write_text(text)
    return path


def test_a_row_with_more_cells_than_the_header_is_left_alone_and_says_so(tmp_path):
    """Before: the first cells became names of rows, and every other cell moved into another column."""
    rows, rest = readable(read("kernels", written(tmp_path, HEAD + f"a,{ROW}\nb,{ROW},1,x\n\nc,{ROW},,\nd,{ROW}\n")))
    assert list(rows.point_id) == ["a", "c", "d"] and set(rows.value) == {300}
    assert [(u.point_id, u.why[:44]) for u in rest] == [("b", "the row has 12 cells and the header 10: whic")]


def test_two_columns_of_one_name_are_refused(tmp_path):
    """Before: the first counted."""
    with pytest.raises(SpecError, match="two columns are named 'value'"):
        read("kernels", written(tmp_path, HEAD.replace("unit", "unit,Value") + f"a,{ROW},4\n"))


@pytest.mark.parametrize("text", ["", "\n\n", ",,\n"])
def test_a_file_without_a_line_is_refused(tmp_path, text):
    with pytest.raises(SpecError, match="no line"):
        read("kernels", written(tmp_path, text))


def test_a_file_of_which_no_row_can_be_read_lists_the_reasons(tmp_path):
    """Before: "no row has spec 'complete'", of a file without that column."""
    found = validate("kernels", str(written(tmp_path, HEAD + f"a,{ROW}\n".replace("300", "fast"))))
    assert [r[0] for r in reasons(found)] == ["value = 'fast' is not a positive number"]
