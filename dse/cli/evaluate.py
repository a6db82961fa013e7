"""Commands for a model on one chip, `dse evaluate`, and on several chips, `dse compare`."""

from __future__ import annotations

import dataclasses
import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from ..core.errors import SpecError
from ..report.terminal import progress, show, start_jax
from . import flags
from .flags import check_above_zero, chips_of, counted, length_of, promise_of, rents_of

if TYPE_CHECKING:
    from ..serving.curve import Promise
    from ..workload.transformer import Workload


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Step time, power, memory and bottlenecks of a model on a chip, with an error band."""

    chip: flags.CHIP
    model: flags.MODEL
    phase: Literal["training", "prefill", "decode"] = "training"
    """What the model does."""
    chips: flags.COUNT = None
    """Chips; by default one scale-up domain, or as many domains as hold the model."""
    plan: Annotated[str, tyro.conf.arg(metavar="PLAN")] = "auto"
    """Who does what, such as tp=8,pp=4,dp=2, by chips or by all of their logical cores; auto takes the fastest plan of
    chips that fits."""
    batch: flags.COUNT = None
    """Sequences per step; by default 4 per chip in training, 16 in decode, 1 in all in prefill."""
    sequence: flags.COUNT = None
    """Training: tokens per sequence; by default 8192 or the model's longest."""
    context: flags.COUNT = None
    """Decode: tokens in the KV cache of each sequence; by default 8192 or the model's longest."""
    prompt: flags.COUNT = None
    """Prefill: new tokens of each sequence; by default 8192 or the model's longest."""
    chunk: flags.COUNT = None
    """Prefill: tokens per pass; by default the whole prompt."""
    cached: flags.COUNT = None
    """Prefill: tokens of each sequence that are in the cache already; by default none."""
    precision: flags.PRECISION = None
    """Training: precision of the linear layers; by default bf16."""
    weights: flags.STORAGE = None
    """Inference: storage of the weights, by default as the file says: bf16, fp8, mxfp4 (or fp4), nvfp4, int8, int4,
    q4_k_m; parts may differ, such as bf16,experts=mxfp4."""
    kv: flags.STORAGE = None
    """Inference: storage of the KV cache, likewise; by default bf16."""
    system: Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="")] = None
    """System preset; by default the largest made of the chip."""
    json: flags.JSON = False

    def run(self) -> None:
        """Evaluate and show."""
        start_jax()
        from ..economy.presets import own_terms
        from ..evaluation.breakdown import find, find_room
        from ..hardware.presets import chip_system
        from ..lowering.plan import parse_plan
        from ..report.evaluated import evaluation_view, finding_json

        counted("chips", self.chips)
        own_terms(self.chip)
        system = chip_system(self.chip, self.chips, self.system)
        plan = None if self.plan == "auto" else parse_plan(self.plan)
        note = ""
        if self.chips is None:  # may grow until the model fits; a number that is named may not
            n, trains = system.n_chips, self.phase == "training"
            at = partial(chip_system, self.chip, within=self.system)
            # requests do not grow more because the model needs more room
            finding, note = find_room(at, n, lambda chips: self._workload(chips if trains else n), plan)
        else:
            finding = find(system, self._workload(system.n_chips), plan)
        if note:
            print(note, file=sys.stderr)
        show(self.json, lambda: finding_json(finding), lambda width: evaluation_view(finding, width))

    def _workload(self, n_chips: int) -> Workload:
        from ..workload.presets import model as preset_model
        from ..workload.requests import SIZES, workload_of

        said = {size: getattr(self, size) for sizes in SIZES.values() for size in sizes}
        given = {size: value for size, value in said.items() if value is not None}
        return workload_of(self.phase, preset_model(self.model), n_chips, given, mark="--")


