"""What the commands share: flags as they look in the help."""

from __future__ import annotations

from typing import Annotated, Literal

import tyro

JSON = Annotated[bool, tyro.conf.arg(help_behavior_hint="")]
SECONDS = Annotated[float, tyro.conf.arg(metavar="S")]
COUNT = Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")]
STORAGE = Annotated[str | None, tyro.conf.arg(metavar="FORMAT", help_behavior_hint="")]
PRECISION = Annotated[
    Literal["bf16", "fp8", "fp4"] | None, tyro.conf.arg(metavar="{bf16,fp8,fp4}", help_behavior_hint="")
]
