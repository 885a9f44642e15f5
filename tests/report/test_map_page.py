"""The map page, drawn by a real browser."""

import gzip
import json

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from headwater import raster
from headwater.core.errors import InputError
from headwater.core.terms import Terms
from headwater.geo.grid import cell_grid, elevation_grid, prediction_grid
from headwater.geo.plan import read_plan, write_plan
from headwater.report import map_page
from headwater.report.map_network import downstream_rows, lowest_order, percent
from headwater.report.map_page import write_map
from headwater.report.map_rasters import TileBlock, tile_block
from support.browser import chromium, served

BASIN = "3020000010"
PINK = np.array([204, 61, 143])
TRUNK = 700_000_000_000_000_000
"""First id: beyond 2^53, where the numbers of a browser are not exact."""


def comb(west, south, step, teeth=6):
    """A river to the east with tributaries from the north; confidence falls from tooth to tooth."""
    rows = []
    for tooth in range(teeth):
        x, last = west + tooth * step, tooth == teeth - 1
        trunk, side = TRUNK + 10 * tooth, TRUNK + 10 * tooth + 1
        joined = [TRUNK + 10 * (tooth - 1), TRUNK + 10 * (tooth - 1) + 1] if tooth else []
        lines = (
            shapely.LineString([(x, south), (x + step, south)]),
            shapely.LineString([(x, south + 4 * step), (x + step, south)]),
        )
        rows.append([trunk, -1 if last else trunk + 10, joined, 2 if tooth else 1, True, 1000.0, np.nan, lines[0]])
        if not last:
            rows.append([side, trunk + 10, [], 1, False, 4000.0, 0.95 - 0.1 * tooth, lines[1]])
    names = [
        "stream_id",
        "target_stream_id",
        "source_stream_ids",
        "strahler_order",
        "from_tdx",
        "length_m",
        "mean_probability",
        "geometry",
    ]
    table = gpd.GeoDataFrame(pd.DataFrame(rows, columns=names), geometry="geometry", crs="EPSG:4326")
    return table.assign(basin_id=BASIN, upstream_area_km2=1.5)


def place(folder, boxes, *, cell_degrees=0.1, kinds=("composite", "elevation", "probability")):
    """A plan of a basin of boxes, its polygons, and rasters of its cells."""
    basin = gpd.GeoDataFrame({"HYBAS_ID": [int(BASIN)]}, geometry=[shapely.multipolygons(boxes)], crs="EPSG:4326")
    basin.to_file(folder / "basins.gpkg")
    write_plan([folder / "basins.gpkg"], BASIN, folder / "plan.json", cell_degrees=cell_degrees, margin_px=0)
    plan = read_plan(folder / "plan.json")
    rasters = {kind: [] for kind in kinds}
    for cell in plan.cells:
        for kind, made in rasters.items():
            made.append(folder / f"{cell.name}-{kind}.tif")
            if kind == "elevation":
                grid = elevation_grid(cell, margin_px=0)
                heights = np.linspace(5, 300, grid.width, dtype=np.float32) * np.ones((grid.height, 1), np.float32)
                raster.write_cog(made[-1], heights[np.newaxis], transform=grid.transform)
                continue
            grid = cell_grid(cell, margin_px=0) if kind == "composite" else prediction_grid(cell)
            values = np.full((5 if kind == "composite" else 1, *grid.shape), 120, np.uint8)
            raster.write_cog(made[-1], values, transform=grid.transform, nodata=0)
    return plan, rasters


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(scope="module")
def basin(tmp_path_factory):
    """Results of a basin with its map page; and its network."""
    folder = tmp_path_factory.mktemp("basin")
    plan, rasters = place(folder, [shapely.box(10.01, 45.01, 10.09, 45.09)])
    lakes = gpd.GeoDataFrame(geometry=[shapely.box(10.02, 45.03, 10.03, 45.04)], crs="EPSG:4326")
    lakes.to_file(folder / "lakes.gpkg")
    network = comb(10.02, 45.02, 0.01)
    write_map(
        folder / "report/map.html", plan, network, rasters, polygons=[folder / "basins.gpkg"],
        lakes=folder / "lakes.gpkg", terms=Terms(license=("CC <b>BY</b>",)), notes=["A <i>note</i>."],
    )  # fmt: skip
    return folder, network


