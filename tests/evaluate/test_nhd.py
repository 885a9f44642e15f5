"""NHD files as they come, and feature codes."""

import geopandas as gpd
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely import LineString, Point, box

from headwater.core.errors import InputError
from headwater.evaluate.nhd import (
    NO_WATER_FTYPES,
    TYPE_OF_FCODE,
    WATER_TYPES,
    count_features,
    is_known_code,
    read_nhd,
    water_types,
)
from headwater.evaluate.water_types import burn_types
from headwater.geo.grid import Cell, cell_grid

LINE = LineString([(10.0, 4.0), (10.02, 4.0)])
POLYGON = box(10.004, 3.995, 10.01, 4.005)


def table(codes, shapes, name="FCODE", crs=4269):
    codes = codes if None in codes else np.array(codes, np.int32)
    return gpd.GeoDataFrame({name: codes}, geometry=list(shapes), crs=crs)


@pytest.mark.parametrize(
    ("file", "layers", "driver"),
    [
        ("nhd.gdb", ("NHDFlowline", "NHDWaterbody", "NHDArea"), "OpenFileGDB"),
        ("v2.gpkg", ("NHDFlowline_Network", "NHDWaterbody", "NHDArea"), "GPKG"),
        ("v2.gpkg", ("nhdflowline_nonnetwork", "nhdwaterbody", "nhdarea"), "GPKG"),
    ],
)
@pytest.mark.parametrize("column", ["FCODE", "FCode", "fcode"])
def test_layers_and_columns_under_every_usual_name(tmp_path, file, layers, driver, column):
    path = tmp_path / file
    table([46006, 42803], [LINE, LINE], column).to_file(path, layer=layers[0], driver=driver)
    table([39004], [POLYGON], column).to_file(path, layer=layers[1], driver=driver)
    table([46006], [POLYGON], column).to_file(path, layer=layers[2], driver=driver)
    # Events and points of the NHD have names that begin alike.
    table([1], [Point(10, 4)], "other").to_file(path, layer="NHDAreaEventFC", driver=driver)
    features = read_nhd(path)
    assert features["water_type"].tolist() == [8, 19, 19]
    assert features["fcode"].tolist() == [39004, 46006, 46006]
    assert count_features(features) == {"lake perennial": 1, "perennial stream": 2}


def test_single_tables_and_folders_of_shapefiles(tmp_path):
    lines, bodies = table([46003, 33600], [LINE, LINE], "FCode"), table([46600], [POLYGON])
    lines.to_parquet(tmp_path / "lines.parquet")
    folder = tmp_path / "Hydrography"
    folder.mkdir()
    lines.to_file(folder / "NHDFlowline.shp")
    bodies.to_file(folder / "NHDWaterbody.shp")
    lines.to_file(tmp_path / "streams.shp")
    assert read_nhd(tmp_path / "lines.parquet")["water_type"].tolist() == [15, 18]
    assert read_nhd(tmp_path / "streams.shp")["water_type"].tolist() == [15, 18]
    assert read_nhd(folder)["water_type"].tolist() == [5, 15, 18]
    both = read_nhd(tmp_path / "lines.parquet", folder / "NHDWaterbody.shp")
    assert both["water_type"].tolist() == [5, 15, 18]


def test_measures_along_lines_are_passed_over(tmp_path):
    # FileGDBs of the NHD hold heights and measures, which no writer at hand does.
    (tmp_path / "lines.csv").write_text('FCODE,WKT\n46006,"LINESTRING ZM (10 4 1 100, 10.02 4 2 0)"\n')
    (tmp_path / "nhd.vrt").write_text(
        '<OGRVRTDataSource><OGRVRTLayer name="NHDFlowline"><SrcDataSource relativeToVRT="1">lines.csv</SrcDataSource>'
        "<SrcLayer>lines</SrcLayer><GeometryType>wkbLineStringZM</GeometryType><LayerSRS>EPSG:4269</LayerSRS>"
        "</OGRVRTLayer></OGRVRTDataSource>"
    )
    features = read_nhd(tmp_path / "nhd.vrt")
    assert features["water_type"].tolist() == [19]
    assert features.geometry.iloc[0].equals_exact(LINE, 1e-6)
    assert not features.geometry.iloc[0].has_z


def test_unknown_codes_and_missing_shapes_are_counted(tmp_path, capsys):
    path = tmp_path / "lines.parquet"
    table([46006, 99999, None, 46003], [LINE, LINE, LINE, None]).to_parquet(path)
    features = read_nhd(path)
    assert features["water_type"].tolist() == [19, 21, 21]
    printed = capsys.readouterr().err
    assert "1 of 4 features have no geometry" in printed
    assert "2 features have codes unknown to the NHD" in printed
    assert "99999" in printed


