"""Digits in groups and decimal commas: read where only one number can be meant, refused with both where two can."""

import pandas as pd
import pytest

from dse.calibrate.digits import with_plain_numbers
from dse.calibrate.measurements import read
from dse.calibrate.reading import ODD_NUMBER, readable


def values(*cells, column="value"):
    """A column as it is read: the numbers, and for cells that are none the reason."""
    rows = with_plain_numbers(pd.DataFrame({column: list(cells)}))
    why = list(rows[ODD_NUMBER]) if ODD_NUMBER in rows else [""] * len(cells)
    return [w or float(x) for x, w in zip(rows[column], why, strict=True)]


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        ("1,234.5", 1234.5), ("1 234", 1234), ("1_234", 1234), ("1'234'567", 1234567), ("1\u202f234.5", 1234.5),
        ("1\u00a0234,5", 1234.5), ("1.234,5", 1234.5), ("1,234,567", 1234567), ("1.234.567", 1234567), ("12,5", 12.5),
        ("0,123", 0.123), ("1234,567", 1234.567), ("1.234", 1.234), ("12.5", 12.5), ("1e3", 1000), ("1,5e3", 1500),
        (" 1,234.5 ", 1234.5), ("12", 12), (".5", 0.5), ("5.", 5),
    ],
)  # fmt: skip
def test_a_cell_that_can_be_one_number_only_is_that(cell, number):
    assert values(cell) == [number]


@pytest.mark.parametrize("cell", ["12,34,567", "1 23", "1_2345", "1,2345.6", "1 234_567", "n/a", "12 ms", "~5", "1,,5"])
def test_what_is_no_number_stays_as_it_is(cell):
    rows = with_plain_numbers(pd.DataFrame({"value": [cell]}))
    assert list(rows["value"]) == [cell] and ODD_NUMBER not in rows


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (("1,234", "1,234.5"), [1234, 1234.5]), (("1,234", "12.5"), [1234, 12.5]), (("1,234", "12,5"), [1.234, 12.5]),
        (("1.234", "12,5"), [1234, 12.5]), (("1.234", "2.345,6"), [1234, 2345.6]), (("1.234", "7"), [1.234, 7]),
        (("1,234", "12,345,678"), [1234, 12345678]),
    ],
)  # fmt: skip
def test_a_column_decides_what_a_cell_of_it_leaves_open(cells, numbers):
    assert values(*cells) == numbers


def test_a_cell_that_may_be_two_numbers_is_left_with_both():
    alone, plain = values("1,234", "567")
    assert alone.startswith("value = '1,234' may be 1234 or 1.234, and no cell of the column tells") and plain == 567
    comma, point, fine = values("12,5", "1.234", "12.5")
    assert "value = '12,5' has a decimal comma, and other cells" in comma and "may be 1234 or 1.234" in point
    assert fine == 12.5
    assert all("may be" in x for x in values("1,234", "1.234"))


def test_a_count_has_no_decimals():
    assert values("1,234", "5,678", column="seq_len") == [1234, 5678]
    assert values("1.234", column="seq_len") == [1.234]  # refused later: a count is whole


def written(tmp_path, text):
    path = tmp_path / "rows.csv"
    path.write_text(text)
    return readable(read("kernels", path))


def test_a_file_with_a_decimal_comma_leaves_the_points_of_other_columns_open(tmp_path):
    """Read as floats, 1.250 would be 1.25, and 16.384 sequences a fraction of one."""
    head = "point_id;source;chip;op;M;N;K;message_bytes;metric;value;unit\n"
    rows, rest = written(tmp_path, head + "a;lab;H100;gemm;4.096;4.096;4.096;;latency;1,5;ms\n"
                                          "b;lab;H100;gemm;8.192;4.096;4.096;1.250;latency;2,5;ms\n")  # fmt: skip
    assert list(rows.point_id) == ["a"]
    assert (rows.M.iloc[0], rows.N.iloc[0], rows.value.iloc[0]) == (4096, 4096, 1.5)
    assert rest[0].point_id == "b" and "message_bytes = '1.250' may be 1250 or 1.250" in rest[0].why


def test_numbers_with_marks_are_read_and_others_refused_by_row(tmp_path):
    head = "point_id,source,chip,op,M,N,K,metric,value,unit\n"
    rows, rest = written(tmp_path, head + 'a,lab,H100,gemm,"4,096",4_096,4 096,latency,"1,234.5",us\n'
                                          'b,lab,H100,gemm,"4,096",4096,4096,latency,"1,234",us\n'
                                          'c,lab,H100,gemm,"4,096",4096,4096,latency,fast,us\n')  # fmt: skip
    assert list(rows.value) == [1234.5, 1234] and list(rows.K) == [4096, 4096]
    assert [(x.point_id, x.why) for x in rest] == [("c", "value = 'fast' is not a positive number")]
    rows, rest = written(tmp_path, head + 'a,lab,H100,gemm,4096,4096,4096,latency,"1,234",us\n')
    assert rows.empty and "may be 1234 or 1.234" in rest[0].why
