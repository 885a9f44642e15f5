"""One place in two catalogs: the same composite from both, and one of them in the other's stead."""

import json
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
import rasterio
from starlette.responses import Response

from headwater import raster
from headwater.cli.options import SIGNING
from headwater.core import events
from headwater.core.errors import InputError, NetworkError, WorkError
from headwater.core.files import read_json, write_json
from headwater.core.sentinel2 import OFFSET_DN, REFLECTANCE_BANDS, SCL
from headwater.demo.server.serve import running_catalog
from headwater.stac import session
from headwater.stac.pins import read_items, read_query
from headwater.stac.presets import COLOR_NAMES, OFFSET_REMOVED
from support.scripted_api import made_item, paged, scripted_api
from support.steps import composite, elevation, search, select
from support.tiny_catalog import CELLS, TinyScene, write_tiny_catalog, write_tiny_plan

S2 = "sentinel-2-l2a"
SUMMER = {"datetime": "2023-05-01/2023-09-30", "years_back": 0}
SCENES = [TinyScene("33TWM", "20230610", cloudy=(0.0, 0.3)), TinyScene("33TWL", "20230610")]
BANDS = (*REFLECTANCE_BANDS, SCL)
CELL = CELLS[0]


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    monkeypatch.setattr(session, "MAX_WAIT_S", 0.02)


def as_earth_search(folder, to, *, removed=True, marked=True, source=None):
    """Copy a catalog of the Planetary Computer's kind as one of Earth Search's: other ids, names and numbers."""
    shutil.copytree(folder, to)
    for path in sorted((to / "stac" / S2).glob("*.json")):
        item = json.loads(path.read_bytes())
        path.unlink()
        day, tile = item["properties"]["datetime"][:10].replace("-", ""), item["properties"]["s2:mgrs_tile"]
        item["id"] = f"S2A_{tile}_{day}_0_L2A"
        item["properties"] |= {OFFSET_REMOVED: marked, "platform": "sentinel-2a"}
        for name in REFLECTANCE_BANDS if removed else ():
            shift(to / item["assets"][name]["href"], -OFFSET_DN)
        item["assets"] = {COLOR_NAMES[name]: item["assets"][name] for name in BANDS}
        write_json(path.with_name(f"{item['id']}.json"), item)
    return to


def shift(path, amount, out=None):
    """Add to the numbers of a band; 0 stays missing."""
    with rasterio.open(path) as file:
        values, profile = file.read(), file.profile
    profile.update(driver="GTiff")
    with rasterio.open(out or path, "w", **profile) as file:
        file.write(np.where(values == 0, 0, values.astype(np.int32) + amount).astype(np.uint16))


@pytest.fixture(scope="module")
def catalogs(tmp_path_factory):
    """A place as the Planetary Computer and as Earth Search describe it, one folder each."""
    folder = tmp_path_factory.mktemp("catalogs")
    write_tiny_catalog(folder / "pc", SCENES)
    write_tiny_plan(folder / "plan.json", names=[CELL])
    as_earth_search(folder / "pc", folder / "es")
    as_earth_search(folder / "pc", folder / "es, removed but not marked", marked=False)
    as_earth_search(folder / "pc", folder / "es, marked but not removed", removed=False)
    return folder


def at(address):
    """Return how the catalog of a demo server is asked: each has tokens of its own."""
    return {"url": f"{address}/stac", "signing": "token", "token_url": f"{address}/api/sas/v1/token"}


def run(plan, out, *, cell=CELL, dem=True, **catalog):
    """Run the steps from the search to the composite and elevation; return the arrays, and the origin they record."""
    pin, access = out / "items.parquet", {name: catalog[name] for name in SIGNING if name in catalog}
    search(plan, pin, **{**SUMMER, **catalog})
    scenes, tiles = out / "scenes.json", out / "dem.json"
    select(pin, plan, cell, scenes, tiles, cache_dir=out / "cache", **access)
    composite(scenes, plan, cell, out / "composite.tif", **access)
    if dem:
        elevation(tiles, plan, cell, out / "elevation.tif", missing="extend", **access)
    found = {path.stem: raster.read_raster(path)[0] for path in sorted(out.glob("*.tif"))}
    origins = {path.name: read_json(path).get("catalog") for path in (scenes, tiles)}
    origins |= {path.name: raster.raster_tags(path).get("catalog") for path in sorted(out.glob("*.tif"))}
    return found, origins


