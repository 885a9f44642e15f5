"""Composites of real dates against a clear date left out, and across the seam of two MGRS tiles.

Ten items of August 2023 (shared data, s2-multidate-33T): tiles 33TWM and 33TWL, five dates, pixels of 120 m. Grey
levels are those of composite.tif (uint8). `pytest tests/predict/test_heldout.py -s` prints the tables
of docs/benchmarks.md.
"""

from functools import cache, partial
from itertools import product

import numpy as np
import pytest
from rasterio.warp import transform

from headwater import raster
from headwater.core.files import read_json, write_json
from headwater.geo.grid import Cell
from support.steps import composite, search, select

pytestmark = pytest.mark.real

BANDS = "NRGB"
METHODS = ("best_first", "mean", "median")
TRIED_METHODS = ("best_first", *(pytest.param(method, marks=pytest.mark.long) for method in METHODS[1:]))
CLOUDY = ("20230810", "20230818")
CLEAR = ("20230813", "20230815", "20230820")
TRIED_DATES = ("20230815", *(pytest.param(date, marks=pytest.mark.long) for date in (CLEAR[0], CLEAR[2])))
DATES = tuple(sorted(CLOUDY + CLEAR))
PIXEL_M = 120.0
SEAMS = {"north edge of 33TWL, inside 33TWM": 5_100_000.0, "south edge of 33TWM, inside 33TWL": 5_090_220.0}
"""Northing of the tiles' edges, UTM zone 33."""
SEAM_CELLS = [f"N{lat}E{lon:05.1f}" for lat, lon in product(("46.0", "45.9"), np.arange(15.1, 16.25, 0.1))]
# Where one tile lies alone: in the overlap the other's pixels are half a pixel off, which would be most of the error.
ERROR_CELLS = [f"N{lat}E{lon:05.1f}" for lat, lon in product(("46.2", "45.8"), (15.3, 15.9))]
EVERY_PX = 12
"""Pixels of 10 m in one of 120 m."""


