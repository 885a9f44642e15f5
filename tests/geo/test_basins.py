import geopandas as gpd
import pytest
from shapely import Polygon, box

from headwater.core.errors import InputError
from headwater.geo.basins import basin_polygon, file_for_basin, read_basins


@pytest.fixture
def polygons(tmp_path):
    path = tmp_path / "basins.gpkg"
    table = gpd.GeoDataFrame({"HYBAS_ID": [7020038340.0, 1.0]}, geometry=[box(0, 0, 1, 1), Polygon()], crs=4326)
    table.to_file(path, layer="b")
    return path


def test_ids_are_text_and_polygons_are_in_degrees(polygons, tmp_path):
    basins = read_basins([polygons])
    assert basins["basin_id"].tolist() == ["7020038340", "1"]
    projected = tmp_path / "projected.parquet"
    basins.iloc[[0]].assign(basin_id="5").to_crs(3857).to_parquet(projected)
    assert basin_polygon([projected], "5").bounds == pytest.approx((0, 0, 1, 1))


def test_a_basin_that_is_not_there_is_refused_with_one_that_is(polygons):
    with pytest.raises(InputError, match="7020038340"):
        basin_polygon([polygons], "99")


def test_bad_polygon_files_are_refused(polygons, tmp_path):
    with pytest.raises(InputError, match="empty"):
        basin_polygon([polygons], "1")
    with pytest.raises(InputError, match="more than once"):
        read_basins([polygons, polygons])
    with pytest.raises(InputError, match="does not exist"):
        read_basins([tmp_path / "none.gpkg"])
    (tmp_path / "text.gpkg").write_text("no polygons")
    with pytest.raises(InputError, match="cannot be read"):
        read_basins([tmp_path / "text.gpkg"])
    gpd.GeoDataFrame({"id": [1]}, geometry=[box(0, 0, 1, 1)], crs=4326).to_file(tmp_path / "x.gpkg", layer="b")
    with pytest.raises(InputError, match="HYBAS_ID"):
        read_basins([tmp_path / "x.gpkg"])
    for ids, shape in (([1, None], box(1, 0, 2, 1)), ([1, 2], None)):
        table = gpd.GeoDataFrame({"HYBAS_ID": ids}, geometry=[box(0, 0, 1, 1), shape], crs=4326)
        table.to_file(tmp_path / "gap.gpkg", layer="b")
        with pytest.raises(InputError, match="without an id or a polygon"):
            basin_polygon([tmp_path / "gap.gpkg"], "1")


def test_a_pattern_names_exactly_one_file(tmp_path):
    (tmp_path / "a_5_01.gpkg").touch()
    assert file_for_basin(f"{tmp_path}/a_{{basin_id}}_*.gpkg", "5").name == "a_5_01.gpkg"
    with pytest.raises(InputError, match="no file"):
        file_for_basin(f"{tmp_path}/a_{{basin_id}}_*.gpkg", "6")
    (tmp_path / "a_5_02.gpkg").touch()
    with pytest.raises(InputError, match="2 files"):
        file_for_basin(f"{tmp_path}/a_{{basin_id}}_*.gpkg", "5")