def test_only_what_meets_the_bounds_is_read(tmp_path):
    far = LineString([(50, 50), (51, 51)])
    table([46006, 46003], [LINE, far]).to_crs(3857).to_file(tmp_path / "a.gpkg", layer="NHDFlowline")
    table([46006, 46003], [LINE, far]).to_parquet(tmp_path / "a.parquet")
    for path in (tmp_path / "a.gpkg", tmp_path / "a.parquet"):
        assert read_nhd(path, bounds=(9, 3, 11, 5))["fcode"].tolist() == [46006]
        nothing = read_nhd(path, bounds=(-9, 3, -8, 5))
        assert len(nothing) == 0
        assert not burn_types(nothing, cell_grid(Cell(40, 100, 0.1))).any()


def test_bad_files_are_refused(tmp_path):
    table([1], [LINE], "code").to_parquet(tmp_path / "a.parquet")
    table([46006], [LINE], crs=None).to_parquet(tmp_path / "b.parquet")
    table([46006], [Point(0, 0)]).to_parquet(tmp_path / "c.parquet")
    table([46006], [LINE]).to_file(tmp_path / "d.gpkg", layer="roads")
    (tmp_path / "e.parquet").write_text("nothing")
    table([46006], [LINE]).to_file(tmp_path / "f.shp")
    (tmp_path / "f.prj").unlink()
    for name, cause in [
        ("a.parquet", "no column FCODE"),
        ("b.parquet", "no coordinate reference system"),
        ("c.parquet", "contains points"),
        ("d.gpkg", "none of the layers"),
        ("e.parquet", "cannot be read"),
        ("f.shp", "no coordinate reference system"),
        ("g.gdb", "cannot be read"),
    ]:
        with pytest.raises(InputError, match=cause):
            read_nhd(tmp_path / name)


@given(st.integers(0, 99999))
def test_every_code_is_typed_unlabelled_or_other(code):
    (water_type,) = water_types([code])
    if code in TYPE_OF_FCODE:
        assert water_type == TYPE_OF_FCODE[code]
    else:
        assert water_type == (0 if code // 100 in NO_WATER_FTYPES else 21)
        assert is_known_code([code])[0] == (water_type == 0)


def test_no_code_is_both():
    assert not {code // 100 for code in TYPE_OF_FCODE} & set(NO_WATER_FTYPES)
    assert water_types(["46006", 46003.0, None]).tolist() == [19, 18, 21]


# Real places. Counts are those of the files; pixels are of 1/10,800 degree rows and square in meters.


def burned(features, cells):
    """Count the pixels of each type over cells of a tenth of a degree."""
    counts = np.zeros(256, np.int64)
    for row, column in cells:
        counts += np.bincount(burn_types(features, cell_grid(Cell(row, column, 0.1))).ravel(), minlength=256)
    return {WATER_TYPES[k][0]: int(counts[k]) for k in WATER_TYPES if counts[k]}


def cells_of(features):
    west, south, east, north = np.floor(np.round(features.total_bounds * 10, 6)).astype(int)
    return [(row, column) for row in range(south, north + 1) for column in range(west, east + 1)]


@pytest.mark.real
@pytest.mark.parametrize(
    ("path", "features", "pixels"),
    [
        (
            # 729 km; six rows have no geometry.
            "dem-streams-wake-nc/streams.parquet",
            {"canal": 332, "artificial path": 728, "stream, other": 5236, "other": 1992},
            {"canal": 2163, "artificial path": 4252, "stream, other": 59762, "other": 7542},
        ),
        (
            # 1,375 km: the file holds each of its 1,847 lines twice, which burning does not mind.
            "nhd-hr-new-mexico/nhd_flowline.parquet",
            {"drainage": 14, "artificial path": 758, "intermittent stream": 2922},
            {"drainage": 95, "artificial path": 7422, "intermittent stream": 113959},
        ),
        (
            # Jordan Lake, and the land around it that its dam may flood.
            "nhdplus-new-hope/new_hope.gpkg",
            {"inundation area": 12, "swamp": 1, "lake perennial": 98, "artificial path": 116,
             "intermittent stream": 299, "perennial stream": 337, "other": 5},
            {"inundation area": 433092, "swamp": 590, "lake perennial": 529239, "artificial path": 4080,
             "intermittent stream": 17077, "perennial stream": 77773, "other": 64},
        ),
    ],
)  # fmt: skip
def test_real_labels(shared_data, path, features, pixels):
    found = read_nhd(shared_data / path)
    assert count_features(found) == features
    assert burned(found, cells_of(found)) == pytest.approx(pixels, rel=0.01, abs=5)


@pytest.mark.real
def test_burned_area_of_real_lakes(shared_data):
    found = read_nhd(shared_data / "nhdplus-new-hope/new_hope.gpkg")
    lakes = found[found["water_type"] == 8]
    pixel_m2 = (111_195 / 10_800) ** 2
    assert burned(lakes, cells_of(lakes))["lake perennial"] * pixel_m2 == pytest.approx(
        lakes.to_crs(5070).area.sum(), rel=0.01
    )
