import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from shapely import LineString, box

from headwater import raster
from headwater.cli import main
from headwater.core.errors import InputError
from headwater.evaluate.nhd import read_nhd
from headwater.evaluate.pixel_scores import evaluate_pixels
from headwater.evaluate.tiles import count_tile
from headwater.evaluate.water_types import burn_types, coarsen_types
from headwater.geo.grid import Cell, cell_grid, prediction_grid

CELL = Cell(80, 240, 0.05)
WEST, SOUTH, EAST, NORTH = CELL.bounds
GRID = prediction_grid(CELL)


def at(x, y):
    return WEST + x * (EAST - WEST), NORTH - y * (NORTH - SOUTH)


@pytest.fixture
def place(tmp_path):
    """Two streams, a canal and a lake; the prediction sees one stream, somewhat too thick, and the lake."""
    lines = gpd.GeoDataFrame(
        {"FCode": [46006, 46003, 33600]},
        geometry=[LineString([at(0, 0.2), at(1, 0.3)]), LineString([at(0.2, 0), at(0.3, 1)]),
                  LineString([at(0.9, 0.1), at(0.9, 0.6)])],
        crs=4326,
    )  # fmt: skip
    lines.to_file(tmp_path / "nhd.gpkg", layer="NHDFlowline")
    lake = gpd.GeoDataFrame({"FCode": [39004]}, geometry=[box(*at(0.5, 0.8), *at(0.7, 0.6))], crs=4326)
    lake.to_file(tmp_path / "nhd.gpkg", layer="NHDWaterbody")
    seen = np.isin(coarsen_types(burn_types(read_nhd(tmp_path / "nhd.gpkg"), cell_grid(CELL))), (8, 19))
    seen[1:] |= seen[:-1]
    probability = np.where(seen, 200, 30).astype(np.uint8)
    valid = np.ones(GRID.shape, bool)
    valid[:40, :60] = False
    raster.write_cog(tmp_path / "p.tif", probability[np.newaxis], transform=GRID.transform, mask=valid)
    return tmp_path, probability >= 128, valid


def test_dry_land_counts_where_an_area_says_that_it_was_mapped(place, capsys):
    folder, *_ = place
    dry = Cell(80, 243, 0.05)
    grid = prediction_grid(dry)
    raster.write_cog(folder / "dry.tif", np.full((1, *grid.shape), 255, np.uint8), transform=grid.transform)
    maps, labels = [folder / "p.tif", folder / "dry.tif"], [folder / "nhd.gpkg"]
    alone = evaluate_pixels(maps[:1], folder / "one", labels=labels)
    without = evaluate_pixels(maps, folder / "two", labels=labels)
    assert "dry.tif: skipped" in capsys.readouterr().err
    pd.testing.assert_frame_equal(alone, without)
    both = gpd.GeoDataFrame(geometry=[box(*CELL.bounds), box(*dry.bounds)], crs=4326)
    both.to_file(folder / "area.gpkg")
    counted = evaluate_pixels(maps, folder / "three", labels=labels, area=folder / "area.gpkg")
    assert counted.loc["All Data Included", "P"] < 0.5 * alone.loc["All Data Included", "P"]
    assert counted.loc["All Data Included", "R"] == pytest.approx(alone.loc["All Data Included", "R"])


def test_tiles_give_the_scores_of_the_raster(place, capsys):
    folder, predicted, valid = place
    scores = evaluate_pixels([folder / "p.tif"], folder / "out", labels=[folder / "nhd.gpkg"], tile_px=64)
    fine = burn_types(read_nhd(folder / "nhd.gpkg"), cell_grid(CELL))
    whole = count_tile(predicted & valid, coarsen_types(fine), valid)
    expected = whole.scores()
    assert scores.loc["All Data Included"].drop(["clDice", "data_percent"]).to_dict() == pytest.approx(
        {name: value for name, value in expected.items() if name != "clDice"}
    )
    # The middle of a lake is another where tiles cut it.
    one = evaluate_pixels([folder / "p.tif"], folder / "one", labels=[folder / "nhd.gpkg"], tile_px=1000)
    assert one.loc["All Data Included"].drop("data_percent").to_dict() == pytest.approx(expected)
    # Without the canal's tiles more of the truth is found; where it is masked out its tiles are no worse.
    assert scores.loc["Canals Excluded", "R"] > scores.loc["Canals Included", "R"]
    assert scores.loc["Canals Included", "R**"] > scores.loc["Canals Included", "R"]
    assert scores["data_percent"].between(0, 100).all()
    types = pd.read_csv(folder / "out/recall_by_type.csv", index_col="type")
    assert types.loc["perennial stream", "predicted_share"] > 0.99
    assert types.loc["canal", "predicted_share"] < 0.1
    assert types["pixels"].sum() == whole.of_type.sum()
    assert "All Data Included" in capsys.readouterr().out
    names = {"scores", "scores_by_region", "recall_by_type"}
    assert {path.stem for path in (folder / "out").glob("*.png")} == names
    assert {path.stem for path in (folder / "out").glob("*.md")} == names


