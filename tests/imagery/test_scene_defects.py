"""A sound scene with one random defect: an equal composite, the documented rule, or one sentence; nothing else."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.core.errors import HeadwaterError
from headwater.geo.grid import Cell, RasterGrid, cell_grid
from headwater.imagery import scene_statistics
from headwater.imagery.composite import composite_scenes
from headwater.imagery.scene_statistics import SceneCache
from headwater.imagery.select import choose_entries
from headwater.imagery.settings import CompositeSettings, SelectSettings
from headwater.raster.scenes import READERS
from headwater.stac.items import with_absolute_paths
from support.scene_defects import BANDS, DEFECTS, HARMLESS, LEFT_OUT, MISSING, SCL_NAME, Place
from support.tiny_catalog import TinyScene, write_tiny_catalog

SCENE = TinyScene("33TWM", "20230610", cloudy=(0.0, 0.4), empty=0.35)
CELL = Cell.from_name("N46.05E015.05", 0.05)
"""Sees rows 67 to 207 and columns 97 to 193 of the scene."""
CHANGED_PX = 12
"""Pixels of 10 m around a changed one of 40 m that interpolation reaches."""


def grid() -> RasterGrid:
    """Return the part of the cell that is composited."""
    return cell_grid(CELL)


def make(folder: Path, reader: str = "rasterio") -> np.ndarray | None:
    """Return the composite of the scene of a catalog, None if the scene is left out."""
    path = next((folder / "stac" / "sentinel-2-l2a").glob("*.json"))
    item = with_absolute_paths(json.loads(path.read_text()), folder)
    cache = SceneCache(folder / "cache", unsigned, "clear")
    rule = SelectSettings(max_left_out=1.0)
    entries = choose_entries([item], CELL.bounds, None, rule, cache).entries
    if not entries:
        return None
    settings = CompositeSettings(reader=reader, max_left_out=1.0)
    made = composite_scenes(entries, grid(), unsigned, settings, readers=1, label="of the test")
    return None if made.left_out else made.values


def unsigned(asset, *, renew=False):
    return asset.href


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """The catalog of the sound scene, and its composite by reader."""
    folder = tmp_path_factory.mktemp("sound")
    write_tiny_catalog(folder, [SCENE])
    with pytest.MonkeyPatch.context() as patch:
        # The scene is small, and shall be read from its overviews as a large one is.
        patch.setattr(scene_statistics, "OVERVIEW_PX", 100)
        made = {reader: make(folder, reader) for reader in READERS.names()}
        shutil.rmtree(folder / "cache")
        yield folder, made


@settings(max_examples=max(50, settings.default.max_examples))
@given(
    name=st.sampled_from(sorted(DEFECTS)),
    band=st.sampled_from(BANDS),
    row=st.integers(80, 190),
    column=st.integers(125, 180),
    reader=st.sampled_from(["rasterio"] * 3 + list(READERS.names())),
)
def test_a_defect_never_gives_another_result(sound, tmp_path_factory, name, band, row, column, reader):
    defect = DEFECTS[name]
    original, expected = sound
    folder = tmp_path_factory.mktemp("defect")
    shutil.copytree(original, folder, dirs_exist_ok=True)
    hole = (slice(row, row + 6), slice(column, column + 6))
    place = Place(
        folder / "assets" / "sentinel-2-l2a" / SCENE.id,
        next((folder / "stac" / "sentinel-2-l2a").glob("*.json")),
        SCL_NAME if defect.of_scl else band,
        hole,
    )
    defect.make(place)
    try:
        made = make(folder, reader)
    except HeadwaterError as error:
        pytest.fail(f"{name}: a scene that is left out stopped the cell: {error}")
    finally:
        shutil.rmtree(folder)
    if defect.outcome == LEFT_OUT:
        assert made is None, f"{name} went unnoticed"
        return
    assert made is not None, f"{name} can be read"
    differs = np.abs(made.astype(int) - expected[reader]).max(axis=0)
    if defect.outcome == HARMLESS:
        # Another way to read it may differ at the swath's edge by interpolation.
        limit = 0 if reader == "rasterio" else 2
        assert (differs > limit).mean() < 0.005, f"{name} changed the composite"
    else:
        assert defect.outcome == MISSING
        missing = (expected[reader][0] > 0) & (made[0] == 0)
        # Statistics are taken without the missing pixels; reading by rasterio may shift edges by interpolation.
        assert (differs > 8)[~missing].mean() < 0.005, f"{name} changed the composite elsewhere"
        assert missing.mean() < (4 * 6 + CHANGED_PX) ** 2 / missing.size
