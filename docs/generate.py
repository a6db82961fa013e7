"""Stage the documentation: pages and notebooks as written, and the reference from what the code itself reads.

`make docs` calls it: `python docs/generate.py FOLDER` fills FOLDER with sources for Sphinx.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import re
import shutil
import sys
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import dse
from dse.cli import Command, main
from dse.cli.facts import schema_of, shipped_rows
from dse.core.bibliography import bibliography
from dse.core.provenance import Sourced
from dse.core.text import quantity_text, unit_of
from dse.hardware.fabrics import build_fabric, fabric_names, system_facts, system_receipts
from dse.hardware.presets import chip_names, chip_receipts
from dse.physics.calibration import calibration_names, calibration_receipts
from dse.study.design import FREE
from dse.study.metrics import METRICS, OF_WORKLOADS, OWNED, PER_WORKLOAD

ROOT = Path(__file__).parents[1]
KINDS = ("study", "sweep", "chip", "portfolio")
IMAGE = re.compile(r"!\[[^\]]*\]\(([^):]+)\)")
"""Figures that pages show, by their path from the page."""
ROOMS = (
    "core",
    "technology",
    "hardware",
    "workload",
    "lowering",
    "physics",
    "economy",
    "serving",
    "calibrate",
    "explore",
)
"""Rooms with formulas."""


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table; bars and line ends inside cells are taken care of."""

    def line(cells: Iterable[object]) -> str:
        return (
            "| " + " | ".join(" ".join(str(c).replace("|", "\\|").replace("<", "&lt;").split()) for c in cells) + " |"
        )

    names = list(head)
    return "\n".join([line(names), line("---" for _ in names), *(line(r) for r in rows)]) + "\n"


def form(schema: dict[str, Any]) -> str:
    """What a key takes, in words."""
    if "x-unit" in schema:
        low_high = schema.get("x-presets")
        usual = f"; presets {low_high[0]:.4g} to {low_high[1]:.4g}" if low_high else ""
        return f"quantity in {schema['x-unit']}{usual}"
    if "enum" in schema:
        names = [str(x) for x in schema["enum"]]
        return ", ".join(f"`{n}`" for n in names) if len(names) <= 12 else f"one of {len(names)} names"
    if "const" in schema:
        return f"`{schema['const']}`"
    if "$ref" in schema:
        return f"table {schema['$ref'].rpartition('/')[2].strip('_')}"
    if "anyOf" in schema or "oneOf" in schema:
        parts = (form(s) for s in schema.get("anyOf", schema.get("oneOf")) if s.get("type") != "null")
        return " or ".join(dict.fromkeys(parts))
    if schema.get("type") == "array":
        items = schema.get("items", {})
        return "list of " + form(items) if items else "list"
    if schema.get("type") == "string" and "pattern" in schema:
        return f"text like `{schema['pattern']}`"
    return {"integer": "whole number", "number": "number", "boolean": "true or false", "object": "table"}.get(
        schema.get("type", ""), "text"
    )


def keys(name: str, schema: dict[str, Any], needed: Iterable[str] = ()) -> str:
    """One table of keys."""
    rows = []
    for key, sub in schema.get("properties", {}).items():
        least = sub.get("minimum", sub.get("exclusiveMinimum"))
        bound = "" if least is None else f", {'above' if 'exclusiveMinimum' in sub else 'at least'} {least}"
        default = (
            "required" if key in schema.get("required", needed) else f"`{sub['default']}`" if "default" in sub else ""
        )
        rows.append((f"`{key}`", form(sub) + bound, default, sub.get("description", sub.get("x-name", ""))))
    about = schema.get("description", "")
    return f"## {name}\n\n{about}\n\n{table(('key', 'takes', 'default', 'meaning'), rows)}\n"


def schema_page(kind: str) -> str:
    """Every key of one kind of file."""
    schema = schema_of(kind)
    inner = {k.strip("_"): s for k, s in schema.get("$defs", {}).items()}
    if kind == "chip":
        inner["The one table"] = schema["additionalProperties"]
    for key, sub in schema.get("properties", {}).items():
        if sub.get("properties"):
            inner[f"[{key}]"] = sub
    about = f"Generated from what reads the file; `dse schema {kind}` prints it as JSON Schema."
    head = f"# Keys of a {kind} file\n\n{about}\n\n"
    return head + keys("The file", schema) + "".join(keys(n, s) for n, s in inner.items())


def cited(source: str) -> str:
    """A source as a link into the bibliography."""
    return f"[{source}](bibliography.md#{source})" if source in bibliography() else source


def facts(receipts: Iterable[Sourced]) -> str:
    """Facts with their receipts."""
    rows = []
    for f in receipts:
        span = "" if isinstance(f.value, str) or f.low == f.high else f"{f.low:.4g} to {f.high:.4g}"
        rows.append((f"`{f.name}`", quantity_text(f.name, f.value), span, f.kind, cited(f.source), f.where, f.note))
    return table(("fact", "value", "range, canonical", "kind", "source", "where", "note"), rows)


def chips_page() -> str:
    """Every chip preset with its facts."""
    parts = (f"## {name}\n\n{facts(chip_receipts(name))}" for name in chip_names())
    return "# Chips and their sources\n\nGuesses come first. `dse chips NAME` shows the same.\n\n" + "\n".join(parts)


