"""Elevation of a cell from the tiles of elevation models: pure arrays (method.md section 1, Imagery)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

SEA_LEVEL_M = 0.0
SOURCE_SEA = 0
"""Source of pixels without any tile: the sea, at elevation 0."""


def fill_seams(
    elevation: NDArray[np.float32], valid: NDArray[np.bool_], *, width_px: int = 2
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Fill gaps of a pixel or two between tiles with the mean of the valid neighbours.

    Parameters
    ----------
    elevation : (y, x) float32
        Metres.
    valid : (y, x) bool
        Where it is known.
    width_px : int
        Widest gap (from either side) that is filled; wider ones are left.

    Returns
    -------
    elevation : (y, x) float32
    valid : (y, x) bool
    """
    # A seam is what a closing of the valid area closes: the open sea beyond a coast is not.
    structure = np.ones((2 * width_px + 1,) * 2, bool)
    padded = np.pad(valid, width_px, mode="edge")
    closed = ndimage.binary_closing(padded, structure)[width_px:-width_px, width_px:-width_px]
    gaps = closed & ~valid
    if not gaps.any():
        return elevation, valid
    weight = ndimage.uniform_filter(valid.astype(np.float32), 2 * width_px + 1)
    total = ndimage.uniform_filter(np.where(valid, elevation, 0).astype(np.float32), 2 * width_px + 1)
    filled = np.where(gaps, total / np.maximum(weight, 1e-6), elevation).astype(np.float32)
    return filled, valid | gaps


def merge_elevation(
    layers: list[tuple[NDArray[np.float32], NDArray[np.bool_]]],
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Merge elevation models, best first; what none covers is sea.

    Parameters
    ----------
    layers : list of ((y, x) float32 metres, (y, x) bool valid)
        One entry a collection, best first (GLO-30, then GLO-90).

    Returns
    -------
    elevation : (y, x) float32
        Metres; 0 where no layer is valid.
    source : (y, x) uint8
        Number of the layer a pixel came from, from 1; 0 is the sea.
    """
    shape = layers[0][0].shape
    elevation = np.full(shape, SEA_LEVEL_M, np.float32)
    source = np.full(shape, SOURCE_SEA, np.uint8)
    for number, (values, valid) in enumerate(layers, start=1):
        values, valid = fill_seams(values, valid)
        take = valid & (source == SOURCE_SEA)
        np.copyto(elevation, values, where=take)
        source[take] = number
    return elevation, source


def extend_edges(elevation: NDArray[np.float32], source: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Give pixels without any source the elevation of the nearest pixel that has one.

    For elevation models of one's own, which end somewhere on land: a fall to sea level there would be a false cliff.

    Parameters
    ----------
    elevation : (y, x) float32
        Metres.
    source : (y, x) uint8
        0 where nothing covers.

    Returns
    -------
    (y, x) float32
        Metres.
    """
    _, (rows, columns) = ndimage.distance_transform_edt(source == SOURCE_SEA, return_indices=True)
    return np.asarray(elevation[rows, columns])
