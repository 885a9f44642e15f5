"""The elevation step on generated tiles with GLO-30's layout, in every latitude band, and on real tiles."""

import json
from collections import Counter

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine
from scipy.ndimage import map_coordinates
from shapely import MultiPolygon, box

from headwater import raster
from headwater.core.errors import InputError, WorkError
from headwater.geo.grid import Cell, RasterGrid, elevation_grid
from headwater.geo.longitudes import touches
from headwater.geo.plan import cell_boxes, read_plan
from headwater.raster.elevation_tiles import read_elevation_tile
from headwater.stac.items import Asset
from headwater.terrain import elevation as step
from headwater.terrain.surface import Surface, sample
from support.steps import elevation

MARGIN_PX = 32
COLUMNS = {0: 3600, 50: 2400, 60: 1800, 70: 1200, 80: 720, 85: 360}
"""Columns of a GLO-30 tile by the lower limit of its latitude band (product handbook), on both hemispheres."""
BAND_CELLS = {
    # Name of a cell of 0.05 degrees and the band of its tiles: in the middle of a band, and next to each of its limits.
    "N08.00E011.95": 0, "S08.05W071.95": 0, "N00.00E000.00": 0, "S00.05W000.05": 0,
    "N49.95E010.00": 0, "S50.00W070.00": 0, "N50.00E010.00": 50, "S50.05W070.00": 50,
    "N59.95E010.00": 50, "S60.00W070.00": 50, "N60.00E010.00": 60, "S60.05W070.00": 60,
    "N69.95W050.00": 60, "S70.00W070.00": 60, "N70.00W050.00": 70, "S70.05W070.00": 70,
    "N79.95W050.00": 70, "S80.00W070.00": 70, "N80.00W050.00": 80, "S80.05W070.00": 80,
    "N84.95W050.00": 80, "S85.00W070.00": 80, "N85.00W050.00": 85, "S85.05W070.00": 85,
    "N89.00W050.00": 85, "S89.05W070.00": 85,
}  # fmt: skip
WAVE_M, WAVES = 300.0, 40.0
"""The ground: height of its waves in meters, and radians per degree."""


def ground(lon, lat):
    lon = (lon + 180) % 360 - 180
    return 700 + WAVE_M * np.sin(WAVES * lon) * np.cos(WAVES * lat) + 0 * lon * lat


def centers(grid, per_degree=None):
    """Return longitudes and latitudes of pixel centers; exactly those of the posts, given their number per degree."""
    lon = grid.west + (np.arange(grid.width) + 0.5) * grid.dx
    lat = grid.north - (np.arange(grid.height) + 0.5) * grid.dy
    if per_degree:
        lon, lat = np.round(lon * per_degree) / per_degree, np.round(lat * 3600) / 3600
    return lon[np.newaxis], lat[:, np.newaxis]


def tile_name(south, west):
    return f"{'S' if south < 0 else 'N'}{abs(south):02d}{'W' if west < 0 else 'E'}{abs(west):03d}"


def write_tile(
    folder, south, west, cell, *, model=30, height=ground, missing=(), dtype="float32", nodata=None, **profile
):
    """Write a one-degree tile with the layout of GLO-30 or GLO-90; only the part around a cell has values.

    `missing` are functions of the rows and columns of the tile that are True where it has no value.
    """
    rows = 3600 if model == 30 else 1200
    # Named by the southern edge; its band is that of the edge nearest to the equator.
    band = max(limit for limit in COLUMNS if limit <= (south if south >= 0 else -south - 1))
    columns = COLUMNS[band] * rows // 3600
    grid = RasterGrid(west - 0.5 / columns, south + 1 + 0.5 / rows, 1 / columns, 1 / rows, columns, rows)
    turn = 360 * round((west - cell.bounds[0]) / 360)
    wide = 0.06 / np.cos(np.radians(cell.bounds[1]))
    around = (cell.bounds[0] + turn - wide, cell.bounds[1] - 0.06, cell.bounds[2] + turn + wide, cell.bounds[3] + 0.06)
    part = grid.window(around)
    row, column = round((grid.north - part.north) / grid.dy), round((part.west - grid.west) / grid.dx)
    values = np.broadcast_to(height(*centers(part, columns)), part.shape).astype(np.float64)
    at = np.mgrid[row : row + part.height, column : column + part.width]
    for where in missing:
        values = np.where(where(*at), np.nan if nodata is None else nodata, values)
    folder.mkdir(exist_ok=True)
    path = folder / f"glo{model}_{tile_name(south, west)}.tif"
    options = {
        "driver": "GTiff", "width": columns, "height": rows, "count": 1, "dtype": dtype, "nodata": nodata,
        "transform": grid.transform, "crs": "EPSG:4326", "tiled": True, "compress": "deflate", "SPARSE_OK": True,
    }  # fmt: skip
    with rasterio.open(path, "w", **(options | profile)) as dataset:
        for band_number in range(1, dataset.count + 1):
            window = rasterio.windows.Window(column, row, part.width, part.height)
            dataset.write(values.astype(dtype), band_number, window=window)
    return path