@pytest.mark.parametrize("form", ["es", "es, removed but not marked", "es, marked but not removed"])
def test_both_presets_give_the_same_composite_of_a_scene(catalogs, tmp_path, form):
    plan = catalogs / "plan.json"
    with running_catalog([catalogs / "pc"]) as pc, running_catalog([catalogs / form]) as es:
        one, _ = run(plan, tmp_path / "pc", preset="planetary-computer", **at(pc))
        other, _ = run(plan, tmp_path / "es", preset="earth-search", **at(es))
    assert all(item["id"].startswith("S2A_33T") for item in read_items(tmp_path / "es/items.parquet")[-2:])
    np.testing.assert_array_equal(one["composite"], other["composite"])
    np.testing.assert_array_equal(one["elevation"], other["elevation"])
    assert (one["composite"][4] > 0).mean() > 0.5


@pytest.fixture
def dead():
    """Return an address at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return f"http://127.0.0.1:{port}/stac"


def test_a_run_goes_on_with_the_fallback_and_back_without_doubling_anything(catalogs, tmp_path, dead, capsys):
    plan, out = catalogs / "plan.json", tmp_path / "place"
    with running_catalog([catalogs / "pc"]) as pc, running_catalog([catalogs / "es"]) as es:
        fallback = {"preset": "earth-search", **at(es)}
        quick = {"patience_s": 0.2, "timeout_s": 1}
        truth, origins = run(plan, tmp_path / "truth", **at(pc))
        assert set(origins.values()) == {None}
        (tmp_path / "logs/1").mkdir(parents=True)
        with events.recorded("search", tmp_path / "logs/1/search.log"):
            found, origins = run(plan, out, preset="planetary-computer", url=dead, fallback=fallback, **quick)
        assert set(origins.values()) == {f"{es}/stac"}
        assert len(origins) == 4
        record = read_query(out / "items.parquet")
        assert (record["catalogue"], record["instead_of"]) == (f"{es}/stac", dead)
        said = [json.loads(line) for line in (tmp_path / "logs/1/search.jsonl").read_text().splitlines()]
        assert any(
            each["level"] == "warning" and f"fallback {es}/stac is asked" in each.get("text", "") for each in said
        )
        np.testing.assert_array_equal(found["composite"], truth["composite"])
        before = (out / "items.parquet").read_bytes()
        # Dead again: the pin of the fallback is refreshed, not written anew.
        search(plan, out / "items.parquet", **SUMMER, url=dead, fallback=fallback, **quick)
        assert (out / "items.parquet").read_bytes() == before
        # The first one is back.
        capsys.readouterr()
        found, origins = run(plan, out, **at(pc), fallback=fallback)
        assert set(origins.values()) == {None}
        assert "it is replaced by the items of" in capsys.readouterr().err
        assert (out / "items.parquet").read_bytes() == (tmp_path / "truth/items.parquet").read_bytes()
        np.testing.assert_array_equal(found["composite"], truth["composite"])


def test_a_search_that_dies_on_its_way_does_not_mix(catalogs, tmp_path):
    """Pages that the first catalog returned are not used: half of its scenes would be there twice, under other ids."""
    items = [made_item(f"S2A_MSIL2A_202306{day}T100000_R079_T33TWM_x", f"2023-06-{day}") for day in (10, 20)]
    answer = paged(items, size=1)

    def dying(body):
        return Response("gateway", status_code=504) if "token" in body else answer(body)

    out, plan = tmp_path / "items.parquet", catalogs / "plan.json"
    limits = {**SUMMER, "patience_s": 0.2, "timeout_s": 5}
    with scripted_api(dying) as first, running_catalog([catalogs / "es"]) as es:
        search(plan, out, url=first.url, fallback={"preset": "earth-search", "url": f"{es}/stac"}, **limits)
        assert any("token" in body for body in first.asked)
    assert sorted(item["id"][:10] for item in read_items(out) if item["collection"] == S2) == [
        "S2A_33TWL_",
        "S2A_33TWM_",
    ]
    assert not list(tmp_path.glob(".items*"))


def test_only_a_dead_catalog_has_a_fallback(catalogs, tmp_path, dead):
    plan, out = catalogs / "plan.json", tmp_path / "items.parquet"
    fallback = {"preset": "earth-search", "url": dead}
    with running_catalog([catalogs / "pc"]) as pc, pytest.raises(WorkError, match="has no usable"):  # of that year
        search(plan, out, url=f"{pc}/stac", datetime="2001-05-01/2001-06-01", years_back=0, fallback=fallback)
    with (
        scripted_api(lambda body: Response("no", status_code=403)) as closed,
        pytest.raises(NetworkError, match="refused the search: HTTP 403"),
    ):
        search(plan, out, url=closed.url, **SUMMER, fallback=fallback)
    with pytest.raises(NetworkError, match=r"cannot be reached .* does not answer either"):
        search(plan, out, url=dead, **SUMMER, patience_s=0.1, fallback=f"{dead}2")
    assert not out.exists()


def test_a_pin_of_a_fallback_that_is_not_named_any_more_is_refused(catalogs, tmp_path, dead):
    plan, pin = catalogs / "plan.json", tmp_path / "items.parquet"
    search(plan, pin, url=dead, **SUMMER, patience_s=0.1, fallback=str(catalogs / "es"))
    with pytest.raises(InputError, match=r"were found in .*es, which catalog\.fallback does not name"):
        select(pin, plan, CELL, tmp_path / "s.json", tmp_path / "d.json", cache_dir=tmp_path / "c")


@pytest.mark.real
@pytest.mark.parametrize("marked", [True, False])
def test_real_scenes_of_both_presets_give_the_same_composite(shared_data, tmp_path, marked):
    """A scene of August 2023 from its Earth Search items, and as the Planetary Computer writes and stores it."""
    template = read_json(shared_data / "stac/pc_item_sentinel-2-l2a_T06VVN.json")
    write_json(tmp_path / "plan.json", {
        "basin_id": "1", "cell_degrees": 0.1, "margin_px": 0, "basin_bounds": [15.3, 46.0, 15.4, 46.1],
        "cells": [{"name": "N46.0E015.3"}],
    })  # fmt: skip
    for path in sorted((shared_data / "s2-multidate-33T").glob("*_20230815_*/*.json")):
        item = {**read_json(path), "links": []}
        own = {name: str(path.parent / f"{name}.tif") for name in BANDS}
        colors = {COLOR_NAMES[name]: {**item["assets"][COLOR_NAMES[name]], "href": own[name]} for name in BANDS}
        properties = {**item["properties"], OFFSET_REMOVED: marked}
        es = {**item, "assets": {**item["assets"], **colors}, "properties": properties}
        es["assets"] = {key: each for key, each in es["assets"].items() if "://" not in each["href"] and key in colors}
        write_json(tmp_path / "es/stac" / S2 / path.name, es)
        product = item["properties"]["s2:product_uri"].removesuffix(".SAFE").split("_")
        name = "_".join(product[:3] + product[4:])  # as on the Planetary Computer: without the baseline
        facts = {key: item["properties"][key] for key in template["properties"] if key in item["properties"]}
        facts |= {"s2:mgrs_tile": item["properties"]["grid:code"][-5:], "platform": "Sentinel-2A"}
        pc = {
            **template,
            "id": name,
            "geometry": item["geometry"],
            "bbox": item["bbox"],
            "links": [],
            "properties": facts,
        }
        pc["assets"] = {}
        for band in BANDS:
            file = tmp_path / "pc/assets" / name / f"{band}.tif"
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(own[band], file) if band == SCL else shift(Path(own[band]), OFFSET_DN, file)
            pc["assets"][band] = {**template["assets"][band], "href": str(file)}
        write_json(tmp_path / "pc/stac" / S2 / f"{name}.json", pc)
    found = {}
    for preset, short in (("planetary-computer", "pc"), ("earth-search", "es")):
        where = {"preset": preset, "url": str(tmp_path / short), "dem_collections": (), "max_cloud_cover": 100}
        found[short], _ = run(tmp_path / "plan.json", tmp_path / "out" / short, cell="N46.0E015.3", dem=False, **where)
    np.testing.assert_array_equal(found["pc"]["composite"], found["es"]["composite"])
    assert (found["pc"]["composite"][4] > 0).mean() > 0.8
