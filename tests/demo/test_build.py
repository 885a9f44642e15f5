"""The demo planet has the features of the real sources: one test for each feature that a later step relies on."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from pyproj import Geod
from rasterio.features import rasterize
from scipy import ndimage
from shapely.geometry import box, shape

from headwater.core.errors import InputError
from headwater.demo import build
from headwater.demo.build import build_planet
from headwater.demo.landscape import make_landscape
from headwater.demo.planet_grid import TRUTH_PER_DEGREE, planet_grid
from headwater.demo.planet_parameters import planet_parameters
from headwater.demo.vector_tables import transform

SEED = 6
SIZE, CELL, DATES = (0.1, 0.1), 0.05, 3
GEOD = Geod(ellps="WGS84")


@pytest.fixture(scope="module")
def planet(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A small planet of two by two cells, read once."""
    folder = tmp_path_factory.mktemp("planet") / "p"
    build_planet(SEED, folder, size_degrees=SIZE, cell_degrees=CELL, dates=DATES)
    facts = json.loads((folder / "planet.json").read_text())
    grid = planet_grid(SEED, size_degrees=SIZE, cell_degrees=CELL)
    items = [json.loads(p.read_text()) for p in sorted((folder / "stac" / "sentinel-2-l2a").glob("*.json"))]
    dem = [json.loads(p.read_text()) for p in sorted((folder / "stac" / "cop-dem-glo-30").glob("*.json"))]
    read = {name: gpd.read_file(folder / file) for name, file in facts["files"].items() if name != "labels"}
    nhd = {k: gpd.read_file(folder / "nhd.gpkg", layer=k) for k in ("NHDFlowline", "NHDWaterbody", "NHDArea")}
    return SimpleNamespace(
        folder=folder,
        facts=facts,
        grid=grid,
        items=items,
        dem=dem,
        land=make_landscape(grid, planet_parameters(SEED)),
        **read,
        nhd=nhd,
    )


def read(planet: SimpleNamespace, item: dict[str, Any], key: str) -> np.ndarray:
    with rasterio.open(planet.folder / item["assets"][key]["href"]) as dataset:
        return dataset.read(1)


