"""Wide planets pass the same checks as plain planets, and plain planets never change."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
from rasterio.features import rasterize
from scipy import ndimage

from headwater.demo import acquisitions, clouds, glo30, sentinel2_scenes, vector_tables
from headwater.demo.drainage import make_drainage
from headwater.demo.erosion import limit_slopes
from headwater.demo.lakes import RESERVOIR, SEASONAL_LAKE, SEASONAL_POND
from headwater.demo.land_cover import make_land_cover
from headwater.demo.landscape import make_landscape
from headwater.demo.linear_features import WIDE_RIVER_M, make_linear_features
from headwater.demo.planet_grid import planet_grid
from headwater.demo.planet_parameters import PlanetParameters, planet_parameters
from headwater.evaluate.nhd import TYPE_OF_FCODE

SIZE, CELL = (0.1, 0.05), 0.05


def make(seed: int, preset: str, **changes: Any) -> SimpleNamespace:
    grid = planet_grid(seed, size_degrees=SIZE, cell_degrees=CELL)
    parameters = dataclasses.replace(planet_parameters(seed, preset), **changes)
    land = make_landscape(grid, parameters)
    drainage = make_drainage(grid, parameters, land)
    lines = make_linear_features(grid, parameters, land, drainage)
    land_cover = make_land_cover(grid, parameters, land, drainage, lines)
    nhd = vector_tables.nhd_tables(grid, land, drainage, lines)
    return SimpleNamespace(
        grid=grid, parameters=parameters, land=land, drainage=drainage, lines=lines, land_cover=land_cover, nhd=nhd
    )


@pytest.fixture(scope="module", params=[31, 45])
def planet(request: pytest.FixtureRequest) -> SimpleNamespace:
    return make(
        request.param,
        "wide",
        relief_m=90.0,
        braids=0.8,
        lakes=4,
        reservoirs=3,
        canals=4,
        towns=3,
        perennial_km2=0.6,
        floodplain=0.6,
    )


def burn(planet: SimpleNamespace, table: gpd.GeoDataFrame) -> np.ndarray:
    if table.empty:
        return np.zeros(planet.land.land.shape, bool)
    grid = vector_tables.transform(planet.grid)
    return rasterize(table.geometry, out_shape=planet.land.land.shape, transform=grid).astype(bool)


@pytest.mark.parametrize(
    ("seed", "reaches", "channel_cells", "mean_m", "water_px"),
    [(1, 688, [6700, 2481, 1084], 29.953, 3876.0), (6, 488, [4637, 2604, 986], 23.366, 3766.2)],
)
def test_plain_planets_never_change(
    seed: int, reaches: int, channel_cells: list[int], mean_m: float, water_px: float
) -> None:
    planet = make(seed, "plain")
    assert len(planet.drainage.reaches) == pytest.approx(reaches, abs=3)  # other machines round differently
    assert np.bincount(planet.drainage.regime, minlength=4)[1:].tolist() == pytest.approx(channel_cells, rel=0.01)
    assert planet.land.elevation[planet.land.land].mean() == pytest.approx(mean_m, rel=1e-3)
    assert planet.land_cover.water.sum() == pytest.approx(water_px, rel=0.01)


def test_drainage_runs_downhill_to_the_sea_without_a_cycle(planet: SimpleNamespace) -> None:
    land = planet.land
    z = land.elevation.ravel()
    assert (z[land.order] > z[land.receiver[land.order]]).all()  # so there is no cycle
    assert (land.receiver[~land.land.ravel()] == -1).all()
    for k, reach in enumerate(planet.drainage.reaches):
        assert reach.downstream == -1 or reach.downstream > k


def test_land_cover_is_in_range(planet: SimpleNamespace) -> None:
    for field in dataclasses.fields(planet.land_cover):
        values = getattr(planet.land_cover, field.name)
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
        if field.name not in ("slope_east", "slope_north", "texture", "parcel", "murk", "height", "green"):
            assert values.min() >= 0
            assert values.max() <= 1 + 1e-6
    assert np.abs(planet.land_cover.parcel).max() <= 1
    assert np.abs(planet.land_cover.murk).max() <= 1


def test_labels_are_on_low_ground(planet: SimpleNamespace) -> None:
    """Water is lower than the land within a hundred meters of it, including side threads and lakes."""
    z = planet.land.elevation
    around = ndimage.uniform_filter(z, 17)
    lines = planet.nhd["NHDFlowline"]
    for table in (lines[lines["FCODE"].isin((46003, 46006, 46007))], planet.nhd["NHDArea"]):
        water = burn(planet, table) & planet.land.land
        if water.any():
            assert np.mean((z - around)[water]) < 0
    for thread in planet.lines.threads:
        rows, columns = np.round(thread.line).astype(int).T
        assert np.ptp(z[rows, columns]) < 0.02 * 12.4 * len(rows) + 3


def test_lakes_and_reservoirs_are_labeled_where_they_are_drawn(planet: SimpleNamespace) -> None:
    land, parameters = planet.land, planet.parameters
    assert land.pond_kinds.size == land.ponds.max() + 1
    assert (land.pond_kinds == RESERVOIR).sum() == len(land.dams) >= 1
    bodies = planet.nhd["NHDWaterbody"]
    assert (bodies["FCODE"] == 43600).sum() >= len(land.dams)
    lasting = burn(planet, bodies[bodies["FCODE"].isin((39004, 43600))])
    assert planet.land_cover.water[lasting].mean() > 0.9
    dry = np.isin(land.pond_kinds, (SEASONAL_POND, SEASONAL_LAKE))[land.ponds]
    assert planet.land_cover.bed[dry] == pytest.approx(parameters.seasonal_ponds)
    for number in np.flatnonzero(land.pond_kinds >= 3):
        level = land.elevation[land.ponds == number]
        assert level.size >= 1
        assert np.ptp(level) < 3


def test_lakes_are_level_in_the_surface_model(planet: SimpleNamespace) -> None:
    model, first_row, first_column = glo30.surface_model(planet.grid, planet.parameters, planet.land, planet.land_cover)
    _, _, _, north = planet.grid.bounds
    rows = ((north - 90 + (first_row + np.arange(model.shape[0])) / 3600) * 9000 - 0.5).round().astype(int)
    columns = (((first_column + np.arange(model.shape[1])) / 3600 - planet.grid.west) * 9000 - 0.5).round().astype(int)
    inside = (np.clip(rows, 0, planet.grid.rows - 1), np.clip(columns, 0, planet.grid.columns - 1))
    inner = planet.land.ponds * ndimage.binary_erosion(planet.land.ponds > 0)  # posts between pixels take either pixel
    numbers = inner[np.ix_(*inside)]
    for number in np.flatnonzero(planet.land.pond_kinds >= 3):
        level = model[numbers == number]
        assert level.size == 0 or np.ptp(level) == 0
    assert np.isfinite(model).all()
    assert model.min() >= 0


def test_side_threads_leave_the_river_and_return(planet: SimpleNamespace) -> None:
    assert planet.lines.threads
    vertices = {tuple(point) for line in planet.lines.channels for point in line.tolist()}
    for thread in planet.lines.threads:
        assert tuple(thread.line[0]) in vertices
        assert tuple(thread.line[-1]) in vertices
        assert thread.belt.max() > 1
    lines = planet.nhd["NHDFlowline"]
    narrow = [thread for thread in planet.lines.threads if thread.width_m < WIDE_RIVER_M]
    assert (lines["FCODE"] == 46006).sum() >= len(narrow)
    drawn = burn(planet, lines[lines["FCODE"].isin((46006, 55800))])
    assert planet.land_cover.water[drawn].mean() > 0.3


def test_canals_are_labeled_and_drawn(planet: SimpleNamespace) -> None:
    canals = planet.nhd["NHDFlowline"].query("FCODE == 33600")
    assert len(canals) == len(planet.lines.canals) > 1
    assert planet.land_cover.water[burn(planet, canals)].mean() > 0.3


def test_every_label_is_a_water_type(planet: SimpleNamespace) -> None:
    for table in planet.nhd.values():
        assert set(table["FCODE"]) <= set(TYPE_OF_FCODE)
        assert table.geometry.is_valid.all()


def test_the_same_seed_gives_the_same_planet_and_wide_is_not_plain() -> None:
    first, second, plain = make(9, "wide"), make(9, "wide"), make(9, "plain")
    for field in dataclasses.fields(first.land_cover):
        assert np.array_equal(getattr(first.land_cover, field.name), getattr(second.land_cover, field.name))
    assert np.array_equal(first.land.elevation, second.land.elevation)
    assert not np.array_equal(first.land.elevation, plain.land.elevation)
    assert np.array_equal(first.land.land, plain.land.land)  # the coast depends on the seed only


def scene(planet: SimpleNamespace, parameters: PlanetParameters, number: int = 0) -> tuple[np.ndarray, np.ndarray, Any]:
    ground = sentinel2_scenes.TileLandCover(
        np.stack([getattr(planet.land_cover, f.name)[:600, :800] for f in dataclasses.fields(planet.land_cover)])
    )
    date = acquisitions.acquisitions(planet.grid, parameters, 5)[number]
    rng = np.random.default_rng(1)
    nothing = np.zeros(ground["water"].shape, np.float32)
    sky = clouds.TileSky(nothing, nothing, nothing)
    reflectance = sentinel2_scenes.add_sky_and_noise(
        sentinel2_scenes.surface_reflectance(ground, parameters, date, rng), sky, parameters, rng
    )
    snow = sentinel2_scenes.snow_fraction(ground, parameters, date)
    return reflectance, clouds.classify(sky, reflectance, nothing == 0, rng, snow=snow), ground


def test_reflectance_is_plausible_on_every_date(planet: SimpleNamespace) -> None:
    for number in range(5):
        reflectance, _, _ = scene(planet, planet.parameters, number)
        assert np.isfinite(reflectance).all()
        assert reflectance.min() > -0.05
        assert reflectance.max() < 2
        assert 0.02 < reflectance[0].mean() < 0.9


def test_snow_is_on_high_ground_and_is_classified(planet: SimpleNamespace) -> None:
    high = planet.land_cover.height * np.float32(2000 / planet.land_cover.height.max())
    raised = SimpleNamespace(grid=planet.grid, land_cover=dataclasses.replace(planet.land_cover, height=high))
    parameters = dataclasses.replace(planet.parameters, snow_line_m=900.0)
    _, scl, ground = scene(raised, parameters)
    snow_fraction = np.repeat(np.repeat(scl == 11, 2, 0), 2, 1)
    assert snow_fraction.any()
    assert ground["height"][snow_fraction].min() > 300
    assert snow_fraction[ground["height"] > 1300].mean() > 0.8
    parameters = dataclasses.replace(parameters, snow_line_m=1e6)
    assert not (scene(planet, parameters)[1] == 11).any()


def test_dates_stay_in_their_years_with_any_shift() -> None:
    grid = planet_grid(3, size_degrees=SIZE, cell_degrees=CELL)
    for shift in (-36, 0, 96):
        parameters = dataclasses.replace(planet_parameters(3, "wide"), season_shift=shift)
        for date in acquisitions.acquisitions(grid, parameters, 5):
            assert date.time.year == (2023 if date.baselines == ("05.09",) else 2022)
            assert ("03.01" in date.baselines) == (date.time.timetuple().tm_yday < 25 and date.time.year == 2022)
            assert 0 <= date.season <= 1
            assert date.sun_zenith < 80


def test_no_hillside_is_a_cliff_above_its_neighbor() -> None:
    """Neither erosion nor leveling valley floors leaves cliffs along the outlines of catchments."""
    planet = make(45, "wide", relief_m=900.0, floodplain=1.2, lakes=0, reservoirs=0, km2_per_pond=90.0)
    z, land = planet.land.elevation, planet.land.land
    inland = land[1:] & land[:-1]
    steep = np.abs(np.diff(z, axis=0))[inland] / planet.grid.pixel_m[1]
    assert np.mean(steep > 2 * planet.parameters.steepest) < 1e-3


def test_limit_slopes_lowers_cliffs_and_nothing_else() -> None:
    z = np.zeros((9, 9))
    z[3:6, 3:6] = 100.0
    before = z.copy()
    limit_slopes(z, np.full(z.shape, 0.5), 10.0, 10.0)
    assert (z <= before).all()
    assert np.abs(np.diff(z, axis=0)).max() <= 5.0
    assert np.abs(np.diff(z, axis=1)).max() <= 5.0
    assert z[4, 4] > z[3, 4] > 0
    again = z.copy()
    limit_slopes(z, np.full(z.shape, 0.5), 10.0, 10.0)
    assert np.allclose(z, again)
