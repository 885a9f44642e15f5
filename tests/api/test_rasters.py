"""composite, channels and predict: equal to the workflow, and on dask arrays to themselves on arrays in memory."""

import numpy as np
import pystac
import pytest
import shapely
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import headwater as hw
from headwater import raster
from headwater.geo.grid import cell_grid
from headwater.imagery.composite import composite as composite_step
from headwater.imagery.select import select
from headwater.models.channels import PAPER, RECIPES, make_channels
from headwater.predict.pipeline import quantize
from headwater.raster.arrays import located
from headwater.stac.pins import write_items
from support.local_place import CELL, MARGIN_PX, write_plan
from support.small_place import COMPOSITE_GRID, elevation_array, image_array, window, write_weights
from support.steps import predict as predict_step

TILES = {"tile_px": 64, "overlap_px": 16, "device": "cpu"}
IMAGE, ELEVATION = image_array(COMPOSITE_GRID), elevation_array()
CUTS = st.lists(st.integers(9, 70), min_size=1, max_size=3)


def chunks(cuts, length):
    """Chunk lengths that repeat `cuts` until they fill a length."""
    made = []
    while sum(made) < length:
        made.append(min(cuts[len(made) % len(cuts)], length - sum(made)))
    return tuple(made)


def with_holes(image, elevation, seed):
    """The same with missing squares and unknown heights."""
    rng = np.random.default_rng(seed)
    image, elevation = image.copy(deep=True), elevation.copy(deep=True)
    rows, columns = (rng.integers(0, image.sizes[axis], 3) for axis in ("y", "x"))
    for row, column in zip(rows, columns, strict=True):
        image.values[:4, row : row + 30, column : column + 40] = 0
        elevation.values[row // 2 : row // 2 + 9, column // 2 : column // 2 + 7] = np.nan
    return image, elevation


@settings(max_examples=12)
@given(
    rows=st.integers(4, 80), columns=st.integers(4, 80), y=CUTS, x=CUTS, seed=st.integers(0, 99),
    recipe=st.sampled_from(["paper", "relative", "drainage"]),
)  # fmt: skip
def test_a_lazy_prediction_is_the_eager_one(tmp_path_factory, rows, columns, y, x, seed, recipe):
    image = window(IMAGE, (2 * rows, 2 * columns), (10, 20))
    heights = located(elevation_array(COMPOSITE_GRID).values, COMPOSITE_GRID, name="elevation")
    image, elevation = with_holes(image, window(heights, (2 * rows, 2 * columns), (10, 20)), seed)
    weights = hw.load_checkpoint(write_weights(tmp_path_factory.getbasetemp(), RECIPES.load(recipe)))
    eager = hw.predict(image, elevation, checkpoint=weights, **TILES)
    blocks = {"y": chunks(y, 2 * rows), "x": chunks(x, 2 * columns)}
    lazy = hw.predict(image.chunk(blocks), elevation.chunk(blocks), checkpoint=weights, **TILES)
    assert lazy.chunks is not None
    assert eager.chunks is None
    xr.testing.assert_identical(lazy.compute(), eager)


def test_lazy_is_eager_with_several_networks_and_symmetries(weights, tmp_path):
    image = window(IMAGE, (150, 100))
    options = {"checkpoint": [weights, write_weights(tmp_path)], "tta": True, **TILES}
    eager = hw.predict(image, ELEVATION, **options)
    xr.testing.assert_identical(hw.predict(image.chunk(y=31), ELEVATION, **options).compute(), eager)


def test_lazy_elevation_on_another_grid_agrees_to_a_millionth(weights):
    image = window(IMAGE, (150, 130))
    eager = hw.predict(image, ELEVATION, checkpoint=weights, **TILES)
    lazy = hw.predict(image.chunk(y=40, x=50), ELEVATION.chunk(y=33, x=17), checkpoint=weights, **TILES).compute()
    np.testing.assert_allclose(lazy, eager, rtol=0, atol=1e-5)


def test_a_lazy_window_reads_only_what_it_needs(weights):
    read = []

    def note(block, block_info=None):
        read.append(block_info[0]["array-location"][1:])
        return block

    lazy = IMAGE.chunk(y=50, x=50)
    noted = lazy.copy(data=lazy.data.map_blocks(note, dtype=np.uint8, meta=np.zeros((0, 0, 0), np.uint8)))
    read.clear()
    hw.predict(noted, ELEVATION, checkpoint=weights, **TILES)[:20, :20].compute()
    # Tiles of 64 px at (0, 0) reach into the first 20 pixels of 20 m, and neighbors that start before 40 px do.
    assert max(place[0][1] for place in read) <= 150
    assert max(place[1][1] for place in read) <= 150


@pytest.mark.parametrize("form", ["paths", "arrays", "lazy"])
def test_predict_equals_the_workflow(form, paths, weights, tmp_path):
    out = tmp_path / "probability.tif"
    options = {"tile_px": 256, "overlap_px": 64, "device": "cpu"}
    predict_step(
        paths["composite"], paths["elevation"], CELL.name, write_plan(tmp_path), out, checkpoint=weights, **options
    )
    given = {
        "paths": (paths["composite"], str(paths["elevation"])),
        "arrays": (IMAGE, ELEVATION),
        "lazy": (IMAGE.chunk(y=301, x=200), ELEVATION),
    }[form]
    made = hw.predict(*given, checkpoint=weights, **options).compute()
    data, valid, grid, _ = raster.read_raster(out)
    margin = MARGIN_PX // 2
    core = made[margin:-margin, margin:-margin]
    np.testing.assert_array_equal(quantize(core.values), data[0])
    assert valid.all()
    np.testing.assert_allclose(core.x[0], grid.west + grid.dx / 2, rtol=0, atol=1e-9)
    np.testing.assert_allclose(core.y[0], grid.north - grid.dy / 2, rtol=0, atol=1e-9)


def test_predict_says_where_it_is_and_what_is_missing(weights):
    image = window(IMAGE, (100, 90), (7, 5)).copy(deep=True)
    image.values[:4, 40:60, 20:30] = 0
    made = hw.predict(image, ELEVATION, checkpoint=weights, device="cpu")
    assert made.rio.crs.to_epsg() == 4326
    assert made.shape == (50, 45)
    np.testing.assert_allclose(made.rio.transform().a, 2 * COMPOSITE_GRID.dx)
    np.testing.assert_allclose(made.x, (image.x.values[::2] + image.x.values[1::2]) / 2)
    np.testing.assert_allclose(made.y, (image.y.values[::2] + image.y.values[1::2]) / 2)
    expected = np.zeros(made.shape, bool)
    expected[20:30, 10:15] = True
    np.testing.assert_array_equal(np.isnan(made), expected)


def test_bands_are_found_by_their_labels_or_their_order(weights):
    image = window(IMAGE, (64, 64))
    expected = hw.predict(image, ELEVATION, checkpoint=weights, device="cpu")
    for other in (
        image.isel(band=[3, 4, 0, 2, 1]),
        image.isel(band=slice(4)).transpose("y", "x", "band"),
        image.assign_coords(band=[1, 2, 3, 4, 5]),
        image.drop_vars("band"),
    ):
        xr.testing.assert_identical(hw.predict(other, ELEVATION, checkpoint=weights, device="cpu"), expected)


# Of channels that sum over a neighborhood the sums start elsewhere.
CLOSE = {"relative_elevation": 1e-3, "TPI": 1e-3}


@settings(max_examples=15)
@given(
    rows=st.integers(2, 150), columns=st.integers(2, 150), y=CUTS, x=CUTS, seed=st.integers(0, 99),
    recipe=st.sampled_from(["paper", "release", "relative", "drainage", "relief", "evanet"]),
)  # fmt: skip
def test_lazy_channels_are_the_eager_ones(rows, columns, y, x, seed, recipe):
    image = window(IMAGE, (rows, columns), (10, 20))
    heights = located(elevation_array(COMPOSITE_GRID).values, COMPOSITE_GRID, name="elevation")
    image, elevation = with_holes(image, window(heights, (rows, columns), (10, 20)), seed)
    eager = hw.channels(image, elevation, recipe=recipe)
    blocks = {"y": chunks(y, rows), "x": chunks(x, columns)}
    lazy = hw.channels(image.chunk(blocks), elevation.chunk(blocks), recipe=recipe)
    assert lazy.chunks is not None
    for name in eager.channel.values:
        compare = np.testing.assert_allclose if name in CLOSE else np.testing.assert_array_equal
        tolerance = {"rtol": 0, "atol": CLOSE[name]} if name in CLOSE else {}
        compare(lazy.sel(channel=name).compute(), eager.sel(channel=name), **tolerance)


def test_channels_are_those_of_the_networks():
    image = window(IMAGE, (60, 50))
    elevation = window(located(elevation_array(COMPOSITE_GRID).values, COMPOSITE_GRID, name="e"), (60, 50))
    made = hw.channels(image, elevation, recipe=PAPER)
    expected, missing = make_channels(image.values[:4], elevation.values, PAPER)
    assert missing == 0
    np.testing.assert_array_equal(made, expected)
    assert tuple(made.channel.values) == PAPER.names
    assert made.rio.crs.to_epsg() == 4326


@pytest.mark.parametrize("form", ["parquet", "pystac", "dictionaries", "collection"])
def test_composite_equals_the_workflow(form, items, tmp_path):
    plan, pinned = write_plan(tmp_path), tmp_path / "items.parquet"
    write_items(pinned, items, url="file", query={})
    select(pinned, plan, CELL.name, tmp_path / "scenes.json", tmp_path / "dem.json", cache_dir=tmp_path / "statistics")
    composite_step(tmp_path / "scenes.json", plan, CELL.name, tmp_path / "composite.tif")
    expected = raster.read_raster(tmp_path / "composite.tif")[0]
    given = {
        "parquet": pinned,
        "pystac": pystac.ItemCollection([pystac.Item.from_dict(item) for item in items]),
        "dictionaries": items,
        "collection": {"type": "FeatureCollection", "features": items},
    }[form]
    made = hw.composite(given, IMAGE)
    np.testing.assert_array_equal(made, expected)
    assert made.band.values.tolist() == ["N", "R", "G", "B", "clear_views"]
    assert made.rio.crs.to_epsg() == 4326
    assert made.attrs["scenes"] == ["S2A_0", "S2A_1"][: len(made.attrs["scenes"])]


def test_an_area_is_cut_from_the_cell_grid(items):
    west, south, east, north = 11.9603, 8.0101, 11.9702, 8.0203
    made = hw.composite(items, (west, south, east, north))
    lattice = cell_grid(type(CELL)(8, 11, 1.0))
    column, row = (made.x.values[0] - lattice.west) / lattice.dx - 0.5, (lattice.north - made.y.values[0]) / lattice.dy
    assert abs(column - round(column)) < 1e-6
    assert round(column) % 2 == 0
    assert round(row - 0.5) % 2 == 0
    assert made.sizes["x"] % 2 == made.sizes["y"] % 2 == 0
    bounds = made.rio.bounds()
    assert bounds[0] <= west
    assert bounds[1] <= south
    assert bounds[2] >= east
    assert bounds[3] >= north
    assert bounds[2] - bounds[0] < east - west + 4 * lattice.dx
    xr.testing.assert_identical(hw.composite(items, shapely.box(west, south, east, north)), made)
