"""Lakes and reservoirs of wide planets: dammed valleys of many sizes.  Pure arrays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage

from headwater.demo.erosion import travel_cost
from headwater.demo.planet_parameters import PlanetParameters

POND, SEASONAL_POND, LAKE, SEASONAL_LAKE, RESERVOIR = 1, 2, 3, 4, 5


class Dam(NamedTuple):
    """The dam at the end of a reservoir."""

    row: int
    column: int
    direction: tuple[float, float]
    """(row, column) step along the river."""


def add_lakes(
    z: NDArray[np.float64],
    order: NDArray[np.int32],
    receiver: NDArray[np.int32],
    area_km2: NDArray[np.float32],
    forbidden: NDArray[np.bool_],
    bodies: NDArray[np.int32],
    parameters: PlanetParameters,
    *,
    pixel_km2: float,
    gradient_m: float,
    rng: np.random.Generator,
) -> tuple[list[int], list[Dam]]:
    """Dam valleys, raising `z` and numbering `bodies` in place.

    Parameters
    ----------
    z
        (y, x) meters, without depressions.
    order, receiver, area_km2
        Flow over `z`, flat.
    forbidden
        (y, x) True where no lake is allowed.
    bodies
        (y, x) numbers of the ponds; lakes get the next numbers.
    parameters
        Numbers of lakes and reservoirs.
    pixel_km2
        Area of a pixel.
    gradient_m
        Fall per pixel over lakes.
    rng
        Draws position and size.

    Returns
    -------
    kinds
        Kinds of the new water bodies, in the order of their numbers.
    dams
        Dams of the reservoirs.
    """
    land_km2 = float(order.size) * pixel_km2
    wanted = [RESERVOIR] * parameters.reservoirs + [LAKE] * parameters.lakes
    kinds: list[int] = []
    dams: list[Dam] = []
    number = int(bodies.max())
    blocked = forbidden.copy()
    for kind in wanted:
        for _ in range(8):  # try another place where one does not fit
            valley = _draw_valley(
                kind, z, order, receiver, area_km2, land_km2=land_km2, pixel_km2=pixel_km2, blocked=blocked, rng=rng
            )
            if valley is None:
                continue
            lake, window, outlet, height = valley
            fall = fall_to_outlet(lake, outlet, gradient_m)[lake]
            z[lake] = z.ravel()[outlet] + height - fall.max() + fall
            opened = _without_creeks(lake[window])
            if opened is None:
                continue
            number += 1
            bodies[window][opened] = number
            _block_around(blocked, lake, window)
            if kind == RESERVOIR:
                row, column = divmod(outlet, z.shape[1])
                step = np.array(divmod(int(receiver[outlet]), z.shape[1]), float) - (row, column)
                dams.append(Dam(row, column, (float(step[0]), float(step[1]))))
                kinds.append(RESERVOIR)
            else:  # playas are shallow lakes of dry land
                kinds.append(SEASONAL_LAKE if height < 6 and rng.random() < 0.5 / parameters.wetness else LAKE)
            break
    return kinds, dams


def _draw_valley(
    kind: int,
    z: NDArray[np.float64],
    order: NDArray[np.int32],
    receiver: NDArray[np.int32],
    area_km2: NDArray[np.float32],
    *,
    land_km2: float,
    pixel_km2: float,
    blocked: NDArray[np.bool_],
    rng: np.random.Generator,
) -> tuple[NDArray[np.bool_], tuple[slice, slice], int, float] | None:
    """Draw an outlet and a dam: the lake's mask, its window, the outlet and the height, or None where none fits."""
    flat = z.ravel()
    catchment = land_km2 * float(np.exp(rng.uniform(np.log(0.001), np.log(0.12))))
    near = order[(area_km2[order] > 0.8 * catchment) & (area_km2[order] < 1.25 * catchment) & (flat[order] > 1)]
    if near.size == 0:
        return None
    outlet = int(rng.choice(near))
    upstream = upstream_mask(order, receiver, outlet)
    size = min(land_km2 * float(np.exp(rng.uniform(np.log(6e-5), np.log(4e-3)))), 0.25 * catchment)
    rise = np.sort(flat[upstream] - flat[outlet])
    height = min(float(rise[min(int(size / pixel_km2), rise.size - 1)]), 70.0 if kind == RESERVOIR else 25.0)
    labels, _ = ndimage.label((upstream & (flat < flat[outlet] + height)).reshape(z.shape), np.ones((3, 3)))
    lake = labels == labels.ravel()[outlet]
    rows, columns = np.nonzero(lake)
    window = (slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1))
    if not 12 <= rows.size <= 4 * size / pixel_km2 + 40 or height <= 0 or blocked[window][lake[window]].any():
        return None
    return lake, window, outlet, height


def _without_creeks(lake: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """The largest part of a lake without its creeks of one pixel, which are flooded but not mapped as lake."""
    padded = np.pad(lake, 2)
    blobs, count = ndimage.label((ndimage.median_filter(padded, 5) & padded)[2:-2, 2:-2])
    if count == 0:
        return None
    return np.asarray(blobs == 1 + int(np.argmax(np.bincount(blobs.ravel())[1:])))


def _block_around(blocked: NDArray[np.bool_], lake: NDArray[np.bool_], window: tuple[slice, slice]) -> None:
    """Allow no further lake within 12 pixels of this one."""
    gap_px = 12
    around = (
        slice(max(0, window[0].start - gap_px), window[0].stop + gap_px),
        slice(max(0, window[1].start - gap_px), window[1].stop + gap_px),
    )
    blocked[around] |= ndimage.binary_dilation(lake[around], iterations=gap_px)


def fall_to_outlet(lake: NDArray[np.bool_], outlet: int, gradient_m: float) -> NDArray[np.float64]:
    """Height (y, x; meters) over the outlet that leads the flow along the lake's middle: millimeters per pixel.

    On a level lake the flow would form a ladder of parallel lines.
    """
    rows, columns = np.nonzero(lake)
    window = (slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1))
    shore = ndimage.distance_transform_edt(np.pad(lake[window], 1))[1:-1, 1:-1]
    steep = np.minimum(shore.max() / np.maximum(shore, 1), 8)
    row, column = divmod(outlet, lake.shape[1])
    start = (row - window[0].start) * (window[1].stop - window[1].start) + column - window[1].start
    fall = np.zeros(lake.shape)
    fall[window] = travel_cost(np.where(lake[window], 1.2 * gradient_m * steep, np.inf), start)
    return fall


@njit(cache=True, nogil=True)
def upstream_mask(order, receiver, cell):  # type: ignore[no-untyped-def]
    """Flat mask of the cells that drain through `cell`."""
    inside = np.zeros(receiver.size, np.bool_)
    inside[cell] = True
    for i in range(order.size):  # coast to ridges: a cell comes after its receiver
        if inside[receiver[order[i]]]:
            inside[order[i]] = True
    return inside
