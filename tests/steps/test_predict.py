import json

import numpy as np
import pytest
import torch

from headwater import raster
from headwater.channels import PAPER
from headwater.errors import InputError
from headwater.grid import cell_grid, elevation_grid, prediction_grid
from headwater.models import save_checkpoint
from headwater.models.registry import build_network
from headwater.steps.predict import predict
from steps.place import CELL, MARGIN_PX, write_plan

TILES = {"tile_px": 256, "overlap_px": 64, "device": "cpu"}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    network = build_network("waternet", {"base_channels": 1, "encoders": 2, "decoders": 1})
    save_checkpoint(path, network, recipe=PAPER, licence="CC0-1.0")
    return path


def write_inputs(folder, *, empty=False, hole=None, bands=5, margin_px=MARGIN_PX):
    """Write composite.tif and elevation.tif of the cell; return both paths and the plan's."""
    rng = np.random.default_rng(0)
    grid = cell_grid(CELL, margin_px=margin_px)
    composite = rng.integers(1, 256, (bands, *grid.shape), dtype=np.uint8) * (not empty)
    if hole is not None:
        composite[:4, hole[0], hole[1]] = 0
    coarse = elevation_grid(CELL, margin_px=MARGIN_PX)
    heights = rng.normal(200, 30, (1, *coarse.shape)).astype(np.float32)
    raster.write_cog(folder / "composite.tif", composite.astype(np.uint8), transform=grid.transform, nodata=0)
    raster.write_cog(folder / "elevation.tif", heights, transform=coarse.transform)
    return folder / "composite.tif", folder / "elevation.tif", write_plan(folder)


def test_writes_the_core_at_20_m_with_mask_and_tags(tmp_path, weights):
    hole = (slice(MARGIN_PX + 100, MARGIN_PX + 120), slice(MARGIN_PX + 40, MARGIN_PX + 60))
    composite, elevation, plan = write_inputs(tmp_path, hole=hole)
    out = tmp_path / "probability.tif"
    predict(composite, elevation, CELL.name, plan, out, checkpoint=weights, **TILES)
    data, valid, grid, tags = raster.read_raster(out)
    core = prediction_grid(CELL)
    assert data.shape == (1, *core.shape)
    assert data.dtype == np.uint8
    np.testing.assert_allclose(grid.bounds, core.bounds, atol=1e-9)
    expected = np.ones(core.shape, dtype=bool)
    expected[50:60, 20:30] = False
    np.testing.assert_array_equal(valid, expected)
    sidecar = json.loads(weights.with_suffix(".json").read_text())
    assert tags["checkpoint_sha256"] == sidecar["sha256"]
    assert json.loads(tags["recipe"]) == sidecar["recipe"]


def test_same_input_same_bytes(tmp_path, weights):
    composite, elevation, plan = write_inputs(tmp_path)
    before = torch.get_num_threads()
    contents = []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            out = tmp_path / f"probability{number}.tif"
            predict(composite, elevation, CELL.name, plan, out, checkpoint=weights, **TILES)
            contents.append(out.read_bytes())
    finally:
        torch.set_num_threads(before)
    assert contents[0] == contents[1]


def test_an_empty_composite_gives_an_empty_probability(tmp_path, weights):
    composite, elevation, plan = write_inputs(tmp_path, empty=True)
    out = tmp_path / "probability.tif"
    predict(composite, elevation, CELL.name, plan, out, checkpoint=weights, **TILES)
    data, valid, _, _ = raster.read_raster(out)
    assert not valid.any()
    assert not data.any()


@pytest.mark.parametrize(
    ("change", "message"),
    [({"bands": 3}, "four of uint8 are needed"), ({"margin_px": MARGIN_PX + 2}, "not on the grid of its cell")],
)
def test_a_composite_that_does_not_fit_is_refused_and_nothing_written(tmp_path, weights, change, message):
    composite, elevation, plan = write_inputs(tmp_path, **change)
    out = tmp_path / "probability.tif"
    with pytest.raises(InputError, match=message):
        predict(composite, elevation, CELL.name, plan, out, checkpoint=weights, **TILES)
    assert not out.exists()


def test_a_network_of_another_scale_is_refused(tmp_path):
    path = tmp_path / "same-size.safetensors"
    network = build_network("waternet", {"base_channels": 1, "encoders": 2, "decoders": 2})
    save_checkpoint(path, network, recipe=PAPER, licence="CC0-1.0")
    composite, elevation, plan = write_inputs(tmp_path)
    with pytest.raises(InputError, match="one encoder more"):
        predict(composite, elevation, CELL.name, plan, tmp_path / "p.tif", checkpoint=path, **TILES)
