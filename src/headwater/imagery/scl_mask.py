"""The cloud mask "scl": the scene classification of Sentinel-2 L2A (classes: `headwater.core.sentinel2`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headwater.core.sentinel2 import CLEAR_SCL
from headwater.imagery.masks import CloudMask


def classify(scl: NDArray[np.uint8]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return where the scene classification (y, x) is a clear class, and where the swath is."""
    clear = np.zeros(256, bool)
    clear[list(CLEAR_SCL)] = True
    return clear[scl], scl != 0


MASK = CloudMask(reads_scl=True, context_px=0, classify=classify)
