"""Searching a catalog that misbehaves, searching again, and places where longitudes jump."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import shapely
from starlette.responses import Response

from headwater.core.errors import WorkError
from headwater.core.files import write_json
from headwater.demo.server.serve import running_catalog
from headwater.geo.grid import Cell, cells_intersecting
from headwater.geo.plan import cell_boxes, read_plan
from headwater.stac import session
from headwater.stac.pins import read_items, write_items
from support.faults import Faults
from support.scripted_api import Body, Item, Script, made_item, paged, scripted_api
from support.steps import search
from support.tiny_catalog import DEFAULT_SCENES, write_tiny_catalog, write_tiny_plan

SUMMER = "2023-05-01/2023-09-30"
S2 = "sentinel-2-l2a"
ALONE: dict[str, Any] = {"datetime": SUMMER, "years_back": 0, "dem_collections": ()}


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MAX_WAIT_S", 0.02)


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    write_tiny_plan(tmp_path / "plan.json")
    return tmp_path / "plan.json"


def ids(pin: Path) -> list[str]:
    return [item["id"] for item in read_items(pin)]


def scratch(out: Path) -> list[Path]:
    return [path for path in out.parent.rglob("*") if ".pages" in str(path) and path.is_file()]


# Faults


@pytest.fixture(scope="module")
def flaky(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Faults, str]]:
    folder = tmp_path_factory.mktemp("planet")
    write_tiny_catalog(folder)
    made: list[Faults] = []

    def wrap(app: Any) -> Faults:
        made.append(Faults(app))
        return made[0]

    with running_catalog([folder], wrap=wrap) as url:
        yield made[0], f"{url}/stac"


def test_a_flaky_catalog_gives_the_pin_of_a_reliable_one(flaky: tuple[Faults, str], plan: Path, tmp_path: Path) -> None:
    faults, url = flaky
    search(plan, tmp_path / "calm.parquet", url=url, datetime=SUMMER)
    calm = (tmp_path / "calm.parquet").read_bytes()
    for number, trouble in enumerate(
        ({"hang_every": 3, "repeat": 1}, {"fraction": 0.4, "seed": 1}, {"fraction": 0.4, "seed": 2, "repeat": 2})
    ):
        out = tmp_path / f"{number}.parquet"
        with faults.trouble(**trouble) as met:
            search(
                plan,
                out,
                url=url,
                datetime=SUMMER,
                page_limit=1 + number,
                timeout_s=1.0 if "hang_every" in trouble else 5.0,
                slice_days=[31, 7, 200][number],
            )
        assert sum(met.values()) > 3, met
        assert out.read_bytes() == calm
        assert not scratch(out)


def test_a_dead_catalog_stops_the_search_and_its_pages_are_kept(
    flaky: tuple[Faults, str], plan: Path, tmp_path: Path
) -> None:
    faults, url = flaky
    out = tmp_path / "items.parquet"
    start = time.monotonic()
    with faults.trouble(dead="/stac/search"), pytest.raises(WorkError, match=r"cannot be reached .*in time"):
        search(plan, out, url=url, datetime=SUMMER, timeout_s=0.5, patience_s=1)
    assert time.monotonic() - start < 6
    assert not out.exists()


def test_every_kind_of_defective_item_is_left_out_and_reported(
    plan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = made_item("good")

    def spoilt(name: str, **changes: Any) -> Item:
        return {**made_item(name), **changes}

    local = made_item("local")
    local["assets"]["B04"]["href"] = "/etc/passwd"
    presigned = made_item("presigned")
    presigned["assets"]["B04"]["href"] += "?X-Amz-Signature=abc"
    vsi = made_item("vsi")
    vsi["assets"]["SCL"]["href"] = "/vsicurl/http://127.0.0.1/x.tif"
    ill = [
        local, vsi, presigned, made_item("../../up"), made_item("new\nline"), spoilt("form", properties=[]), 7,
        {"id": 3},
        spoilt("nowhere", geometry={"type": "Polygon", "coordinates": [[[0, 0], [1e400, 1]]]}),
        spoilt("bag", geometry={"type": "GeometryCollection", "geometries": []}),
        spoilt("bandless", assets={}), made_item("timeless", "someday"),
    ]  # fmt: skip
    answer = {"features": [*ill, good]}
    body = json.dumps({"type": "FeatureCollection", **answer})
    with scripted_api(lambda _: Response(body, media_type="application/json")) as script:
        search(plan, tmp_path / "items.parquet", url=script.url, **ALONE)
    assert ids(tmp_path / "items.parquet") == ["good"]
    reported = capsys.readouterr().err
    for count, lack in [(2, "http(s) addresses"), (2, "an id that can name a file"), (2, "a valid geometry"),
                        (1, "a needed band"), (1, "unsigned addresses"), (1, "a valid date and time")]:  # fmt: skip
        assert f"{count} item(s) of {S2} without {lack} left out" in reported
    assert "without the form of a STAC item left out" in reported
    assert "new\nline" not in reported


def test_an_answer_of_only_defective_items_is_not_pinned(plan: Path, tmp_path: Path) -> None:
    out = tmp_path / "items.parquet"
    item = made_item("a")
    item["assets"]["B04"]["href"] = "file:///etc/passwd"
    with scripted_api(paged([item])) as script:
        with pytest.raises(WorkError, match="no usable"):
            search(plan, out, url=script.url, **ALONE)
        asked = len(script.asked)
        assert not scratch(out), "the next search would find the same again"
        with pytest.raises(WorkError, match="no usable"):
            search(plan, out, url=script.url, **ALONE)
        assert len(script.asked) == 2 * asked
    assert not out.exists()


def test_a_scene_without_cloud_cover_passes(plan: Path, tmp_path: Path) -> None:
    items = [
        made_item("no-clouds"),
        made_item("clear", **{"eo:cloud_cover": 5}),
        made_item("odd", **{"eo:cloud_cover": "?"}),
    ]
    items.append(made_item("cloudy", **{"eo:cloud_cover": 50}))
    with scripted_api(paged(items)) as script:
        search(plan, tmp_path / "items.parquet", url=script.url, max_cloud_cover=20, **ALONE)
    assert ids(tmp_path / "items.parquet") == ["clear", "no-clouds", "odd"]


# Killed and run again


def test_a_killed_search_resumes(plan: Path, tmp_path: Path) -> None:
    """Killed without a chance to clean up, while the catalog waits."""
    items = [made_item(f"item{day:02d}", f"2023-06-{day:02d}") for day in range(1, 31)]
    items.append({**made_item("dem"), "collection": "dem", "assets": {"data": {"href": "https://x.test/dem.tif"}}})
    good, out = paged(items, size=3), tmp_path / "items.parquet"
    options: dict[str, Any] = {"slice_days": 10, "workers": 1, **ALONE, "dem_collections": ("dem",)}
    given = 8

    def answer(body: Body) -> Any:
        while len(script.asked) > given:
            time.sleep(0.05)
        return good(body)

    with scripted_api(good) as script:
        search(plan, tmp_path / "calm.parquet", url=script.url, **options)
        complete = len(script.asked)
        script.asked.clear()
        script.answer = answer
        arguments = ["search", "--plan", str(plan), "--url", script.url, "--datetime", SUMMER, "--years-back", "0",
                     "--dem-collections", "dem", "--slice-days", "10", "--workers", "1", "--out", str(out)]  # fmt: skip
        code = "import sys; from headwater.cli import main; sys.exit(main())"
        process = subprocess.Popen([sys.executable, "-c", code, *arguments], stderr=subprocess.DEVNULL)
        while len(script.asked) <= given and process.poll() is None:
            time.sleep(0.05)
        process.kill()
        assert process.wait() < 0
        assert not out.exists()
        assert scratch(out)
        given = 10_000
        script.asked.clear()
        search(plan, out, url=script.url, **options)
        assert len(script.asked) == complete - 8
    assert out.read_bytes() == (tmp_path / "calm.parquet").read_bytes()
    assert not scratch(out)


# Refreshing a pin


@pytest.fixture
def api() -> Iterator[Script]:
    with scripted_api(paged([])) as script:
        yield script


def refresh(api: Script, items: Sequence[Item], plan: Path, out: Path, **options: Any) -> list[str]:
    api.answer = paged(items)
    api.asked.clear()
    search(plan, out, url=api.url, **{**ALONE, **options})
    return ids(out)


def test_items_are_added_updated_and_withdrawn(
    api: Script, plan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "items.parquet"
    old = [made_item(f"item{k}", f"2023-06-{k:02d}", updated="2023-07-01T00:00:00Z") for k in range(1, 10)]
    refresh(api, old, plan, out)
    assert "9 items pinned" in capsys.readouterr().err
    new = [
        *(made_item(f"late{k}", f"2023-05-{k:02d}") for k in range(10, 17)),  # late back-fill
        made_item("item1", "2023-06-01", updated="2023-08-01T00:00:00Z", **{"eo:cloud_cover": 3}),
        *old[2:],
    ]
    assert refresh(api, new, plan, out) == sorted(item["id"] for item in new)
    reported = [line for line in capsys.readouterr().err.splitlines() if line.startswith("headwater: ")]
    assert reported == [
        "headwater: items 7 added, 1 updated, 1 withdrawn: "
        "added late10, late11, late12, late13, late14 and 2 more; updated item1; withdrawn item2."
    ]
    first = next(item for item in read_items(out) if item["id"] == "item1")
    assert first["properties"]["eo:cloud_cover"] == 3
    # As if there had been no earlier pin.
    refresh(api, new, plan, tmp_path / "anew.parquet")
    assert out.read_bytes() == (tmp_path / "anew.parquet").read_bytes()


def test_a_pin_that_did_not_change_is_not_touched(
    api: Script, plan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "items.parquet"
    items = [made_item(f"item{k}", f"2023-06-{k:02d}") for k in range(1, 10)]
    refresh(api, items, plan, out)
    before = out.stat().st_mtime_ns
    capsys.readouterr()
    time.sleep(0.01)
    refresh(api, items[::-1], plan, out, slice_days=3, workers=4, page_limit=2)
    assert out.stat().st_mtime_ns == before
    assert "nothing changed" in capsys.readouterr().err


def test_an_item_that_a_search_leaves_out_is_requested_before_it_is_withdrawn(
    api: Script, plan: Path, tmp_path: Path
) -> None:
    out = tmp_path / "items.parquet"
    items = [made_item(f"item{k}", f"2023-06-{k:02d}") for k in range(1, 6)]
    refresh(api, items, plan, out)
    before = out.read_bytes()
    hidden, gone = {"item2", "item4"}, {"item4"}
    by_id, by_search = (
        paged([item for item in items if item["id"] not in gone]),
        paged([item for item in items if item["id"] not in hidden]),
    )
    api.answer = lambda body: by_id(body) if "ids" in body else by_search(body)
    api.asked.clear()
    search(plan, out, url=api.url, **ALONE)
    assert ids(out) == ["item1", "item2", "item3", "item5"]
    assert [body["ids"] for body in api.asked if "ids" in body] == [["item2", "item4"]]
    gone.clear()
    # All back again.
    assert refresh(api, items, plan, out) == [item["id"] for item in items]
    assert out.read_bytes() == before


def test_an_item_that_no_longer_matches_is_withdrawn(api: Script, plan: Path, tmp_path: Path) -> None:
    out = tmp_path / "items.parquet"
    stays = made_item("stays")
    places = {"cloudy": {"eo:cloud_cover": 95}, "later": {"datetime": "2024-06-01T00:00:00Z"}}
    items = [stays, *(made_item(name, "2023-06-11") for name in (*places, "moved"))]
    refresh(api, items, plan, out)
    for item in items[1:]:
        item["properties"] |= places.get(item["id"], {})
    items[3]["geometry"]["coordinates"] = [[[20, 46], [21, 46], [21, 47], [20, 47], [20, 46]]]
    good, by_search = paged(items), paged([stays])
    api.answer = lambda body: good(body) if "ids" in body else by_search(body)
    search(plan, out, url=api.url, **ALONE)
    assert ids(out) == ["stays"]


def test_an_older_reply_does_not_replace_what_is_pinned(api: Script, plan: Path, tmp_path: Path) -> None:
    """A stale replica of the catalog, by search and by id."""
    out = tmp_path / "items.parquet"

    def version(name: str, month: int, cloud: int) -> Item:
        return made_item(name, updated=f"2023-{month:02d}-01T00:00:00Z", **{"eo:cloud_cover": cloud})

    refresh(api, [version("a", 9, 9), version("b", 9, 9)], plan, out)
    before = out.read_bytes()
    stale = [version("a", 7, 7), version("b", 7, 7)]
    refresh(api, stale, plan, out)
    assert out.read_bytes() == before
    everything, half = paged(stale), paged(stale[:1])
    api.answer = lambda body: everything(body) if "ids" in body else half(body)
    search(plan, out, url=api.url, **ALONE)
    assert out.read_bytes() == before
    # The same update time with another content is a change.
    refresh(api, [version("a", 9, 8), version("b", 10, 8)], plan, out)
    assert [item["properties"]["eo:cloud_cover"] for item in read_items(out)] == [8, 8]


def test_reprocessing_adds_the_new_and_withdraws_the_old(
    api: Script, plan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "items.parquet"
    of = {"platform": "S2A", "s2:mgrs_tile": "33TWM"}
    old = made_item("old", **of, **{"s2:processing_baseline": "02.12"})
    new = made_item("new", **of, **{"s2:processing_baseline": "05.10"})
    refresh(api, [old], plan, out)
    capsys.readouterr()
    assert refresh(api, [old, new], plan, out) == ["new"]
    assert "1 added, 0 updated, 1 withdrawn: added new; withdrawn old." in capsys.readouterr().err


@pytest.mark.parametrize("options", [{"max_cloud_cover": 80}, {"datetime": "2023-05-01/2023-09-29"}, {"years_back": 1}])
def test_another_query_replaces_the_pin(api: Script, plan: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    out = tmp_path / "items.parquet"
    refresh(api, [made_item("a"), made_item("b")], plan, out)
    assert refresh(api, [made_item("a")], plan, out, **options) == ["a"]
    assert not any("ids" in body for body in api.asked)


@pytest.mark.parametrize("content", [b"", b"not a pin"])
def test_a_file_that_is_no_pin_is_replaced(api: Script, plan: Path, tmp_path: Path, content: bytes) -> None:
    out = tmp_path / "items.parquet"
    out.write_bytes(content)
    assert refresh(api, [made_item("a")], plan, out) == ["a"]


def test_a_damaged_pin_is_written_anew(
    api: Script, plan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its metadata, at its end, are intact: it seems to be of the same search."""
    out = tmp_path / "items.parquet"
    items = [made_item(f"item{k}", f"2023-06-{k:02d}") for k in range(1, 10)]
    refresh(api, items, plan, out)
    intact = out.read_bytes()
    out.write_bytes(intact[:100] + bytes(2000) + intact[2100:])
    assert refresh(api, items, plan, out) == [item["id"] for item in items]
    assert "written anew" in capsys.readouterr().err
    assert out.read_bytes() == intact