class Place:
    """The items as a catalog on disk, and composites of chosen dates."""

    def __init__(self, folder, source):
        self.folder, self.source = folder, source
        cells = [{"name": name} for name in SEAM_CELLS + ERROR_CELLS]
        plan = {"basin_id": "1", "cell_degrees": 0.1, "margin_px": 0, "basin_bounds": [15.1, 45.8, 16.3, 46.3]}
        write_json(folder / "plan.json", plan | {"cells": cells})
        self._kept = {}

    def _items(self, dates):
        """Return the pin of some dates: items as Earth Search writes them, with the files that are there."""
        catalog = self.folder / "-".join(dates)
        pin = catalog / "items.parquet"
        if pin.exists():
            return pin
        for path in self.source.glob("S2*/S2*.json"):
            if path.stem.split("_")[2] in dates:
                item = read_json(path)
                names = ("blue", "green", "red", "nir", "scl")
                item["assets"] = {name: item["assets"][name] for name in names}
                for asset in item["assets"].values():
                    asset["href"] = str(path.parent / asset["href"])
                item["links"] = []
                write_json(catalog / "stac/sentinel-2-l2a" / path.name, item)
        described = {"type": "Collection", "id": "sentinel-2-l2a", "description": "Ten items.", "license": "other"}
        write_json(catalog / "stac/sentinel-2-l2a.collection.json", described)
        options = {"years_back": 0, "max_cloud_cover": 100, "dem_collections": ()}
        search(self.folder / "plan.json", pin, url=str(catalog), datetime="2023-08-01/2023-08-31", **options)
        return pin

    def composite(self, dates, method, cell):
        """Return the composite of some dates of a cell, (5, y, x), and its grid."""
        key = (dates, method, cell)
        if key not in self._kept:
            pin = self._items(dates)
            folder = pin.parent / cell
            scenes, out = folder / "scenes.json", folder / f"{method}.tif"
            plan = self.folder / "plan.json"
            if not scenes.exists():
                select(pin, plan, cell, scenes, folder / "dem.json", cache_dir=self.folder / "cache")
            composite(scenes, plan, cell, out, method=method)
            data, _, grid, _ = raster.read_raster(out)
            self._kept[key] = data, grid
        return self._kept[key]

    def posts(self, dates, method, cells=ERROR_CELLS):
        """Return every twelfth pixel of the composites of cells, (5, n): one for each pixel of 120 m."""
        middle = slice(EVERY_PX // 2, None, EVERY_PX)
        return np.hstack([self.composite(dates, method, cell)[0][:, middle, middle].reshape(5, -1) for cell in cells])

    def line(self, dates, method, northing):
        """Return (5, n) values of the composite along a line of source pixels; 0 where no cell lies."""
        x = np.arange(499_980 + PIXEL_M / 2, 609_780, PIXEL_M)
        lon, lat = map(np.array, transform("EPSG:32633", "EPSG:4326", x, np.full_like(x, northing)))
        values = np.zeros((5, len(x)))
        for cell in SEAM_CELLS:
            west, south, east, north = Cell.from_name(cell, 0.1).bounds
            here = (lon >= west) & (lon < east) & (lat >= south) & (lat < north)
            if here.any():
                data, grid = self.composite(dates, method, cell)
                row, column = (
                    ((grid.north - lat[here]) / grid.dy).astype(int),
                    ((lon[here] - grid.west) / grid.dx).astype(int),
                )
                values[:, here] = data[:, row, column]
        return values


@pytest.fixture(scope="module")
def place(tmp_path_factory, shared_data):
    return Place(tmp_path_factory.mktemp("heldout"), shared_data / "s2-multidate-33T")


def errors(found, truth):
    """Return median absolute error, RMS error and bias of each band, over the pixels clear in both."""
    clear = (found[4] > 0) & (truth[4] > 0)
    assert clear.sum() > 1000
    difference = found[:4, clear].astype(float) - truth[:4, clear]
    return np.median(np.abs(difference), axis=1), np.sqrt((difference**2).mean(axis=1)), difference.mean(axis=1)


def shown(values):
    return " ".join(f"{value:5.1f}" for value in values)


@pytest.fixture(scope="module")
def scores(place):
    """Return errors of a method, of each other date and of no image, for a date left out."""

    @cache
    def of(held, method):
        # The date left out, scaled with its own statistics.
        truth = place.posts((held,), "best_first")
        rest = tuple(date for date in DATES if date != held)
        rows = {method: errors(place.posts(rest, method), truth)}
        rows |= {date: errors(place.posts((date,), "best_first"), truth) for date in rest}
        flat = truth.copy()
        flat[:4] = np.median(truth[:4, truth[4] > 0], axis=1)[:, np.newaxis]
        rows["constant"] = errors(flat, truth)
        for name, (median, rms, bias) in rows.items():
            print(f"{held} left out | {name:10s} | median {shown(median)} | RMS {shown(rms)} | bias {shown(bias)}")
        return rows

    return of


@pytest.mark.parametrize("held", TRIED_DATES)
@pytest.mark.parametrize("method", TRIED_METHODS)
def test_a_composite_is_nearer_to_the_date_left_out_than_other_dates_are(scores, held, method):
    rows = scores(held, method)
    median, rms, bias = rows[method]
    others = [rows[date] for date in DATES if date != held]
    # A date taken at random, and no image at all.
    assert (rms < np.mean([other[1] for other in others], axis=0)).all()
    assert (median <= np.mean([other[0] for other in others], axis=0)).all()
    assert (rms < 0.75 * rows["constant"][1]).all()
    assert (median < 0.6 * rows["constant"][0]).all()
    assert (np.abs(bias) < 3).all()
    assert (rms < 22).all()


@pytest.mark.long
def test_no_method_is_much_worse_than_another_over_the_dates(scores):
    over_dates = np.array([np.mean([scores(held, method)[method][1] for held in CLEAR], axis=0) for method in METHODS])
    assert (over_dates < 1.25 * over_dates.min(axis=0)).all()


def seam_steps(lines):
    """Return differences between neighboring lines of pixels, northward, with the seam in the middle.

    Parameters
    ----------
    lines : (line, 5, n)
        From south to north, half of them on either side of the seam.

    Returns
    -------
    signed, absolute, standard_error : (line - 1, band)
        Mean over the columns that are clear in all lines.
    """
    clear = (lines[:, 4] > 0).all(axis=0)
    assert clear.sum() > 600
    steps = np.diff(lines[:, :4][:, :, clear], axis=0)
    return steps.mean(axis=2), np.abs(steps).mean(axis=2), steps.std(axis=2) / np.sqrt(clear.sum())


def excess(lines):
    """Return how far the step across the seam is from the mean of those one pixel away, in standard errors."""
    signed, _, standard_error = seam_steps(lines)
    middle = len(signed) // 2
    away = (signed[middle - 1] + signed[middle + 1]) / 2
    noise = np.sqrt(
        standard_error[middle] ** 2 + (standard_error[middle - 1] ** 2 + standard_error[middle + 1] ** 2) / 4
    )
    return np.abs(signed[middle] - away) / noise


@pytest.mark.parametrize("method", TRIED_METHODS)
@pytest.mark.parametrize("seam", SEAMS)
def test_there_is_no_step_at_the_seam_of_two_tiles_beyond_noise(place, method, seam):
    northing = SEAMS[seam]
    offsets = (np.arange(-4, 4) + 0.5) * PIXEL_M
    line = partial(place.line, DATES, method)
    lines = np.stack([line(northing + offset) for offset in offsets])
    signed, absolute, standard_error = seam_steps(lines)
    middle = len(signed) // 2
    assert offsets[middle] == -PIXEL_M / 2
    print(
        f"{seam} | {method:10s} | across {shown(signed[middle])} | one pixel south {shown(signed[middle - 1])}"
        f" | north {shown(signed[middle + 1])} | standard error {shown(standard_error[middle])}"
        f" | absolute across {shown(absolute[middle])}"
        f" | away {shown((absolute[middle - 1] + absolute[middle + 1]) / 2)}"
    )
    assert excess(lines).max() < 4
    assert np.abs(signed[middle]).max() < 4
    # The tiles' pixels lie half a pixel apart, and neighbors hardly correlate: a little more across than away.
    assert (absolute[middle] < 1.25 * (absolute[middle - 1] + absolute[middle + 1]) / 2).all()
    # The measure sees a step: 8 of 255 levels more on one side are too many.
    raised = lines.copy()
    raised[middle + 1 :, :4] += 8
    assert excess(raised).min() > 4
