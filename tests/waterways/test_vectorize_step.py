from itertools import pairwise

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from headwater.core.errors import InputError
from headwater.evaluate.line_matching import line_scores
from headwater.geo.grid import Cell, elevation_grid, prediction_grid
from headwater.raster import mosaic_vrt, read_raster, read_window, write_cog
from headwater.waterways.backbone.tdx import tdx_backbone, write_backbone
from headwater.waterways.network.check import check_network
from headwater.waterways.network_step import network
from headwater.waterways.vectorize_step import vectorize, vectorize_cell

DEGREES = 0.05
CELLS = [Cell(row=2, column=200 + i, degrees=DEGREES) for i in range(2)]
EDGE = CELLS[1].bounds[0]
"""Longitude at which the two cells meet."""
# The middle is on no border of pixels.
SOUTH, NORTH = CELLS[0].bounds[1] + 0.01, CELLS[0].bounds[3] - 0.0101
MIDDLE = (SOUTH + NORTH) / 2


def tables(count=5, cells=CELLS):
    """A trunk to the east through both cells, of `count` links of equal length, the last ending in the second cell."""
    west = cells[0].bounds[0] + 0.008
    east = west + 2 * DEGREES - 0.016
    stations = np.linspace(west, east, count + 1)
    lines = [shapely.LineString([(a, MIDDLE), (b, MIDDLE)]) for a, b in pairwise(stations)]
    boxes = [shapely.box(a, SOUTH, b, NORTH) for a, b in pairwise(stations)]
    ids = np.arange(1, count + 1)
    below = np.append(ids[1:], -1)
    streams = gpd.GeoDataFrame(
        {"LINKNO": ids, "DSLINKNO": below, "strmOrder": 1, "DSContArea": 1e6}, geometry=lines, crs="EPSG:4326"
    )
    return streams, gpd.GeoDataFrame({"streamID": ids}, geometry=boxes, crs="EPSG:4326")


@pytest.fixture
def place(tmp_path):
    return make_place(tmp_path, CELLS)


