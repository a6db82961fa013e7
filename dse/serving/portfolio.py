"""A portfolio of served models: traffic shares, latency promises, and the fleet that meets them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import numpy as np
import pydantic

from ..core.errors import DseError, SpecError
from ..core.files import read_toml
from ..core.schemas import Named, Schema, Seconds, complaints, titled
from ..core.shipped import check_kind, shipped
from ..workload.presets import model as preset_model
from ..workload.presets import model_names
from ..workload.requests import Length, Requests
from .curve import Curve, Promise, Serving


@dataclasses.dataclass(frozen=True)
class Service:
    """One model of a portfolio."""

    name: str
    requests: Requests
    traffic_frac: float
    """Share of all requests."""
    promise: Promise


@dataclasses.dataclass(frozen=True)
class Portfolio:
    """Models served together."""

    name: str
    requests_per_s: float
    services: tuple[Service, ...]


@dataclasses.dataclass(frozen=True)
class Sized:
    """The part of a fleet that serves one model."""

    service: Service
    engine: Serving
    busy_chips: float
    """Chips it would take if engines came in fractions."""
    n_chips: int

    @property
    def utilisation_frac(self) -> float:
        """Share of the chips that the traffic needs."""
        return self.busy_chips / self.n_chips


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class _Kind(_Strict):
    """Requests of one length."""

    prompt: pydantic.PositiveInt = pydantic.Field(alias="in")
    """Tokens of the prompt."""
    output: pydantic.PositiveInt = pydantic.Field(alias="out")
    """Tokens of the answer."""
    share: float = 1.0
    """Share of the model's requests; the shares of a model add up to 1."""


class _Model(_Strict):
    """One model in service."""

    model: Annotated[str, Named(model_names, ".json")]
    """Model preset, or the path of a Hugging Face config.json."""
    traffic: float
    """Share of all requests; the shares of all models add up to 1."""
    weights: str | None = None
    """Stored format of the weights, such as "fp8" or "bf16,experts=mxfp4"; left out, as the model file says."""
    kv: str = "bf16"
    """Stored format of keys and values."""
    requests: list[_Kind]
    """Lengths of its requests."""
    tpot: Seconds | None = None
    """Promise: time per token of the answer."""
    ttft: Seconds | None = None
    """Promise: time to the first token."""


class _Head(_Strict):
    """The service as a whole."""

    name: str
    """Names the results."""
    requests_per_s: pydantic.PositiveFloat
    """Requests to all models together, per second."""
    percentile: float = 95.0
    """Percent of the requests that the promises hold for: 50 to below 100."""


class _File(_Strict):
    """A whole portfolio file."""

    portfolio: _Head
    """The service as a whole."""
    models: dict[str, _Model]
    """Models served together, each under a name of your own."""


def portfolio_schema() -> Schema:
    """JSON Schema of a portfolio file."""
    about = "A service of several models: `dse portfolio FILE CHIP` sizes its fleet."
    return titled(_File.model_json_schema(by_alias=True), "portfolio", about)


def load_portfolio(path: str | Path) -> Portfolio:
    """The portfolio in a TOML file, or of a shipped name; SpecError with file, key and what is allowed."""
    path = shipped(path)
    raw = read_toml(path)
    check_kind(raw, "portfolio", path)
    try:
        return _portfolio(_File.model_validate(raw))
    except pydantic.ValidationError as error:
        raise SpecError(f"{path}: {complaints(error, raw)}") from error
    except DseError as error:
        raise SpecError(f"{path}: {error}") from error


def _portfolio(spec: _File) -> Portfolio:
    if not 50 <= spec.portfolio.percentile < 100:
        raise SpecError(f"portfolio.percentile {spec.portfolio.percentile:g}: give 50 or more and less than 100")
    if not spec.models:
        raise SpecError("models: give at least one")
    total = sum(m.traffic for m in spec.models.values())
    # shares such as 0.1 have no exact binary form
    if abs(total - 1.0) > 1e-6 or any(m.traffic <= 0 for m in spec.models.values()):
        raise SpecError(f"models: traffic must be positive and add up to 1, not {total:g}")
    quantile = spec.portfolio.percentile / 100
    services = tuple(_service(name, m, quantile) for name, m in spec.models.items())
    return Portfolio(spec.portfolio.name, spec.portfolio.requests_per_s, services)


def _service(name: str, spec: _Model, quantile_frac: float) -> Service:
    lengths = tuple(Length(k.prompt, k.output, k.share) for k in spec.requests)
    model = preset_model(spec.model)
    requests = Requests(model, lengths, spec.weights or model.weight_format, spec.kv)
    return Service(name, requests, spec.traffic, Promise(spec.tpot, spec.ttft, quantile_frac))


def sized(service: Service, curve: Curve, requests_per_s: float) -> Sized | None:
    """The fewest chips in whole engines that serve `requests_per_s` within the promise, or None.

    Every engine priced competes, since little traffic may take a small one; then the one with most tokens per joule.
    """
    where = np.flatnonzero(curve.kept())
    if where.size == 0:
        return None
    p, m = curve.points, curve.menu
    busy = requests_per_s * service.requests.n_output / np.asarray(p.chip_tokens_per_s)[where]
    readers = np.asarray(p.prompt_chips_frac)[where]
    write_size = np.asarray([w.shape.system.n_chips for w in m.writers])[m.writer_index[where]]
    read_size = np.asarray([r.shape.system.n_chips for r in m.readers])[m.reader_index[where]]
    # engines apart are bought apart: each kind is rounded up to whole engines by itself
    chips = _whole(busy * (1.0 - readers), write_size) + _whole(busy * readers, read_size)
    # `lexsort` ranks by its last key first: chips, then tokens per joule
    best = int(np.lexsort((-np.asarray(p.tokens_per_J)[where], chips))[0])
    return Sized(service, curve.at(int(where[best])), float(busy[best]), int(chips[best]))


def _whole(chips: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Chips of whole engines of `size`, at least one where there is anything to do; 0 where nothing is."""
    # without the margin, rounding in the last digit would buy one engine more than a whole number of them
    return np.maximum(np.ceil(chips / size - 1e-9), chips > 0.0) * size
