"""Which layers see everything and which a window, by the keys of the files of each family."""

from __future__ import annotations

from collections.abc import Callable

from ..config_file import Fields
from .common import every, rotary_layers, typed_windows

Windows = Callable[[Fields, int], list[int]]


def first_of(f: Fields, n: int, *, period: int, width: int) -> list[int]:
    """Every `period`-th layer counted from 0 sees everything, the others a window (CWM, Granite with windows)."""
    w = f.optional("sliding_window", width)
    f.skip("layer_rope_theta")
    return typed_windows(f, n, w, [0 if i % period == 0 else w for i in range(n)])


def no_windows(f: Fields, n: int) -> list[int]:
    """Every layer sees everything."""
    types = f.words("layer_types", length=n, allowed=("full_attention",))
    return [0] * len(types or range(n))


def all_windows(f: Fields, n: int, *, width: int = 0) -> list[int]:
    """Every layer has the window that the file states (Mistral)."""
    return typed_windows(f, n, w := f.optional("sliding_window", width), [w] * n)


def late_windows(f: Fields, n: int, *, used: bool = False, first: int = 28, width: int = 4096) -> list[int]:
    """Layers from `max_window_layers` on have a window, if windows are used at all (Qwen)."""
    used = f.flag("use_sliding_window", default=used)
    w = f.optional("sliding_window", width) if used else 0
    # files say how wide windows are even where no layer has one
    f.skip("sliding_window", "max_window_layers")
    whole = f.whole("max_window_layers", default=first, least=0) if used else n
    return typed_windows(f, n, w, [w if i >= whole else 0 for i in range(n)])


def periodic_windows(f: Fields, n: int, *, period: int, width: int) -> list[int]:
    """All layers but every `period`-th have a window; the file may state another period (Gemma, Cohere, EXAONE)."""
    f.whole("sliding_window", "sliding_window_size", default=width)  # Gemma 2 states it under both names
    w = f.optional("sliding_window", width)
    pattern = f.raw.get("sliding_window_pattern")
    if isinstance(pattern, str):
        letters = f.text("sliding_window_pattern", default="")
        if not letters or set(letters) - {"L", "G"}:
            raise f.error("sliding_window_pattern", "a period, or letters L (window) and G (everything)")
        default = [w if letters[i % len(letters)] == "L" else 0 for i in range(n)]
    else:
        default = every(n, f.whole("sliding_window_pattern", "_sliding_window_pattern", default=period), w)
    return typed_windows(f, n, w, default)


def rope_windows(f: Fields, n: int) -> list[int]:
    """Layers without rotary positions have a window, if windows are used (SmolLM3)."""
    used = f.flag("use_sliding_window", default=False)
    f.skip("max_window_layers")  # the layers' positions say it
    w = f.optional("sliding_window", 0)
    return typed_windows(f, n, w, [w if used and not r else 0 for r in rotary_layers(f, n, n)])
