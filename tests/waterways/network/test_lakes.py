import warnings

import geopandas as gpd
import numpy as np
import pytest
import shapely

from headwater.core.errors import InputError
from headwater.waterways.network import lakes
from headwater.waterways.network.lakes import meets_lake

LINES = np.array(
    [shapely.LineString(p) for p in ([(10, 5), (10.1, 5)], [(10.1, 5), (10.2, 5)], [(10.2, 5), (10.2, 4.9)])]
)


def ponds(*boxes):
    return gpd.GeoDataFrame({"Hylak_id": range(len(boxes))}, geometry=[shapely.box(*b) for b in boxes], crs=4326)


@pytest.mark.parametrize("name", ["lakes.gpkg", "lakes.shp", "lakes.parquet", "covered.parquet"])
@pytest.mark.parametrize("crs", [4326, 3857, 32632])
def test_lines_that_meet_a_polygon(tmp_path, name, crs):
    table = ponds((10.04, 4.99, 10.06, 5.01), (10.19, 4.85, 10.3, 4.95), (50, 50, 51, 51)).to_crs(crs)
    path = tmp_path / name
    if path.suffix == ".parquet":
        table.to_parquet(path, write_covering_bbox=name == "covered.parquet" and crs == 4326)
    else:
        table.to_file(path)
    assert meets_lake(LINES, path).tolist() == [True, False, True]
    assert meets_lake(LINES[:0], path).tolist() == []


def test_many_polygons_are_read_in_parts_and_shapes_that_are_missing_left_out(tmp_path, monkeypatch):
    random = np.random.default_rng(3)
    corners = random.uniform([9.9, 4.8], [10.3, 5.1], (200, 2))
    table = ponds(*np.hstack([corners, corners + 0.004]))
    table.loc[5, "geometry"] = None
    table.to_file(tmp_path / "lakes.gpkg")
    monkeypatch.setattr(lakes, "_POLYGONS_AT_ONCE", 7)
    shape = table.geometry.union_all()
    assert meets_lake(LINES, tmp_path / "lakes.gpkg").tolist() == shapely.intersects(LINES, shape).tolist()


def test_what_holds_no_lakes_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        meets_lake(LINES, tmp_path / "none.gpkg")
    (tmp_path / "text.gpkg").write_text("no lakes")
    with pytest.raises(InputError, match="cannot be read"):
        meets_lake(LINES, tmp_path / "text.gpkg")
    gpd.GeoSeries(LINES, crs=4326).to_file(tmp_path / "lines.gpkg")
    with pytest.raises(InputError, match="other shapes than polygons"):
        meets_lake(LINES, tmp_path / "lines.gpkg")
    for name in ("bare.parquet", "bare.fgb"):
        bare = ponds((10.04, 4.99, 10.06, 5.01)).set_crs(None, allow_override=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            bare.to_parquet(tmp_path / name) if name.endswith("parquet") else bare.to_file(tmp_path / name)
        with pytest.raises(InputError, match="no coordinate reference system"):
            meets_lake(LINES, tmp_path / name)
