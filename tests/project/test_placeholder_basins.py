import pytest

from headwater.geo.basins import tdx_header_numbers
from headwater.project.placeholder_basins import continent_of, stand_in_basins


@pytest.mark.parametrize(
    ("tile", "digit"),
    [
        ((0, 20), "1"), ((25, 30), "1"), ((46, 10), "2"), ((25, 45), "2"), ((64, -20), "2"), ((60, 100), "3"),
        ((66, -175), "3"), ((25, 80), "4"), ((-25, 130), "5"), ((20, -156), "5"), ((-10, -60), "6"), ((40, -106), "7"),
        ((65, -110), "8"), ((70, -40), "9"), ((-75, 0), None),
    ],
)  # fmt: skip
def test_places_are_in_their_continent(tile, digit):
    assert continent_of(tile) == digit


def test_every_tile_outside_antarctica_goes_to_one_basin_of_its_continent():
    tiles = [(south, west) for south in range(-90, 84, 2) for west in range(-180, 180, 2)]
    shared = stand_in_basins(tiles, tdx_header_numbers())
    given = [tile for part in shared.values() for tile in part]
    assert sorted(given) == sorted(tile for tile in tiles if continent_of(tile))
    assert len(shared) == 62
    assert all(continent_of(tile) == basin_id[0] for basin_id, part in shared.items() for tile in part)
    sizes = [len(part) for basin_id, part in shared.items() if basin_id[0] == "4"]
    assert max(sizes) - min(sizes) <= 4
    assert shared == stand_in_basins(reversed(tiles), reversed(list(tdx_header_numbers())))


def test_few_tiles_leave_basins_empty():
    shared = stand_in_basins([(0, 20)], ["1020000010", "1020011530"])
    assert sorted(map(len, shared.values())) == [0, 1]
    assert stand_in_basins([], ["1020000010", "1020011530"]) == {"1020000010": [], "1020011530": []}
