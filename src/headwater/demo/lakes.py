"""Lakes and reservoirs of wide planets: valleys dammed at many places, to many sizes.  Pure arrays."""

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
    """The end of a reservoir, in (row, column)."""

    row: int
    column: int
    towards: tuple[float, float]
    """Direction of the river there."""


def add_lakes(
    z: NDArray[np.float64],
    order: NDArray[np.int32],
    receiver: NDArray[np.int32],
    area_km2: NDArray[np.float32],
    taken: NDArray[np.bool_],
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
        (y, x) metres, flooded.
    order, receiver, area_km2
        Flow over `z`, flat.
    taken
        (y, x) True where no lake may be.
    bodies
        (y, x) numbers of the ponds; lakes go on counting.
    parameters
        How many lakes and reservoirs.
    pixel_km2
        Area of a pixel.
    gradient_m
        Fall per pixel over lakes.
    rng
        Where, and how large.

    Returns
    -------
    kinds
        Of the new bodies, in the order of their numbers.
    dams
        Of the reservoirs.
    """
    flat, shape = z.ravel(), z.shape
    land_km2 = float(order.size) * pixel_km2
    wanted = [RESERVOIR] * parameters.reservoirs + [LAKE] * parameters.lakes
    kinds: list[int] = []
    dams: list[Dam] = []
    number = int(bodies.max())
    blocked = taken.copy()
    for kind in wanted:
        for _ in range(8):  # a place that does not fit is given up for another
            catchment = land_km2 * float(np.exp(rng.uniform(np.log(0.001), np.log(0.12))))
            near = order[(area_km2[order] > 0.8 * catchment) & (area_km2[order] < 1.25 * catchment) & (flat[order] > 1)]
            if near.size == 0:
                continue
            outlet = int(rng.choice(near))
            upstream = upstream_mask(order, receiver, outlet)
            size = min(land_km2 * float(np.exp(rng.uniform(np.log(6e-5), np.log(4e-3)))), 0.25 * catchment)
            rise = np.sort(flat[upstream] - flat[outlet])
            height = min(float(rise[min(int(size / pixel_km2), rise.size - 1)]), 70.0 if kind == RESERVOIR else 25.0)
            labels, _ = ndimage.label((upstream & (flat < flat[outlet] + height)).reshape(shape), np.ones((3, 3)))
            lake = labels == labels.ravel()[outlet]
            rows, columns = np.nonzero(lake)
            window = (slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1))
            if not 12 <= rows.size <= 4 * size / pixel_km2 + 40 or height <= 0 or blocked[window][lake[window]].any():
                continue
            fall = fall_to_outlet(lake, outlet, gradient_m)[lake]
            z[lake] = flat[outlet] + height - fall.max() + fall
            # Creeks of a pixel's width are flooded but not mapped as lake.
            padded = np.pad(lake[window], 2)
            opened = (ndimage.median_filter(padded, 5) & padded)[2:-2, 2:-2]
            blobs, count = ndimage.label(opened)
            if count == 0:
                continue
            opened = blobs == 1 + int(np.argmax(np.bincount(blobs.ravel())[1:]))
            number += 1
            bodies[window][opened] = number
            reach = 12
            around = (
                slice(max(0, window[0].start - reach), window[0].stop + reach),
                slice(max(0, window[1].start - reach), window[1].stop + reach),
            )
            blocked[around] |= ndimage.binary_dilation(lake[around], iterations=reach)
            if kind == RESERVOIR:
                row, column = divmod(outlet, shape[1])
                below = np.array(divmod(int(receiver[outlet]), shape[1]), float) - (row, column)
                dams.append(Dam(row, column, (float(below[0]), float(below[1]))))
                kinds.append(RESERVOIR)
            else:  # playas: shallow lakes of dry land
                kinds.append(SEASONAL_LAKE if height < 6 and rng.random() < 0.5 / parameters.wetness else LAKE)
            break
    return kinds, dams


def fall_to_outlet(lake: NDArray[np.bool_], outlet: int, gradient_m: float) -> NDArray[np.float64]:
    """Height (y, x; millimetres a pixel, in metres) that leads the lake's water along its middle to the outlet.

    On a level lake the flow would run in a ladder of parallel lines.
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
