"""Differentiable hardware design-space exploration: what should the next AI chip be?

    import dse

    solution = dse.solve(dse.load_study("sweeps/trainium4.toml"))
    print(solution.delivered, solution.limits)

Names are loaded on first use, so that `dse --help` does not wait for JAX. Importing any of them switches JAX to
float64.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .core.version import __version__  # noqa: F401

if TYPE_CHECKING:
    from . import plots as plots
    from .calibrate.validate import validate as validate
    from .core.errors import DseError as DseError
    from .core.errors import PlanError as PlanError
    from .core.errors import SpecError as SpecError
    from .core.errors import UnknownNameError as UnknownNameError
    from .core.free import Free as Free
    from .core.provenance import Sourced as Sourced
    from .core.smooth import p_norm_max as p_norm_max
    from .economy.comparison import compare as compare
    from .economy.fleet_run import fleet_run as fleet_run
    from .economy.goodput import slowdown as slowdown
    from .economy.owning import deal as deal
    from .economy.owning import purchase as purchase
    from .evaluation.assembly import evaluate as evaluate
    from .explore.front import front as front
    from .explore.remedy import remedy as remedy
    from .explore.risk import risk as risk
    from .explore.sensitivity import sensitivity as sensitivity
    from .hardware.chip import Chip as Chip
    from .hardware.chip import peak_FLOPps as peak_FLOPps
    from .hardware.presets import chip as chip
    from .hardware.presets import chip_names as chip_names
    from .hardware.presets import chip_receipts as chip_receipts
    from .hardware.presets import system as system
    from .hardware.presets import system_names as system_names
    from .hardware.system import System as System
    from .lowering.demand import demand as demand
    from .lowering.memory import memory_B as memory_B
    from .lowering.plan import Plan as Plan
    from .lowering.plan import parse_plan as parse_plan
    from .lowering.plan import plans as plans
    from .optimize.curvature import curvature as curvature
    from .optimize.exact import solve_exact as solve_exact
    from .optimize.solution import Solution as Solution
    from .optimize.solve import solve as solve
    from .physics.area import block_areas as block_areas
    from .physics.area import die_area_mm2 as die_area_mm2
    from .physics.calibration import Calibration as Calibration
    from .physics.calibration import calibration as calibration
    from .physics.evaluate import Evaluation as Evaluation
    from .physics.evaluate import chip_technology as chip_technology
    from .physics.evaluate import evaluate_demand as evaluate_demand
    from .physics.evaluate import silicon as silicon
    from .physics.money import package_cost as package_cost
    from .physics.power import full_load_power_W as full_load_power_W
    from .physics.power import step_energy as step_energy
    from .physics.step import step_time as step_time
    from .study.design import Choice as Choice
    from .study.metrics import Limit as Limit
    from .study.study import Study as Study
    from .study.study import load_study as load_study
    from .sweep import results as results
    from .technology.presets import Technology as Technology
    from .workload.presets import model as model
    from .workload.presets import model_names as model_names
    from .workload.transformer import Decode as Decode
    from .workload.transformer import Model as Model
    from .workload.transformer import Prefill as Prefill
    from .workload.transformer import Training as Training

_PLACES = {
    "core.errors": "DseError PlanError SpecError UnknownNameError",
    "core.free": "Free",
    "core.provenance": "Sourced",
    "core.smooth": "p_norm_max",
    "physics.area": "block_areas die_area_mm2",
    "physics.money": "package_cost",
    "physics.power": "full_load_power_W step_energy",
    "optimize.exact": "solve_exact",
    "explore.front": "front",
    "explore.remedy": "remedy",
    "explore.risk": "risk",
    "explore.sensitivity": "sensitivity",
    "economy.goodput": "slowdown",
    "hardware.chip": "Chip peak_FLOPps",
    "hardware.presets": "chip chip_names chip_receipts system system_names",
    "hardware.system": "System",
    "lowering.memory": "memory_B",
    "lowering.plan": "Plan parse_plan plans",
    "economy.comparison": "compare",
    "study.design": "Choice",
    "economy.fleet_run": "fleet_run",
    "evaluation.assembly": "evaluate",
    "physics.evaluate": "Evaluation chip_technology evaluate_demand silicon",
    "economy.owning": "deal purchase",
    "study.study": "Study load_study",
    "study.metrics": "Limit",
    "optimize.curvature": "curvature",
    "optimize.solution": "Solution",
    "optimize.solve": "solve",
    "physics.calibration": "Calibration calibration",
    "lowering.demand": "demand",
    "physics.step": "step_time",
    "calibrate.validate": "validate",
    "sweep": "results",
    "technology.presets": "Technology",
    "workload.presets": "model model_names",
    "workload.transformer": "Decode Model Prefill Training",
}
_MODULES = ("plots",)
"""Namespaces that are modules of this package."""
_HOME = {name: place for place, names in _PLACES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name not in _HOME:
        raise AttributeError(f"module 'dse' has no attribute '{name}'")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*_HOME, *_MODULES, "__version__"])