def screen(browser, longitude, latitude):
    return browser.run("const p = map.project([arguments[0], arguments[1]]); return [p.x, p.y]", longitude, latitude)


@pytest.mark.browser
def test_the_map_draws_the_network_and_a_click_marks_the_way_to_the_outlet(browser, basin):
    folder, network = basin
    with served(folder) as address:
        milliseconds = browser.open(f"{address}/report/map.html#background=plain&show=&theme=light")
        assert int(milliseconds) < 20_000, "2 seconds on two free cores"
        drawn = browser.pixels()
        ground = np.array([0xEE, 0xF1, 0xF2])
        # The picture has lines where the network has them, and nowhere else.
        lines = shapely.get_coordinates(shapely.segmentize(network.geometry.to_numpy(), 0.002))
        at = np.array([screen(browser, x, y) for x, y in lines]).round().astype(int)
        height, width = drawn.shape[:2]
        near = np.zeros((height, width), bool)
        for x, y in at:
            near[max(y - 40, 0) : y + 40, max(x - 40, 0) : x + 40] = True
            around = drawn[y - 2 : y + 3, x - 2 : x + 3]
            assert (np.abs(around - ground).sum(axis=-1) > 100).any(), "a stream is not drawn"
        inside = np.zeros_like(near)
        inside[20:-50, 340:-70] = True  # without panel, buttons and coordinates
        assert (np.abs(drawn - ground).sum(axis=-1) < 30)[inside & ~near].all(), "something is drawn beside the streams"

        browser.until("return index")
        side = network.set_index("stream_id").geometry[TRUNK + 11]
        browser.click(*screen(browser, *side.interpolate(0.5, normalized=True).coords[0]))
        text = browser.until(
            "return !document.getElementById('details').hidden && document.getElementById('details').innerText"
        )
        assert f"Stream {TRUNK + 11}" in text, "ids are exact"
        assert "8.0 km over 5 segments to the outlet" in text
        assert "4,000 m" in text
        assert "1.50 km²" in text
        assert "0.850" in text
        assert browser.run("return path.map((row) => String(index.id[row]))") == [
            str(TRUNK + 11), *(str(TRUNK + 10 * tooth) for tooth in (2, 3, 4, 5))
        ]  # fmt: skip
        browser.settle()
        assert (np.abs(browser.pixels() - PINK).sum(axis=-1) < 30).sum() > 500, "the way is not marked"
        address_shown = browser.run("return location.href")
        # Escape clears; a copied address shows the same again.
        browser.run("dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape'}))")
        assert browser.run("return document.getElementById('details').hidden && path.length === 0")
        messages, asked = browser.logs()
        assert (messages, [a for a in asked if not a.startswith(address)]) == ([], []), "nothing leaves the machine"
        browser.open(address_shown)
        assert f"Stream {TRUNK + 11}" in browser.until("return document.getElementById('details').innerText")


