"""Schema of a study file: every key of its TOML tables with type, default and meaning."""

from __future__ import annotations

from typing import Annotated, Any

import pydantic

from ..core.schemas import (
    STRICT,
    BytesPerSecond,
    Measured,
    Named,
    Schema,
    both_names,
    open_table,
    quantity_schema,
    titled,
)
from ..core.text import written_unit
from ..economy.presets import host_names
from ..hardware.fabrics import fabric_names
from ..hardware.presets import chip_names, system_names
from ..physics.calibration import calibration_names
from ..technology.presets import link_names, memory_names, node_names, package_names
from .design import FREE
from .metrics import DELIVERED, METRICS
from .written_workloads import DecodeTable, PrefillTable, TrainingTable

OWN = ".toml"
"""How files of one's own chip, system, process, memory, link or package end."""


class _Strict(pydantic.BaseModel):
    model_config = STRICT


class Head(_Strict):
    """What is asked, of which chip, in which fabric."""

    name: str
    """Names the results folder: letters, digits, '.', '_' and '-'."""
    baseline: Annotated[str, Named(chip_names, OWN)]
    """The chip that speed-ups and limits such as "6x" refer to: the chip of `system`, or a file of one's own."""
    system: Annotated[str, Named(system_names, OWN)] | None = None
    """System, preset or file, whose fabric baseline and design sit in; left out, the largest that the baseline is sold
    in. Designs may choose others (`choices.system`)."""
    minimise: Annotated[str, Named(lambda: both_names(METRICS))] = DELIVERED
    """Metric to minimise; `delivered_time` is the mean of the workloads' step times over the baseline's."""
    package: Annotated[str, Named(package_names, OWN)] = "CoWoS-L"
    """Package technology of the design."""
    calibration: Annotated[str, Named(calibration_names)] | None = None
    """Fit or prior for all workloads; left out, that of each workload's phase on the baseline's family."""
    scaleout_per_dir: BytesPerSecond | None = None
    """Network share of a design's chip, one direction; left out, the baseline's. `choices.scaleout_per_dir` has several
    to choose among."""
    host: Annotated[str, Named(host_names)] | None = None
    """Server around a design, where goal, limits or axes of a front ask for money or energy; left out, the baseline's.
    A system that is chosen (`choices.system`) keeps the one that it names."""
    margin: float | None = None
    """What the owner pays for a package over what it costs to make; left out, that of the baseline's maker."""
    streams: bool = False
    """Whether blocks of baseline and designs may read ahead where SRAM has room."""


class PortfolioTable(_Strict):
    """Models in service as the workloads: `served_time`, dollars and joules per token, within their promised `tpot`.

    A promised `ttft` is not among what a study keeps, since waiting is not: `dse portfolio` sizes a fleet that does.
    """

    file: str
    """Portfolio file, beside the study."""
    chips: pydantic.PositiveInt
    """Chips that serve each model."""


class ChoiceTable(_Strict):
    """Discrete choices: every list is enumerated, every combination is a candidate.

    A kind that is left out has one entry, the baseline's.
    """

    # a list as default is no trap in here: pydantic copies it for every table
    node: list[Annotated[str, Named(node_names, OWN)]] = []
    """Process nodes of the compute dies."""
    hbm: list[Annotated[str, Named(memory_names, OWN)]] = []
    """Memory generations."""
    link: list[Annotated[str, Named(link_names, OWN)]] = []
    """Scale-up link generations."""
    n_dies: list[pydantic.PositiveInt] = []
    """Compute dies per package."""
    pe_array: list[Annotated[str, pydantic.Field(json_schema_extra={"pattern": "^[0-9]+x[0-9]+$"})]] = []
    """Rows and columns of a core's array, such as "128x128"."""
    native_fp4: list[bool] = []
    """Whether FP4 runs at twice the FP8 rate instead of at the FP8 rate."""
    spare_cores: list[pydantic.NonNegativeInt] = [1]
    """Cores of a die beyond those in use, so that a die with a bad one can be sold."""
    fp8_rate: list[pydantic.PositiveFloat] = []
    """MACs of a PE per cycle in FP8 over those in BF16; left out, the baseline's."""
    stack_capacity: list[Annotated[str | float, Measured("B")]] = []
    """Capacity of a memory stack as sold; left out, the most of its generation."""
    scaleout_per_dir: list[BytesPerSecond] = []
    """Network shares of a chip, one direction; left out, that of `[study]`. A system that says its own keeps it."""
    matrix_instruction: list[Annotated[str, pydantic.Field(json_schema_extra={"pattern": "^[0-9]+x[0-9]+$"})]] = []
    """Rows and columns that one instruction of a GPU's matrix unit makes, such as "16x8"; left out, the baseline's."""
    system: list[Annotated[str, Named(fabric_names, OWN)]] = []
    """Systems that the chip may sit in, each with domain, links, switches, cables, host and racks; left out, that of
    the baseline."""