def test_a_folder_and_a_table_are_refreshed_too(plan: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "place", tmp_path / "items.parquet"
    for scene in DEFAULT_SCENES[:2]:
        write_json(folder / "stac" / S2 / f"{scene.id}.json", made_item(scene.id, f"2023-06-{scene.day[-2:]}"))
    search(plan, out, url=str(folder), **ALONE)
    assert len(ids(out)) == 2
    (folder / "stac" / S2 / f"{DEFAULT_SCENES[0].id}.json").unlink()
    search(plan, out, url=str(folder), **ALONE)
    assert ids(out) == [DEFAULT_SCENES[1].id]
    for number in range(3):
        write_items(tmp_path / "index" / f"{number}.parquet", [made_item(f"item{number}")], url="u", query={})
    search(plan, out, url=str(tmp_path / "index"), **ALONE)
    assert ids(out) == ["item0", "item1", "item2"]


# Longitudes that jump, and large basins


def plan_around(path: Path, cells: Sequence[Cell], degrees: float) -> Path:
    write_json(
        path,
        {
            "basin_id": "1", "cell_degrees": degrees, "margin_px": 16, "basin_bounds": [-180, -90, 180, 90],
            "cells": [{"name": cell.name} for cell in cells],
        },
    )  # fmt: skip
    return path


def wrapped(ring: Sequence[tuple[float, float]], *, split: bool) -> dict[str, Any]:
    """Return a footprint as a catalog writes it: in two parts at 180, or with longitudes that jump there."""
    if not split:
        return {"type": "Polygon", "coordinates": [[[(x + 180) % 360 - 180, y] for x, y in ring]]}
    shape = shapely.Polygon(ring)
    east = shapely.intersection(shape, shapely.box(0, -90, 180, 90))
    west = shapely.transform(shapely.intersection(shape, shapely.box(180, -90, 360, 90)), lambda xy: xy - [360, 0])
    return dict(shapely.geometry.mapping(shapely.MultiPolygon([east, west])))


@pytest.mark.parametrize(("place", "south"), [("Fiji", -17.0), ("Chukotka", 66.0)])
@pytest.mark.parametrize("kind", ["api", "folder", "table"])
def test_a_basin_across_the_antimeridian(tmp_path: Path, place: str, south: float, kind: str) -> None:
    """Scenes of MGRS zones 60 and 01, and across 180 in both ways of writing; none of elsewhere."""
    cells = [Cell.from_name(f"{'N' if south >= 0 else 'S'}{abs(int(south)):02d}{name}", 1) for name in ("E179", "W180")]
    plan = plan_around(tmp_path / "plan.json", cells, 1)
    wide = 0.5

    def scene(name: str, west: float, **more: Any) -> Item:
        ring = [
            (west, south + 0.1),
            (west + wide, south + 0.1),
            (west + wide, south + 0.6),
            (west, south + 0.6),
            (west, south + 0.1),
        ]
        item = made_item(name, f"2023-06-{10 + len(name):02d}")
        return {**item, "bbox": [-180, south + 0.1, 180, south + 0.6] if west + wide > 180 > west else None,
                "geometry": wrapped(ring, split=more.get("split", False))}  # fmt: skip

    there = [
        scene("sixty", 179.2),
        scene("split1", 179.8, split=True),
        scene("jumping", 179.75),
        scene("zone01", 180.3 - 360),
    ]
    elsewhere = [scene("west", 170.0), scene("middle12345", 0.0), scene("eastward123", -170.0)]
    for item in [*there, *elsewhere]:
        if item["bbox"] is None:
            item["bbox"] = list(shapely.geometry.shape(item["geometry"]).bounds)
        write_json(tmp_path / "place" / "stac" / S2 / f"{item['id']}.json", item)
    if kind == "api":
        with running_catalog([tmp_path / "place"]) as url:
            search(plan, tmp_path / "items.parquet", url=f"{url}/stac", **ALONE)
    elif kind == "folder":
        search(plan, tmp_path / "items.parquet", url=str(tmp_path / "place"), **ALONE)
    else:
        write_items(tmp_path / "index.parquet", [*there, *elsewhere], url="u", query={})
        search(plan, tmp_path / "items.parquet", url=str(tmp_path / "index.parquet"), **ALONE)
    assert ids(tmp_path / "items.parquet") == sorted(item["id"] for item in there)


def test_a_server_that_takes_crossing_footprints_for_ones_around_the_world(tmp_path: Path) -> None:
    """pgstac treats a footprint across 180 as planar, so that it is everywhere except there."""
    cell = Cell.from_name("N66.00E179.95", 0.05)
    plan = plan_around(tmp_path / "plan.json", [cell], 0.05)
    ring = [[179.0, 65.5], [-179.0, 65.5], [-179.0, 66.5], [179.0, 66.5], [179.0, 65.5]]
    item = {**made_item("across"), "geometry": {"type": "Polygon", "coordinates": [ring]}}
    planar = shapely.Polygon(ring)

    def answer(body: Body) -> dict[str, Any]:
        return {"features": [item] if shapely.intersects(planar, shapely.box(*body["bbox"])) else []}

    with scripted_api(answer) as script:
        search(plan, tmp_path / "items.parquet", url=script.url, **ALONE)
    assert ids(tmp_path / "items.parquet") == ["across"]


def test_a_crooked_basin_is_not_queried_by_its_box(tmp_path: Path) -> None:
    line = shapely.LineString([(0.5, 0.5), (20.5, 0.5), (20.5, 20.5)])
    cells = cells_intersecting(line.buffer(0.1), 1)
    plan = plan_around(tmp_path / "plan.json", cells, 1)
    with scripted_api(paged([made_item("a", place=(0, 0, 1, 1))])) as script:
        search(plan, tmp_path / "items.parquet", url=script.url, **ALONE)
    boxes = {tuple(body["bbox"]) for body in script.asked}
    assert 2 <= len(boxes) <= 16
    assert sum((east - west) * (north - south) for west, south, east, north in boxes) < 100
    for box in cell_boxes(read_plan(plan)):
        assert any(b[0] <= box[0] and b[1] <= box[1] and b[2] >= box[2] and b[3] >= box[3] for b in boxes)


# Real items


@pytest.mark.real
def test_real_items_of_the_planetary_computer_are_pinned_and_refreshed(tmp_path: Path, shared_data: Path) -> None:
    stac = shared_data / "stac"
    items = json.loads((stac / "pc_items_35MNM_13dates.geojson").read_bytes())["features"]
    items += json.loads((stac / "pc_items_9tiles_2020-06-06.geojson").read_bytes())["features"]
    items += json.loads((stac / "pc_search_sentinel-2-l2a_2019-01-01.json").read_bytes())["features"]
    shapes = [shapely.geometry.shape(item["geometry"]) for item in items]
    cells = sorted(
        {cell for shape in shapes if shape.area > 0.1 for cell in cells_intersecting(shape.buffer(-0.05), 1)},
        key=lambda c: c.name,
    )
    plan = plan_around(tmp_path / "plan.json", cells, 1)
    options = {**ALONE, "datetime": "2018-12-31/2020-12-31", "max_cloud_cover": 100}
    out = tmp_path / "items.parquet"
    with scripted_api(paged(items, matched=False)) as script:
        search(plan, out, url=script.url, page_limit=4, slice_days=100, **options)
        before = out.read_bytes()
        assert set(ids(out)) <= {item["id"] for item in items}
        assert len(ids(out)) > 40
        for item in read_items(out):
            source = next(other for other in items if other["id"] == item["id"])
            assert shapely.geometry.shape(item["geometry"]).equals(shapely.geometry.shape(source["geometry"]))
            assert item["assets"]["B04"]["href"] == source["assets"]["B04"]["href"].split("?")[0]
        search(plan, out, url=script.url, page_limit=10, slice_days=400, **options)
    assert out.read_bytes() == before
