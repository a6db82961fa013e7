"""Exceptions of the package: one root class, `DseError`; each message names a remedy.

DseError (ValueError)
 |- UnitError         an unknown or wrong unit suffix
 |- ReceiptError      a fact without value, kind or source
 |- UnknownNameError  a chip, model, node, metric or key that does not exist (names near matches)
 |- SpecError         a study, plan or file that is malformed or inconsistent
 |- PlanError         a plan that does not divide the model or the system
     |- RoomError     a plan that divides both and does not fit in memory
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from .words import MEANT, plain_name


class DseError(ValueError):
    """Base class of all errors that a user can cause; the command line prints it in one line and exits with 2."""


class UnitError(DseError):
    """An unknown or wrong unit suffix."""


class ReceiptError(DseError):
    """A fact without a value, a kind or a source."""


class SpecError(DseError):
    """A study, argument or file that is malformed or inconsistent."""


class PlanError(DseError):
    """A parallelism plan that does not divide the model or the system."""


class RoomError(PlanError):
    """A plan that divides model and system but does not fit in memory; more chips may help."""


PART = 3
"""Least length of a part of a name that is matched inside longer names."""


WRITTEN, FOREIGN = ("chip", "system"), r"\.(json|ya?ml|ini|cfg|csv)$"
"""Things that users describe in TOML, and how names of files in other forms end."""


class UnknownNameError(DseError):
    """An unknown name of a chip, model, node, metric or key; the message suggests `same`, else near matches."""

    def __init__(self, what: str, name: str, known: Iterable[str], same: str = ""):
        names = sorted(known)
        inside = [n for n in names if len(name) >= PART and name.lower() in n.lower()]
        # who types "h100" means a name that begins so, and the plainest of those
        inside.sort(key=lambda n: (n.lower().find(name.lower()), len(n)))
        # other words for a thing resemble its name in no letter, so that no matching by spelling finds them
        plain = plain_name(name)
        meant = [n for n in MEANT.get(plain, ()) if n in names]
        # "NVIDIA H100 SXM" holds the name of a preset, the longest of which it is
        longest = sorted(names, key=len, reverse=True)
        holds = [n for n in longest if len(n) > PART and plain_name(n) in plain]
        alike = list(dict.fromkeys([*meant, *inside, *holds[:1]]))
        alike = alike or difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        found = [same] if same else alike
        near = found[:3]
        hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(names)}"
        # another tool's file of a chip resembles the name of a preset, and means none
        if what in WRITTEN and re.search(FOREIGN, name.lower()):
            hint = f"{what}s of your own are TOML files with keys of their own (`dse new chip mine` writes one)"
        super().__init__(f"unknown {what} '{name}'; {hint}")
