"""What nothing else beats in every respect at once."""

from __future__ import annotations

import numpy as np


def is_unbeaten(values: np.ndarray) -> np.ndarray:
    """Which rows no other row beats or equals in all columns, less being better; of equal rows the first counts.

    Args:
        values: one row per candidate, one column per number wanted small; at most 255 columns.

    Returns:
        One truth value per row.
    """
    import moocore  # here, since its C library is slow to load and most commands draw no front

    return np.asarray(moocore.is_nondominated(values, keep_weakly=False), dtype=bool)
