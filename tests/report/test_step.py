import json

import geopandas as gpd
import matplotlib.image
import numpy as np
import pytest
import shapely
from jinja2 import UndefinedError

from headwater import raster
from headwater.core.terms import Terms
from headwater.geo.grid import cell_grid
from headwater.geo.plan import read_plan, write_plan
from headwater.report.step import render_page, report

BASIN = "3020000010"
FACTS = {
    "basin_id": "7<script>", "segments": 3, "total_km": 3.0, "backbone_km": 1.0, "new_km": 2.0, "violations": 0,
    "table": [{"order": 1, "backbone": 1.0, "new": 2.0, "all": 3.0}], "maps": [{"file": "a.png", "caption": "A map"}],
    "checks": [("no cycle", 0)], "scenes": ["S2A"], "no_view": 0.01, "weights": ["abc"], "demo_weights": True,
    "costs": [],
    "missing": [], "left_out": [], "constant": [], "published": "", "terms": Terms(), "area_km2": 20.0,
}  # fmt: skip


def test_a_basin_across_180_degrees_has_a_map_of_its_size_and_reports_missing_views(tmp_path):
    parts = [shapely.box(179.9, 65, 180, 65.1), shapely.box(-180, 65, -179.9, 65.1)]
    basin = gpd.GeoDataFrame({"HYBAS_ID": [int(BASIN)]}, geometry=[shapely.multipolygons(parts)], crs="EPSG:4326")
    basin.to_file(tmp_path / "basins.gpkg")
    write_plan([tmp_path / "basins.gpkg"], BASIN, tmp_path / "plan.json", cell_degrees=0.1, margin_px=0)
    plan = read_plan(tmp_path / "plan.json")
    assert plan.bounds_in_one_piece == (179.9, 65, 180.1, 65.1)
    composites = []
    for cell in plan.cells:
        grid = cell_grid(cell, margin_px=0)
        composite = np.full((5, *grid.shape), 200, np.uint8)
        composite[:, :, grid.width // 2 :] = 0
        composites.append(tmp_path / f"{cell.name}.tif")
        raster.write_cog(composites[-1], composite, transform=grid.transform, nodata=0)
    line = shapely.LineString([(-180.05, 65.05), (-179.95, 65.05)])
    columns = {
        "basin_id": [BASIN],
        "strahler_order": [1],
        "from_tdx": [False],
        "length_m": [4700.0],
        "intersects_lake": [False],
    }
    gpd.GeoDataFrame(columns, geometry=[line], crs="EPSG:4326").to_parquet(tmp_path / "w.parquet")
    (tmp_path / "checks.json").write_text(json.dumps({"laws": {"joins are exact": {"faults": 0}}}))
    page = tmp_path / "report" / "index.html"
    # Without elevation, which may not have been kept.
    report(
        tmp_path / "plan.json", tmp_path / "w.parquet", tmp_path / "checks.json", composites, [], [],
        tmp_path / "summary.csv", page,
    )  # fmt: skip
    assert "50" in page.read_text().split("% of the pixels had no clear view")[0][-6:]
    assert "by Strahler order of the extended network." in page.read_text(), "there is no hillshade without elevation"
    height, width = matplotlib.image.imread(page.parent / "composite.png").shape[:2]
    assert height > width / 4, "a strip around the globe"
    red = np.asarray(matplotlib.image.imread(page.parent / "sources.png"))[..., :3]
    assert ((red[..., 0] - red[..., 2]) > 0.4).sum() > 500, "the river is not on the map"


def test_the_page_shows_its_facts_escaped():
    page = render_page(FACTS)
    assert "7&lt;script&gt;" in page
    assert '<img src="a.png"' in page
    assert "All network checks passed." in page
    assert "not suitable for maps of the real world" in page
    assert "real world" not in render_page(FACTS | {"demo_weights": False})
    assert "Left out" not in page
    page = render_page(FACTS | {"left_out": ["S2B"], "constant": ["N01E001 (N R)"]})
    assert "could not be used: S2B." in page
    assert "one value throughout</strong> in N01E001 (N R)" in page
    assert "2 violations" in render_page(FACTS | {"violations": 2})


def test_the_page_shows_run_times_if_they_are_known():
    assert "Run time and memory" not in render_page(FACTS)
    row = {"rule": "plan", "jobs": 2, "median_s": 0.44, "max_s": 9.9, "cpu_s": 1.25, "max_rss_mb": 160}
    page = render_page(FACTS | {"costs": [row | {"downloaded_mb": 0.1}]})
    assert "<td>plan</td><td>2</td><td>0.4</td><td>9.9</td><td>1.2</td><td>160.0</td><td>0.1</td>" in page


def test_rasters_that_were_not_kept_are_listed_and_not_described():
    assert "Not kept" not in render_page(FACTS)
    page = render_page(FACTS | {"missing": ["composite", "probability"], "weights": []})
    assert "Not kept and therefore not shown: composite, probability." in page
    assert "Sentinel-2 scenes" not in page
    assert "weights" not in page


def test_licenses_warnings_and_published_rasters_are_on_the_page():
    assert "License" not in render_page(FACTS)
    terms = Terms(license=("CC BY-SA 4.0", "<b>"), citation=("Who (2026)",), warning=("Only a try.",))
    facts = {
        "terms": terms,
        "published": "https://example.org/raster",
        "weights": [],
        "scenes": [],
        "demo_weights": False,
    }
    page = render_page(FACTS | facts)
    assert "CC BY-SA 4.0; &lt;b&gt;. Cite Who (2026)." in page
    assert "<strong>Only a try.</strong>" in page
    assert "the published rasters of https://example.org/raster" in page
    assert "Sentinel-2 scenes" not in page


def test_a_missing_fact_is_an_error():
    with pytest.raises(UndefinedError):
        render_page({key: value for key, value in FACTS.items() if key != "scenes"})
