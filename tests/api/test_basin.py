"""open_basin: the rasters of cells as lazy mosaics, and the network."""

import json

import numpy as np
import pytest
import xarray as xr

import headwater as hw
from headwater import raster
from headwater.core.errors import InputError
from headwater.geo.grid import Cell, cell_grid, elevation_grid, prediction_grid
from support.small_place import COMPOSITE_GRID, ELEVATION_GRID, heights, image_values, water

DEGREES, MARGIN_PX = 0.05, 16


def test_one_cell_is_read_as_it_is(results):
    basin = hw.open_basin(str(results))
    margin = 32
    np.testing.assert_array_equal(basin.composite, image_values(COMPOSITE_GRID)[:, margin:-margin, margin:-margin])
    np.testing.assert_array_equal(basin.probability, water(basin_grid(basin)) / np.float32(255))
    row, column = ELEVATION_GRID.place_of(grid_of(basin.elevation))
    rows, columns = basin.elevation.shape
    expected = heights(ELEVATION_GRID)[row : row + rows, column : column + columns]
    np.testing.assert_array_equal(basin.elevation, expected)
    assert basin.composite.band.values.tolist() == ["N", "R", "G", "B", "clear_views"]
    assert "1 cells" in repr(basin)


def basin_grid(basin):
    return prediction_grid(basin.plan.cells[0])


def grid_of(array):
    from headwater.raster.arrays import array_grid

    return array_grid(array, "raster")


def test_nothing_is_read_before_it_is_used(results):
    basin = hw.open_basin(results)
    assert all(array.chunks is not None for array in basin.rasters.values())
    assert "network" not in vars(basin)
    assert basin.network.crs.to_epsg() == 4326
    assert basin.checks["faults"] == 0
    assert len(basin.catchments) <= len(basin.reaches)


def test_the_dataset_holds_all_three_on_the_10_m_grid(results):
    rasters = hw.open_basin(results).rasters
    assert list(rasters) == ["composite", "elevation", "probability"]
    assert rasters.rio.crs.to_epsg() == 4326
    assert rasters["composite"].shape[1:] == rasters["elevation"].shape == rasters["probability"].shape
    fine, coarse = rasters["probability"].values, hw.open_basin(results).probability.values
    np.testing.assert_array_equal(fine[::2, ::2], coarse)
    np.testing.assert_array_equal(fine[1::2, 1::2], coarse)
    assert np.isfinite(rasters["elevation"]).all()


def write_cells(folder, cells):
    """Write plan.json, and rasters of each cell that hold the number of the cell."""
    described = [{"name": cell.name, "bounds": list(cell.bounds)} for cell in cells]
    edges = [min(c.bounds[0] for c in cells), min(c.bounds[1] for c in cells)]
    edges += [max(c.bounds[2] for c in cells), max(c.bounds[3] for c in cells)]
    plan = {"basin_id": "1", "cell_degrees": DEGREES, "margin_px": MARGIN_PX, "basin_bounds": edges}
    (folder / "plan.json").write_text(json.dumps({**plan, "cells": described}))
    for number, cell in enumerate(cells, start=1):
        made = folder / "cells" / cell.name
        made.mkdir(parents=True)
        grid = cell_grid(cell, margin_px=MARGIN_PX)
        image = np.full((5, *grid.shape), number, np.uint8)
        raster.write_cog(made / "composite.tif", image, transform=grid.transform, mask=image[0] > 0)
        grid = elevation_grid(cell, margin_px=MARGIN_PX)
        raster.write_cog(
            made / "elevation.tif", np.full((1, *grid.shape), number, np.float32), transform=grid.transform
        )
        grid = prediction_grid(cell)
        values = np.full((1, *grid.shape), 51 * number, np.uint8)
        raster.write_cog(made / "probability.tif", values, transform=grid.transform, mask=np.ones(grid.shape, bool))
    return hw.open_basin(folder)


def width_at(row):
    return cell_grid(Cell(row, 100, DEGREES)).width


def value_at(array, longitude, latitude):
    return float(array.sel(x=longitude, y=latitude, method="nearest"))


