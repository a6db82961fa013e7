"""Writing of results folders: results, figures, and a manifest for reproduction."""

from __future__ import annotations

import dataclasses
import platform
from pathlib import Path
from typing import Any

import jax

from ..core.files import write_json, write_text
from ..core.origin import digest, stamp
from ..core.version import __version__
from ..hardware.chip import Chip
from ..hardware.own_chip import chip_toml
from ..hardware.presets import seat
from ..optimize.solution import Solution
from ..optimize.solution_json import solution_json
from ..study.basis import guesses, source_keys, study_basis
from ..study.design import Choice
from ..study.study import Study


def write_results(folder: Path, study_text: str, solution: Solution) -> None:
    """Write `solution.json`, `manifest.json` and, where there is a design, `chip.toml` into `folder`."""
    write_json(folder / "solution.json", solution_json(solution))
    if solution.chip is not None and solution.choice is not None:
        where = f"the study {solution.study.name}, solution.json beside this file"
        text = design_toml(solution.study, solution.choice, solution.chip, where)
        write_text(folder / "chip.toml", text)
    write_json(folder / "manifest.json", study_manifest(study_text, solution.study, solution.choice))


def design_toml(study: Study, choice: Choice, chip: Chip, where: str) -> str:
    """Text of a chip file, which every command takes in place of a preset, for a design; `where`: what receipts say."""
    base = study.baseline
    # a design has the structure of its baseline, whose package it need not have: the study names one for all designs
    made = dataclasses.replace(chip, package=study.package)
    return chip_toml(made, where, seat(base.chip.name, choice.system or base.name))


def study_manifest(
    study_text: str, study: Study, choice: Choice | None = None, seed: int | None = None
) -> dict[str, Any]:
    """Where an answer came from: study, code, versions, and the facts of its choice, or of all, that it rests on."""
    basis = study_basis(study, choice)
    return {
        "study": study.name,
        # of the very text: the explorer loads an optimum for no edited study
        "study_sha256": digest(study_text.encode()),
        **stamp(),
        "dse": __version__,
        "python": platform.python_version(),
        "jax": jax.__version__,
        "float_bits": 64 if jax.config.jax_enable_x64 else 32,  # pyright: ignore[reportAttributeAccessIssue]
        "device": jax.devices()[0].device_kind,
        "seed": seed,
        "sources": source_keys(basis),
        "guesses": [f"{b.thing}: {b.fact.name}" for b in guesses(basis)],
    }
