import json

import geopandas as gpd
import matplotlib.image
import numpy as np
import shapely

from headwater import raster
from headwater.geo.grid import cell_grid
from headwater.geo.plan import read_plan, write_plan
from headwater.report.step import report

BASIN = "3020000010"


def test_a_basin_on_both_sides_of_180_degrees_has_a_map_of_its_own_size_and_tells_what_was_not_seen(tmp_path):
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
    # Without elevation, which is not always kept.
    report(
        tmp_path / "plan.json", tmp_path / "w.parquet", tmp_path / "checks.json", composites, [], [],
        tmp_path / "summary.csv", page,
    )  # fmt: skip
    assert "50" in page.read_text().split("% of the pixels had no clear view")[0][-6:]
    height, width = matplotlib.image.imread(page.parent / "composite.png").shape[:2]
    assert height > width / 4, "a strip round the world"
    red = np.asarray(matplotlib.image.imread(page.parent / "sources.png"))[..., :3]
    assert ((red[..., 0] - red[..., 2]) > 0.4).sum() > 500, "the river is not on the map"