def test_each_pixel_comes_from_the_cell_that_holds_it(tmp_path):
    # Cells of two rows of the world, whose pixels have different widths, and a gap in the north-east.
    row = next(row for row in range(1000, 1200) if width_at(row) != width_at(row + 1))
    cells = [Cell(row + 1, 100, DEGREES), Cell(row, 100, DEGREES), Cell(row, 101, DEGREES)]
    basin = write_cells(tmp_path, cells)
    arrays = {
        "composite": basin.composite.sel(band="N"),
        "elevation": basin.elevation,
        "probability": basin.probability * 5,
        "all": basin.rasters["composite"].sel(band="clear_views"),
        "all elevation": basin.rasters["elevation"],
        "all probability": basin.rasters["probability"] * 5,
    }
    for name, array in arrays.items():
        array = array.compute()
        for number, cell in enumerate(cells, start=1):
            west, south, east, north = cell.bounds
            # Centers on an edge belong to the cell east or south of it.
            inner = array.sel(x=slice(west - 1e-9, east - 1e-9), y=slice(north + 1e-9, south + 1e-9))
            np.testing.assert_allclose(inner, number, rtol=1e-6, err_msg=f"{name} of {cell.name}")
        gap = array.sel(x=slice(cells[2].bounds[0] + 1e-3, None), y=slice(None, cells[2].bounds[3] + 1e-3))
        assert gap.size
        assert (gap.fillna(0) == 0).all(), name


def test_a_basin_on_both_sides_of_180_degrees_is_in_one_piece(tmp_path):
    cells = [Cell(200, 3599, DEGREES), Cell(200, -3600, DEGREES)]
    basin = write_cells(tmp_path, cells)
    for array in (basin.composite[0], basin.elevation, basin.probability * 5):
        assert array.x.values[0] < 180 < array.x.values[-1] < 181
        assert value_at(array, 179.98, 10.02) == 1
        assert value_at(array, 180.02, 10.02) == 2


def test_a_prediction_of_a_basin_is_lazy_and_local(results, weights):
    basin = hw.open_basin(results)
    lazy = hw.predict(basin.composite, basin.elevation, checkpoint=weights, device="cpu", tile_px=256, overlap_px=64)
    assert lazy.chunks is not None
    eager = hw.predict(
        basin.composite.compute(), basin.elevation.compute(), checkpoint=weights, device="cpu", tile_px=256,
        overlap_px=64,
    )  # fmt: skip
    np.testing.assert_allclose(lazy.compute(), eager, rtol=0, atol=1e-5)
    xr.testing.assert_equal(lazy.x, eager.x)


def test_a_folder_without_a_plan_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"plan\.json"):
        hw.open_basin(tmp_path)


def test_a_cell_without_its_raster_is_named(tmp_path):
    cells = [Cell(1209, 100, DEGREES), Cell(1209, 101, DEGREES)]
    basin = write_cells(tmp_path, cells)
    (tmp_path / "cells" / cells[1].name / "probability.tif").unlink()
    with pytest.raises(InputError, match=f"1 of 2 cells have no probability.tif, such as {cells[1].name}"):
        _ = basin.probability
    assert basin.composite.sizes["band"] == 5


def test_a_basin_is_plotted_over_its_relief(results):
    basin = hw.open_basin(results)
    axes = basin.plot(by="source")
    drawn = sum(len(lines.get_segments()) for lines in axes.collections)
    assert drawn == len(basin.network)
    km = sum(
        float(text.get_text().rpartition("(")[2].removesuffix(" km)").replace(",", ""))
        for text in axes.get_legend().texts
    )
    assert km == pytest.approx(basin.network["length_m"].sum() / 1000, abs=1)
    assert len(axes.images) == 1


def test_a_basin_is_explored_on_a_map(results):
    pytest.importorskip("folium")
    page = hw.open_basin(results).explore(tiles=None).get_root().render()
    assert "strahler_order" in page
    assert page.count('"Feature"') == len(hw.open_basin(results).network)
