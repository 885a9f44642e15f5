"""Small windows of catchments, reaches, water and terrain: drawn at random, or as text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from hypothesis import strategies as st
from scipy import ndimage

from headwater.geo.grid import RasterGrid
from headwater.waterways.lines.catchment_raster import NO_LABEL, Labels, burn_labels

EIGHT = np.ones((3, 3), bool)


@dataclass(frozen=True, repr=False)
class Window:
    """What the steps take; one unit of its coordinates is a cell, y goes down from 0."""

    drawn: np.ndarray
    """(y, x) catchment of each cell before reaches are burned."""
    reaches: np.ndarray
    grid: RasterGrid
    labels: Labels
    water: np.ndarray
    elevation: np.ndarray
    random: np.random.Generator

    def _repr_pretty_(self, printer, cycle):
        rows = np.where(self.labels.reach_mask, "R", np.where(self.water, "w", ".")).tolist()
        printer.text("\n".join("".join(row) for row in rows))


@st.composite
def windows(draw, most=28):
    """Windows with some reaches, which may cross and touch, and ragged catchments, with and without their reach."""
    height, width = draw(st.integers(12, most)), draw(st.integers(12, most))
    count, sites, ragged = draw(st.integers(1, 4)), draw(st.integers(0, 5)), draw(st.sampled_from([0, 0.5, 3]))
    wetness, grain = draw(st.sampled_from([0.1, 0.3, 0.5, 0.8])), draw(st.sampled_from([0, 0.6, 1, 2]))
    relief = draw(st.sampled_from(["flat", "steps", "noise", "hills"]))
    random = np.random.default_rng(draw(st.integers(0, 9999)))
    reaches = []
    for _ in range(count):
        line = random.integers(2 * 16, [(width - 2) * 16, (height - 2) * 16], (random.integers(2, 5), 2)) / 16
        if reaches and random.random() < 0.5:
            # It flows on from another one.
            line[0] = reaches[-1][-1]
        reaches.append(line)
    reaches_drawn = np.array([shapely.LineString(np.column_stack([x, -y])) for x, y in (r.T for r in reaches)])
    at = np.concatenate([np.concatenate(reaches), random.uniform(0, [width, height], (sites, 2))])
    of = [*np.repeat(np.arange(count), [len(r) for r in reaches]), *random.integers(NO_LABEL, count, sites)]
    rows, columns = np.indices((height, width)) + 0.5
    far = np.hypot(columns[..., None] - at[:, 0], rows[..., None] - at[:, 1])
    drawn = np.array(of)[(far + ragged * random.normal(size=far.shape)).argmin(axis=-1)]
    # Catchments end before the window does, so that the same ones fit into a larger window.
    drawn[[0, -1]] = drawn[:, [0, -1]] = NO_LABEL
    grid = RasterGrid(west=0.0, north=0.0, dx=1.0, dy=1.0, width=width, height=height)
    noise = ndimage.gaussian_filter(random.normal(size=drawn.shape), grain)
    water = noise >= np.quantile(noise, 1 - wetness)
    elevation = {
        "flat": np.zeros(drawn.shape),
        "steps": random.integers(0, 4, drawn.shape),
        "noise": random.normal(0, 5, drawn.shape),
        "hills": 40 * ndimage.gaussian_filter(random.normal(size=drawn.shape), 3),
    }[relief]
    elevation = (np.rint(elevation * 256) / 256).astype(np.float32)
    return Window(drawn, reaches_drawn, grid, burn(drawn, reaches_drawn, grid), water, elevation, random)


def burn(drawn, reaches, grid, north=0, west=0):
    """Burn what is drawn cell by cell, its corner lying so many cells south and east of the window's."""
    catchments, of = [], []
    for label in np.unique(drawn[drawn >= 0]):
        edges = np.diff(np.pad(drawn == label, ((0, 0), (1, 1))).astype(int), axis=1)
        (row, first), (_, end) = np.nonzero(edges == 1), np.nonzero(edges == -1)
        catchments.append(shapely.union_all(shapely.box(first, -row - 1, end, -row)))
        of.append(label)
    grid = RasterGrid(
        west=grid.west - west,
        north=grid.north + north,
        dx=1.0,
        dy=1.0,
        width=grid.width + 2 * west,
        height=grid.height + 2 * north,
    )
    return burn_labels(np.array(catchments, dtype=object), np.array(of, np.int64), reaches, grid)


def picture(text):
    """Read labels and water: `A` the reach of catchment 0, `a` water, `.` land there; `B`, `b` and `,` in catchment 1.

    An outermost ring without catchments is added.
    """
    rows = [row.strip() for row in text.strip().splitlines()]
    cells = np.pad(np.array([list(row) for row in rows]), 1, constant_values="-")
    catchment = np.full(cells.shape, NO_LABEL, np.int32)
    catchment[np.isin(cells, ["A", "a", "."])] = 0
    catchment[np.isin(cells, ["B", "b", ","])] = 1
    reaches = [np.flatnonzero(cells == letter) for letter in "AB"]
    labels = Labels(
        catchment,
        np.isin(cells, ["A", "B"]),
        np.zeros(0, np.int64),
        np.concatenate(reaches),
        np.cumsum([0, *map(len, reaches)]),
    )
    return labels, np.isin(cells, ["a", "b"])


def drawing(lines, water, labels):
    """Write lines as text, to compare with a picture: `#` lines, `o` water that is none, `A` and `B` reaches."""
    cells = np.where(lines, "#", np.where(water, "o", "."))
    for label in range(labels.count):
        cells[reach_of(labels, label)] = "AB"[label]
    return "\n".join("".join(row) for row in cells[1:-1, 1:-1])


def text(drawn):
    return "\n".join(row.strip() for row in drawn.strip().splitlines())


def reach_of(labels, label):
    """Cells the reach of a label runs through, (y, x) bool."""
    cells = np.zeros(labels.catchment.shape, bool)
    cells.ravel()[labels.reach_cells[labels.reach_start[label] : labels.reach_start[label + 1]]] = True
    return cells


def checkered(labels):
    """Upper left corners of squares in which two catchments cross, (n, 2)."""
    a, b, c, d = labels[:-1, :-1], labels[:-1, 1:], labels[1:, :-1], labels[1:, 1:]
    return np.argwhere((a == d) & (b == c) & (a != b) & (a >= 0) & (b >= 0))


def connected_to(cells, reach):
    """Whether each of some cells is connected to the reach, in 8 neighbors, (y, x) bool."""
    number, _ = ndimage.label(cells | reach, EIGHT)
    return cells & np.isin(number, np.setdiff1d(number[reach], 0))


def joined_water(window):
    """Water that is connected to the reach of its catchment."""
    labels = window.labels
    water = np.zeros(window.grid.shape, bool)
    for label in range(labels.count):
        own = window.water & (labels.catchment == label) & ~labels.reach_mask
        water |= connected_to(own, reach_of(labels, label))
    return water