class LimitTable(_Strict):
    """One limit: a metric at most or at least a value."""

    metric: Annotated[str, Named(lambda: both_names(METRICS))]
    """Metric, with or without its unit."""
    at_most: str | float | None = None
    """Largest value: a number in the metric's unit, a text such as "1800 W", or "6x" of the baseline."""
    at_least: str | float | None = None
    """Smallest value, written alike."""


def _ends(written: Any) -> Any:
    """A scalar under `[free]` fixes its number: both ends are the same."""
    return written if isinstance(written, list | tuple) else (written, written)


Ends = Annotated[tuple[str | float, str | float], pydantic.BeforeValidator(_ends)]
"""Lower and upper end of a free number, or the one value it is fixed at."""


class BuiltTable(_Strict):
    """The chip that was built in the budgets of the study, for `dse backtest`."""

    chip: Annotated[str, Named(chip_names, OWN)]
    """Chip preset, or the path of a chip file; limits of the study may say "built"."""


class QuestionTable(_Strict):
    """What a study is asked for, for `dse questions`."""

    asks: str
    """The question, in words."""
    by: str
    """What its sides differ in, each solved for itself: a key of [choices], or "workloads" for each alone and all."""
    note: str = ""
    """What the answer's figures do not say."""


class StudyFile(_Strict):
    """A whole study file."""

    question: QuestionTable | None = None
    """What it is asked for, where it is one of several sides."""
    study: Head
    """What is asked, of which chip, in which fabric."""
    built: BuiltTable | None = None
    """The chip that was built, where the study is a back-test."""
    workloads: dict[
        str, Annotated[TrainingTable | DecodeTable | PrefillTable, pydantic.Field(discriminator="phase")]
    ] = {}
    """What the chip is for, each under a name of your own."""
    portfolio: PortfolioTable | None = None
    """Models in service, in place of workloads."""
    choices: ChoiceTable = ChoiceTable()
    """Discrete choices."""
    free: dict[str, Ends]
    """Numbers of the chip that may be chosen."""
    limits: list[LimitTable] = []
    """Limits, each a table of its own."""


_TABLES = (
    Head, TrainingTable, DecodeTable, PrefillTable, PortfolioTable, ChoiceTable, LimitTable, BuiltTable, QuestionTable,
    StudyFile,
)  # fmt: skip
KEYS = {k for table in _TABLES for k in table.model_fields}
"""Every key of every table."""


def study_schema() -> Schema:
    """JSON Schema of a study file."""
    schema = StudyFile.model_json_schema()
    # to pydantic any key of a dictionary is as good: editors learn from here which there are
    free = {key: _free_schema(name) for key, name in both_names(FREE).items()}
    about = "Numbers of the chip: a list of two ends is a range to choose from, a scalar fixes the number."
    schema["properties"]["free"] = open_table(free, about)
    return titled(schema, "study", "One design question: `dse optimize FILE` answers it.")


def _free_schema(name: str) -> Schema:
    """A range or a fixed value of one free number."""
    one = quantity_schema(written_unit(name))
    ends = {"type": "array", "items": one, "minItems": 2, "maxItems": 2}
    return {"anyOf": [ends, *one["anyOf"]], "x-unit": one["x-unit"], "x-name": name}
