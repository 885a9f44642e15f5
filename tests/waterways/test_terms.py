"""Terms of use pass from the probability's tags to everything that is made of it."""

import json

import numpy as np
import pyarrow.parquet as pq
import pyogrio
import rasterio

from headwater import raster
from headwater.core.terms import Terms
from headwater.geo.parquet import read_terms
from headwater.raster.mosaic import mosaic
from headwater.waterways.backbone.dem import dem_backbone
from headwater.waterways.backbone.tdx import write_backbone
from headwater.waterways.network_step import network
from headwater.waterways.vectorize_step import vectorize_cell
from support.local_place import CELL
from support.small_place import ELEVATION_GRID, PROBABILITY_GRID, heights, water

TERMS = Terms(license=("ODbL & <more>",), citation=("Ours (2026)",), weights=("demo",), warning=("Only a try.",))


def make(folder, terms):
    """Make the network of a small valley in all formats; return its folder."""
    folder.mkdir()
    values = water(PROBABILITY_GRID)
    raster.write_cog(
        folder / "p.tif", values[None], transform=PROBABILITY_GRID.transform, mask=np.ones(values.shape, bool),
        tags=terms.tags(),
    )  # fmt: skip
    raster.write_cog(folder / "e.tif", heights(ELEVATION_GRID)[None], transform=ELEVATION_GRID.transform)
    mosaic([folder / "p.tif"], folder / "mosaic.vrt")
    grid = ELEVATION_GRID
    made = dem_backbone(
        heights(grid), np.ones(grid.shape, bool), grid, min_area_km2=0.5, cells=[(CELL.name, CELL.bounds)]
    )
    write_backbone(made, folder / "reaches.parquet", folder / "catchments.parquet")
    vectorize_cell(
        [folder / "p.tif"], [folder / "e.tif"], folder / "reaches.parquet", folder / "catchments.parquet", CELL.name,
        folder / "segments.parquet", water=folder / "water.parquet",
    )  # fmt: skip
    network(
        [folder / "segments.parquet"], folder / "reaches.parquet", folder / "w.parquet", folder / "checks.json",
        basin_id="1", formats=["gpkg", "fgb", "pmtiles", "published"], water=[folder / "water.parquet"],
        water_out=folder / "all_water.parquet",
    )  # fmt: skip
    return folder


def test_every_file_names_the_terms_of_the_probability(tmp_path):
    folder = make(tmp_path / "asked", TERMS)
    with rasterio.open(folder / "mosaic.vrt") as dataset:
        assert Terms.of(dataset.tags()) == TERMS
    for name in ("segments", "w", "w.published", "water", "all_water"):
        assert read_terms(folder / f"{name}.parquet") == TERMS, name
    assert json.loads((folder / "checks.json").read_text())["terms"] == TERMS.tags()
    assert Terms.of(pyogrio.read_info(folder / "w.gpkg", layer="waterways")["layer_metadata"]) == TERMS
    assert "license: ODbL & <more>" in pyogrio.read_info(folder / "w.fgb")["layer_metadata"]["DESCRIPTION"]
    # The bytes are the same again.
    again = make(tmp_path / "again", TERMS)
    for name in ("segments.parquet", "w.parquet", "w.gpkg", "w.fgb", "w.pmtiles", "checks.json"):
        assert (again / name).read_bytes() == (folder / name).read_bytes(), name


def test_without_terms_no_metadata_is_added(tmp_path):
    folder = make(tmp_path / "free", Terms())
    for name in ("segments", "w", "water"):
        assert not {b"license", b"warning"} & set(pq.read_schema(folder / f"{name}.parquet").metadata)
    assert "terms" not in json.loads((folder / "checks.json").read_text())
    assert "Metadata" not in (folder / "mosaic.vrt").read_text()