def tiles_around(cell):
    """Return the degrees whose tiles the cell and its margin need: longitudes within -180 and 180."""
    west, south, east, north = cell.bounds
    latitudes = sorted({int(np.floor(edge)) for edge in (south - 0.02, north + 0.02)} & set(range(-90, 90)))
    longitudes = sorted({(int(np.floor(edge)) + 180) % 360 - 180 for edge in (west - 0.06, east + 0.06)})
    return [(south, west) for south in latitudes for west in longitudes]


def write_all(folder, cell, degrees=None, **options):
    return [write_tile(folder, *degree, cell, **options) for degree in degrees or tiles_around(cell)]


def run(folder, cell, paths, *, margin_px=MARGIN_PX, epsg=4326, collections=None, **options):
    """Run the step on tiles, GLO-30 or GLO-90 by their names; return values, grid and tags."""
    folder.mkdir(exist_ok=True)
    plan = {
        "basin_id": "1", "cell_degrees": cell.degrees, "margin_px": margin_px, "basin_bounds": list(cell.bounds),
        "cells": [{"name": cell.name}],
    }  # fmt: skip
    (folder / "plan.json").write_text(json.dumps(plan))
    items = [
        {"id": p.stem, "collection": f"cop-dem-glo-{90 if 'glo90' in p.stem or 'glo_90' in p.stem else 30}",
         "href": str(p), "epsg": epsg}
        for p in sorted(paths, key=lambda p: ("90" in p.stem, p.stem))
    ]  # fmt: skip
    known = {"collections": collections} if collections else {}
    (folder / "dem.json").write_text(json.dumps({"cell": cell.name, "items": items} | known))
    out = folder / "elevation.tif"
    elevation(folder / "dem.json", folder / "plan.json", cell.name, out, **options)
    data, _, grid, tags = raster.read_raster(out)
    assert np.isfinite(data).all()
    return data[0], grid, tags


def basin(folder, polygon, name=1):
    path = folder / "basins.gpkg"
    folder.mkdir(exist_ok=True)
    gpd.GeoDataFrame({"HYBAS_ID": [name]}, geometry=[polygon], crs=4326).to_file(path, layer="b")
    return [path]


CELL = Cell.from_name("N08.00E011.95", 0.05)
HIGH = Cell.from_name("N66.00E019.95", 0.05)
WEST, SOUTH, EAST, NORTH = CELL.bounds


