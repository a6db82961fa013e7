"""Offline explorer: one HTML file with the page, the formulas as JavaScript, and the coefficients of every choice."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ..core.errors import DseError, SpecError
from ..core.files import plain, write_text
from ..optimize.descent import run_search
from ..optimize.search import search_of
from ..optimize.space import data_of, own_plans
from ..study.convex import Data
from .answers import LEFT, Answers
from .app import PAGE
from .javascript import Script, emit
from .packing import grouped, packed
from .reading import reading
from .subject import Plans, Subject, described_plans, first_chip, read_fastest

POLICY = "default-src 'none'; script-src 'unsafe-inline' data:; style-src 'unsafe-inline'; img-src data: blob:"
"""What the file may load: nothing from anywhere."""
IMPORT = re.compile(r'from "\./(\w+)\.js"')
"""How modules of the page name each other."""


@dataclasses.dataclass(frozen=True)
class Emitted:
    """A study as JavaScript: one function for all choices, and what it takes beside free numbers and limits."""

    script: Script
    """Function of free numbers, limits, blank silicon, then the numbers of a row."""
    rows: list[np.ndarray]
    """Numbers of every choice, in the order of the study, then those of more plans."""
    under: list[tuple[int, Plans]]
    """Choice and plans of every row."""


def emitted(subject: Subject, plans: list[Plans], more: Sequence[tuple[int, Plans]] = ()) -> Emitted:
    """The reading of a study as JavaScript, under given plans for every choice; shared coefficients are folded in.

    EmitError: the model holds an operation that a page cannot.
    """
    under = [*enumerate(plans), *(m for m in dict.fromkeys(more) if plans[m[0]] != m[1])]
    every = [data_of(subject.space, i, p) for i, p in under]
    leaves = [jax.tree.leaves(d) for d in every]
    tree = jax.tree.structure(every[0])
    # most coefficients are alike in all choices: those become constants of the script, the others arguments of a row
    differ = [any(not np.array_equal(x, each[0], equal_nan=True) for x in each) for each in zip(*leaves, strict=True)]
    n_free = len(subject.study.free)
    asked = n_free + len(subject.limits)

    def read(z: Any) -> Any:
        at, mine = asked + 1, []
        for leaf, d in zip(leaves[0], differ, strict=True):
            size = np.size(leaf) if d else 0
            mine.append(z[at : at + size].reshape(np.shape(leaf)) if d else leaf)
            at += size
        data: Data = jax.tree.unflatten(tree, mine)
        chip = dataclasses.replace(data.chip, blank_mm2=z[asked])
        data = dataclasses.replace(data, chip=chip, limits=z[n_free:asked])
        return packed(reading(subject.core, subject.names, z[:n_free], data, subject.is_chip))

    rows = [
        np.concatenate([np.ravel(leaf) for leaf, d in zip(mine, differ, strict=True) if d] or [np.zeros(0)])
        for mine in leaves
    ]
    return Emitted(emit(read, asked + 1 + len(rows[0])), rows, under)


def write_page(answers: Answers, path: Path, tell: Callable[[str], None] = lambda _: None) -> Path:
    """Write the offline page of a subject, and return its path.

    SpecError: another ending, or a file that cannot be written. EmitError: an operation that a page cannot.
    """
    if path.suffix != ".html":
        raise SpecError(f"--export {path}: give a file that ends in .html")
    subject = answers.subject
    tell("finding the best plans of every choice")
    plans = plans_of_choices(answers, tell)
    tell("writing formulas")
    fronts = [] if subject.is_chip else LEFT["fronts"](answers)["fronts"]
    made = emitted(
        subject, plans, [(p["choice"], tuple(p["plans"])) for f in fronts for p in f["points"] if p["plans"]]
    )
    tell("reading receipts, chips and figures")
    html = page_html(made, held(answers, made))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, html)
    return path


def plans_of_choices(answers: Answers, tell: Callable[[str], None]) -> list[Plans]:
    """The plans under which every choice is at its best; the baseline's where nothing meets the limits."""
    subject, found = answers.subject, answers.found
    if subject.is_chip:
        return [read_fastest(subject, first_chip(subject), own_plans(subject.space))[1]]
    leaders = sorted(run_search(search_of(subject.space, tell)), key=lambda c: c.choice_index)
    best = min(leaders, key=lambda c: c.log_goal)
    # plans of a choice that nothing meets the limits with: the best choice's are nearest to ones it might have
    fallback = best.plan_index if best.log_goal < np.inf else own_plans(subject.space)
    plans = [c.plan_index if c.log_goal < np.inf else fallback for c in leaders]
    if found is not None:  # the page begins at this optimum, under the very plans that it was proved with
        plans[found["choice"]] = tuple(found["plans"])
    return plans


