"""Labels: water types burned onto a cell's grid, coarsened, and converted to the values that training reads."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import numpy.typing as npt
from rasterio.features import rasterize

from headwater.evaluate.nhd import WATER_TYPES, box_meets
from headwater.geo.grid import RasterGrid

UNKNOWN_TYPE = 255
"""Pixels that nobody has mapped; they are not counted."""

TypeArray = npt.NDArray[np.uint8]

_VALUES = np.zeros(256, dtype=np.float32)
_VALUES[UNKNOWN_TYPE] = 0.5
for _type, (_, _value) in WATER_TYPES.items():
    _VALUES[_type] = _value


def burn_types(features: gpd.GeoDataFrame, grid: RasterGrid) -> TypeArray:
    """Burn features onto a grid.

    Parameters
    ----------
    features : GeoDataFrame
        Columns water_type and geometry in EPSG:4326.
    grid : RasterGrid
        Grid of the result.

    Returns
    -------
    (y, x) uint8
        Water type, 0 where there is none. Lines are one pixel wide; the later type of `WATER_TYPES` wins.
    """
    shapes = features.geometry.to_numpy()
    types = features["water_type"].to_numpy()
    inside = box_meets(shapes, grid.bounds)
    order = np.argsort(types[inside], kind="stable")
    pairs = [(shapes[inside][i], int(types[inside][i])) for i in order]
    if not pairs:
        return np.zeros(grid.shape, dtype=np.uint8)
    burned: TypeArray = rasterize(
        pairs, out_shape=grid.shape, transform=grid.transform, fill=0, dtype="uint8", all_touched=False
    )
    return burned


def values_of_types(types: TypeArray) -> npt.NDArray[np.float32]:
    """Return the training value of each pixel: 0 land, between 0 and 1 not counted, from 1 water of that weight."""
    values: npt.NDArray[np.float32] = _VALUES[types]
    return values


def water_and_counted(types: TypeArray, factor: int = 2) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return, at the resolution of predictions, where water is and what is scored: P** and R** of the paper.

    Parameters
    ----------
    types : (y, x) uint8
        Water types; both sides divide by `factor`.
    factor : int
        Pixels along a side.

    Returns
    -------
    water, counted : (y / factor, x / factor) bool
        Types that training masks, and what nobody has mapped, are not counted (see `coarsen_types`).
    """
    values = values_of_types(coarsen_types(types, factor))
    water: npt.NDArray[np.bool_] = values >= 1
    return water, water | (values == 0)


def _ranked() -> TypeArray:
    """Return all 256 types, weakest first: no water, then unknown, then masked in training, then water; later wins."""
    types = np.arange(256)
    kind = np.select([_VALUES == 0, types == UNKNOWN_TYPE, _VALUES < 1], [0, 1, 2], 3)
    ranked: TypeArray = np.lexsort((types, kind)).astype(np.uint8)
    return ranked


_TYPE_OF_RANK = _ranked()
_RANK_OF_TYPE = np.argsort(_TYPE_OF_RANK).astype(np.uint8)


def coarsen_types(types: TypeArray, factor: int = 2) -> TypeArray:
    """Return one type for each `factor` x `factor` pixels: the resolution that predictions have.

    As in training a coarse pixel is water where any of its pixels is. Where none is, it is masked if any is (training
    takes it for land unless all are), then unknown if any is, and land only if all are.

    Parameters
    ----------
    types : (y, x) uint8
        Water types; both sides divide by `factor`.
    factor : int
        Pixels along a side.
    """
    rows, columns = types.shape
    if rows % factor or columns % factor:
        raise ValueError(f"the sides {types.shape} do not divide by {factor}")
    ranks = _RANK_OF_TYPE[types].reshape(rows // factor, factor, columns // factor, factor)
    coarse: TypeArray = _TYPE_OF_RANK[ranks.max(axis=(1, 3))]
    return coarse