@pytest.mark.parametrize(("name", "band"), BAND_CELLS.items())
def test_glo30_is_unchanged_in_every_latitude_band(tmp_path, name, band):
    cell = Cell.from_name(name, 0.05)
    values, grid, tags = run(tmp_path, cell, write_all(tmp_path / "tiles", cell))
    assert grid == elevation_grid(cell, margin_px=MARGIN_PX)
    assert round(1 / grid.dx) == COLUMNS[band]
    lon, lat = centers(grid, COLUMNS[band])
    expected = ground(lon, lat).astype(np.float32)
    # The row on a degree of latitude is the first of the tile south of it.
    degree = np.where(np.ceil(lat[:, 0]) == lat[:, 0], lat[:, 0] - 1, np.floor(lat[:, 0])).astype(int)
    own = (
        np.array([COLUMNS[max(x for x in COLUMNS if x <= (d if d >= 0 else -d - 1))] for d in degree]) == COLUMNS[band]
    )
    assert own.sum() >= 181
    assert np.array_equal(values[own], expected[own])
    # Margins beyond a band limit are interpolated linearly from another spacing: curved ground is off by the sagitta.
    spacing = max(1 / columns for columns in COLUMNS.values() if columns >= COLUMNS[band] // 2) if not own.all() else 0
    sagitta = WAVE_M * (WAVES * spacing) ** 2 / 8
    assert sagitta < 0.5
    assert np.abs(values - expected)[~own].max(initial=0) <= sagitta + 1e-3
    assert tags["source"] == "sea 0.0000; cop-dem-glo-30 1.0000"
    assert (tags["seam_px"], tags["void_px"]) == ("0", "0")


@pytest.mark.parametrize(
    "name", ["S17.00E179.95", "S17.00W180.00", "N66.00E179.95", "N66.00W180.00"]
)  # Fiji and Chukotka, both sides
def test_a_cell_at_the_antimeridian_reads_the_tiles_of_both_sides(tmp_path, name):
    cell = Cell.from_name(name, 0.05)
    degrees = tiles_around(cell)
    assert {west for _, west in degrees} == {179, -180}
    values, grid, tags = run(tmp_path, cell, write_all(tmp_path / "tiles", cell, degrees))
    assert grid.bounds[0] < -180 or grid.bounds[2] > 180
    lon, lat = centers(grid, round(1 / grid.dx))
    assert np.array_equal(values, ground(lon, lat).astype(np.float32))
    assert {tile[-4:] for tile in tags["tiles"].split()} == {"E179", "W180"}
    # `select` lists these tiles: footprints as in catalogs intersect the cell's box.
    (cell_box,) = cell_boxes(read_plan(tmp_path / "plan.json"))
    touching = {west for west in (-180, -179, 178, 179) if touches(box(west, -17, west + 1, 68), cell_box)}
    assert touching == {179, -180}


@pytest.mark.parametrize("name", ["S17.00E179.95", "S17.00W180.00"])
def test_land_beyond_the_antimeridian_must_be_covered(tmp_path, name):
    cell = Cell.from_name(name, 0.05)
    polygons = basin(tmp_path / "b", MultiPolygon([box(179, -18, 180, -16), box(-180, -18, -179, -16)]))
    paths = write_all(tmp_path / "tiles", cell)
    assert run(tmp_path, cell, paths, polygons=polygons, margin_px=300)[0].all()
    for side in ("E179", "W180"):
        lonely = [path for path in paths if path.stem.endswith(side)]
        with pytest.raises(WorkError, match=rf"km2 of land in cell {cell.name}"):
            run(tmp_path, cell, lonely, polygons=polygons, margin_px=300)


@pytest.mark.parametrize(
    ("side", "lacking"),
    {
        "last column": ("west", lambda row, column: column == 1799),
        "first column": ("east", lambda row, column: column == 0),
        "last row": ("north", lambda row, column: row == 3599),
        "first row": ("south", lambda row, column: row == 0),
        "one inside": ("all", lambda row, column: row == 3500),
        "two crossing": ("all", lambda row, column: (row == 3500) | (column == 1760)),
        "a frame of each tile": (
            "all", lambda row, column: (row == 0) | (column == 0) | (column == 1799),
        ),
    }.values(),
)  # fmt: skip
def test_seams_of_one_pixel_between_tiles_are_bridged(tmp_path, side, lacking):
    # 66 N 20 E is a corner of four tiles: the cell is in one and extends into the others.
    cell = Cell.from_name("N66.00E019.95", 0.05)
    of_side = {
        "west": lambda south, west: west == 19, "east": lambda south, west: west == 20,
        "north": lambda south, west: south == 66, "south": lambda south, west: south == 65, "all": lambda *_: True,
    }[side]  # fmt: skip
    degrees = tiles_around(cell)
    assert len(degrees) == 4
    paths = [
        write_tile(tmp_path / "tiles", *degree, cell, missing=[lacking] if of_side(*degree) else [])
        for degree in degrees
    ]
    # With a wide margin the corner is well inside the raster.
    values, grid, tags = run(tmp_path, cell, paths, margin_px=128)
    expected = ground(*centers(grid, 1800))
    assert int(tags["seam_px"]) >= min(grid.shape)
    assert tags["void_px"] == "0"
    assert tags["source"] == "sea 0.0000; cop-dem-glo-30 1.0000"
    # Seams are two posts wide where tiles lack the columns on both sides of a degree: the sagitta over three posts.
    assert np.abs(values - expected).max() < 1.5


def test_a_seam_on_the_edge_of_the_raster_is_bridged_as_in_the_adjacent_cell(tmp_path):
    grid = elevation_grid(HIGH, margin_px=MARGIN_PX)
    row = round((67 - (grid.north - 0.5 * grid.dy)) * 3600)
    column = round((grid.west + 0.5 * grid.dx - 19) * 1800)
    missing = [lambda r, c: (r == row) | (c == column)]
    values, _, tags = run(tmp_path, HIGH, write_all(tmp_path / "tiles", HIGH, missing=missing))
    expected = ground(*centers(grid, 1800))
    assert int(tags["seam_px"]) > 200
    assert np.abs(values - expected)[0].max() < 0.5
    assert np.abs(values - expected)[:, 0].max() < 0.5


def test_the_ocean_is_zero_and_its_coast_is_not_a_seam(tmp_path):
    cell = Cell.from_name("N08.00E011.95", 0.05)
    degrees = [degree for degree in tiles_around(cell) if degree != (7, 12)]
    values, grid, tags = run(tmp_path, cell, write_all(tmp_path / "tiles", cell, degrees), margin_px=128)
    lon, lat = centers(grid, 3600)
    sea = (lon >= 12) & (lat <= 8)
    assert sea.any()
    assert not values[sea].any()
    assert np.array_equal(values[~sea], ground(lon, lat).astype(np.float32)[~sea])
    assert tags["source"] == f"sea {sea.mean():.4f}; cop-dem-glo-30 {1 - sea.mean():.4f}"
    assert tags["seam_px"] == "0"


def test_larger_voids_are_filled_from_glo90(tmp_path):
    lake = [lambda row, column: (np.abs(row - 3500) < 20) & (np.abs(column - 3510) < 20)]
    paths = write_all(tmp_path / "tiles", CELL, missing=lake)
    paths += write_all(tmp_path / "tiles", CELL, model=90, height=lambda lon, lat: ground(lon, lat) + 50)
    values, grid, tags = run(tmp_path, CELL, paths)
    lon, lat = centers(grid, 3600)
    filled = values != ground(lon, lat).astype(np.float32)
    assert filled.sum() == 39 * 39
    assert tags["source"].endswith(f"cop-dem-glo-90 {39 * 39 / values.size:.4f}")
    # Bicubic over three posts: the waves are long.
    assert np.abs(values - 50 - ground(lon, lat))[filled].max() < 0.05


def test_the_fallback_is_bicubic_where_the_best_model_has_no_tile_at_all(tmp_path):
    """As in the adjacent cell, which a tile of the best model still intersects."""
    paths = write_all(tmp_path / "tiles", CELL, model=90)
    both = ["cop-dem-glo-30", "cop-dem-glo-90"]
    values, grid, _ = run(tmp_path / "one", CELL, paths, collections=both)
    empty = write_all(tmp_path / "empty", CELL, missing=[lambda row, column: row >= 0])
    adjacent, _, _ = run(tmp_path / "two", CELL, paths + empty, collections=both)
    assert np.array_equal(values, adjacent)
    alone, _, _ = run(tmp_path / "three", CELL, paths, collections=both[1:])
    truth = ground(*centers(grid, 3600))
    assert np.abs(values - truth).max() < 0.5 * np.abs(alone - truth).max()


def test_voids_that_no_model_fills_are_interpolated_if_small_and_refused_if_not(tmp_path):
    small = [lambda row, column: (np.abs(row - 3500) < 8) & (np.abs(column - 3510) < 8)]
    values, grid, tags = run(tmp_path, CELL, write_all(tmp_path / "tiles", CELL, missing=small))
    assert tags["void_px"] == str(15 * 15)
    assert "; interpolated 0." in tags["source"]
    assert np.abs(values - ground(*centers(grid, 3600))).max() < 15
    large = [lambda row, column: (np.abs(row - 3500) < 20) & (np.abs(column - 3510) < 20)]
    paths = write_all(tmp_path / "tiles", CELL, missing=large)
    with pytest.raises(WorkError, match=r"1\.4 km2 of land in cell N08.00E011.95 \(1\.4 km2 of it are voids"):
        run(tmp_path, CELL, paths)
    # It is 0 where it is sea by the polygon, and with missing="zero".
    assert (run(tmp_path, CELL, paths, polygons=basin(tmp_path, box(11, 8.04, 12, 9)))[0] == 0).sum() == 39 * 39
    assert (run(tmp_path, CELL, paths, missing="zero")[0] == 0).sum() == 39 * 39
    with pytest.raises(WorkError, match="of land"):
        run(tmp_path, CELL, paths, polygons=basin(tmp_path / "o", box(11, 7, 13, 9)))


@pytest.mark.parametrize("missing", ["sea", "extend", "refuse"])
def test_a_model_without_any_value_is_refused(tmp_path, missing):
    paths = write_all(tmp_path / "tiles", CELL, missing=[lambda row, column: row >= 0])
    with pytest.raises(WorkError, match=r"cell N08\.00E011\.95"):
        run(tmp_path, CELL, paths, missing=missing)
    assert not (tmp_path / "elevation.tif").exists()


def test_land_without_tiles_is_refused_with_its_area_and_a_remedy(tmp_path):
    paths = write_all(tmp_path / "tiles", CELL, [d for d in tiles_around(CELL) if d[1] == 11])
    polygons = basin(tmp_path, box(11, 7, 12.5, 9))
    with pytest.raises(WorkError, match=r"value for \d+\.\d km2 of land in cell N08.00E011.95\.") as failed:
        run(tmp_path, CELL, paths, polygons=polygons, margin_px=300)
    area = float(failed.value.cause.split(" km2")[0].split()[-1])
    grid = elevation_grid(CELL, margin_px=300)
    uncovered = (grid.bounds[2] - 12) * (grid.north - grid.bounds[1]) * 111.2 * 110.2
    assert area == pytest.approx(uncovered, rel=0.02)
    assert "catalog.dem_collections" in failed.value.remedy
    assert "elevation.missing" in failed.value.remedy
    assert not (tmp_path / "elevation.tif").exists()
    # GLO-90 covers it.
    paths += write_all(tmp_path / "tiles", CELL, model=90)
    _, _, tags = run(tmp_path, CELL, paths, polygons=polygons, margin_px=300)
    assert tags["source"].startswith("sea 0.0000")


@pytest.mark.parametrize(
    "polygon",
    [
        box(11, 7, 12, 9),  # ends at the coast
        box(11, 7, 12 + 1 / 240, 9),  # drawn on HydroBASINS' grid, extends one of its pixels beyond the coast
        MultiPolygon([box(11, 7, 12, 9), box(12.01, 8.02, 12.02, 8.03)]),  # an islet that no model has
    ],
)
def test_a_polygon_that_extends_a_little_beyond_the_coast_is_accepted(tmp_path, polygon):
    paths = write_all(tmp_path / "tiles", CELL, [d for d in tiles_around(CELL) if d[1] == 11])
    values, grid, _ = run(tmp_path, CELL, paths, polygons=basin(tmp_path, polygon), margin_px=300)
    lon, _ = centers(grid, 3600)
    assert not values[:, lon[0] >= 12].any()


def test_the_polygon_is_that_of_the_plan_or_of_basin_id(tmp_path):
    paths = write_all(tmp_path / "tiles", CELL, [d for d in tiles_around(CELL) if d[1] == 11])
    path = tmp_path / "two.gpkg"
    shapes = [box(11, 7, 12, 9), box(11, 7, 13, 9)]
    gpd.GeoDataFrame({"HYBAS_ID": [1, 2]}, geometry=shapes, crs=4326).to_file(path, layer="b")
    run(tmp_path, CELL, paths, polygons=[path], margin_px=300)
    with pytest.raises(WorkError, match="of land"):
        run(tmp_path, CELL, paths, polygons=[path], basin_id="2", margin_px=300)
    with pytest.raises(InputError, match="Basin 3 is not in"):
        run(tmp_path, CELL, paths, polygons=[path], basin_id="3", margin_px=300)


AREA = "area-0123456789"


def test_of_an_area_what_is_in_no_tile_is_sea_with_a_warning_and_voids_of_tiles_are_not(tmp_path, capsys):
    """A box of the user's separates no land from sea."""
    polygons = basin(tmp_path, box(11, 7, 13, 9), name=AREA)
    paths = write_all(tmp_path / "tiles", CELL, [d for d in tiles_around(CELL) if d[1] == 11])
    values, _, _ = run(tmp_path, CELL, paths, polygons=polygons, margin_px=300, basin_id=AREA)
    assert values.min() == 0
    assert "in no elevation tile and are taken as sea" in capsys.readouterr().err
    run(tmp_path, CELL, write_all(tmp_path / "all", CELL), polygons=polygons, basin_id=AREA)
    assert "taken as sea" not in capsys.readouterr().err
    large = [lambda row, column: (np.abs(row - 3500) < 20) & (np.abs(column - 3510) < 20)]
    with pytest.raises(WorkError, match="are voids inside tiles"):
        run(tmp_path, CELL, write_all(tmp_path / "void", CELL, missing=large), polygons=polygons, basin_id=AREA)


def test_missing_pixels_are_sea_or_zero_or_extended_or_refused(tmp_path):
    paths = write_all(
        tmp_path / "tiles", CELL, [d for d in tiles_around(CELL) if d[1] == 11], height=lambda lon, lat: 40
    )
    polygons = basin(tmp_path, box(11, 7, 13, 9))
    assert run(tmp_path, CELL, paths, margin_px=300)[0].min() == 0
    assert run(tmp_path, CELL, paths, margin_px=300, missing="zero", polygons=polygons)[0].min() == 0
    values, _, tags = run(tmp_path, CELL, paths, margin_px=300, missing="extend", polygons=polygons)
    assert values.min() == 40
    assert tags["source"].startswith("extended 0.")
    before = (tmp_path / "elevation.tif").read_bytes()
    with pytest.raises(WorkError, match="does not cover"):
        run(tmp_path, CELL, paths, margin_px=300, missing="refuse")
    with pytest.raises(WorkError, match=r"100\.0%"):
        run(tmp_path, CELL, [], missing="extend")
    with pytest.raises(InputError, match="missing must be sea, extend, refuse or zero"):
        run(tmp_path, CELL, paths, missing="nought")
    assert (tmp_path / "elevation.tif").read_bytes() == before


def test_a_cell_without_tiles_is_sea_unless_it_is_land(tmp_path):
    values, _, tags = run(tmp_path, CELL, [], polygons=basin(tmp_path, box(0, 0, 1, 1)))
    assert not values.any()
    assert tags["source"] == "sea 1.0000"
    with pytest.raises(WorkError, match="of land in cell"):
        run(tmp_path, CELL, [], polygons=basin(tmp_path / "other", box(11, 7, 13, 9)))
    # A box that someone drew may be in the sea.
    area = basin(tmp_path / "area", box(11, 7, 13, 9), name=AREA)
    values, _, _ = run(tmp_path, CELL, [], polygons=area, basin_id=AREA)
    assert not values.any()


def test_each_tile_is_opened_once_and_the_fallback_only_if_pixels_are_missing(tmp_path, monkeypatch):
    opened = Counter()

    def counting(signing, token_url, hosts):
        def sign(asset, *, renew=False):
            opened[asset.href] += 1
            return asset.href

        return sign

    monkeypatch.setattr(step, "make_signer", counting)
    paths = write_all(tmp_path / "tiles", CELL)
    fallback = write_all(tmp_path / "tiles", CELL, model=90)
    # The polygon is not read at all.
    run(tmp_path, CELL, paths + fallback, polygons=[tmp_path / "there is none.gpkg"])
    assert opened == {str(path): 1 for path in paths}
    opened.clear()
    run(tmp_path, CELL, paths[:-1] + fallback)
    assert opened == {str(path): 1 for path in paths[:-1] + fallback}


def test_the_same_tiles_give_the_same_bytes(tmp_path):
    paths = write_all(tmp_path / "tiles", CELL) + write_all(tmp_path / "tiles", CELL, model=90)
    for name in ("a", "b"):
        run(tmp_path / name, CELL, paths[1:])
    assert (tmp_path / "a/elevation.tif").read_bytes() == (tmp_path / "b/elevation.tif").read_bytes()


# Bad input


def test_a_broken_manifest_is_refused(tmp_path):
    run(tmp_path, CELL, [])
    (tmp_path / "dem.json").write_text('{"cell": 1}')
    with pytest.raises(InputError, match="not a list"):
        elevation(tmp_path / "dem.json", tmp_path / "plan.json", CELL.name, tmp_path / "e.tif")
    (tmp_path / "dem.json").write_text('{"cell": "N00.00E000.00", "items": []}')
    with pytest.raises(InputError, match="belongs to cell N00"):
        elevation(tmp_path / "dem.json", tmp_path / "plan.json", CELL.name, tmp_path / "e.tif")


@pytest.mark.parametrize(
    ("epsg", "item_epsg"),
    [("EPSG:32632", 4326), ("EPSG:3857", 4326), (None, 32632)],
    ids=["file in UTM", "file in Mercator", "item in UTM and file without CRS"],
)
def test_a_tile_with_a_wrong_crs_is_refused(tmp_path, epsg, item_epsg):
    # Degrees interpreted as meters are at another place.
    paths = write_all(tmp_path / "tiles", CELL, crs=epsg)
    with pytest.raises(InputError, match=r"glo30_N07E011.tif .*far from the cell") as failed:
        run(tmp_path, CELL, paths, epsg=item_epsg)
    assert "CRS" in failed.value.remedy


def test_a_tile_without_a_crs_uses_that_of_its_item(tmp_path):
    values, grid, _ = run(tmp_path, CELL, write_all(tmp_path / "tiles", CELL, crs=None))
    assert np.array_equal(values, ground(*centers(grid, 3600)).astype(np.float32))


def test_a_tile_of_another_place_is_refused(tmp_path):
    other = Cell.from_name("N09.00E013.95", 0.05)
    with pytest.raises(InputError, match=r"is at 13\.00, 9\.00, 14\.00, 10\.00"):
        run(tmp_path, CELL, write_all(tmp_path / "tiles", other, [(9, 13)]))


def test_an_empty_asset_is_reported(tmp_path):
    paths = write_all(tmp_path / "tiles", CELL)
    paths[0].write_bytes(b"")
    with pytest.raises(WorkError, match=r"glo30_N07E011\.tif could not be read"):
        run(tmp_path, CELL, paths)


def test_a_raster_of_two_bands_is_refused(tmp_path):
    with pytest.raises(InputError, match="has 2 bands"):
        run(tmp_path, CELL, write_all(tmp_path / "tiles", CELL, count=2))


@pytest.mark.parametrize("tagged", [True, False])
def test_minus_32768_is_a_void_of_integer_models(tmp_path, tagged):
    seam = [lambda row, column: column == 3590]
    paths = write_all(tmp_path / "tiles", CELL, missing=seam, dtype="int16", nodata=-32768)
    if not tagged:
        for path in paths:
            with rasterio.open(path, "r+") as dataset:
                dataset.nodata = None
    values, grid, tags = run(tmp_path, CELL, paths)
    assert int(tags["seam_px"]) == grid.height
    assert np.abs(values - ground(*centers(grid, 3600))).max() < 1.5


@pytest.mark.parametrize("value", [-32767.0, 9999.0, 1e20, -3.4e38])
def test_values_out_of_range_are_refused(tmp_path, value):
    paths = write_all(tmp_path / "tiles", CELL, height=lambda lon, lat: np.where(lon > 11.97, value, ground(lon, lat)))
    with pytest.raises(InputError, match="not an elevation in meters") as failed:
        run(tmp_path, CELL, paths)
    assert "nodata" in failed.value.remedy


def test_infinity_is_a_void(tmp_path):
    far = write_all(tmp_path / "tiles", CELL, missing=[lambda row, column: row == 3500])
    for path in far:
        with rasterio.open(path, "r+") as dataset:
            values = dataset.read(1)
            values[np.isnan(values)] = np.inf
            dataset.write(values, 1)
    _, _, tags = run(tmp_path, CELL, far)
    assert int(tags["seam_px"]) > 0


# Models with another layout than GLO-30


def test_a_model_in_utm_is_warped_and_extended(tmp_path):
    columns, rows = 500, 520
    west, north = rasterio.warp.transform("EPSG:4326", "EPSG:32632", [WEST - 0.03], [NORTH + 0.03])
    transform = Affine(25, 0, west[0], 0, -25, north[0])
    x = west[0] + (np.arange(columns) + 0.5) * 25
    y = north[0] - (np.arange(rows) + 0.5) * 25
    lon, lat = rasterio.warp.transform("EPSG:32632", "EPSG:4326", *map(np.ravel, np.meshgrid(x, y)))
    heights = ground(np.array(lon), np.array(lat)).reshape(rows, columns).astype(np.float32)
    heights[:, -3:] = -9999
    raster.write_cog(tmp_path / "own.tif", heights[np.newaxis], transform=transform, crs="EPSG:32632", nodata=-9999)
    values, grid, tags = run(tmp_path, CELL, [tmp_path / "own.tif"], missing="extend")
    assert tags["source"] == "extended 0.0000; cop-dem-glo-30 1.0000"
    assert np.abs(values - ground(*centers(grid, 3600))).max() < 0.5


def test_a_finer_model_in_degrees_is_averaged_and_stays_in_place(tmp_path):
    fine = elevation_grid(CELL, margin_px=100)
    fine = RasterGrid(fine.west, fine.north, fine.dx / 4, fine.dy / 4, fine.width * 4, fine.height * 4)
    raster.write_cog(
        tmp_path / "own.tif", ground(*centers(fine))[np.newaxis].astype(np.float32), transform=fine.transform
    )
    values, grid, _ = run(tmp_path, CELL, [tmp_path / "own.tif"])
    assert np.abs(values - ground(*centers(grid, 3600))).max() < 0.1


# Real tiles


def overlap(values, grid, path):
    """Return our values and the tile's where the two overlap; the tile is on our lattice."""
    theirs = raster.read_pixels(path)
    place = grid.place_of(raster.raster_grid(path))
    assert place is not None, "the cell is not on the tile's lattice"
    row, column = place
    rows = slice(max(0, row), min(grid.height, row + theirs.shape[0]))
    columns = slice(max(0, column), min(grid.width, column + theirs.shape[1]))
    return values[rows, columns], theirs[
        rows.start - row : rows.stop - row, columns.start - column : columns.stop - column
    ]


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "file"),
    [("N34.00W118.05", "los_angeles_dem_geoid.tif"), ("N64.75W147.70", "fairbanks_tile_0.tif")],
)
def test_real_glo30_at_its_own_posting_is_unchanged(tmp_path, shared_data, name, file):
    path = shared_data / "glo30" / file
    cell = Cell.from_name(name, 0.05)
    values, grid, _ = run(tmp_path, cell, [path], missing="zero")
    ours, theirs = overlap(values, grid, path)
    assert ours.size > 0.5 * values.size
    assert np.array_equal(ours, theirs)