@pytest.mark.browser
def test_the_page_opens_from_a_disk_filters_sums_and_finds(browser, basin):
    folder, _ = basin
    page = (folder / "report/map.html").as_uri()
    browser.open(f"{page}#theme=dark&percent=80", size=(390, 800))
    browser.until("return index")
    legend = "return document.getElementById('legend').textContent"
    assert "Shown, of 26.0 km14.0 km" in browser.run(legend), "streams below 0.8 are left out, those without are kept"
    slider = (
        "const s = document.getElementById(arguments[0]); s.value = arguments[1]; s.dispatchEvent(new Event('input'))"
    )
    browser.run(slider, "order", 2)
    assert "Shown, of 26.0 km5.0 km" in browser.run(legend)
    browser.run(slider, "order", 1)
    browser.run(slider, "percent", 0)
    browser.run("find(arguments[0])", str(TRUNK + 30))
    text = browser.until(
        "return !document.getElementById('details').hidden && document.getElementById('details').innerText"
    )
    assert f"{TRUNK + 20}\n{TRUNK + 21}" in text, "streams that flow into it"
    browser.run("find('12')")
    assert "no stream 12" in browser.run("return document.getElementById('search-note').textContent")
    browser.run("deselect()")
    for name in ("elevation", "hillshade", "composite", "probability", "clear_views"):
        browser.run("change({background: arguments[0]})", name)
        browser.settle()
        middle = browser.pixels()[500:520, 300:320].mean(axis=(0, 1))
        assert np.abs(middle - [0x14, 0x19, 0x1D]).sum() > 30, f"{name} is not drawn"
    about = "return document.getElementById('about').textContent"
    assert "A <i>note</i>." in browser.run(about)
    assert "CC <b>BY</b>" in browser.run(about)
    messages, asked = browser.logs()
    assert messages == []
    assert all(address.startswith("file://") for address in asked)


@pytest.mark.browser
def test_odd_basins_open_or_say_why(browser, basin, tmp_path, monkeypatch):
    """Across 180 degrees at 80 north, without rasters, of one cell; without streams; too large for a page on a disk."""
    for name in ("date_line", "empty", "large"):
        (tmp_path / name).mkdir()
    parts = [shapely.box(179.9, 80, 180, 80.1), shapely.box(-180, 80, -179.9, 80.1)]
    plan, rasters = place(tmp_path / "date_line", parts, kinds=("elevation",))
    network = comb(179.97, 80.02, 0.01)
    network.geometry = [
        shapely.transform(g, lambda xy: xy - [360, 0]) if g.centroid.x > 180 else g for g in network.geometry
    ]
    write_map(
        tmp_path / "date_line/report/map.html", plan, network, rasters, polygons=[tmp_path / "date_line/basins.gpkg"]
    )
    browser.open((tmp_path / "date_line/report/map.html").as_uri() + "#theme=light")
    browser.until("return index")
    drawn = browser.run("return map.queryRenderedFeatures({layers: ['streams']}).map((f) => f.properties.row)")
    assert set(drawn) == set(range(len(network))), "streams on both sides of 180 degrees"
    left, right = screen(browser, 179.95, 80.05), screen(browser, 180.05, 80.05)
    pixels = browser.pixels()
    for x, y in (left, right):
        assert np.abs(pixels[int(y), int(x)] - [0xEE, 0xF1, 0xF2]).sum() > 30, "no relief on one side"
    assert browser.run("return document.getElementById('problem').hidden")

    plan, _ = place(tmp_path / "empty", [shapely.box(10.01, 45.01, 10.09, 45.09)], kinds=())
    write_map(tmp_path / "empty/report/map.html", plan, comb(10.02, 45.02, 0.01).iloc[:0], {"composite": []})
    # Nobody can write here, and nothing is written.
    for path in (tmp_path / "empty/report").rglob("*"):
        path.chmod(0o555)
    browser.open((tmp_path / "empty/report/map.html").as_uri())
    assert "This basin has no streams." in browser.run("return document.body.innerText")

    monkeypatch.setattr(map_page, "EMBED_BYTES", 0)
    folder = tmp_path / "large"
    plan, rasters = place(folder, [shapely.box(10.01, 45.01, 10.09, 45.09)], kinds=())
    write_map(folder / "report/map.html", plan, comb(10.02, 45.02, 0.01), rasters)
    browser.open((folder / "report/map.html").as_uri(), drawn=False)
    assert "headwater view" in browser.until("return document.getElementById('problem').innerText")
    assert not (folder / "report/map/embedded.js").exists()
    with served(folder) as address:
        browser.open(f"{address}/report/map.html")
    assert browser.logs()[0][1:] == []