def digest(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def cells_of(planet: SimpleNamespace, line: shapely.LineString) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the truth grid under the vertices of a line."""
    x, y = np.asarray(line.coords).T
    grid = transform(planet.grid)
    return np.floor((y - grid.f) / grid.e).astype(int), np.floor((x - grid.c) / grid.a).astype(int)


# --- the folder -------------------------------------------------------------------------------------------------


def test_same_seed_gives_same_bytes_with_any_jobs_and_a_second_call_does_nothing(tmp_path: Path) -> None:
    options: dict[str, Any] = {"size_degrees": (0.1, 0.05), "cell_degrees": 0.05, "dates": 2}
    build_planet(1, tmp_path / "a", jobs=1, **options)
    build_planet(1, tmp_path / "b", jobs=2, **options)
    first = digest(tmp_path / "a")
    assert first == digest(tmp_path / "b")
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "a").rglob("*")}
    build_planet(1, tmp_path / "a", **options)
    assert times == {p: p.stat().st_mtime_ns for p in (tmp_path / "a").rglob("*")}
    # Other options replace the planet, and nothing temporary remains.
    build_planet(2, tmp_path / "a", **options)
    assert json.loads((tmp_path / "a" / "planet.json").read_text())["seed"] == 2
    assert first != digest(tmp_path / "a")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_a_folder_that_is_not_a_planet_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="not a demo planet"):
        build_planet(1, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("change", [{"size_degrees": (0.3, 0.17)}, {"dates": 1}, {"jobs": 0}, {"cell_degrees": 0.07}])
def test_invalid_options_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        build_planet(1, tmp_path / "p", **change)
    assert not list(tmp_path.iterdir())


def test_a_failed_build_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Path, *_: object) -> None:
        (folder / "half.tif").write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(build, "_fill", fail)
    with pytest.raises(OSError, match="disk full"):
        build_planet(1, tmp_path / "p")
    assert not list(tmp_path.iterdir())


def test_leftovers_of_a_killed_build_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = tmp_path / ".p.4999999.part"  # a process number above the kernel's maximum
    left.mkdir()
    monkeypatch.setattr(build, "_fill", lambda *_: None)
    build_planet(1, tmp_path / "p")
    assert [p.name for p in tmp_path.iterdir()] == ["p"]


def test_planet_json_describes_the_files(planet: SimpleNamespace) -> None:
    assert planet.facts["seed"] == SEED
    assert len(planet.facts["basin_id"]) == 10
    assert planet.facts["bounds"] == list(planet.grid.bounds)
    assert all((planet.folder / name).is_file() for name in planet.facts["files"].values())


# --- land and water -----------------------------------------------------------------------------------------------


def test_sea_surrounds_a_large_and_a_small_island(planet: SimpleNamespace) -> None:
    land = planet.land.land
    border = np.concatenate([land[0], land[-1], land[:, 0], land[:, -1]])
    assert not border.any()
    labels, count = ndimage.label(land)
    sizes = np.sort(np.bincount(labels.ravel())[1:])
    assert count == 2
    assert sizes[0] < 0.15 * sizes[1]
    assert 0.3 < land.mean() < 0.85
    assert (planet.land.elevation[~land] == 0).all()
    assert (planet.land.elevation[land] > 0).all()


def test_every_land_cell_drains_downhill_to_the_sea(planet: SimpleNamespace) -> None:
    land, z = planet.land, planet.land.elevation.ravel()
    cells = np.flatnonzero(land.land.ravel())
    assert np.array_equal(np.sort(land.order), cells)
    assert (z[land.receiver[cells]] < z[cells]).all()
    outlets = cells[~land.land.ravel()[land.receiver[cells]]]
    dx, dy = planet.grid.pixel_m
    assert land.area_km2[outlets].sum() == pytest.approx(cells.size * dx * dy / 1e6, rel=1e-4)


def test_basin_polygon_covers_the_land_and_little_else(planet: SimpleNamespace) -> None:
    assert list(planet.basins["HYBAS_ID"].astype(str)) == [planet.facts["basin_id"]]
    assert planet.basins.is_valid.all()
    inside = rasterize(planet.basins.geometry, out_shape=planet.land.land.shape, transform=transform(planet.grid))
    assert (inside[planet.land.land] == 1).all()
    near = ndimage.binary_dilation(planet.land.land, iterations=14)
    assert not inside[~near].any()
    land = planet.basins.geometry.iloc[0]
    assert box(*planet.grid.bounds).contains_properly(land)
    assert not land.intersects(box(*planet.grid.ocean_quadrant))  # else a cell without land would be planned


def test_lake_ponds_and_swamp_are_on_the_map(planet: SimpleNamespace) -> None:
    codes = planet.nhd["NHDWaterbody"]["FCODE"].value_counts()
    assert {39004, 39001, 46600} <= set(codes.index)
    lake = planet.land.lake
    dx, dy = planet.grid.pixel_m
    assert 0.03 < lake.sum() * dx * dy / 1e6 < 3
    assert np.ptp(planet.land.elevation[lake]) < 3  # the truth falls by millimeters per pixel toward the outlet
    assert len(np.unique(planet.land.ponds)) >= 3


def test_one_course_leads_through_the_lake(planet: SimpleNamespace) -> None:
    lake = planet.nhd["NHDWaterbody"].query("FCODE == 39004").geometry
    lake = lake.iloc[int(np.argmax(shapely.area(lake)))]
    backbone = planet.streams.geometry.intersection(lake)
    within = sum(GEOD.geometry_length(line) for line in backbone if not line.is_empty)
    around = GEOD.geometry_length(lake.exterior)
    assert 0 < within < 0.6 * around  # a ladder of parallel lines would be longer


def test_the_river_is_wide_downstream(planet: SimpleNamespace) -> None:
    areas = planet.nhd["NHDArea"]
    assert set(areas["FCODE"]) == {46006}
    utm = areas.to_crs(areas.estimate_utm_crs())
    assert (2 * utm.area / (utm.length / 2)).max() > 30  # width of a long thin polygon: area over half its outline
    inside = gpd.sjoin(planet.nhd["NHDFlowline"].query("FCODE == 55800"), areas, predicate="intersects")
    assert not inside.empty


def test_the_canal_ignores_the_relief(planet: SimpleNamespace) -> None:
    canal = planet.nhd["NHDFlowline"].query("FCODE == 33600").geometry
    assert len(canal) == 1
    z = planet.land.elevation[cells_of(planet, canal.iloc[0])]
    assert np.ptp(z) > 5
    assert (np.diff(z) > 0).mean() > 0.2
    assert (np.diff(z) < 0).mean() > 0.2


# --- the true network -----------------------------------------------------------------------------------------------


def test_truth_runs_downhill_on_the_true_terrain(planet: SimpleNamespace) -> None:
    for line in planet.truth.geometry:
        assert (np.diff(planet.land.elevation[cells_of(planet, line)]) < 0).all()


def test_truth_holds_three_regimes_and_a_plausible_density(planet: SimpleNamespace) -> None:
    truth = planet.truth
    assert set(truth["regime"]) == {"perennial", "intermittent", "ephemeral"}
    areas = truth.groupby("regime")["upstream_area_km2"].median()
    assert areas["ephemeral"] < areas["intermittent"] < areas["perennial"]
    kilometers = sum(GEOD.geometry_length(line) for line in truth.geometry) / 1000
    dx, dy = planet.grid.pixel_m
    assert 1.5 < kilometers / (planet.land.land.sum() * dx * dy / 1e6) < 4
    assert {46006, 46003, 46007} <= set(planet.nhd["NHDFlowline"]["FCODE"])


def test_one_area_threshold_cannot_locate_the_channel_heads(planet: SimpleNamespace) -> None:
    ends = {line.coords[-1] for line in planet.truth.geometry}
    heads = [line for line in planet.truth.geometry if line.coords[0] not in ends]
    area = planet.land.area_km2.reshape(planet.land.land.shape)
    at_heads = np.array([area[tuple(k[0] for k in cells_of(planet, line))] for line in heads])
    low, high = np.quantile(at_heads, [0.1, 0.9])
    assert high > 2.5 * low


def test_truth_reaches_meet_in_shared_points_and_orders_rise_downstream(planet: SimpleNamespace) -> None:
    start = {line.coords[0]: k for k, line in enumerate(planet.truth.geometry)}
    order = planet.truth["strahler_order"].to_numpy()
    downstream = [start.get(line.coords[-1], -1) for line in planet.truth.geometry]
    joined = [(k, d) for k, d in enumerate(downstream) if d >= 0]
    assert len(joined) > 0.5 * len(downstream)
    assert all(order[k] <= order[d] for k, d in joined)
    assert order.max() >= 4


# --- the backbone -----------------------------------------------------------------------------------------------


def test_streamnet_has_the_columns_of_taudem_and_valid_links(planet: SimpleNamespace) -> None:
    net = planet.streams
    columns = (
        "LINKNO DSLINKNO USLINKNO1 USLINKNO2 DSNODEID strmOrder Length Magnitude DSContArea strmDrop Slope "
        "StraightL USContArea WSNO DOUTEND DOUTSTART DOUTMID geometry"
    )
    assert list(net.columns) == columns.split()
    assert net.crs.to_epsg() == 4326
    assert net["LINKNO"].is_unique
    down = net.set_index("LINKNO")["DSLINKNO"]
    assert set(down[down >= 0]) <= set(down.index)
    assert (down == -1).sum() >= 3  # several outlets
    ups = net.melt(id_vars="LINKNO", value_vars=["USLINKNO1", "USLINKNO2"], value_name="up").query("up >= 0")
    assert len(ups) == (down >= 0).sum()
    assert (down[ups["up"]].to_numpy() == ups["LINKNO"].to_numpy()).all()
    for link in down.index:  # every walk downstream ends
        steps = 0
        while link != -1:
            link, steps = down[link], steps + 1
            assert steps <= len(down)


def test_streamnet_orders_are_strahlers(planet: SimpleNamespace) -> None:
    net = planet.streams.set_index("LINKNO")
    for _, row in net.iterrows():
        ups = [net.loc[u, "strmOrder"] for u in (row["USLINKNO1"], row["USLINKNO2"]) if u >= 0]
        highest = max(ups, default=0)
        assert row["strmOrder"] == (highest + (ups.count(highest) > 1) if ups else 1)


def test_a_confluence_of_three_has_a_link_of_no_length_and_no_catchment(planet: SimpleNamespace) -> None:
    net = planet.streams
    zero = net[net["Length"] == 0]
    assert len(zero) >= 1
    for _, row in zero.iterrows():
        assert row["USLINKNO1"] >= 0
        assert row["USLINKNO2"] >= 0
        assert row["DSLINKNO"] >= 0
        assert len(set(row.geometry.coords)) == 1
        others = net[(net["DSLINKNO"] == row["DSLINKNO"]) & (net["LINKNO"] != row["LINKNO"])]
        assert len(others) == 1
    assert not set(zero["LINKNO"]) & set(planet.catchments["streamID"])


def test_streamnet_is_a_staircase_drawn_either_way_on_true_channels(planet: SimpleNamespace) -> None:
    net = planet.streams[planet.streams["Length"] > 0]
    drops = []
    for line in net.geometry:
        rows, columns = cells_of(planet, line)
        assert np.abs(np.diff(rows)).max(initial=0) <= 1
        assert np.abs(np.diff(columns)).max(initial=0) <= 1
        z = planet.land.elevation[rows, columns]
        drops.append(z[0] - z[-1])
    assert 0.1 < (np.array(drops) < 0).mean() < 0.6  # some are drawn upstream
    on = planet.truth[planet.truth["on_backbone"]]
    points = {p for line in on.geometry for p in line.coords}
    assert {p for line in net.geometry for p in line.coords} <= points
    assert len(on) < 0.5 * len(planet.truth)


def test_lengths_and_areas_of_the_streamnet_are_true(planet: SimpleNamespace) -> None:
    net = planet.streams
    assert np.allclose(net["Length"], [GEOD.geometry_length(line) for line in net.geometry], atol=0.06)
    assert (net["USContArea"] <= net["DSContArea"]).all()
    outlets = net[net["DSLINKNO"] < 0]
    assert (outlets["DOUTEND"] == 0).all()
    area = abs(sum(GEOD.geometry_area_perimeter(p)[0] for p in planet.catchments.geometry))
    assert area == pytest.approx(outlets["DSContArea"].sum(), rel=0.02)


def test_catchments_hold_detached_pixels_reach_the_coast_and_leave_some_of_it_out(planet: SimpleNamespace) -> None:
    table = planet.catchments
    assert "streamID" in table.columns
    assert table.is_valid.all()
    with_length = planet.streams.query("Length > 0")["LINKNO"]
    assert set(table["streamID"]) == set(with_length)
    assert len(table) > table["streamID"].nunique()  # several polygons for one id
    pixel = 1 / TRUTH_PER_DEGREE**2
    assert np.isclose(shapely.area(table.geometry), pixel, rtol=1e-3).any()
    numbers = rasterize(
        zip(table.geometry, table["streamID"], strict=True),
        out_shape=planet.land.land.shape,
        transform=transform(planet.grid),
    )
    sea = ~planet.land.land
    assert not (numbers[sea] > 0).any()
    assert (numbers[ndimage.binary_dilation(sea) & ~sea] > 0).any()
    assert 0.03 < (numbers[~sea] == 0).mean() < 0.5


# --- scenes -----------------------------------------------------------------------------------------------------


def by_tile(planet: SimpleNamespace) -> dict[str, list[dict[str, Any]]]:
    tiles: dict[str, list[dict[str, Any]]] = {}
    for item in planet.items:
        tiles.setdefault(item["properties"]["s2:mgrs_tile"], []).append(item)
    return tiles


def epsg(item: dict[str, Any]) -> int:
    properties = item["properties"]
    return int(properties.get("proj:epsg") or properties["proj:code"].removeprefix("EPSG:"))


def test_two_mgrs_tiles_in_two_utm_zones_overlap_and_cover_the_window(planet: SimpleNamespace) -> None:
    tiles = by_tile(planet)
    assert sorted(tiles) == sorted(planet.facts["mgrs_tiles"])
    zones = {epsg(items[0]) for items in tiles.values()}
    assert len(zones) == 2
    complete = [next(shape(i["geometry"]) for i in items if not i["properties"]["s2:nodata_pixel_percentage"])
             for items in tiles.values()]  # fmt: skip
    window = box(*planet.facts["bounds"])
    assert 0.2 < complete[0].intersection(complete[1]).intersection(window).area / window.area < 0.45
    assert shapely.union_all(complete).contains(window)


def test_two_processing_baselines_differ_by_the_offset_and_one_acquisition_occurs_twice(
    planet: SimpleNamespace,
) -> None:
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for item in planet.items:
        p = item["properties"]
        groups.setdefault((p["platform"], p["datetime"], p["s2:mgrs_tile"]), []).append(item)
    twice = [g for g in groups.values() if len(g) == 2]
    assert len(twice) == 1
    assert len(groups) == 2 * DATES
    old, new = sorted(twice[0], key=lambda item: item["properties"]["s2:processing_baseline"])
    assert old["properties"]["s2:processing_baseline"] < "04.00" <= new["properties"]["s2:processing_baseline"]
    for key in ("B02", "B03", "B04", "B08"):
        assert np.median(read(planet, new, key).astype(int) - read(planet, old, key)) == 1000
    assert np.array_equal(read(planet, new, "SCL"), read(planet, old, "SCL"))
    # The other tile has the early date only without the offset, so de-duplication keeps it.
    alone = [g[0] for g in groups.values() if len(g) == 1]
    assert any(item["properties"]["s2:processing_baseline"] < "04.00" for item in alone)
    assert {item["properties"]["datetime"][:4] for item in planet.items} == {"2022", "2023"}


def test_scenes_are_cogs_with_overviews_and_shared_footprints(planet: SimpleNamespace) -> None:
    for item in planet.items[:2]:
        for key, pixel, kind in (("B02", 10, "uint16"), ("B08", 10, "uint16"), ("SCL", 20, "uint8")):
            asset = item["assets"][key]
            with rasterio.open(planet.folder / asset["href"]) as dataset:
                assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
                assert dataset.overviews(1)
                assert dataset.dtypes[0] == kind
                assert dataset.nodata == 0
                assert dataset.res == (pixel, pixel)
                assert list(dataset.shape) == asset["proj:shape"]
                assert list(dataset.transform)[:6] == asset["proj:transform"]
                assert dataset.crs.to_epsg() == epsg(item)


def test_clouds_cast_shadows_away_from_the_sun(planet: SimpleNamespace) -> None:
    checked = 0
    for item in planet.items:
        scl = read(planet, item, "SCL")
        cloud, shadow = np.isin(scl, (8, 9)), scl == 3
        if cloud.mean() < 0.02 or cloud.mean() > 0.4 or shadow.mean() < 0.005:
            continue
        azimuth = np.radians(item["properties"]["s2:mean_solar_azimuth"])

        def hit(sign: int, cloud=cloud, shadow=shadow, azimuth=azimuth) -> float:
            step = sign * 25  # pixels of 20 m, away from (+) or toward (-) the sun
            moved = ndimage.shift(cloud.astype(np.uint8), (step * np.cos(azimuth), -step * np.sin(azimuth)), order=0)
            return float((moved.astype(bool) & shadow).sum() / shadow.sum())

        assert hit(1) > hit(-1)
        dark = read(planet, item, "B08").reshape(scl.shape[0], 2, scl.shape[1], 2).mean(axis=(1, 3))
        bright = read(planet, item, "B02").reshape(scl.shape[0], 2, scl.shape[1], 2).mean(axis=(1, 3))
        land = np.isin(scl, (4, 5))
        assert np.median(dark[shadow]) < np.median(dark[land])
        assert np.median(bright[scl == 9]) > 3 * np.median(bright[land])
        checked += 1
    assert checked >= 2
    assert any((read(planet, item, "SCL") == 10).any() for item in planet.items)


def test_nearly_everything_is_clear_on_some_date_and_a_spot_never(planet: SimpleNamespace) -> None:
    clear = (2, 4, 5, 6, 7, 11)
    never = 0.0
    for items in by_tile(planet).values():
        seen = np.any([np.isin(read(planet, item, "SCL"), clear) for item in items], axis=0)
        assert seen.mean() > 0.9
        never += (~seen).sum()
    assert never > 50


def test_one_date_ends_at_a_slanted_swath_edge(planet: SimpleNamespace) -> None:
    partly = [i for i in planet.items if i["properties"]["s2:nodata_pixel_percentage"] > 0]
    assert len(partly) == 1
    scl, blue = read(planet, partly[0], "SCL"), read(planet, partly[0], "B02")
    assert 0.05 < (blue == 0).mean() < 0.6
    ends = (blue > 0).sum(axis=1)
    assert ends[0] - ends[-1] > 20  # slanted
    assert partly[0]["properties"]["s2:nodata_pixel_percentage"] == pytest.approx(100 * (scl == 0).mean(), abs=1e-4)
    tile = partly[0]["properties"]["s2:mgrs_tile"]
    complete = next(i for i in planet.items if i["properties"]["s2:mgrs_tile"] == tile and i is not partly[0])
    assert shape(partly[0]["geometry"]).area < 0.95 * shape(complete["geometry"]).area


def test_cloud_cover_agrees_with_the_classification(planet: SimpleNamespace) -> None:
    covers = []
    for item in planet.items:
        scl = read(planet, item, "SCL")
        covers.append(100 * np.isin(scl[scl > 0], (8, 9, 10)).mean())
        assert item["properties"]["eo:cloud_cover"] == pytest.approx(covers[-1], abs=1e-3)
    assert max(covers) > min(covers) + 3


def test_water_banks_and_seasons_show_in_the_imagery(planet: SimpleNamespace) -> None:
    item = min(by_tile(planet)[planet.facts["mgrs_tiles"][0]], key=lambda i: i["properties"]["eo:cloud_cover"])
    clear = np.isin(np.repeat(np.repeat(read(planet, item, "SCL"), 2, 0), 2, 1), (2, 4, 5, 6, 7))
    nir = read(planet, item, "B08").astype(float)
    with rasterio.open(planet.folder / item["assets"]["B08"]["href"]) as dataset:
        to_grid = dataset.transform
    crs = epsg(item)

    def burn(table: gpd.GeoDataFrame, buffer_m: float = 0) -> np.ndarray:
        metric = table.to_crs(crs).geometry
        geometry = metric.buffer(buffer_m) if buffer_m else metric
        if geometry.empty:
            return np.zeros(nir.shape, bool)
        return rasterize(geometry, out_shape=nir.shape, transform=to_grid).astype(bool)

    lines = planet.nhd["NHDFlowline"]
    land = burn(planet.basins, -300) & clear
    water = burn(planet.nhd["NHDArea"], -10) & clear
    assert np.median(nir[water]) < 0.6 * np.median(nir[land])
    red = read(planet, item, "B04").astype(float)
    ndvi = (nir - red) / (nir + red)
    away = land & ~burn(lines, 60)
    for code in (46003, 46007):
        banks = burn(lines[lines["FCODE"] == code], 15) & land
        assert np.mean(ndvi[banks]) > np.mean(ndvi[away])


# --- elevation ------------------------------------------------------------------------------------------------------


def test_elevation_tiles_are_registered_half_a_pixel_off_the_degree_lines(planet: SimpleNamespace) -> None:
    for item in planet.dem:
        with rasterio.open(planet.folder / item["assets"]["data"]["href"]) as dataset:
            post = 1 / 3600
            assert dataset.shape == (3600, 3600)
            assert dataset.dtypes == ("float32",)
            assert dataset.overviews(1)
            west, north = dataset.transform.c, dataset.transform.f
            assert (west + post / 2) == pytest.approx(round(west), abs=1e-9)
            assert (north - post / 2) == pytest.approx(round(north), abs=1e-9)
            ns, ew = "N" if north - 1 > -0.5 else "S", "E" if west >= -0.5 else "W"
            name = f"Copernicus_DSM_COG_10_{ns}{abs(round(north) - 1):02d}_00_{ew}{abs(round(west)):03d}_00_DEM"
            assert item["id"] == name
            assert (dataset.read(1) > 0).any()


def test_elevation_matches_the_truth_up_to_canopy_and_noise(planet: SimpleNamespace) -> None:
    """A shift by half a pixel in either direction fits worse: the registration is right, not only the header."""
    errors = []
    w, _, _, n = planet.grid.bounds
    for shift in (-0.5, 0, 0.5):
        total = []
        for item in planet.dem:
            with rasterio.open(planet.folder / item["assets"]["data"]["href"]) as dataset:
                model = dataset.read(1)
                rows, columns = np.nonzero(model > 0)
                grid = dataset.transform
                x, y = grid.c + grid.a * (columns + 0.5 + shift), grid.f + grid.e * (rows + 0.5 + shift)
            at = [(n - y) * TRUTH_PER_DEGREE - 0.5, (x - w) * TRUTH_PER_DEGREE - 0.5]
            truth = ndimage.map_coordinates(planet.land.elevation, at, order=1, mode="nearest")
            total.append(model[rows, columns] - truth)
        errors.append(np.concatenate(total))
    spread = [e.std() for e in errors]
    assert spread[1] < spread[0]
    assert spread[1] < spread[2]
    # No post is missing at the seams of the tiles: their number agrees with the land's area.
    posts = planet.land.land.sum() * (3600 / TRUTH_PER_DEGREE) ** 2
    assert errors[1].size == pytest.approx(posts, rel=0.002)
    assert errors[1].mean() > 0.3  # canopy is above the ground
    assert np.quantile(errors[1], 0.1) > -8


def test_the_lake_is_flat_in_the_surface_model_and_the_sea_is_zero(planet: SimpleNamespace) -> None:
    lake = planet.nhd["NHDWaterbody"].query("FCODE == 39004").geometry
    largest = lake.iloc[int(np.argmax(shapely.area(lake)))].buffer(-2 / 3600)
    values = []
    for item in planet.dem:
        with rasterio.open(planet.folder / item["assets"]["data"]["href"]) as dataset:
            model = dataset.read(1)
            inside = rasterize([largest], out_shape=model.shape, transform=dataset.transform) > 0
            values.append(model[inside])
    values = np.concatenate(values)
    assert values.size > 3
    assert np.ptp(values) == 0
    assert (model == 0).mean() > 0.9


def test_a_degree_tile_without_land_is_absent_although_cells_reach_it(planet: SimpleNamespace) -> None:
    w, s, e, n = planet.facts["bounds"]
    touched = {(lat, lon) for lat in range(int(np.floor(s)), int(np.ceil(n)))
               for lon in range(int(np.floor(w)), int(np.ceil(e)))}  # fmt: skip
    there = {(round(i["bbox"][1]), round(i["bbox"][0])) for i in planet.dem}
    assert len(touched) == 4
    assert there < touched
    assert len(there) == 3


# --- the catalog ----------------------------------------------------------------------------------------------


def test_items_have_the_shape_of_the_planetary_computer(planet: SimpleNamespace) -> None:
    required = {
        "datetime", "platform", "eo:cloud_cover", "s2:mgrs_tile", "s2:processing_baseline",
        "s2:nodata_pixel_percentage",
        "s2:product_uri", "s2:datatake_id", "s2:mean_solar_zenith", "s2:mean_solar_azimuth", "sat:relative_orbit",
        "created", "updated",
    }  # fmt: skip
    for item in planet.items:
        assert required <= set(item["properties"])
        assert set(item["assets"]) == {"B02", "B03", "B04", "B08", "SCL"}
        assert item["id"].split("_")[4] == "T" + item["properties"]["s2:mgrs_tile"]
        assert item["collection"] == "sentinel-2-l2a"
        assert shape(item["geometry"]).is_valid
        assert np.allclose(shape(item["geometry"]).bounds, item["bbox"])
        for asset in item["assets"].values():
            assert (planet.folder / asset["href"]).is_file()
            assert {"gsd", "type", "roles", "proj:shape", "proj:transform", "proj:bbox"} <= set(asset)
    assert any("proj:code" in i["properties"] for i in planet.items)
    assert any("proj:epsg" in i["properties"] for i in planet.items)
    for item in planet.dem:
        assert list(item["assets"]) == ["data"]
        assert item["properties"]["proj:epsg"] == 4326
        assert (planet.folder / item["assets"]["data"]["href"]).is_file()
    for name in ("sentinel-2-l2a", "cop-dem-glo-30"):
        document = json.loads((planet.folder / "stac" / f"{name}.collection.json").read_text())
        assert document["id"] == name
        assert document["type"] == "Collection"
        assert {"extent", "license", "description", "links", "item_assets"} <= set(document)


def test_items_are_valid_to_pystac(planet: SimpleNamespace) -> None:
    pystac = pytest.importorskip("pystac")
    for item in [*planet.items, *planet.dem]:
        assert pystac.Item.from_dict(item).id == item["id"]


def test_vector_files_do_not_contain_the_date_of_the_build(planet: SimpleNamespace) -> None:
    assert {name for name, _ in pyogrio.list_layers(planet.folder / "nhd.gpkg")} == {
        "NHDFlowline", "NHDWaterbody", "NHDArea",
    }  # fmt: skip
    for path in planet.folder.glob("*.gpkg"):
        copy = path.with_suffix(".copy")
        shutil.copy(path, copy)
        assert b"2023-01-01T00:00:00" in copy.read_bytes()
        copy.unlink()