@pytest.mark.real
@pytest.mark.parametrize("file", ["los_angeles", "fairbanks"])
def test_a_real_raster_sampled_on_its_own_grid_is_unchanged(shared_data, file):
    # The source of Fairbanks resampled it to another lattice than GLO-30's.
    path = shared_data / "glo30" / f"{file}_dem_geoid.tif"
    grid = raster.raster_grid(path)
    asset = Asset(href=str(path), collection="x")
    part = read_elevation_tile(asset, grid, cell=grid.bounds, signer=lambda asset, renew=False: asset.href)
    surface = Surface(part.grid, part.values, part.valid, part.covered, np.zeros_like(part.valid))
    for method in ("bilinear", "cubic"):
        found = sample(surface, grid, method=method)
        assert found.valid.all()
        assert np.array_equal(found.values, raster.read_pixels(path))


@pytest.mark.real
def test_a_real_model_in_stereographic_meters_stays_in_place(tmp_path, shared_data):
    path = shared_data / "glo30/moldova_copdem_30m.tif"
    cell = Cell.from_name("N46.30E027.80", 0.05)
    values, grid, _ = run(tmp_path, cell, [path], missing="refuse")
    facts, theirs = raster.raster_facts(path), raster.read_pixels(path)
    rows, columns = np.mgrid[: theirs.shape[0], : theirs.shape[1]].reshape(2, -1)
    lon, lat = map(
        np.array, rasterio.warp.transform("EPSG:3844", "EPSG:4326", *(facts["transform"] @ (columns + 0.5, rows + 0.5)))
    )
    at = np.array([(grid.north - lat) / grid.dy - 0.5, (lon - grid.west) / grid.dx - 0.5])
    inside = (at.min(axis=0) > 2) & (at[0] < grid.height - 3) & (at[1] < grid.width - 3)
    back = map_coordinates(values.astype(np.float64), at[:, inside], order=1)
    residual = back - theirs.ravel()[inside]
    assert inside.sum() > 20_000
    assert abs(np.median(residual)) < 0.02
    assert np.percentile(np.abs(residual), 95) < 1.0
    # A shift of the raster would cause residuals proportional to the slope: in our pixels, southward and eastward.
    slopes = np.array([map_coordinates(slope, at[:, inside], order=1) for slope in np.gradient(values.astype(float))])
    shift, *_ = np.linalg.lstsq(slopes.T, residual, rcond=None)
    assert np.abs(shift).max() < 0.02


