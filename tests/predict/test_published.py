"""Probability from published rasters: which pixel goes where, what is missing, and what is refused."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater import raster
from headwater.core.errors import InputError, NetworkError, WorkError
from headwater.core.terms import Terms
from headwater.geo.grid import Cell, elevation_grid, prediction_grid
from headwater.predict.published import TERMS, predict_published, squares_of
from headwater.raster import opening
from support.faulty_server import faulty_server
from support.published_rasters import SQUARE_DEGREES, STEP, square_at, square_bounds, value_at, write_square

CORNER = Cell(223, 225, 0.05)
"""11.25 to 11.3 east, 11.15 to 11.2 north: across the edge of two rows of squares, beside that of two columns."""
ACROSS = Cell(111, 112, 0.1)
"""11.2 to 11.3 east, 11.1 to 11.2 north: on four squares."""


def place(folder, cell):
    """Write the plan of a cell; return what a call needs."""
    folder.mkdir(parents=True, exist_ok=True)
    plan = {
        "basin_id": "1", "cell_degrees": cell.degrees, "margin_px": 32, "basin_bounds": list(cell.bounds),
        "cells": [{"name": cell.name, "bounds": list(cell.bounds)}],
    }  # fmt: skip
    (folder / "plan.json").write_text(json.dumps(plan))
    return SimpleNamespace(plan=folder / "plan.json", out=folder / "p.tif", cell=cell, grid=prediction_grid(cell))


def made(at, rasters, **options):
    """Make the probability of a cell; return values, what is valid, and the tags."""
    predict_published(at.plan, at.cell.name, at.out, place=str(rasters), **options)
    values, valid, grid, tags = raster.read_raster(at.out)
    assert grid.bounds == pytest.approx(at.grid.bounds, abs=1e-12)
    assert values.dtype == np.uint8
    return values[0], valid, tags


def centers(grid):
    return (
        grid.west + (np.arange(grid.width) + 0.5) * grid.dx,
        grid.north - (np.arange(grid.height) + 0.5) * grid.dy,
    )


def near(bounds, cell, margin=0.02):
    """The part of a square around a cell."""
    west, south, east, north = cell.bounds
    return (
        max(bounds[0], west - margin), max(bounds[1], south - margin),
        min(bounds[2], east + margin), min(bounds[3], north + margin),
    )  # fmt: skip


def write_four(folder, cell, **options):
    """Write the parts around a cell of all squares that it is on; return their names."""
    west, south, east, north = cell.bounds
    names = []
    for longitude in (west + 1e-6, east - 1e-6):
        for latitude in (north - 1e-6, south + 1e-6):
            x, y = square_at(longitude, latitude)
            if f"{x}_{y}" not in names:
                write_square(folder, f"{x}_{y}", near(square_bounds(x, y), cell), **options)
                names.append(f"{x}_{y}")
    return names


@given(st.floats(-179.9, 179.8), st.floats(-84.9, 84.8))
def test_each_pixel_belongs_to_the_square_of_its_center(longitude, latitude):
    cell = Cell(int(latitude // 0.1), int(longitude // 0.1), 0.1)
    grid = prediction_grid(cell)
    seen = np.zeros(grid.shape, int)
    east, north = centers(grid)
    for square in squares_of(grid):
        seen[square.rows, square.columns] += 1
        west, south, right, top = square_bounds(square.x, square.y)
        assert square.bounds == pytest.approx((west, south, right, top), abs=1e-9)
        assert west - 1e-9 <= east[square.columns].min() <= east[square.columns].max() <= right + 1e-9
        assert south - 1e-9 <= north[square.rows].min() <= north[square.rows].max() <= top + 1e-9
    assert (seen == 1).all()


def test_values_are_copied_where_the_grids_agree_and_nearest_elsewhere(tmp_path):
    at = place(tmp_path, ACROSS)
    names = write_four(tmp_path / "raster", ACROSS)
    assert len(names) == 4
    values, valid, tags = made(at, tmp_path / "raster")
    assert valid.all()
    east, north = centers(at.grid)
    # The rows of both grids are the same; of the columns, each pixel has the value under its center.
    np.testing.assert_array_equal(values, value_at(east, north))
    assert sorted(tags["tiles"].split()) == sorted(names)
    assert tags["source"] == "raster"
    assert "missing_tiles" not in tags
    assert Terms.of(tags) == TERMS
    again = at.out.read_bytes()
    made(at, tmp_path / "raster")
    assert at.out.read_bytes() == again


def test_files_that_overlap_or_stop_short_leave_no_seam(tmp_path):
    at = place(tmp_path, ACROSS)
    west, _, _, north = ACROSS.bounds
    x, y = square_at(west + 1e-6, north - 1e-6)
    rasters = tmp_path / "raster"
    names = write_four(rasters, ACROSS)
    # The north-western file ends eight pixels before its edge; its neighbor in the east reaches over it.
    own, beside = near(square_bounds(x, y), ACROSS), near(square_bounds(x + 1, y), ACROSS)
    write_square(rasters, f"{x}_{y}", (*own[:2], own[2] - 8 * STEP, own[3]))
    write_square(rasters, f"{x + 1}_{y}", (beside[0] - 10 * STEP, *beside[1:]))
    values, valid, _ = made(at, rasters)
    assert valid.all()
    np.testing.assert_array_equal(values, value_at(*centers(at.grid)))
    # Without the overlap the strip is a gap, not a probability of 0.
    write_square(rasters, f"{x + 1}_{y}", beside)
    values, valid, tags = made(at, rasters)
    assert 0 < (~valid).sum() < 0.05 * valid.size
    assert not values[~valid].any()
    assert sorted(tags["tiles"].split()) == sorted(names)


def test_a_hairline_between_files_is_no_gap(tmp_path):
    at = place(tmp_path, CORNER)
    rasters = tmp_path / "raster"
    x, y = square_at(11.26, 11.199)
    upper, lower = (near(square_bounds(x, row), CORNER) for row in (y, y + 1))
    edge = round(upper[1] / STEP)
    write_square(rasters, f"{x}_{y}", (*upper[:1], edge * STEP + 0.4 * STEP, *upper[2:]))
    write_square(rasters, f"{x}_{y + 1}", (*lower[:3], edge * STEP))
    assert made(at, rasters)[1].all()


def test_nodata_of_zero_is_a_probability_and_other_missing_pixels_are_masked(tmp_path):
    at = place(tmp_path, CORNER)
    names = write_four(tmp_path / "zero", CORNER, nodata=0)
    assert made(at, tmp_path / "zero")[1].all()
    write_four(tmp_path / "other", CORNER, nodata=250)
    values, valid, _ = made(at, tmp_path / "other")
    expected = value_at(*centers(at.grid))
    np.testing.assert_array_equal(valid, expected != 250)
    np.testing.assert_array_equal(values, np.where(expected == 250, 0, expected))
    for name in names:
        with_mask, _, grid, _ = raster.read_raster(tmp_path / "zero" / f"{name}.tif")
        mask = np.ones(grid.shape, bool)
        mask[:, : grid.width // 2] = False
        (tmp_path / "mask").mkdir(exist_ok=True)
        raster.write_cog(tmp_path / "mask" / f"{name}.tif", with_mask, transform=grid.transform, mask=mask)
    assert 0.2 < made(at, tmp_path / "mask")[1].mean() < 0.7


def write_elevation(at, heights):
    grid = elevation_grid(at.cell, margin_px=32)
    path = at.out.with_name("elevation.tif")
    raster.write_cog(path, np.full((1, *grid.shape), heights, np.float32), transform=grid.transform)
    return path


def test_a_missing_file_is_a_gap_that_is_named_and_all_missing_on_land_is_an_error(tmp_path, capsys):
    at = place(tmp_path, ACROSS)
    rasters = tmp_path / "raster"
    names = write_four(rasters, ACROSS)
    (rasters / f"{names[0]}.tif").unlink()
    values, valid, tags = made(at, rasters, elevation=write_elevation(at, 100))
    assert tags["missing_tiles"] == names[0]
    assert 0.2 < valid.mean() < 1
    assert f"no published raster {names[0]}.tif" in capsys.readouterr().err
    assert not values[~valid].any()
    made(at, rasters, elevation=write_elevation(at, 0))
    assert "has no land there" in capsys.readouterr().err
    shutil.rmtree(rasters)
    rasters.mkdir()
    before = at.out.read_bytes()
    with pytest.raises(WorkError, match=r"raster has no published raster of cell .* of\s+land"):
        made(at, rasters, elevation=write_elevation(at, 100))
    with pytest.raises(WorkError, match="has no published raster"):
        made(at, rasters)
    assert at.out.read_bytes() == before
    assert not made(at, rasters, elevation=write_elevation(at, 0))[1].any(), "all sea"


def test_cells_on_both_sides_of_180_degrees_read_their_own_squares(tmp_path):
    for column, x in ((-3600, 0), (3599, 63)):
        cell = Cell(200, column, 0.05)
        at = place(tmp_path / str(x), cell)
        _, y = square_at(cell.bounds[0] + 1e-6, cell.bounds[1] + 1e-6)
        # Written with longitudes from 0 to 360: the same place.
        shift = 360 if x == 0 else 0
        west, south, east, north = near(square_bounds(x, y), cell)
        write_square(tmp_path / "raster", f"{x}_{y}", (west + shift, south, east + shift, north))
        values, valid, tags = made(at, tmp_path / "raster")
        assert tags["tiles"] == f"{x}_{y}"
        assert valid.all()
        assert len(np.unique(values)) > 100


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dtype": "float32"}, r"has 1 band\(s\) of float32; one of uint8"),
        ({"bands": 3}, r"has 3 band\(s\) of uint8"),
        ({"step": 10 * STEP}, "206 m high and 20. m wide; about 20 m are expected"),
        ({"step": STEP / 4}, "are 5.15 m high"),
        ({"crs": "EPSG:3857"}, "not a north-up raster in EPSG:4326"),
        ({"shift": SQUARE_DEGREES}, "is not where its name says"),
        ({"grow": 10}, "is not where its name says"),
    ],
)
def test_a_file_of_another_kind_is_refused_in_a_sentence(tmp_path, change, words):
    at = place(tmp_path, CORNER)
    for x, y in {square_at(11.26, 11.199), square_at(11.26, 11.151)}:
        west, south, east, north = near(square_bounds(x, y), CORNER)
        shift, grow = change.get("shift", 0), change.get("grow", 0)
        bounds = (west + shift - grow, south, east + shift + grow, south + 20 * STEP if grow else north)
        options = {name: change[name] for name in ("dtype", "step", "crs") if name in change}
        if "bands" in change:
            count = [round((high - low) / STEP) + 1 for low, high in ((south, north), (west, east))]
            options["values"] = np.zeros((3, *count), np.uint8)
        write_square(tmp_path / "raster", f"{x}_{y}", bounds, **options)
    with pytest.raises(InputError, match=words):
        made(at, tmp_path / "raster")
    assert not at.out.exists()


def test_over_http_only_the_windows_are_read_by_ranges(tmp_path):
    cell = CORNER
    at = place(tmp_path / "work", cell)
    x, y = square_at(11.26, 11.199)
    served = tmp_path / "served"
    for row in (y, y + 1):
        write_square(served / "raster", f"{x}_{row}", near(square_bounds(x, row), cell, margin=0.5))
    total = sum(path.stat().st_size for path in (served / "raster").iterdir())
    with faulty_server(served) as running:
        values, valid, tags = made(at, f"{running.url}/raster/")
        assert valid.all()
        np.testing.assert_array_equal(values, value_at(*centers(at.grid)))
        assert tags["source"].endswith("/raster")
        requests = running.log()
    ranges = [each[2] for each in requests if each[0] == "GET"]
    assert all(ranges), "a file was read as a whole"
    read = sum(int(end) - int(start) + 1 for start, end in (text.split("=")[1].split("-") for text in ranges))
    assert read < 0.6 * total
    paths = {each[1].partition("?")[0] for each in requests}
    assert paths == {f"/raster/{x}_{row}.tif" for row in (y, y + 1)}, "sidecars were asked for"


def test_html_and_files_that_are_cut_off_end_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)
    monkeypatch.setattr(opening, "READ_ATTEMPTS", 3)
    at = place(tmp_path / "work", CORNER)
    names = write_four(tmp_path / "served/raster", CORNER)
    good = [tmp_path / f"served/raster/{name}.tif" for name in names]
    contents = [path.read_bytes() for path in good]
    with faulty_server(tmp_path / "served") as running:
        for change in (
            lambda _: b"<!doctype html><title>Prove that you are human</title>",
            lambda all: all[: len(all) // 2],
        ):
            for path, content in zip(good, contents, strict=True):
                path.write_bytes(change(content))
            for rasters in (f"{running.url}/raster", tmp_path / "served/raster"):
                with pytest.raises(WorkError, match="could not be read") as caught:
                    made(at, rasters)
                assert "predict.published" in caught.value.remedy
        running.fail(403)
        with pytest.raises(NetworkError, match="403") as caught:
            made(at, f"{running.url}/raster")
        assert "predict.published" in caught.value.remedy
        running.fail(404)
        with pytest.raises(WorkError, match="has no published raster"):
            made(at, f"{running.url}/raster")
    assert not at.out.exists()


def test_places_with_secrets_or_of_other_kinds_are_refused(tmp_path):
    at = place(tmp_path, CORNER)
    for where in ("https://me:word@example.org/raster", "https://example.org/raster?token=x", "s3://bucket/raster"):
        with pytest.raises(InputError, match=r"predict\.published") as caught:
            predict_published(at.plan, at.cell.name, at.out, place=where)
        assert "word" not in str(caught.value)
