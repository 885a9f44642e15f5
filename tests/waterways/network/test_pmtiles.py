import gzip
import struct

import numpy as np
import pyogrio
import pytest

from headwater.waterways.network.pmtiles import TileFile, write_pmtiles


def read_varints(data):
    value = shift = 0
    for byte in data:
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            yield value
            value = shift = 0


def read_directory(data):
    numbers = list(read_varints(gzip.decompress(data)))
    count = numbers[0]
    steps, runs, lengths, places = (numbers[1 + i * count : 1 + (i + 1) * count] for i in range(4))
    tile, end, entries = 0, 0, []
    for step, run, length, place in zip(steps, runs, lengths, places, strict=True):
        tile += step
        offset = end if place == 0 else place - 1
        end = offset + length
        entries.append((tile, run, offset, length))
    return entries


def read_tiles(path):
    data = path.read_bytes()
    places = struct.unpack("<11Q", data[8:96])
    root, _, leaves, content = (data[places[i] : places[i] + places[i + 1]] for i in (0, 2, 4, 6))
    found = {}
    for tile, run, offset, length in read_directory(root):
        inner = [(tile, run, offset, length)] if run else read_directory(leaves[offset : offset + length])
        for number, _, start, size in inner:
            found[number] = content[start : start + size]
    assert places[8] == len(found)
    return found


@pytest.mark.parametrize(
    ("place", "number"),
    # The specification's own examples.
    [((0, 0, 0), 0), ((1, 0, 0), 1), ((1, 0, 1), 2), ((1, 1, 1), 3), ((1, 1, 0), 4), ((2, 0, 0), 5),
     ((12, 3423, 1763), 19078479)],
)  # fmt: skip
def test_numbers_follow_the_specification(place, number, tmp_path):
    assert TileFile(*place, tmp_path).number == number


def test_numbers_of_a_zoom_are_all_there_and_neighbours_touch(tmp_path):
    tiles = {TileFile(4, x, y, tmp_path).number: (x, y) for x in range(16) for y in range(16)}
    assert sorted(tiles) == list(range(85, 85 + 256))
    for number in range(85, 340):
        (x, y), (u, v) = tiles[number], tiles[number + 1]
        assert abs(x - u) + abs(y - v) == 1


@pytest.mark.parametrize("side", [1, 5, 100])
def test_every_tile_is_found_again_also_through_leaves(tmp_path, side):
    random, tiles = np.random.default_rng(side), []
    for x in range(side):
        for y in range(side):
            path = tmp_path / f"{x}-{y}.pbf"
            # Lengths that differ, so that the root directory of many tiles outgrows its place.
            path.write_bytes(random.bytes(int(random.integers(1, 500))))
            tiles.append(TileFile(12, 1000 + int(random.integers(8)) + 8 * x, 2000 + 5 * y, path))
    write_pmtiles(tiles, tmp_path / "t.pmtiles", bounds=(-1, -2, 3, 4), metadata={"name": "t", "vector_layers": []})
    found = read_tiles(tmp_path / "t.pmtiles")
    assert found == {tile.number: tile.path.read_bytes() for tile in tiles}
    head = (tmp_path / "t.pmtiles").read_bytes()[:127]
    assert head[:8] == b"PMTiles\x03"
    assert struct.unpack("<4i", head[102:118]) == (-10_000_000, -20_000_000, 30_000_000, 40_000_000)
    assert (struct.unpack("<Q", head[48:56])[0] > 0) == (side == 100)
    assert pyogrio.detect_write_driver(str(tmp_path / "t.pmtiles")) == "PMTiles"
