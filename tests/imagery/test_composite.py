import numpy as np
import pytest

from headwater import raster
from headwater.core.errors import InputError, WorkError
from headwater.geo.grid import cell_grid
from headwater.imagery import composite as step
from headwater.imagery.composite import constant_bands
from headwater.raster.scenes import READERS
from support.local_place import CELL, MARGIN_PX, write_plan, write_scene, write_scenes
from support.steps import composite


def run(tmp_path, scenes, **options):
    out = tmp_path / "composite.tif"
    composite(write_scenes(tmp_path, scenes), write_plan(tmp_path), CELL.name, out, **options)
    return raster.read_raster(out)


def test_the_composite_is_on_the_cells_grid_with_its_margin(tmp_path):
    data, valid, grid, tags = run(tmp_path, [write_scene(tmp_path, "a")])
    assert grid == cell_grid(CELL, margin_px=MARGIN_PX)
    assert data.shape == (5, *grid.shape)
    assert valid.mean() > 0.98
    assert data[0][valid][0] == round(255 / (1 + np.exp(0)))
    assert tags["scenes"] == "a"


def test_clouds_are_filled_from_the_next_scene_and_pixels_without_a_view_are_nodata(tmp_path):
    first = write_scene(tmp_path, "a", cloud=slice(100, 300))
    second = write_scene(tmp_path, "b", cloud=slice(250, 400), value=3000)
    data, valid, _, _ = run(tmp_path, [first, second], method="best_first", dilate_px=2)
    middle = data[:, :, data.shape[2] // 2]
    # Counts from the top: both clear, one, none (both cloudy), one, both.
    steps = [int(v) for i, v in enumerate(middle[4]) if i == 0 or v != middle[4][i - 1]]
    assert steps == [2, 1, 0, 1, 2]
    assert (middle[:4][:, middle[4] == 0] == 0).all()
    assert np.array_equal(valid, data[4] > 0)
    assert data[:4].max() < 220


def test_both_baselines_give_the_same_picture(tmp_path):
    old, _, _, _ = run(tmp_path, [write_scene(tmp_path, "old")])
    new, _, _, _ = run(tmp_path, [write_scene(tmp_path, "new", offset=1000)])
    assert np.array_equal(old, new)


def test_strips_and_readers_do_not_change_a_byte(tmp_path, monkeypatch):
    scenes = [write_scene(tmp_path, "a", cloud=slice(100, 300)), write_scene(tmp_path, "b", value=2500)]
    run(tmp_path, scenes, readers=4)
    at_once = (tmp_path / "composite.tif").read_bytes()
    monkeypatch.setattr(step, "PART_ROWS", 97)
    run(tmp_path, scenes, readers=1)
    assert (tmp_path / "composite.tif").read_bytes() == at_once


def test_a_scene_without_scl_counts_as_clear_where_it_has_data_and_is_named(tmp_path):
    data, _, _, tags = run(tmp_path, [write_scene(tmp_path, "a", cloud=slice(100, 300), with_scl=False)])
    assert tags["without_scl"] == "a"
    assert data[4].max() == 1
    assert data[:4].max() > 250


def test_no_scene_at_all_is_a_composite_of_nodata(tmp_path):
    data, valid, _, _ = run(tmp_path, [])
    assert not valid.any()
    assert not data.any()


def test_bad_scenes_are_named_and_the_old_composite_stays(tmp_path):
    scene = write_scene(tmp_path, "a")
    run(tmp_path, [scene])
    before = (tmp_path / "composite.tif").read_bytes()
    band = tmp_path / "a" / "B03.tif"
    band.write_bytes(band.read_bytes()[:3000])
    with pytest.raises(WorkError, match=r"B03\.tif"):
        run(tmp_path, [scene])
    with pytest.raises(WorkError, match="has no band B08"):
        run(tmp_path, [scene | {"assets": {"B04": "x"}}])
    other = write_scene(tmp_path, "b")
    other["assets"]["B02"] = other["assets"]["SCL"]
    with pytest.raises(InputError, match="uint8"):
        run(tmp_path, [other])
    assert (tmp_path / "composite.tif").read_bytes() == before
    assert not list(tmp_path.glob(".*part*"))


@pytest.mark.parametrize("reader", READERS.names())
def test_a_scene_whose_blocks_are_damaged_is_left_out_and_named(tmp_path, capsys, reader):
    good, bad = write_scene(tmp_path, "a"), write_scene(tmp_path, "b", value=3000)
    expected, _, _, _ = run(tmp_path, [good], reader=reader)
    band = tmp_path / "b" / "B03.tif"
    content = band.read_bytes()
    band.write_bytes(content[: len(content) // 2] + b"\xa5" * (len(content) - len(content) // 2))
    made, _, _, tags = run(tmp_path, [good, bad], reader=reader)
    assert np.array_equal(made, expected), "a part of the damaged scene was kept"
    assert (tags["scenes"], tags["left_out"]) == ("a", "b")
    assert "scene b is left out" in capsys.readouterr().err
    with pytest.raises(WorkError, match=r"1 of 2 scenes cannot be used.*B03\.tif.*composite\.max_left_out"):
        run(tmp_path, [good, bad], reader=reader, max_left_out=0.4)


def test_a_composite_of_one_value_is_reported(tmp_path, capsys):
    _, _, _, tags = run(tmp_path, [write_scene(tmp_path, "a")])
    assert tags["constant_bands"] == "N R G B"
    assert "one value throughout in N, R, G, B" in capsys.readouterr().err
    varied = np.random.default_rng(1).integers(1, 255, (5, 9, 9)).astype(np.uint8)
    varied[:, 0] = 0
    assert constant_bands(varied) == []
    varied[2, 1:] = 7
    assert constant_bands(varied) == ["G"]
    assert constant_bands(np.zeros((5, 9, 9), np.uint8)) == []


def test_a_manifest_of_another_cell_is_refused(tmp_path):
    manifest = write_scenes(tmp_path, [])
    manifest.write_text(manifest.read_text().replace(CELL.name, "N09.00E011.95"))
    with pytest.raises(InputError, match="N09"):
        composite(manifest, write_plan(tmp_path), CELL.name, tmp_path / "c.tif")


def test_zero_readers_are_refused(tmp_path):
    with pytest.raises(InputError, match="0 bands"):
        run(tmp_path, [], readers=0)