@dataclasses.dataclass(frozen=True)
class Compare:
    """Rank chips by USD per million tokens on one price basis, with tokens per joule, chips needed and margin."""

    chips_: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="CHIP,CHIP,...")]
    """Chip presets, see `dse chips`, or paths of your own TOML files; "all" stands for all presets."""
    model: flags.MODEL
    phase: Literal["serving", "training", "prefill", "decode"] = "serving"
    """Requests with their queue, or one phase alone: a step of training, reading prompts of --in tokens, or a token for
    every sequence of a context of --in tokens."""
    prompt: Annotated[int, tyro.conf.arg(name="in", metavar="N")] = 2000
    """Tokens in; of a training step, of a sequence."""
    output: Annotated[int | None, tyro.conf.arg(name="out", metavar="N", help_behavior_hint="(default: 300)")] = None
    """Tokens out of a request."""
    traffic: Annotated[float | None, tyro.conf.arg(metavar="R", help_behavior_hint="")] = None
    """Requests per second; by default chips are as busy as the promise allows."""
    tpot: flags.TEXT = None
    """Longest time per output token, such as 20ms."""
    ttft: flags.TEXT = None
    """Longest time to first token, such as 1s."""
    percentile: float = 95.0
    """Percent of requests that both limits hold for."""
    basis: flags.BASIS = None
    rent: flags.RENT = None
    chips: flags.COUNT = None
    """Largest engine tried, in chips, or of one phase the chips; by default one scale-up domain."""
    batch: flags.COUNT = None
    """Of one phase: sequences of a step; by default 4 per chip in training, 16 in decode, 1 in all in prefill."""
    precision: flags.PRECISION = None
    """Of training: precision of the linear layers; by default bf16."""
    weights: flags.STORAGE = None
    """Storage of the weights, as the model file says or bf16 by default."""
    kv: flags.STORAGE = None
    """Storage of the KV cache; by default bf16."""
    json: flags.JSON = False

    def run(self) -> int:
        """Price, rank, show; exit code 1 where no chip serves."""
        names = chips_of(self.chips_)
        promise, given = promise_of(self.tpot, self.ttft, self.percentile), rents_of(self.rent, names)
        check_above_zero(chips=self.chips, traffic=self.traffic)
        if self.phase == "serving" and (self.batch is not None or self.precision is not None):
            raise SpecError("--batch and --precision belong to one phase; add --phase training, prefill or decode")
        start_jax()
        if self.phase != "serving":
            return self._one_phase(names, promise, given)
        from ..hardware.presets import chip_system
        from ..report.ranking import ranking_numbers, ranking_view
        from ..serving.ranking import ranking
        from ..workload.presets import model
        from ..workload.requests import Requests

        served, length = model(self.model), length_of(self.prompt, self.output)
        asked = Requests(served, (length,), self.weights or served.weight_format, self.kv or "bf16")
        with progress("lowering every plan") as tell:
            systems = [chip_system(name, self.chips) for name in names]
            how = {"basis": self.basis, "rents_USD": given, "requests_per_s": self.traffic}
            rows = ranking(systems, asked, promise, **how, tell=tell)  # type: ignore[arg-type]
        show(self.json, lambda: [ranking_numbers(r) for r in rows], lambda _: ranking_view(rows))
        return 0 if any(r.engine is not None for r in rows) else 1

    def _one_phase(self, names: list[str], promise: Promise, given: dict[str, float]) -> int:
        """One phase alone, without a queue."""
        from ..report.ranking import phase_numbers, phase_view
        from ..serving.phases import phase_ranking
        from ..workload.presets import model
        from ..workload.requests import workload_of

        queued = {"traffic": self.traffic, "out": self.output}
        # its default is a number: only another one shows that it was asked for
        queued["percentile"] = None if self.percentile == Compare.percentile else self.percentile
        for flag in (name for name, value in queued.items() if value is not None):
            raise SpecError(f"--{flag} belongs to --phase serving; {self.phase} has no queue of requests")
        longest_s, other = _promised(self.phase, promise)
        if other is not None:
            raise SpecError(f"--phase {self.phase} knows no --{other}; a decode has --tpot, a prefill --ttft")
        tokens = {"training": "sequence", "prefill": "prompt", "decode": "context"}[self.phase]
        more = {"batch": self.batch, "precision": self.precision, "weights": self.weights, "kv": self.kv}
        sizes = {tokens: self.prompt, **{k: v for k, v in more.items() if v is not None}}
        asked = model(self.model)
        try:
            workload_of(self.phase, asked, 1, sizes, mark="--")
        except SpecError as error:  # tokens of every phase have one flag here
            raise SpecError(str(error).replace(f"--{tokens}", "--in")) from None
        with progress("lowering every plan") as tell:
            rows = phase_ranking(
                names, lambda n: workload_of(self.phase, asked, n, sizes, mark="--"), basis=self.basis,
                rents_USD=given, n_chips=self.chips, longest_s=longest_s, tell=tell,
            )  # fmt: skip
        show(self.json, lambda: [phase_numbers(r) for r in rows], lambda _: phase_view(rows, self.phase))
        return 0 if any(r.keeps for r in rows) else 1


def _promised(phase: str, promise: Promise) -> tuple[float | None, str | None]:
    """The longest step of a phase that is promised, and a promise that it does not know."""
    times = {"tpot": promise.tpot_s, "ttft": promise.ttft_s}
    own = times.pop({"decode": "tpot", "prefill": "ttft"}.get(phase, ""), None)
    return own, next((k for k, v in times.items() if v is not None), None)
