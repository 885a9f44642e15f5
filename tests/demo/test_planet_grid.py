"""Planets are at the seams of the real services, and no two at the same place."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Transformer

from headwater.core.errors import InputError
from headwater.demo.planet_grid import mgrs_name, planet_grid, sun_position
from support.places import SHARED


def default(seed: int):
    return planet_grid(seed, size_degrees=(0.3, 0.2), cell_degrees=0.1)


def test_planets_of_seeds_up_to_200_do_not_overlap() -> None:
    boxes = [default(seed).bounds for seed in range(201)]
    for a, (w, s, e, n) in enumerate(boxes):
        for w2, s2, e2, n2 in boxes[:a]:
            assert e <= w2 or e2 <= w or n <= s2 or n2 <= s
    assert len({default(seed).basin_id for seed in range(201)}) == 201


@given(st.integers(0, 4000))
def test_every_planet_straddles_a_zone_border_and_a_degree_of_latitude(seed: int) -> None:
    grid = default(seed)
    w, s, e, n = grid.bounds
    assert w < grid.zone_border < e
    assert grid.zone_border % 6 == 0
    assert s < grid.degree_line < n
    assert abs(grid.middle[1]) < 40
    assert grid.ocean_quadrant is not None
    for edge in (w, s, e, n):  # aligned with the cells
        assert edge / 0.1 == pytest.approx(round(edge / 0.1), abs=1e-6)
    west, east = grid.mgrs_tiles()
    assert east.epsg - west.epsg == 1
    assert west.name != east.name
    for tile in (west, east):
        assert tile.west % 60 == 0
        assert tile.north % 60 == 0
        assert tile.width % 2 == 0
        assert tile.height % 2 == 0


@given(st.integers(0, 4000))
def test_tiles_extend_beyond_the_window(seed: int) -> None:
    grid = default(seed)
    w, s, e, n = grid.bounds
    for tile, corners in zip(grid.mgrs_tiles(), ([(w, s), (w, n)], [(e, s), (e, n)]), strict=True):
        to_utm = Transformer.from_crs(4326, tile.epsg, always_xy=True)
        for x, y in (to_utm.transform(*corner) for corner in corners):
            assert tile.west < x < tile.west + 10 * tile.width
            assert tile.north - 10 * tile.height < y < tile.north


@pytest.mark.parametrize(
    ("longitude", "latitude", "name"),
    # Squares of real tiles: T06VVN and T35MNM of the recorded items, 33TWM of the Slovenian scenes.
    [(-147.8, 60.85, "06VVN"), (27.5, -7.74, "35MNM"), (15.7, 46.4, "33TWM")],
)
def test_mgrs_names_agree_with_real_tiles(longitude: float, latitude: float, name: str) -> None:
    zone = int((longitude + 180) // 6) + 1
    to_utm = Transformer.from_crs(4326, (32600 if latitude > 0 else 32700) + zone, always_xy=True)
    x, y = to_utm.transform(longitude, latitude)
    assert mgrs_name(zone, latitude, x, y) == name


def test_sun_agrees_with_a_recorded_scene() -> None:
    """T35MNM on 6 June 2020, sensed about 08:30 UTC (10:20 solar time): zenith 38.5, azimuth 37.2 in its item."""
    zenith, azimuth = sun_position(-7.74, 158, hour=10.33)
    assert zenith == pytest.approx(38.5, abs=3)
    assert azimuth == pytest.approx(37.2, abs=5)


def test_basin_ids_do_not_occur_in_reality() -> None:
    real = SHARED / "tdx-ids" / "tdx_header_numbers.json"
    ids = set(json.loads(real.read_text())) if real.is_file() else {"7020038340", "9020000010"}
    for seed in range(500):
        assert default(seed).basin_id not in ids
        assert len(default(seed).basin_id) == 10


@pytest.mark.parametrize("seed", [-1, 1_000_000])
def test_seeds_out_of_range_are_refused(seed: int) -> None:
    with pytest.raises(InputError):
        default(seed)


def test_pixels_are_twelve_meters_high_and_narrow_with_latitude() -> None:
    for seed in range(20):
        grid = default(seed)
        dx, dy = grid.pixel_m
        assert dy == pytest.approx(12.3, abs=0.1)
        assert dx / dy == pytest.approx(math.cos(math.radians(grid.middle[1])), rel=0.01)