def held(answers: Answers, made: Emitted) -> dict[str, Any]:
    """Everything that the page knows beside the formulas, as plain data."""
    subject = answers.subject
    known = {p: i for i, p in enumerate(dict.fromkeys(p for _, p in made.under))}
    groups, of_group = grouped(np.stack(made.rows))
    under = zip(of_group.tolist(), made.under, strict=True)
    rows = [{"choice": c, "of_group": at, "plans": list(p), "of": known[p]} for at, (c, p) in under]
    facts = Facts()
    left = {
        "chips": _chips(answers),
        "fronts": {} if subject.is_chip else LEFT["fronts"](answers),
        "risks": {"risks": [], "skipped": []} if subject.is_chip else LEFT["risks"](answers),
        "servings": LEFT["servings"](answers),
        "truth": LEFT["truth"](answers),
    }
    by_choice, told = _receipts(answers, facts), facts.folded(left)
    return plain(
        {
            "state": answers.state,
            "names": [f.name for f in subject.study.free],
            "places": [[list(p.path), p.n_numbers, not p.shape] for p in subject.places],
            "groups": groups,
            "rows": rows,
            "operators": [described_plans(subject, plans) for plans in known],
            "traffic": subject.space.ground.traffic_frac.tolist(),
            "receipts": {**facts.written(), **by_choice},
            **told,
        }
    )


def _receipts(answers: Answers, facts: Facts) -> dict[str, Any]:
    """Which set of receipts each choice has, and the sets: choices that differ in no fact share one."""
    said = [json.dumps(facts.folded(answers.receipts(str(i)))) for i in range(len(answers.subject.study.choices))]
    sets = {text: i for i, text in enumerate(dict.fromkeys(said))}
    return {"choices": [sets[text] for text in said], "sets": [json.loads(text) for text in sets]}


@dataclasses.dataclass
class Facts:
    """Every fact of a page once, however many numbers rest on it."""

    rows: dict[str, int] = dataclasses.field(default_factory=dict)
    works: dict[str, str] = dataclasses.field(default_factory=dict)

    def folded(self, found: Any) -> Any:
        """Plain data with places instead of the facts in it, for `unfolded` of the page."""
        if isinstance(found, list):
            return [self.folded(v) for v in found]
        if not isinstance(found, dict):
            return found
        if "works" not in found or not found.keys() & {"rows", "topics"}:
            return {k: self.folded(v) for k, v in found.items()}
        self.works |= found["works"]
        if "rows" in found:
            return {"places": self.places(found["rows"])}
        return {"topic_places": {t: self.places(rows) for t, rows in found["topics"].items()}}

    def places(self, rows: list[dict[str, str]]) -> list[int]:
        """Where facts stand in the list of all."""
        # as text, since dictionaries do not hash
        return [self.rows.setdefault(json.dumps(r), len(self.rows)) for r in rows]

    def written(self) -> dict[str, Any]:
        """All facts, and the works they cite."""
        return {"rows": [json.loads(r) for r in self.rows], "works": self.works}


def _chips(answers: Answers) -> dict[str, Any]:
    found = {}
    for name in answers.state["named"]:
        try:
            # one that cannot run the models has no column to show
            found[name] = answers.chip(name)
        except DseError:
            continue
    return found


def page_html(made: Emitted, known: dict[str, Any]) -> str:
    """The page with everything inside it."""
    html = (PAGE / "index.html").read_text(encoding="utf-8")
    style = (PAGE / "style.css").read_text(encoding="utf-8")
    links = {f"dse/{p.stem}": f"data:text/javascript;base64,{module(p)}" for p in sorted(PAGE.glob("*.js"))}
    tables = json.dumps([[_plain_number(v) for v in t] for t in made.script.tables])
    model = (
        f"{made.script.code}\nconst D={tables}.map((t) => Float64Array.from(t, (v) => v ?? NaN));\n"
        'const held = JSON.parse(document.getElementById("held").textContent);\n'
        "globalThis.offlineModel = { held, model: (x) => model(x, D) };\n"
    )
    inside = [
        f'<script type="application/json" id="held">{_script_safe(json.dumps(known, allow_nan=False))}</script>',
        f"<script>{_script_safe(model, json_text=False)}</script>",
        f'<script type="importmap">{json.dumps({"imports": links})}</script>',
        '<script type="module">import "dse/main";</script>',
    ]
    policy = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    html = html.replace('<meta charset="utf-8">', f'<meta charset="utf-8">\n{policy}')
    html = html.replace('<link rel="stylesheet" href="style.css">', f"<style>{style}</style>")
    return html.replace('<script type="module" src="main.js"></script>', "\n".join(inside))


def module(path: Path) -> str:
    """A module of the page as the file holds it: its imports by name, in base64."""
    return base64.b64encode(IMPORT.sub(r'from "dse/\1"', path.read_text(encoding="utf-8")).encode()).decode("ascii")


def _plain_number(value: float) -> float | None:
    """A number as JSON has it; infinities as the largest there is, which no finite number passes."""
    if np.isnan(value):
        return None
    return float(np.clip(value, -np.finfo(float).max, np.finfo(float).max))


def _script_safe(text: str, json_text: bool = True) -> str:
    """Text that cannot end the script it stands in, whatever a study or chip is called."""
    return text.replace("<", "\\u003c") if json_text else text.replace("</", "<\\/")
