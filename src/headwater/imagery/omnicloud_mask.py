"""The cloud mask "omnicloudmask": the class map of OmniCloudMask. Needs the extra `masks`.

Source: Wright et al. 2025, Remote Sensing of Environment 322.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headwater.core.errors import InputError
from headwater.imagery.masks import CloudMask

_CLEAR_CLASS = 0
"""OmniCloudMask: 0 clear, 1 thick cloud, 2 thin cloud, 3 shadow."""


def classify(dn: NDArray[np.uint16]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return where harmonized N, R, G, B (band, y, x) show the ground, and where all bands have a value.

    Raises
    ------
    InputError
        The package is not installed.
    """
    try:
        from omnicloudmask import predict_from_array
    except ImportError:
        raise InputError(
            "The mask 'omnicloudmask' needs a package that is not installed.",
            "Install it with `pip install '.[masks]'` in the clone of Headwater, or set composite.mask to scl.",
        ) from None
    nir, red, green, _ = dn.astype(np.float32)
    classes = predict_from_array(np.stack([red, green, nir]), no_data_value=0, apply_no_data_mask=True)[0]
    inside = (dn != 0).all(axis=0)
    return (classes == _CLEAR_CLASS) & inside, inside


MASK = CloudMask(reads_scl=False, context_px=128, classify=classify)
