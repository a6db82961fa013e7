"""Bibliography: the works cited by facts and formulas, read from `references.bib`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from functools import cache
from pathlib import Path

PATH = Path(__file__).parent / "references.bib"


@dataclasses.dataclass(frozen=True)
class Publication:
    """One entry of the bibliography; what it does not say is empty."""

    key: str
    title: str
    year: str
    url: str
    bibtex: str


@cache
def bibliography() -> dict[str, Publication]:
    """Every work by its key, in the order of the file."""
    import bibtexparser  # here, since it is slow to load and few commands cite

    entries = bibtexparser.parse_file(str(PATH)).entries
    return {e.key: _work(e.key, {f.key: f.value for f in e.fields}, e.raw or "") for e in entries}


def _work(key: str, field: dict[str, str], raw: str) -> Publication:
    title, year, url = (str(field.get(name, "")).replace("{", "").replace("}", "") for name in ("title", "year", "url"))
    return Publication(key, title, year, url, raw.strip())


def publications(keys: Iterable[str]) -> list[Publication]:
    """The publications of `keys`, in the order of the bibliography; keys that it does not have are left out."""
    wanted = set(keys)
    return [work for key, work in bibliography().items() if key in wanted]


def bibtex(keys: Iterable[str]) -> str:
    """The BibTeX entries of `keys`, in the order of the bibliography; a comment names those that it does not have."""
    wanted = set(keys)
    foreign = sorted(wanted - set(bibliography()))  # keys of a user's own facts
    return "\n".join(
        [*(f"{w.bibtex}\n" for w in publications(wanted)), *(f"% {key}: not listed here" for key in foreign)]
    )
