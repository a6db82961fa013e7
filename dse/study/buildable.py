"""Whether the bounds of counts hold anything that can be built, and what is near where they do not."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.errors import SpecError
from ..core.free import Free
from .design import LANES, STEPPED, Choice, steps


def check_multiples(free: tuple[Free, ...], choices: tuple[Choice, ...]) -> None:
    """Some choice must have something that can be built of every stepped number inside its bounds (see `steps`)."""
    dies = sorted({c.n_dies for c in choices})
    counts = [f for f in free if f.name in STEPPED]
    for count in counts:
        if not any(_has_multiple(count, n) for n in dies):
            told = f"hold {_no_step(count, dies)}; widen them or the choices"
            raise SpecError(f"free.{count.name}: bounds {count.lower:g} and {count.upper:g} {told}")
    # each may have its steps on dies of another number than the next: one choice must serve them all
    if not any(all(_has_multiple(c, n) for c in counts) for n in dies):
        names = ", ".join(c.name for c in counts)
        raise SpecError(f"free: no entry of choices.n_dies has multiples of itself inside the bounds of {names}")


def _no_step(count: Free, dies: Sequence[int]) -> str:
    """What bounds lack, in words; of cores, which not every multiple of the dies suits, the nearest that do."""
    what = f"choices.n_dies = {', '.join(map(str, dies))}"
    if count.name != "n_cores":
        named = {"vector_lanes": f"{LANES:g}", "scratchpad_B": "a macro", "dma_bandwidth_Bps": "16 GB/s"}
        return f"no multiple of {named.get(count.name, what)}"
    around = sorted({x for n in dies for x in steps(count.name, n, count.lower / 2, count.upper * 2)})
    near = [*[x for x in around if x < count.lower][-1:], *[x for x in around if x > count.upper][:1]]
    told = f" (nearest: {' and '.join(f'{x:g}' for x in near)})" if near else ""
    return f"no number of cores that fills a grid on each of {what}{told}"


def _has_multiple(count: Free, n_dies: int) -> bool:
    return len(steps(count.name, n_dies, count.lower, count.upper)) > 0