def test_the_page_has_the_scripts_of_the_package_with_their_licenses_and_the_same_bytes_again(basin, tmp_path):
    folder, network = basin
    data = folder / "report/map"
    assert "MapLibre GL JS" in (data / "maplibre-gl.js").read_text()[:200]
    assert "Redistribution and use" in (data / "maplibre-gl-license.txt").read_text()
    assert "MIT License" in (data / "maplibre-package-license.txt").read_text()
    for path in (folder / "report/map.html", data / "map.css", data / "map.js"):
        assert "http" not in path.read_text(), f"{path.name} names an address"
    plan, rasters = place(tmp_path, [shapely.box(10.01, 45.01, 10.09, 45.09)])
    options = {"polygons": [folder / "basins.gpkg"], "lakes": folder / "lakes.gpkg"}
    again = {"terms": Terms(license=("CC <b>BY</b>",)), "notes": ["A <i>note</i>."]}
    write_map(tmp_path / "report/map.html", plan, network.sample(frac=1, random_state=1), rasters, **options, **again)
    names = sorted(path.name for path in data.iterdir())
    assert names == sorted(path.name for path in (tmp_path / "report/map").iterdir())
    for name in names:
        assert (data / name).read_bytes() == (tmp_path / "report/map" / name).read_bytes(), name
    facts = json.loads((data / "basin.js").read_text().removeprefix("const BASIN = ").removesuffix(";\n"))
    block = (data / "attributes.bin").read_bytes()[: facts["network"]["block_starts"][1]]
    first = dict(zip(facts["network"]["names"], json.loads(gzip.decompress(block))[0], strict=True))
    assert (first["stream_id"], first["mean_probability"], first["length_m"]) == (str(TRUNK), None, 1000.0)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(map_page, "SCRIPTS", ("not-there.js",))
    with pytest.raises(InputError, match="package `maplibre`"):
        map_page.scripts_folder()


def test_percent_is_rounded_down_so_that_the_slider_keeps_what_reaches_it():
    table = pd.DataFrame({"mean_probability": [0.29, 0.5, 0.4999, 1.0, np.nan, 0.0]})
    assert percent(table).tolist() == [29, 50, 49, 100, 255, 0]
    table["confidence"] = [0.1, None, None, None, None, None]
    assert percent(table)[0] == 10
    table["confidence"] = None
    assert percent(table)[0] == 29


def test_crowded_tiles_show_higher_orders_only():
    generator = np.random.default_rng(1)
    starts = generator.uniform((10, 45), (11, 46), (40_000, 2))
    order = np.repeat(np.array([1, 2, 3], np.int32), [30_000, 9_000, 1_000])
    assert lowest_order(starts, order, 12) == 1
    assert lowest_order(starts, order, 6) == 2
    assert lowest_order(np.repeat(starts, 20, axis=0), np.repeat(order, 20), 3) == 3, (
        "the highest order is always shown"
    )


def test_rows_downstream():
    assert downstream_rows(comb(0, 0, 0.01).sort_values("stream_id")).tolist() == [2, 2, 4, 4, 6, 6, 8, 8, 10, 10, -1]


def test_tiles_of_large_areas_are_coarser():
    small, large = (TileBlock.over((10, 45, 10 + s, 45 + s), 12) for s in (0.01, 1))
    assert small.count < 3
    block = tile_block((10, 45, 20, 55), 0.0001)
    assert 100 <= block.count <= 400
    assert block.zoom < tile_block((10, 45, 10.1, 45.1), 0.0001).zoom
    across = TileBlock.over((179.9, 10, 180.1, 10.1), 8)
    assert (across.left, across.right) == (255, 257)
    assert large.bottom > large.top
