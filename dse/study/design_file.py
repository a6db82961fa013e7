"""The chip file of a design, which every command takes in place of a preset."""

from __future__ import annotations

import dataclasses

from ..hardware.chip import Chip
from ..hardware.own_chip import chip_toml
from ..hardware.presets import seat
from .design import Choice
from .study import Study


def design_toml(study: Study, choice: Choice, chip: Chip, where: str) -> str:
    """The text of a chip file for a design of `study` with the discrete `choice`; `where`: what its receipts say."""
    base = study.baseline
    # a design has the structure of its baseline, whose package it need not have: the study names one for all designs
    made = dataclasses.replace(chip, package=study.package)
    return chip_toml(made, where, seat(base.chip.name, choice.system or base.name))
