"""Wide planets obey the same laws as plain ones, and plain ones are what they always were."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
from rasterio.features import rasterize
from scipy import ndimage

from headwater.demo import acquisitions, clouds, dem, scenes, vectors
from headwater.demo.character import Character, character
from headwater.demo.drainage import make_drainage
from headwater.demo.erosion import collapse
from headwater.demo.landscape import make_landscape
from headwater.demo.layout import layout
from headwater.demo.still_water import RESERVOIR, SEASONAL_LAKE, SEASONAL_POND
from headwater.demo.surface import WIDE_RIVER_M, make_lines, make_surface
from headwater.evaluate.nhd import TYPE_OF_FCODE

SIZE, CELL = (0.1, 0.05), 0.05


def make(seed: int, variety: str, **changes: Any) -> SimpleNamespace:
    place = layout(seed, size_degrees=SIZE, cell_degrees=CELL)
    nature = dataclasses.replace(character(seed, variety), **changes)
    land = make_landscape(place, nature)
    drainage = make_drainage(place, nature, land)
    lines = make_lines(place, nature, land, drainage)
    surface = make_surface(place, nature, land, drainage, lines)
    nhd = vectors.nhd_tables(place, land, drainage, lines)
    return SimpleNamespace(
        place=place, nature=nature, land=land, drainage=drainage, lines=lines, surface=surface, nhd=nhd
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
    grid = vectors.transform(planet.place)
    return rasterize(table.geometry, out_shape=planet.land.land.shape, transform=grid).astype(bool)


@pytest.mark.parametrize(
    ("seed", "reaches", "channel_cells", "mean_m", "water_px"),
    [(1, 688, [6700, 2481, 1084], 29.953, 3876.0), (6, 488, [4637, 2604, 986], 23.366, 3766.2)],
)
def test_plain_planets_are_what_they_always_were(
    seed: int, reaches: int, channel_cells: list[int], mean_m: float, water_px: float
) -> None:
    planet = make(seed, "plain")
    assert len(planet.drainage.reaches) == pytest.approx(reaches, abs=3)  # another machine rounds otherwise
    assert np.bincount(planet.drainage.regime, minlength=4)[1:].tolist() == pytest.approx(channel_cells, rel=0.01)
    assert planet.land.elevation[planet.land.land].mean() == pytest.approx(mean_m, rel=1e-3)
    assert planet.surface.water.sum() == pytest.approx(water_px, rel=0.01)


def test_drainage_runs_downhill_to_the_sea_without_a_cycle(planet: SimpleNamespace) -> None:
    land = planet.land
    z = land.elevation.ravel()
    assert (z[land.order] > z[land.receiver[land.order]]).all()  # so no cycle can be
    assert (land.receiver[~land.land.ravel()] == -1).all()
    for k, reach in enumerate(planet.drainage.reaches):
        assert reach.downstream == -1 or reach.downstream > k


def test_cover_is_in_range(planet: SimpleNamespace) -> None:
    for field in dataclasses.fields(planet.surface):
        values = getattr(planet.surface, field.name)
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
        if field.name not in ("slope_east", "slope_north", "texture", "parcel", "murk", "height", "green"):
            assert values.min() >= 0
            assert values.max() <= 1 + 1e-6
    assert np.abs(planet.surface.parcel).max() <= 1
    assert np.abs(planet.surface.murk).max() <= 1


def test_labels_lie_on_low_ground(planet: SimpleNamespace) -> None:
    """Water lies lower than the land within a hundred metres of it, side threads and lakes too."""
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


def test_lakes_and_reservoirs_are_labelled_where_they_are_drawn(planet: SimpleNamespace) -> None:
    land, nature = planet.land, planet.nature
    assert land.pond_kinds.size == land.ponds.max() + 1
    assert (land.pond_kinds == RESERVOIR).sum() == len(land.dams) >= 1
    bodies = planet.nhd["NHDWaterbody"]
    assert (bodies["FCODE"] == 43600).sum() >= len(land.dams)
    lasting = burn(planet, bodies[bodies["FCODE"].isin((39004, 43600))])
    assert planet.surface.water[lasting].mean() > 0.9
    dry = np.isin(land.pond_kinds, (SEASONAL_POND, SEASONAL_LAKE))[land.ponds]
    assert planet.surface.bed[dry] == pytest.approx(nature.seasonal_ponds)
    for number in np.flatnonzero(land.pond_kinds >= 3):
        level = land.elevation[land.ponds == number]
        assert level.size >= 1
        assert np.ptp(level) < 3


def test_lakes_are_level_in_the_surface_model(planet: SimpleNamespace) -> None:
    model, first_row, first_column = dem.surface_model(planet.place, planet.nature, planet.land, planet.surface)
    _, _, _, north = planet.place.bounds
    rows = ((north - 90 + (first_row + np.arange(model.shape[0])) / 3600) * 9000 - 0.5).round().astype(int)
    columns = (((first_column + np.arange(model.shape[1])) / 3600 - planet.place.west) * 9000 - 0.5).round().astype(int)
    inside = (np.clip(rows, 0, planet.place.rows - 1), np.clip(columns, 0, planet.place.columns - 1))
    inner = planet.land.ponds * ndimage.binary_erosion(planet.land.ponds > 0)  # posts between pixels take either one
    numbers = inner[np.ix_(*inside)]
    for number in np.flatnonzero(planet.land.pond_kinds >= 3):
        level = model[numbers == number]
        assert level.size == 0 or np.ptp(level) == 0
    assert np.isfinite(model).all()
    assert model.min() >= 0


def test_side_threads_leave_the_river_and_come_back(planet: SimpleNamespace) -> None:
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
    assert planet.surface.water[drawn].mean() > 0.3


def test_canals_are_labelled_and_drawn(planet: SimpleNamespace) -> None:
    canals = planet.nhd["NHDFlowline"].query("FCODE == 33600")
    assert len(canals) == len(planet.lines.canals) > 1
    assert planet.surface.water[burn(planet, canals)].mean() > 0.3


def test_every_label_is_a_water_type(planet: SimpleNamespace) -> None:
    for table in planet.nhd.values():
        assert set(table["FCODE"]) <= set(TYPE_OF_FCODE)
        assert table.geometry.is_valid.all()


def test_the_same_seed_gives_the_same_planet_and_wide_is_not_plain() -> None:
    first, second, plain = make(9, "wide"), make(9, "wide"), make(9, "plain")
    for field in dataclasses.fields(first.surface):
        assert np.array_equal(getattr(first.surface, field.name), getattr(second.surface, field.name))
    assert np.array_equal(first.land.elevation, second.land.elevation)
    assert not np.array_equal(first.land.elevation, plain.land.elevation)
    assert np.array_equal(first.land.land, plain.land.land)  # the coast is the seed's


def scene(planet: SimpleNamespace, nature: Character, number: int = 0) -> tuple[np.ndarray, np.ndarray, Any]:
    ground = scenes.TileSurface(
        np.stack([getattr(planet.surface, f.name)[:600, :800] for f in dataclasses.fields(planet.surface)])
    )
    date = acquisitions.acquisitions(planet.place, nature, 5)[number]
    rng = np.random.default_rng(1)
    nothing = np.zeros(ground["water"].shape, np.float32)
    sky = clouds.TileSky(nothing, nothing, nothing)
    reflectance = scenes.under_sky(scenes.surface_reflectance(ground, nature, date, rng), sky, nature, rng)
    snow = scenes.white(ground, nature, date)
    return reflectance, clouds.classify(sky, reflectance, nothing == 0, rng, snow=snow), ground


def test_reflectance_is_plausible_on_every_date(planet: SimpleNamespace) -> None:
    for number in range(5):
        reflectance, _, _ = scene(planet, planet.nature, number)
        assert np.isfinite(reflectance).all()
        assert reflectance.min() > -0.05
        assert reflectance.max() < 2
        assert 0.02 < reflectance[0].mean() < 0.9


def test_snow_lies_on_the_heights_and_is_classified(planet: SimpleNamespace) -> None:
    high = planet.surface.height * np.float32(2000 / planet.surface.height.max())
    raised = SimpleNamespace(place=planet.place, surface=dataclasses.replace(planet.surface, height=high))
    nature = dataclasses.replace(planet.nature, snow_line_m=900.0)
    _, scl, ground = scene(raised, nature)
    white = np.repeat(np.repeat(scl == 11, 2, 0), 2, 1)
    assert white.any()
    assert ground["height"][white].min() > 300
    assert white[ground["height"] > 1300].mean() > 0.8
    nature = dataclasses.replace(nature, snow_line_m=1e6)
    assert not (scene(planet, nature)[1] == 11).any()


def test_dates_stay_in_their_years_whatever_the_shift() -> None:
    place = layout(3, size_degrees=SIZE, cell_degrees=CELL)
    for shift in (-36, 0, 96):
        nature = dataclasses.replace(character(3, "wide"), season_shift=shift)
        for date in acquisitions.acquisitions(place, nature, 5):
            assert date.time.year == (2023 if date.baselines == ("05.09",) else 2022)
            assert ("03.01" in date.baselines) == (date.time.timetuple().tm_yday < 25 and date.time.year == 2022)
            assert 0 <= date.season <= 1
            assert date.sun_zenith < 80


def test_no_hillside_stands_over_its_neighbour_as_a_wall() -> None:
    """Neither erosion nor the planing of valley floors leaves the outlines of catchments as cliffs."""
    planet = make(45, "wide", relief_m=900.0, floodplain=1.2, lakes=0, reservoirs=0, km2_per_pond=90.0)
    z, land = planet.land.elevation, planet.land.land
    inland = land[1:] & land[:-1]
    steep = np.abs(np.diff(z, axis=0))[inland] / planet.place.pixel_m[1]
    assert np.mean(steep > 2 * planet.nature.steepest) < 1e-3


def test_collapse_lowers_cliffs_and_nothing_else() -> None:
    z = np.zeros((9, 9))
    z[3:6, 3:6] = 100.0
    before = z.copy()
    collapse(z, np.full(z.shape, 0.5), 10.0, 10.0)
    assert (z <= before).all()
    assert np.abs(np.diff(z, axis=0)).max() <= 5.0
    assert np.abs(np.diff(z, axis=1)).max() <= 5.0
    assert z[4, 4] > z[3, 4] > 0
    again = z.copy()
    collapse(z, np.full(z.shape, 0.5), 10.0, 10.0)
    assert np.allclose(z, again)