@pytest.mark.real
def test_glo90_replaces_a_missing_tile_as_in_the_expected_merge(tmp_path, shared_data):
    folder = shared_data / "glo30"
    paths = [folder / "missing_tile_glo_30_left.tif", folder / "missing_tile_glo_90_right.tif"]
    # 43 E is the edge of the cell; a wide margin contains all of the truth.
    cell = Cell.from_name("N40.50E042.95", 0.05)
    values, grid, tags = run(tmp_path, cell, paths, margin_px=600, missing="zero")
    ours, expected = overlap(values, grid, folder / "missing_tile_glo_merged.tif")
    # The truth's first and last row are outside GLO-30's half: coarse posts extend farther.
    ours, expected = ours[1:-1], expected[1:-1]
    assert np.isfinite(expected).all()
    assert ours.min() > 1700, "there is sea or a gap"
    truth_grid = raster.raster_grid(folder / "missing_tile_glo_merged.tif")
    assert expected.shape == (truth_grid.height - 2, truth_grid.width)
    east = int(np.flatnonzero(centers(truth_grid, 3600)[0][0] >= 43)[0])
    assert np.array_equal(ours[:, :east], expected[:, :east])
    # The expected merge is bilinear, ours bicubic as in the paper: equal at GLO-90's posts, similar between them.
    apart = np.abs(ours - expected)[:, east:]
    assert apart.shape[1] > 60
    # Measured: mean 0.383 m, 99 of 100 below 2.87 m, at most 6.79 m in cliffs.
    assert (apart < 2e-3).mean() > 1 / 9
    assert apart.mean() < 0.4
    assert np.percentile(apart, 99) < 3
    assert apart.max() < 7
    # The step at 43 E is that of the two sources (measured: 0.715 m and 0.714 m; absolute 1.35 and 1.41).
    step_ours, step_expected = (np.diff(x[:, east - 1 : east + 1].astype(float), axis=1) for x in (ours, expected))
    assert abs(step_ours.mean() - step_expected.mean()) < 0.05
    assert np.abs(step_ours).mean() < np.abs(step_expected).mean() + 0.05
    assert "cop-dem-glo-90" in tags["source"]
    assert set(tags["tiles"].split()) == {path.stem for path in paths}
