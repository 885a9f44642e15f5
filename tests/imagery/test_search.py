import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headwater.core.errors import InputError, WorkError
from headwater.core.files import read_json
from headwater.demo.server.serve import running_catalog
from headwater.geo.plan import cell_boxes, read_plan
from headwater.stac.pins import read_items, read_query
from support.scripted_api import made_item, paged, scripted_api
from support.steps import search, select
from support.tiny_catalog import CELLS, DEFAULT_SCENES, TinyScene, write_tiny_catalog, write_tiny_plan

SUMMER = "2023-05-01/2023-09-30"
S2 = "sentinel-2-l2a"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("planet")
    write_tiny_catalog(path)
    return path


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    with running_catalog([folder]) as address:
        yield f"{address}/stac"


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    write_tiny_plan(tmp_path / "plan.json")
    return tmp_path / "plan.json"


def names(path: Path, collection: str) -> list[str]:
    return [item["id"] for item in read_items(path) if item["collection"] == collection]


def copy_with(folder: Path, to: Path, change: Any) -> Path:
    """Return a copy of the folder's items whose first Sentinel-2 item was changed."""
    shutil.copytree(folder / "stac", to / "stac")
    path = min((to / "stac" / S2).glob("*.json"))
    item = json.loads(path.read_bytes())
    change(item)
    path.write_text(json.dumps(item))
    return to


def test_a_search_over_the_api_pins_scenes_of_both_years_and_elevation(url: str, plan: Path, tmp_path: Path) -> None:
    out = tmp_path / "items.parquet"
    search(plan, out, url=url, datetime=SUMMER, page_limit=2)
    assert names(out, S2) == sorted(scene.id for scene in DEFAULT_SCENES)
    assert len(names(out, "cop-dem-glo-30")) == len(names(out, "cop-dem-glo-90")) == 2
    record = read_query(out)
    assert record["catalogue"] == url
    assert record["query"]["datetime"] == [
        "2023-05-01T00:00:00Z/2023-09-30T23:59:59.999999Z",
        "2022-05-01T00:00:00Z/2022-09-30T23:59:59.999999Z",
    ]
    assert b"sig=" not in out.read_bytes()


