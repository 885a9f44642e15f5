"""Cells on disk and the chips cut from them."""

import numpy as np
import pytest

from headwater.core.errors import InputError
from headwater.train.chips import CellChips, random_chip


def cell(folder, shape=(40, 60), missing_rows=0):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    composite = np.broadcast_to(((rows + columns) % 200 + 1).astype(np.uint8), (4, *shape)).copy()
    composite[:, :missing_rows] = 0
    return CellChips.save(
        folder,
        composite=composite,
        elevation=(100 * rows + columns).astype(np.float32),
        types=(rows % 20).astype(np.uint8),
    )


def test_arrays_come_back_from_disk(tmp_path):
    saved = cell(tmp_path / "a")
    again = CellChips(tmp_path / "a")
    assert again.shape == (40, 60)
    np.testing.assert_array_equal(again.composite, saved.composite)
    assert again.elevation.dtype == np.float32


def test_chips_are_aligned_square_and_within(tmp_path):
    cells = [cell(tmp_path / "a")]
    rng = np.random.default_rng(0)
    starts = set()
    for _ in range(200):
        composite, elevation, types = random_chip(cells, 16, 0.5, rng)
        assert composite.shape == (4, 16, 16)
        row, column = divmod(int(elevation[0, 0]), 100)
        assert row % 2 == column % 2 == 0
        assert types[0, 0] == row % 20
        assert elevation[-1, -1] == 100 * (row + 15) + column + 15
        starts.add((row, column))
    assert {row for row, _ in starts} == set(range(0, 25, 2))
    assert max(column for _, column in starts) == 44


def test_mostly_missing_chips_are_not_drawn(tmp_path):
    cells = [cell(tmp_path / "a", missing_rows=20)]
    rng = np.random.default_rng(1)
    for _ in range(50):
        composite, _, _ = random_chip(cells, 10, 0.5, rng)
        assert (composite[0] == 0).mean() <= 0.5


def test_same_seed_same_chips(tmp_path):
    cells = [cell(tmp_path / "a"), cell(tmp_path / "b", (30, 30))]
    first, second = (random_chip(cells, 8, 0.5, np.random.default_rng([3, 4])) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_middle_divides_and_is_even(tmp_path):
    composite, elevation, _ = cell(tmp_path / "a", (45, 70)).middle(48, 16)
    assert composite.shape == (4, 32, 48)
    assert elevation[0, 0] == 100 * 6 + 10


def test_unsuitable_cells_are_refused(tmp_path):
    with pytest.raises(InputError, match="as large as a chip of 64 px"):
        random_chip([cell(tmp_path / "a")], 64, 0.5, np.random.default_rng(0))
    with pytest.raises(InputError, match="hardly any data"):
        random_chip([cell(tmp_path / "b", missing_rows=40)], 16, 0.5, np.random.default_rng(0))
