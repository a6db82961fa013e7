"""Readers of Hugging Face configurations by `model_type`: one function per family of models, one table of types."""

from __future__ import annotations

from .common import Body as Body
from .common import Builder
from .dense import DENSE
from .experts import EXPERTS
from .gemma import GEMMA
from .hybrid import HYBRID
from .latent import LATENT
from .minicpm import MINICPM
from .newer import NEWER
from .older import OLDER, SIZED
from .recent import RECENT
from .small import SMALL
from .state_space import STATE_SPACE
from .vision import TEXT, VISION

FAMILIES: dict[str, Builder] = (
    DENSE | OLDER | EXPERTS | MINICPM | RECENT | GEMMA | LATENT | HYBRID | STATE_SPACE | SIZED | VISION | NEWER | SMALL
)
"""Model type to what reads it."""
TYPES: tuple[str, ...] = tuple(sorted({*FAMILIES, *TEXT}))
"""Every type that can be read, wrappers of a language model included."""