def test_without_dates_elevation_alone_is_pinned_and_selected(
    folder: Path, plan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "items.parquet"
    search(plan, out, url=str(folder))
    assert "only elevation tiles are pinned" in capsys.readouterr().err
    assert names(out, S2) == []
    assert len(names(out, "cop-dem-glo-30")) == 2
    cell = tmp_path / "cell"
    select(out, plan, CELLS[0], cell / "scenes.json", cell / "dem.json", cache_dir=tmp_path / "cache")
    assert read_json(cell / "scenes.json")["scenes"] == []
    assert "composite will be empty" not in capsys.readouterr().err
    # With dates it is another search, and the scenes do not change the elevation of a cell.
    elevation = (cell / "dem.json").read_bytes()
    search(plan, out, url=str(folder), datetime=SUMMER)
    assert names(out, S2)
    select(out, plan, CELLS[0], cell / "scenes.json", cell / "dem.json", cache_dir=tmp_path / "cache")
    assert read_json(cell / "scenes.json")["scenes"]
    assert (cell / "dem.json").read_bytes() == elevation


def test_a_second_search_leaves_the_file_alone(url: str, plan: Path, tmp_path: Path) -> None:
    out = tmp_path / "items.parquet"
    search(plan, out, url=url, datetime=SUMMER)
    before = (out.stat().st_mtime_ns, out.read_bytes())
    time.sleep(0.01)
    search(plan, out, url=url, datetime=SUMMER, page_limit=3)
    assert (out.stat().st_mtime_ns, out.read_bytes()) == before


def test_a_folder_gives_the_same_items_as_its_server(folder: Path, url: str, plan: Path, tmp_path: Path) -> None:
    search(plan, tmp_path / "api.parquet", url=url, datetime=SUMMER)
    search(plan, tmp_path / "folder.parquet", url=str(folder), datetime=SUMMER)
    for collection in (S2, "cop-dem-glo-30"):
        assert names(tmp_path / "api.parquet", collection) == names(tmp_path / "folder.parquet", collection)


def test_years_and_clouds_are_limited(url: str, plan: Path, tmp_path: Path) -> None:
    out = tmp_path / "items.parquet"
    search(plan, out, url=url, datetime=SUMMER, years_back=0, max_cloud_cover=10)
    expected = [
        scene.id for scene in DEFAULT_SCENES if scene.cloudy[1] - scene.cloudy[0] <= 0.1 and "2023" in scene.day
    ]
    assert names(out, S2) == sorted(expected)


def test_only_items_that_touch_a_cell_are_pinned(folder: Path, plan: Path, tmp_path: Path) -> None:
    full = read_json(plan)
    north = [cell for cell in full["cells"] if cell["name"] == "N46.00E015.05"]
    plan.write_text(json.dumps({**full, "cells": north, "margin_px": 0}))
    far = copy_with(
        folder, tmp_path / "far", lambda item: item.update(geometry={"type": "Point", "coordinates": [15, 45.97]})
    )
    search(plan, tmp_path / "items.parquet", url=str(far), datetime=SUMMER)
    assert len(names(tmp_path / "items.parquet", S2)) == len(DEFAULT_SCENES) - 1


def test_a_reprocessed_scene_replaces_the_older_one(plan: Path, tmp_path: Path) -> None:
    old = TinyScene("33TWM", "20230610", baseline="02.12")
    new = TinyScene("33TWM", "20230610", baseline="05.10", generated="20240501T000000")
    write_tiny_catalog(tmp_path, [old, new])
    search(plan, tmp_path / "items.parquet", url=str(tmp_path), datetime=SUMMER)
    assert names(tmp_path / "items.parquet", S2) == [new.id]


def test_a_catalog_without_any_elevation_is_reported_before_all_becomes_sea(
    folder: Path, plan: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder / "stac" / S2, tmp_path / "own" / "stac" / S2)
    with pytest.raises(WorkError, match="no elevation tile of cop-dem-glo-30 or cop-dem-glo-90"):
        search(plan, tmp_path / "items.parquet", url=str(tmp_path / "own"), datetime=SUMMER)
    assert not (tmp_path / "items.parquet").exists()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda item: item.update(geometry=None), "a valid geometry"),
        (lambda item: item["assets"].pop("B04"), "a needed band"),
    ],
)
def test_unusable_items_are_left_out_and_reported(
    folder: Path, plan: Path, tmp_path: Path, change: Any, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = copy_with(folder, tmp_path / "broken", change)
    search(plan, tmp_path / "items.parquet", url=str(broken), datetime=SUMMER)
    assert len(names(tmp_path / "items.parquet", S2)) == len(DEFAULT_SCENES) - 1
    assert f"1 item(s) of {S2} without {word} left out" in capsys.readouterr().err


@pytest.mark.parametrize(
    "datetime", ["", "summer", "2023-09-30/2023-05-01", "2023-05-01/..", "../2023-09-30", "2023-02-30"]
)
def test_bad_date_ranges_are_refused_before_any_request(plan: Path, tmp_path: Path, datetime: str) -> None:
    with pytest.raises(InputError, match=r"range of dates|date range"):
        search(plan, tmp_path / "items.parquet", url="http://127.0.0.1:9", datetime=datetime)
    assert not (tmp_path / "items.parquet").exists()


def test_an_unreachable_catalog_stops_the_step_and_keeps_the_old_file(plan: Path, tmp_path: Path) -> None:
    out = tmp_path / "items.parquet"
    out.write_bytes(b"old")
    start = time.monotonic()
    with pytest.raises(WorkError, match="cannot be reached"):
        search(plan, out, url="http://127.0.0.1:9/stac", datetime=SUMMER, patience_s=1)
    assert time.monotonic() - start < 10
    assert out.read_bytes() == b"old"


@pytest.mark.parametrize(
    "words", [{"datetime": "1999-01-01/1999-12-31"}, {"datetime": SUMMER, "sentinel2_collection": "landsat"}]
)
def test_no_scene_at_all_is_an_error(url: str, plan: Path, tmp_path: Path, words: dict[str, str]) -> None:
    with pytest.raises(WorkError, match="no usable"):
        search(plan, tmp_path / "items.parquet", url=url, **words)
    assert not (tmp_path / "items.parquet").exists()


def test_bad_numbers_and_plans_are_refused(url: str, plan: Path, tmp_path: Path) -> None:
    out = tmp_path / "items.parquet"
    with pytest.raises(InputError):
        search(plan, out, url=url, datetime=SUMMER, years_back=-1)
    with pytest.raises(InputError):
        search(plan, out, url=url, datetime=SUMMER, page_limit=0)
    with pytest.raises(InputError):
        search(tmp_path / "no plan.json", out, url=url, datetime=SUMMER)


def test_boxes_contain_the_cells_with_their_margin(plan: Path) -> None:
    the_plan = read_plan(plan)
    for cell, box in zip(the_plan.cells, cell_boxes(the_plan), strict=True):
        west, south, east, north = cell.bounds
        assert box[0] < west < east < box[2]
        assert box[1] < south < north < box[3]
        assert east - west + 0.02 > box[2] - box[0]
    assert cell_boxes(the_plan, [CELLS[1]]) == [cell_boxes(the_plan)[1]]


TILE = "Copernicus_DSM_COG_10_N46_00_E015_00_DEM"


def elevation_item(href: str, name: str = TILE, collection: str = "cop-dem-glo-30") -> dict[str, Any]:
    item = made_item(name, "2021-04-22", place=(15, 46, 16, 47))
    return {**item, "collection": collection, "assets": {"data": {"href": href}}}


def test_elevation_of_a_public_bucket_is_pinned_with_its_web_address(plan: Path, tmp_path: Path) -> None:
    """Earth Search names GLO-30 as s3://copernicus-dem-30m (rcrisp#46), and its bands by color."""
    scene = made_item("S2A_33TWM_20230610_0_L2A", **{"earthsearch:boa_offset_applied": True})
    scene["assets"] = {name: {"href": f"https://x.test/{name}.tif"} for name in ("nir", "red", "green", "blue", "scl")}
    out = tmp_path / "items.parquet"
    with scripted_api(paged([scene, elevation_item(f"s3://copernicus-dem-30m/{TILE}/{TILE}.tif")])) as script:
        search(plan, out, url=script.url, datetime="2023-06-01/2023-06-30", years_back=0)
    hrefs = {item["collection"]: item["assets"] for item in read_items(out)}
    assert hrefs["cop-dem-glo-30"]["data"]["href"] == (
        f"https://copernicus-dem-30m.s3.eu-central-1.amazonaws.com/{TILE}/{TILE}.tif"
    )


def test_a_bucket_that_is_not_public_is_the_cause_that_is_named(plan: Path, tmp_path: Path) -> None:
    """CDSE: bands B02_10m to SCL_20m at s3://eodata, which wants credentials (odc-stac#238)."""
    scene = made_item("S2A_MSIL2A_20230610T100031_N0509_R122_T33TWM_20230610T160000")
    names = ("B02_10m", "B03_10m", "B04_10m", "B08_10m", "SCL_20m")
    scene["assets"] = {name: {"href": f"s3://eodata/x.SAFE/{name}.jp2"} for name in names}
    with scripted_api(paged([scene, elevation_item("https://x.test/dem.tif")])) as script:
        with pytest.raises(
            WorkError, match=r"1 item\(s\) were found, but lack http\(s\) addresses \(s3://eodata\)"
        ) as no:
            search(plan, tmp_path / "a", url=script.url, datetime="2023-06-01/2023-06-30", years_back=0)
        assert "over http(s)" in no.value.remedy
    # Elsewhere the same names are read.
    for asset in scene["assets"].values():
        asset["href"] = asset["href"].replace("s3://eodata", "https://x.test")
    with scripted_api(paged([scene, elevation_item("https://x.test/dem.tif")])) as script:
        search(plan, tmp_path / "b", url=script.url, datetime="2023-06-01/2023-06-30", years_back=0)
    assert {"B02", "B08", "SCL"} <= {key for item in read_items(tmp_path / "b") for key in item["assets"]}


@pytest.mark.parametrize("kind", ["meters", "swapped", "elsewhere"])
def test_the_geometry_decides_where_the_box_is_wrong(folder: Path, plan: Path, tmp_path: Path, kind: str) -> None:
    """PlanetaryComputer#305: every later step finds what it would with the right boxes."""
    shutil.copytree(folder / "stac", tmp_path / "odd" / "stac")
    for path in (tmp_path / "odd" / "stac").glob("*/*.json"):
        item = json.loads(path.read_bytes())
        west, south, east, north = item["bbox"]
        item["bbox"] = {
            "meters": [500_000.0, 5_090_000.0, 512_000.0, 5_108_000.0],
            "swapped": [south, west, north, east],
            "elsewhere": [100.0, 10.0, 101.0, 11.0],
        }[kind]
        for asset in item["assets"].values():
            asset["href"] = str(folder / asset["href"])
        path.write_text(json.dumps(item))
    search(plan, tmp_path / "right.parquet", url=str(folder), datetime=SUMMER)
    search(plan, tmp_path / "odd.parquet", url=str(tmp_path / "odd"), datetime=SUMMER)
    box = (15.0, 46.0, 15.05, 46.05)
    assert read_items(tmp_path / "odd.parquet", box=box) == read_items(tmp_path / "right.parquet", box=box) != []


def test_items_of_one_id_in_different_places_are_refused(folder: Path, plan: Path, tmp_path: Path) -> None:
    """All tiles named "dem": only one would be used, and the others would be taken for sea."""
    shutil.copytree(folder / "stac", tmp_path / "odd" / "stac")
    for path in (tmp_path / "odd" / "stac" / "cop-dem-glo-30").glob("*.json"):
        path.write_text(json.dumps({**json.loads(path.read_bytes()), "id": "dem"}))
    with pytest.raises(InputError, match=r"different items of cop-dem-glo-30 with the same id, such as dem;"):
        search(plan, tmp_path / "items.parquet", url=str(tmp_path / "odd"), datetime=SUMMER)
    assert not (tmp_path / "items.parquet").exists()
