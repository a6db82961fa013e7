"""The chip at hand as lines of Python: what `dse.evaluate` says of it, with what a study does otherwise in comments."""

from __future__ import annotations

from ..core.errors import SpecError
from ..lowering.served import phase_under
from ..study.convex import cools
from ..workload.requests import Requests
from .ask import Ask
from .subject import Plans, Subject, plan_texts


def python_lines(subject: Subject, ask: Ask, plans: Plans) -> str:
    """A script that evaluates the chip at hand, by its exported file; SpecError for models in service."""
    study = subject.study
    name, where = f"{study.name}-explored.toml", study.choices[ask.at.choice].system or study.baseline.name
    lines = [
        "import dse", "",
        f"chip = dse.chip({name!r})  # export it as TOML beside this script",
        f"tech = dse.chip_technology(chip, {study.package!r})",
    ]  # fmt: skip
    if not subject.is_chip:
        lines.append("# a study chooses collectives at its baseline's link speeds, `evaluate` at the chip's own")
    if cools(subject.core):
        lines.append("# the study also slows operators down to what the package is cooled for; `evaluate` does not")
    texts = plan_texts(subject, plans)
    chosen = [kept[i] for kept, i in zip(subject.space.plans, plans, strict=True)]
    each = zip(study.workloads.items(), study.calibrations.values(), texts, chosen, strict=True)
    for (label, (asked, n_chips)), calibration, plan, run in each:
        if isinstance(asked, Requests):
            raise SpecError(f"{label} is a model in service; only phases of a model can be written as Python")
        workload = phase_under(asked, run)
        fields = {k: v for k, v in vars(workload).items() if k != "model"}
        sizes = ", ".join(f"{k}={v!r}" for k, v in fields.items())
        lines += [
            "", f"workload = dse.{type(workload).__name__}(dse.model({workload.model.name!r}), {sizes})",
            f"system = dse.system({where!r}, {n_chips}, chip)",
            f"fit = dse.calibration({calibration.name!r})",
            f"found = dse.evaluate(system, workload, dse.parse_plan({plan!r}), tech=tech, calibration=fit)",
            f"print({label!r}, float(found.result.step_s), float(found.result.power_W))",
        ]  # fmt: skip
    return "\n".join([*lines, ""])