def test_label_rasters_on_either_grid_say_the_same(place):
    folder, _, _ = place
    fine = burn_types(read_nhd(folder / "nhd.gpkg"), cell_grid(CELL))
    raster.write_cog(folder / "fine.tif", fine[np.newaxis], transform=cell_grid(CELL).transform)
    raster.write_cog(folder / "coarse.tif", coarsen_types(fine)[np.newaxis], transform=GRID.transform)
    burned = evaluate_pixels([folder / "p.tif"], folder / "a", labels=[folder / "nhd.gpkg"])
    for name in ("fine.tif", "coarse.tif"):
        read = evaluate_pixels([folder / "p.tif"], folder / "b", label_rasters=[folder / name])
        pd.testing.assert_frame_equal(read, burned)


def test_regions_and_the_command_line(place):
    folder, _, _ = place
    two = [str(folder / "p.tif")] * 2
    out = folder / "out"
    code = main(
        ["evaluate", "pixels", "--probability", *two, "--labels", str(folder / "nhd.gpkg"),
         "--region", "HU4 103", "HU4 204", "--out", str(out)]
    )  # fmt: skip
    assert code == 0
    regions = pd.read_csv(out / "scores_by_region.csv", index_col="data")
    assert regions.index.tolist() == ["HU4 103", "HU4 204"]
    assert regions["data_percent"].tolist() == [50, 50]


def test_beyond_the_mapped_area_nothing_counts(place):
    folder, predicted, valid = place
    half = gpd.GeoDataFrame(geometry=[box(*at(0, 1), *at(0.5, 0))], crs=4326).to_crs(3857)
    half.to_file(folder / "half.gpkg", layer="a")
    scores = evaluate_pixels(
        [folder / "p.tif"], folder / "out", labels=[folder / "nhd.gpkg"], area=folder / "half.gpkg", tile_px=50
    )
    inside = valid.copy()
    inside[:, 135:] = False
    types = coarsen_types(burn_types(read_nhd(folder / "nhd.gpkg"), cell_grid(CELL)))
    expected = count_tile(predicted & inside, types, inside).scores()
    # The middle column's centers are on the border of the area, except for rounding.
    names = ["P", "R", "P*", "R*", "P**", "R**"]
    assert scores.loc["All Data Included", names].tolist() == pytest.approx([expected[n] for n in names], abs=0.005)
    half.boundary.to_frame("geometry").to_file(folder / "line.gpkg", layer="a")
    (folder / "no.gpkg").write_text("nothing")
    half.set_crs(None, allow_override=True).to_parquet(folder / "place.parquet")
    for name, cause in {
        "line.gpkg": "other shapes than polygons",
        "no.gpkg": "cannot be read",
        "place.parquet": "no coord",
    }.items():
        with pytest.raises(InputError, match=cause):
            evaluate_pixels([folder / "p.tif"], folder / "b", labels=[folder / "nhd.gpkg"], area=folder / name)


def test_what_cannot_be_scored_is_reported(place):
    folder, _, _ = place
    p, nhd, out = folder / "p.tif", folder / "nhd.gpkg", folder / "out"
    with pytest.raises(InputError, match="twice, or not at all"):
        evaluate_pixels([p], out)
    with pytest.raises(InputError, match="--region has 2 values"):
        evaluate_pixels([p], out, labels=[nhd], regions=["a", "b"])
    with pytest.raises(InputError, match="threshold"):
        evaluate_pixels([p], out, labels=[nhd], threshold=0)
    with pytest.raises(InputError, match="must be at least 1"):
        evaluate_pixels([p], out, labels=[nhd], tile_px=0)
    gpd.GeoDataFrame({"FCODE": [46006]}, geometry=[LineString([(0, 0), (1, 1)])], crs=4326).to_parquet(
        folder / "far.parquet"
    )
    with pytest.raises(InputError, match="No pixel has both"):
        evaluate_pixels([p], out, labels=[folder / "far.parquet"])
    other = prediction_grid(Cell(80, 241, 0.05))
    raster.write_cog(folder / "other.tif", np.zeros((1, *other.shape), np.uint8), transform=other.transform)
    with pytest.raises(InputError, match="No pixel has both"):
        evaluate_pixels([p], out, label_rasters=[folder / "other.tif"])
    raster.write_cog(folder / "values.tif", np.full((1, *GRID.shape), 99, np.uint8), transform=GRID.transform)
    with pytest.raises(InputError, match="other values than water types"):
        evaluate_pixels([p], out, label_rasters=[folder / "values.tif"])
    shifted = GRID.transform.translation(GRID.dx * 0.3, 0) @ GRID.transform
    raster.write_cog(folder / "shifted.tif", np.zeros((1, *GRID.shape), np.uint8), transform=shifted)
    with pytest.raises(InputError, match="do not match those"):
        evaluate_pixels([p], out, label_rasters=[folder / "shifted.tif"])
    raster.write_cog(folder / "meters.tif", np.full((1, *GRID.shape), 7, np.float32), transform=GRID.transform)
    with pytest.raises(InputError, match="not a probability"):
        evaluate_pixels([folder / "meters.tif"], out, labels=[nhd])
    assert not out.exists()
