import json
from typing import Any

import pytest

from headwater.stac.items import (
    band_assets,
    boa_offset,
    epsg_code,
    is_signed,
    mgrs_tile,
    processing_baseline,
    scene_facts,
    unsigned,
)
from support.places import SHARED

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data folder is not next to the checkout")


def item(identifier: str = "a", assets: dict[str, Any] | None = None, **properties: Any) -> dict[str, Any]:
    return {"id": identifier, "collection": "c", "assets": assets or {}, "properties": properties}


@pytest.mark.parametrize(
    ("properties", "offset"),
    [
        ({"s2:processing_baseline": "05.09"}, 1000),
        ({"s2:processing_baseline": "04.00"}, 1000),
        ({"s2:processing_baseline": "03.01"}, 0),
        ({"s2:processing_baseline": "02.12"}, 0),
        # A date after the change does not matter, nor does one before it in a reprocessed product.
        ({"s2:processing_baseline": "03.01", "datetime": "2023-06-01T00:00:00Z"}, 0),
        ({"s2:processing_baseline": "05.00", "datetime": "2018-06-01T00:00:00Z"}, 1000),
        ({"s2:processing_baseline": "05.09", "earthsearch:boa_offset_applied": True}, 0),
        ({"s2:processing_baseline": "05.09", "earthsearch:boa_offset_applied": False}, 1000),
        ({"s2:product_uri": "S2A_MSIL2A_20230815T095031_N0509_R079_T33TWL_20230815T155057.SAFE"}, 1000),
        ({}, 0),
    ],
)
def test_offset_follows_the_baseline(properties: dict[str, Any], offset: int) -> None:
    assert boa_offset(item(**properties)) == offset


@pytest.mark.parametrize(
    ("identifier", "properties", "tile"),
    [
        ("a", {"s2:mgrs_tile": "33TWL"}, "33TWL"),
        ("a", {"s2:mgrs_tile": "T33TWL"}, "33TWL"),
        ("a", {"grid:code": "MGRS-6VVN"}, "06VVN"),
        ("a", {"grid:code": "CDEM-N53W115"}, None),
        ("a", {"mgrs:utm_zone": 6, "mgrs:latitude_band": "V", "mgrs:grid_square": "VN"}, "06VVN"),
        ("S2B_MSIL2A_20190629T212529_R043_T06VVN_20201006T080531", {}, "06VVN"),
        ("S2A_33TWL_20230815_0_L2A", {}, "33TWL"),
        ("a field photo", {}, None),
    ],
)
def test_mgrs_tile_from_any_of_its_places(identifier: str, properties: dict[str, Any], tile: str | None) -> None:
    assert mgrs_tile(item(identifier, **properties)) == tile


@pytest.mark.parametrize(
    ("properties", "assets", "code"),
    [
        ({"proj:epsg": 32633}, {}, 32633),
        ({"proj:code": "EPSG:32733"}, {}, 32733),
        ({"proj:epsg": None}, {"B02": {"href": "x", "proj:code": "EPSG:32606"}}, 32606),
        ({}, {}, None),
    ],
)
def test_epsg_from_either_name(properties: dict[str, Any], assets: dict[str, Any], code: int | None) -> None:
    assert epsg_code(item("a", assets, **properties)) == code


BANDS = {name: {"href": f"{name}.tif"} for name in ("B08", "B04", "B03", "B02")}


@pytest.mark.parametrize(("tile", "epsg"), [("33TWL", 32633), ("33HWL", 32733), ("01KAB", 32701), ("33NAA", 32633)])
def test_a_missing_crs_is_that_of_the_tile(tile: str, epsg: int) -> None:
    assert scene_facts(item("a", BANDS, **{"s2:mgrs_tile": tile, "datetime": "x"})).epsg == epsg


def test_a_missing_band_is_reported_and_a_missing_scl_is_not_an_error() -> None:
    assert band_assets(item("a", BANDS))["SCL"] is None
    with pytest.raises(ValueError, match="B04"):
        band_assets(item("a", {name: asset for name, asset in BANDS.items() if name != "B04"}))


def test_an_item_without_a_tile_forms_its_own() -> None:
    scene = scene_facts(item("my own field", BANDS, datetime="2020-01-01T00:00:00Z"))
    assert (scene.mgrs_tile, scene.offset, scene.baseline, scene.epsg) == ("my own field", 0, "", 0)


@pytest.mark.parametrize(
    "missing", [{}, {"eo:cloud_cover": None}, {"eo:cloud_cover": float("nan")}, {"eo:cloud_cover": "few"}]
)
def test_missing_cloud_cover_counts_as_full_cover(missing: dict[str, Any]) -> None:
    scene = scene_facts(item("a", BANDS, **missing))
    assert (scene.cloud_cover, scene.nodata_percentage) == (100.0, 0.0)
    assert scene_facts(item("a", BANDS, **{"eo:cloud_cover": 0})).cloud_cover == 0.0


def test_only_a_signature_is_cut_off() -> None:
    assert unsigned("https://x/a.tif?st=1&se=2&sp=rl&sig=abc%3D") == "https://x/a.tif"
    assert unsigned("https://x/a.tif?version=3") == "https://x/a.tif?version=3"
    assert unsigned("https://x/a.tif?SIG=abc") == "https://x/a.tif"
    assert unsigned("/data/a.tif") == "/data/a.tif"


@pytest.mark.parametrize(
    "query", ["X-Amz-Credential=a&X-Amz-Signature=b", "Signature=b&Expires=1", "x-goog-signature=c"]
)
def test_a_signature_that_cannot_be_renewed_is_recognized(query: str) -> None:
    assert is_signed(f"https://x/a.tif?{query}")
    assert not is_signed("https://x/a.tif?version=3")


@pytest.mark.real
@needs_shared
def test_a_real_planetary_computer_item() -> None:
    real = json.loads((SHARED / "stac" / "pc_item_sentinel-2-l2a_T06VVN.json").read_bytes())
    scene = scene_facts(real)
    assert (scene.mgrs_tile, scene.baseline, scene.offset, scene.epsg) == ("06VVN", "02.12", 0, 32606)
    assert scene.assets["SCL"] is not None
    assert scene.assets["SCL"].endswith("SCL_20m.tif")
    assert scene.cloud_cover == pytest.approx(0.314306)


@pytest.mark.real
@needs_shared
def test_real_earth_search_items_are_not_corrected_twice() -> None:
    paths = sorted((SHARED / "s2-multidate-33T").glob("*/*.json"))
    assert len(paths) == 10
    for path in paths:
        real = json.loads(path.read_bytes())
        scene = scene_facts(real)
        assert processing_baseline(real) == (5, 9)
        assert (scene.offset, scene.epsg) == (0, 32633)
        assert scene.mgrs_tile == path.stem.split("_")[1]
        assert scene.assets["B08"] == "B08.tif"