def make_place(tmp_path, cells):
    probability, elevation = [], []
    for number, cell in enumerate(cells):
        grid = prediction_grid(cell)
        data = np.full(grid.shape, 5, np.uint8)
        for column in range(20, grid.width - 10, 35):
            # Side streams from both sides, with a gap before the trunk.
            data[70 : grid.height // 2 - 4, column] = 240
            data[grid.height // 2 + 4 : -70, column + 10] = 240
        write_cog(tmp_path / f"p{cell.name}.tif", data[np.newaxis], transform=grid.transform, mask=data > 0)
        probability.append(tmp_path / f"p{cell.name}.tif")
        grid = elevation_grid(cell, margin_px=64)
        x, y = np.meshgrid(np.arange(grid.width), np.arange(grid.height))
        east = number * DEGREES + x * grid.dx
        height = 3000 * abs(grid.north - (y + 0.5) * grid.dy - MIDDLE) - 180 * east + 100
        write_cog(tmp_path / f"e{cell.name}.tif", height.astype(np.float32)[np.newaxis], transform=grid.transform)
        elevation.append(tmp_path / f"e{cell.name}.tif")
    streams, catchments = tables(cells=cells)
    streams.to_file(tmp_path / "streams.gpkg")
    catchments.to_parquet(tmp_path / "catchments_tdx.parquet")
    made = tdx_backbone(streams, catchments, [(cell.name, cell.bounds) for cell in cells])
    write_backbone(made, tmp_path / "reaches.parquet", tmp_path / "catchments.parquet")
    return tmp_path, probability, elevation


def run_cell(place, name, **options):
    folder, probability, elevation = place
    out = folder / f"{name}.parquet"
    files = {"probability": probability, "elevation": elevation} | options
    vectorize_cell(
        **files, reaches=folder / "reaches.parquet", catchments=folder / "catchments.parquet", cell=name, out=out
    )
    return out


def test_cells_make_a_network(place):
    folder, *_ = place
    parts = [run_cell(place, cell.name) for cell in CELLS]
    links = [set(gpd.read_parquet(part)["link_id"]) for part in parts]
    assert links == [{1, 2}, {3, 4, 5}]
    network(parts, folder / "reaches.parquet", folder / "w.parquet", folder / "w.checks.json", basin_id="7")
    found = gpd.read_parquet(folder / "w.parquet")
    assert check_network(found, gpd.read_parquet(folder / "reaches.parquet"))["faults"] == 0
    new = found[~found["from_tdx"]]
    assert len(new) >= 12
    # Link 3 belongs to the second cell and reaches into the first: its water there is found from its files.
    third = new[new["stream_id"] // 100_000 % 10_000_000 == 3]
    assert third.total_bounds[0] < EDGE < third.total_bounds[2]
    assert found["strahler_order"].max() == 2


@pytest.mark.parametrize(
    ("degrees", "row", "column", "apart_m", "fraction"), [(0.1, 1, 100, 0.001, 1 - 1e-6), (0.25, 0, 40, 30, 0.995)]
)
def test_larger_cells_give_the_same_lines(place, tmp_path, degrees, row, column, apart_m, fraction):
    """Cells of 0.05 and 0.1 degrees have the same columns; those of 0.25 are narrower by a part in 1400."""
    _, probability, elevation = place
    large = Cell(row=row, column=column, degrees=degrees)
    folder = tmp_path / "large"
    folder.mkdir()
    grid, high = prediction_grid(large), elevation_grid(large, margin_px=0)
    data, known = read_window(mosaic_vrt(probability), grid, resampling="nearest")
    write_cog(folder / f"p{large.name}.tif", data[np.newaxis], transform=grid.transform, mask=known)
    heights, _ = read_window(mosaic_vrt(elevation), high)
    write_cog(folder / f"e{large.name}.tif", heights.astype(np.float32)[np.newaxis], transform=high.transform)
    made = tdx_backbone(*tables(), [(large.name, large.bounds)])
    write_backbone(made, folder / "reaches.parquet", folder / "catchments.parquet")
    there = (folder, [folder / f"p{large.name}.tif"], [folder / f"e{large.name}.tif"])
    small = pd.concat(gpd.read_parquet(run_cell(place, cell.name)) for cell in CELLS)
    found = gpd.read_parquet(run_cell(there, large.name))
    assert len(found) == len(small) > 20
    scores = line_scores(found.geometry, small.geometry, distance_m=apart_m)
    assert min(scores.completeness, scores.correctness) >= fraction


def test_a_river_that_crosses_180_degrees_is_found_as_any_other(tmp_path):
    found = []
    far = [Cell(row=2, column=3599, degrees=DEGREES), Cell(row=2, column=-3600, degrees=DEGREES)]
    for name, cells in (("near", CELLS), ("far", far)):
        (tmp_path / name).mkdir()
        place = make_place(tmp_path / name, cells)
        parts = [run_cell(place, cell.name) for cell in cells]
        network(parts, place[0] / "reaches.parquet", place[0] / "w.parquet", place[0] / "w.json", basin_id="7")
        found.append(gpd.read_parquet(place[0] / "w.parquet").sort_values("stream_id", ignore_index=True))
    near, far = found
    assert far["stream_id"].equals(near["stream_id"])
    assert far["length_m"].to_numpy() == pytest.approx(near["length_m"].to_numpy(), rel=0.01)
    assert far["mean_probability"].to_numpy() == pytest.approx(
        near["mean_probability"].to_numpy(), abs=0.05, nan_ok=True
    )
    # The outlet's side has the ordinary longitudes, the other one those beyond.
    assert far.total_bounds[[0, 2]] == pytest.approx([-180 - DEGREES + 0.008, -180 + DEGREES - 0.008])


def test_the_order_of_files_does_not_matter(place):
    name = CELLS[1].name
    first = run_cell(place, name).read_bytes()
    again = run_cell(place, name, probability=place[1][::-1], elevation=place[2][::-1]).read_bytes()
    assert first == again


def test_a_cell_without_reaches_gets_an_empty_file(place):
    read = gpd.read_parquet(run_cell(place, "N00.0E000.0"))
    assert len(read) == 0
    assert read.crs == "EPSG:4326"


def test_the_cells_own_raster_must_be_there(place):
    with pytest.raises(InputError, match="not among the rasters"):
        run_cell(place, CELLS[1].name, probability=place[1][:1])
    with pytest.raises(InputError, match="does not exist"):
        run_cell(place, CELLS[1].name, probability=[place[0] / "none.tif"])
    assert not (place[0] / f"{CELLS[1].name}.parquet").exists()


def standalone(place, out, **options):
    folder, probability, elevation = place
    (folder / "p.vrt").write_text(mosaic_vrt(probability))
    (folder / "e.vrt").write_text(mosaic_vrt(elevation))
    files = {
        "probability": folder / "p.vrt",
        "elevation": folder / "e.vrt",
        "streams": folder / "streams.gpkg",
        "catchments": folder / "catchments_tdx.parquet",
    } | options
    vectorize(**files, out=folder / out)
    return folder / out


def test_in_one_go_with_any_number_of_jobs(place, monkeypatch):
    monkeypatch.setattr("headwater.waterways.vectorize_step.BLOCK_PX", 300)
    one = standalone(place, "one.parquet", basin_id="7")
    two = standalone(place, "two.parquet", basin_id="7", jobs=2)
    assert one.read_bytes() == two.read_bytes()
    assert one.with_name("one.checks.json").read_bytes() == two.with_name("two.checks.json").read_bytes()
    # As the two cells give it.
    folder = place[0]
    parts = [run_cell(place, cell.name) for cell in CELLS]
    network(parts, folder / "reaches.parquet", folder / "w.parquet", folder / "w.checks.json", basin_id="7")
    alone, joined = gpd.read_parquet(one), gpd.read_parquet(folder / "w.parquet")
    assert alone["stream_id"].tolist() == joined["stream_id"].tolist()
    # The mosaic's elevation is resampled from other corners.
    assert shapely.hausdorff_distance(alone.geometry.to_numpy(), joined.geometry.to_numpy()).max() < 1e-7


def test_wide_water_and_other_formats_on_request(place):
    folder, probability, _ = place
    grid = prediction_grid(CELLS[0])
    data = np.full(grid.shape, 5, np.uint8)
    # From the trunk northward.
    data[105 : grid.height // 2, 60:100] = 240
    write_cog(probability[0], data[np.newaxis], transform=grid.transform, mask=data > 0)
    lakes = gpd.GeoDataFrame(geometry=[shapely.box(*CELLS[0].bounds).buffer(-0.015)], crs="EPSG:4326")
    lakes.to_file(folder / "lakes.gpkg")
    out = standalone(
        place, "out.parquet", water=folder / "water.parquet", lakes=folder / "lakes.gpkg", formats=["gpkg", "published"]
    )
    water = gpd.read_parquet(folder / "water.parquet")
    assert water["link_id"].tolist() in ([1], [2], [1, 2])
    assert water["area_m2"].sum() == pytest.approx(30 * 40 * 20.6**2, rel=0.1)
    found = gpd.read_parquet(out)
    assert found["intersects_lake"].any()
    assert len(gpd.read_file(out.with_suffix(".gpkg"), layer="waterways")) == len(found)
    assert "stream_order" in gpd.read_parquet(out.with_suffix(".published.parquet"))
    # The same polygons by cells.
    parts = []
    for cell in CELLS:
        parts.append(folder / f"{cell.name}.water.parquet")
        run_cell(place, cell.name, water=parts[-1])
    network(
        [folder / f"{cell.name}.parquet" for cell in CELLS],
        folder / "reaches.parquet",
        folder / "w.parquet",
        folder / "w.checks.json",
        basin_id="7",
        water=parts,
        water_out=folder / "all.parquet",
    )
    together = gpd.read_parquet(folder / "all.parquet")
    assert together["area_m2"].sum() == pytest.approx(water["area_m2"].sum())


def test_a_raster_that_ends_early_is_counted(place):
    import json

    out = standalone(place, "half.parquet", probability=place[1][0])
    counts = json.loads(out.with_suffix(".checks.json").read_text())["counts"]
    assert counts["catchments_partly_without_data"] == 1
    assert counts["catchments_wholly_without_data"] == 2
    found = gpd.read_parquet(out)
    links, pieces = np.unique(found["stream_id"] // 100_000 % 10_000_000, return_counts=True)
    # Reaches whose catchments are outside stay uncut.
    assert links.tolist() == [1, 2, 3, 4, 5]
    assert (pieces == 1).tolist() == [False, False, False, True, True]


def test_bad_input_is_reported_and_nothing_written(place):
    folder = place[0]
    gpd.read_file(folder / "streams.gpkg").drop(columns="LINKNO").to_file(folder / "bad.gpkg")
    with pytest.raises(InputError, match="LINKNO"):
        standalone(place, "out.parquet", streams=folder / "bad.gpkg")
    with pytest.raises(InputError, match="jobs"):
        standalone(place, "out.parquet", jobs=0)
    assert not (folder / "out.parquet").exists()
    assert not (folder / "out.checks.json").exists()


def test_repairs_of_the_tables_are_reported_and_lakes_refused_before_any_work(place, capsys):
    folder = place[0]
    streams, catchments = tables()
    parts = shapely.geometrycollections([catchments.geometry[0], shapely.Point(0, 0)])
    catchments.geometry = [parts, *catchments.geometry[1:]]
    twice = pd.concat([catchments, catchments.iloc[1:2].assign(streamID=99)])
    twice.to_parquet(folder / "catchments_tdx.parquet")
    sound = standalone(place, "sound.parquet")
    printed = capsys.readouterr().err
    assert "1 collections of shapes of which the polygons are used." in printed
    assert "1 catchment polygons without a link." in printed
    tables()[1].to_parquet(folder / "catchments_tdx.parquet")
    assert standalone(place, "again.parquet").read_bytes() == sound.read_bytes()
    streams.to_file(folder / "lakes.gpkg", layer="s")
    tables()[1].to_file(folder / "lakes.gpkg", layer="c")
    tables()[1].to_file(folder / "lakes.gpkg", layer="d")
    with pytest.raises(InputError, match="2 layers: c, d"):
        standalone(place, "out.parquet", lakes=folder / "lakes.gpkg")
    with pytest.raises(InputError, match="catchments contains other shapes than polygons: 5 of 5 rows"):
        standalone(place, "out.parquet", catchments=folder / "streams.gpkg")
    assert not list(folder.glob("out.*"))


def test_what_does_not_belong_together_is_reported(place, capsys):
    folder, probability = place[0], place[1]
    streams = gpd.read_file(folder / "streams.gpkg")
    for name, table, words in (
        ("far.gpkg", streams.set_geometry(streams.translate(30, 0)), "are not in one place"),
        ("none.gpkg", streams.iloc[:0], "contain no reach"),
    ):
        table.to_file(folder / name, layer="s")
        with pytest.raises(InputError, match=words):
            standalone(place, "out.parquet", streams=folder / name)
    data, _, grid, _ = read_raster(probability[0])
    meters = np.full((1, *grid.shape), 50, np.float32)
    write_cog(folder / "meters.tif", meters, transform=grid.transform)
    with pytest.raises(InputError, match="not a probability"):
        standalone(place, "out.parquet", probability=folder / "meters.tif")
    write_cog(folder / "colors.tif", np.repeat(data, 3, axis=0), transform=grid.transform)
    with pytest.raises(InputError, match="not a probability"):
        standalone(place, "out.parquet", probability=folder / "colors.tif")
    with pytest.raises(InputError, match="does not end in"):
        standalone(place, "out.gpkg")
    assert not list(folder.glob("out.*"))
