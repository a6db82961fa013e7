"""Entries as the file gives them, in its order."""

from dse.core.bibliography import bibliography, bibtex, publications


def test_a_work_has_its_title_year_and_address_without_braces():
    work = bibliography()["sakurai1990"]
    assert work.title.startswith("Alpha-power law MOSFET model")
    assert (work.year, work.url) == ("1990", "https://doi.org/10.1109/4.52187")


def test_works_come_in_the_order_of_the_file_and_unknown_keys_are_left_out():
    assert [w.key for w in publications(["sakurai1990", "nobody1900", "williams2009"])] == [
        "williams2009",
        "sakurai1990",
    ]


def test_bibtex_is_what_the_file_says():
    text = bibtex(["williams2009"])
    assert text.startswith("@article{williams2009,\n  author = {Williams, Samuel") and text.endswith("}\n")
    assert bibtex([]) == ""
    # the key of a user's own fact was left out without a word
    assert bibtex(["nobody1900"]).startswith("% nobody1900")