def systems_page() -> str:
    """Every system preset, and the facts of those whose cables, switches and racks are known or guessed."""
    rows, known = [], []
    for name in fabric_names():
        made, found = build_fabric(name, system_facts(name)), system_facts(name)
        inside = str(found["chip"].value) if "chip" in found else "any"
        rows.append((f"`{name}`", inside, made.kind, "x".join(map(str, made.dims)), made.n_chips))
        known += [f"## {name}\n\n{facts(system_receipts(name))}"] if "n_rack_chips" in found else []
    head = "# Systems\n\n" + table(("system", "chip", "fabric", "dimensions", "chips in a domain"), rows)
    return head + "\n\n" + "\n".join(known)


def calibrations_page() -> str:
    """Every calibration with its numbers."""
    parts = (f"## {name}\n\n{facts(calibration_receipts(name))}" for name in dict.fromkeys(calibration_names()))
    return "# Calibrations\n\nWhat chips and software reach of their peaks, fitted or as a prior.\n\n" + "\n".join(
        parts
    )


def metrics_page() -> str:
    """What goals and limits may name."""
    rows = []
    for name in METRICS:
        needs = "workload and owner" if name in OWNED else "workload" if name in OF_WORKLOADS else ""
        of = "each workload" if name in PER_WORKLOAD else "free number" if name in FREE else ""
        rows.append((f"`{name}`", unit_of(name) or "1", needs, of))
    return "# Metrics and goals\n\nA unit at the end may be left out in files.\n\n" + table(
        ("name", "unit", "needs", "of"), rows
    )


def commands_page() -> str:
    """Help of every command, as it prints it."""
    text = "# Commands\n\n"
    for part in typing.get_args(Command):
        name = next(s.name for s in typing.get_args(part)[1:] if hasattr(s, "name"))
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            main([name, "--help"])
        plain = re.sub(r"\x1b\[[0-9;]*m", "", said.getvalue())
        text += f"## dse {name}\n\n```text\n{plain.strip()}\n```\n\n"
    return text


def api_page() -> str:
    """Every public name with its signature and docstring."""
    text = "# Public names\n\n`import dse` gives these; everything else may move.\n\n"
    for name in sorted(dir(dse)):
        thing = getattr(dse, name)
        if inspect.ismodule(thing) or not callable(thing):
            about = inspect.getdoc(thing) or "" if inspect.ismodule(thing) else repr(thing)
            text += f"## dse.{name}\n\n```text\n{about}\n```\n\n"
            continue
        with contextlib.suppress(TypeError, ValueError):
            sign = re.sub(r"(dse\.[a-z_.]+\.|pathlib\.|collections\.abc\.)", "", str(inspect.signature(thing)))
            text += f"## dse.{name}\n\n```text\n{name}{sign}\n\n{inspect.getdoc(thing) or ''}\n```\n\n"
    return text


def formulas_page() -> str:
    """Every function whose docstring names a source, with the formula as it stands there."""
    text = "# Formulas and their sources\n\nFunctions whose docstring names a work, as they stand in the code.\n\n"
    for room in ROOMS:
        found = []
        for path in sorted((ROOT / "dse" / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                doc = ast.get_docstring(node) if isinstance(node, ast.FunctionDef) else None
                if doc and "Source:" in doc:
                    works = dict.fromkeys(re.findall(r"\[([a-z]+\d{4}[a-z0-9]*)\]", doc))
                    links = ", ".join(cited(w) for w in works)
                    place = path.relative_to(ROOT)
                    found.append(f"### {node.name}\n\n`{place}`; {links}\n\n```text\n{doc}\n```\n")
        if found:
            text += f"## {room}\n\n" + "\n".join(found) + "\n"
    return text


def bibliography_page() -> str:
    """Every work that facts and formulas cite."""
    works = (
        f"({w.key})=\n## {w.key}\n\n{w.title} ({w.year}). {f'<{w.url}>' if w.url else ''}\n"
        for w in bibliography().values()
    )
    return "# Bibliography\n\n" + "\n".join(works)


def shipped_page() -> str:
    """What comes along."""
    rows = ((f"`{r['command']}`", r["question"]) for r in shipped_rows())
    return "# Studies that come along\n\n" + table(("command", "question"), rows)


def stage(folder: Path) -> None:
    """Fill an empty folder with all sources."""
    shutil.copytree(ROOT / "docs", folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    shutil.copytree(ROOT / "notebooks", folder / "tutorial", ignore=shutil.ignore_patterns(".*"))
    for page in folder.rglob("*.md"):
        for image in IMAGE.findall(page.read_text(encoding="utf-8")):
            place = page.parent / image
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / "docs" / page.parent.relative_to(folder) / image, place)
    reference = folder / "reference"
    reference.mkdir()
    pages = {f"{kind}_keys": schema_page(kind) for kind in KINDS}
    pages |= {
        "commands": commands_page(), "metrics": metrics_page(), "systems": systems_page(), "chips": chips_page(),
        "calibrations": calibrations_page(), "api": api_page(), "formulas": formulas_page(), "shipped": shipped_page(),
        "bibliography": bibliography_page(),
    }  # fmt: skip
    for name, text in pages.items():
        (reference / f"{name}.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    stage(Path(sys.argv[1]))
