"""Answers to design questions as JSON, terminal tables, and a page of the documentation."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.text import Text

from ..core.files import picked, write_json
from ..core.text import digits, label, percent, quantity_text
from ..explore.designed import chip_metrics, waits
from ..explore.questions import ALL, WORKLOADS, Question, Side, apart_saves_frac, behind_frac
from .layout import Table, or_dash, table_of
from .screen import goal_words

NUMBERS = ("n_cores", "clock_Hz", "sram_B", "n_stacks", "hbm_bandwidth_Bps", "hbm_capacity_B",
           "scaleup_bandwidth_per_dir_Bps", "silicon_mm2", "package_cost_USD", "full_load_fp8_W")  # fmt: skip
"""Numbers of a side's design that are kept."""
DECIDING = 3
"""Limits that are named as deciding, dearest first."""
SMALL_PRICE = 0.02
"""Price of a limit below which it decides nothing."""


def question_json(q: Question) -> dict[str, Any]:
    """An answer as plain data, canonical units."""
    return {
        **picked(q, "name", "asks", "by", "note"),
        "goal": q.sides[0].solution.study.goal,
        "best": q.best.name,
        # of sides that are single workloads, the last is all together, with their weights
        **({"shares": list(shares)} if (shares := q.sides[-1].solution.study.shares) else {}),
        "sides": [side_json(x) for x in q.sides],
    }


def side_json(x: Side) -> dict[str, Any]:
    """One side: its design, its proof, and what decides it."""
    s, bound = x.solution, x.lower_bound
    head = {"name": x.name, "status": s.status.name.lower(), "lower_bound": bound if math.isfinite(bound) else None}
    if s.chip is None or s.choice is None or s.certificate is None:
        return {**head, "goal": None, "relaxations": [{"name": r.name, "needed": r.needed} for r in s.relaxations]}
    o = s.certificate.overall
    prices = sorted((y for y in s.limits if abs(y.price) >= SMALL_PRICE), key=lambda y: -abs(y.price))
    return {
        **head,
        "goal": s.goal,
        "gap": o.gap if o is not None and math.isfinite(o.gap) else None,
        "choice": s.choice.text(),
        "design": chip_metrics(s.chip, s.study.package, NUMBERS),
        "prices": {y.name: y.price for y in prices[:DECIDING]},
        "workloads": {
            w.name: {**picked(w.evaluation, "step_s"), "speedup": w.speedup, **picked(w.evaluation, "power_W"),
                     "waits": dict(waits(s, w)[:2])}
            for w in s.workloads
        },
        "rack": None if s.rack is None else dataclasses.asdict(s.rack),
    }  # fmt: skip


def write_question(folder: Path, q: Question) -> None:
    """Write the answer as `NAME.json` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / f"{q.name}.json", question_json(q))


def verdict(a: dict[str, Any]) -> str:
    """The answer of one question in a sentence, with what is proved of the other sides."""
    by_name = {x["name"]: x for x in a["sides"]}
    best = by_name[a["best"]]
    won = f"{a['best']}: {goal_words(a['goal'], best['goal'])} ({best['choice']})" if best["goal"] else "no side works"
    if a["by"] == WORKLOADS:
        return _apart(a, by_name, won)
    others = [_behind(best, x) for x in a["sides"] if x is not best]
    return f"{won}; {'; '.join(others)}."


def _behind(best: dict[str, Any], x: dict[str, Any]) -> str:
    """How far another side is behind, and how much of that is proved."""
    if x["goal"] is None:
        return f"{x['name']}: no design meets the limits"
    found, proved = behind_frac(best, x)
    sure = f"at least {percent(proved)}" if proved > 0 else "not proved"
    return f"{x['name']} {percent(found)} behind ({sure})"


def _apart(a: dict[str, Any], by_name: dict[str, Any], won: str) -> str:
    alone = [x for n, x in by_name.items() if n != ALL]
    together = by_name[ALL]["goal"]
    if together is None or any(x["goal"] is None for x in alone):
        return f"{won}."
    each = "; ".join(f"{x['name']} alone {goal_words(a['goal'], x['goal'])} ({x['choice']})" for x in alone)
    saves, most = apart_saves_frac(together, alone, a.get("shares", ()))
    return f"{won}; {each}; a chip for each saves {percent(saves)} in the mean, at most {percent(most)}."


def decides(a: dict[str, Any]) -> str:
    """What the best side's design waits for, and which limits cost most."""
    best = next(x for x in a["sides"] if x["name"] == a["best"])
    if best["goal"] is None:
        return "the limits"
    spent = [f"{n} waits for " + ", ".join(f"{label(k)} {percent(v)}" for k, v in w["waits"].items())
             for n, w in best["workloads"].items()]  # fmt: skip
    dear = [f"{label(n)} {percent(abs(p) / 100)}" for n, p in best["prices"].items()]
    limits = f"; 1 % more room is worth: {', '.join(dear)}" if dear else ""
    return "; ".join(spent) + limits


def rack_words(x: dict[str, Any]) -> str:
    """The rack of a side in a few words."""
    r = x["rack"]
    size = f"{digits(r['n_chips'])} chips, {digits(r['power_W'] / 1e3)} kW, {digits(r['cost_USD'] / 1e6)} M USD"
    return f"{x['name']} {size}, {digits(r['held'])} chips held per chip at work"


def question_table(a: dict[str, Any]) -> Table:
    """The sides of a question beside each other, from the JSON."""
    shown = ("n_cores", "n_stacks", "silicon_mm2")
    rows: list[tuple[str, ...]] = []
    for x in a["sides"]:
        numbers = ["-"] * (2 + len(shown))
        if x["goal"] is not None:
            # a gap is missing where the side's time was up before anything was proved
            numbers = [goal_words(a["goal"], x["goal"]), or_dash(x["gap"], percent)]
            numbers += [quantity_text(n, x["design"][n]) for n in shown]
        rows.append((x["name"], *numbers, x["status"]))
    return table_of((a["by"], "goal", "gap", "cores", "stacks", "silicon", "status"), rows)


def question_view(a: dict[str, Any]) -> Group:
    """An answer on screen."""
    said = (Text(verdict(a)), Text(f"Decided by: {decides(a)}."))
    return Group(Text(a["asks"], style="bold"), question_table(a), *said, "")


def questions_page(answers: Sequence[dict[str, Any]]) -> str:
    """The page of the documentation: every figure from the answers, nothing by hand."""
    lines = [
        "# Questions",
        "",
        "Studies with sides, each side solved for itself and certified: its design is within the gap of the best that",
        "can be built, over all choices, plans and whole counts. `make questions` solves all and writes this page;",
        "`dse questions NAME` solves one. Behind means that the goal is so much worse; in brackets what is proved,",
        "whatever design the other side may have. Systems with their costs and powers, many of them guesses:",
        "`dse/hardware/data/racks.toml`.",
        "",
    ]
    for i, a in enumerate(answers, 1):
        gaps = ", ".join(f"{x['name']} {or_dash(x['gap'], percent)}" for x in a["sides"] if x["goal"] is not None)
        lines += [f"## {i}. {a['asks']}", "", f"    dse questions {a['name']}", ""]
        lines += [verdict(a), "", f"Gaps: {gaps}. Decided by: {decides(a)}.", ""]
        racks = "; ".join(rack_words(x) for x in a["sides"] if x.get("rack"))
        lines += [f"Racks: {racks}.", ""] if racks else []
        lines += [a["note"], ""] if a["note"] else []
    return "\n".join(lines)
