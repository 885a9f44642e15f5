import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from headwater import raster
from headwater.core.errors import InputError
from headwater.geo.grid import Cell, cell_grid, elevation_grid, prediction_grid
from headwater.models.channels import PAPER, RELATIVE
from headwater.models.checkpoint import load_checkpoint, save_checkpoint
from headwater.models.registry import build_network
from headwater.models.shipped import default_checkpoints
from headwater.predict.pipeline import predict_probability
from headwater.stac.items import DEMO_PROCESSING
from headwater.stac.pins import write_items
from support.local_place import CELL, MARGIN_PX, write_plan
from support.steps import predict

TILES = {"tile_px": 256, "overlap_px": 64, "device": "cpu"}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    network = build_network("waternet", {"base_channels": 1, "encoders": 2, "decoders": 1})
    save_checkpoint(path, network, recipe=PAPER, license="CC0-1.0")
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


def test_the_elevation_of_another_cell_is_refused(tmp_path, weights):
    composite, elevation, plan = write_inputs(tmp_path)
    grid = elevation_grid(Cell(CELL.row, CELL.column + 5, CELL.degrees), margin_px=MARGIN_PX)
    raster.write_cog(elevation, np.ones((1, *grid.shape), np.float32), transform=grid.transform)
    with pytest.raises(InputError, match="does not cover the cell"):
        predict(composite, elevation, CELL.name, plan, tmp_path / "p.tif", checkpoint=weights, **TILES)
    assert not (tmp_path / "p.tif").exists()


def test_weights_for_another_pixel_size_use_the_actual_one_and_say_so(tmp_path, weights, capsys):
    other = tmp_path / "other.safetensors"
    network = load_checkpoint(weights).model
    save_checkpoint(other, network, recipe=replace(PAPER, pixel_m=2.0), license="CC0-1.0")
    composite, elevation, plan = write_inputs(tmp_path)
    predict(composite, elevation, CELL.name, plan, tmp_path / "p.tif", checkpoint=other, **TILES)
    assert "made for pixels of 2 m; those here have 10 m" in capsys.readouterr().err
    assert json.loads(raster.raster_tags(tmp_path / "p.tif")["recipe"]) == PAPER.to_dict()


def test_a_network_of_the_inputs_size_is_averaged_to_20_m(tmp_path):
    path = tmp_path / "same-size.safetensors"
    torch.manual_seed(1)
    network = build_network("waternet", {"base_channels": 1, "encoders": 2, "decoders": 2})
    save_checkpoint(path, network, recipe=PAPER, license="CC0-1.0")
    composite, elevation, plan = write_inputs(tmp_path)
    predict(composite, elevation, CELL.name, plan, tmp_path / "p.tif", checkpoint=path, **TILES)
    data, valid, _, _ = raster.read_raster(tmp_path / "p.tif")
    grid = cell_grid(CELL, margin_px=MARGIN_PX)
    heights, _ = raster.read_window(elevation, grid, resampling="bilinear")
    bands = raster.read_raster(composite)[0][:4]
    full, _ = predict_probability(network.eval(), PAPER, bands, heights.astype(np.float32), **TILES)
    rows, columns = (side // 2 for side in grid.shape)
    expected = full.reshape(rows, 2, columns, 2).mean(axis=(1, 3))
    core = expected[MARGIN_PX // 2 : rows - MARGIN_PX // 2, MARGIN_PX // 2 : columns - MARGIN_PX // 2]
    assert valid.all()
    # Blending before or after averaging differs only by the blend windows, which are a pixel apart.
    assert np.abs(data[0] - core * 255).max() <= 2


def test_a_network_coarser_than_20_m_is_refused(tmp_path):
    path = tmp_path / "coarse.safetensors"
    network = build_network("waternet", {"base_channels": 1, "encoders": 3, "decoders": 1})
    save_checkpoint(path, network, recipe=PAPER, license="CC0-1.0")
    composite, elevation, plan = write_inputs(tmp_path)
    with pytest.raises(InputError, match="one encoder more"):
        predict(composite, elevation, CELL.name, plan, tmp_path / "p.tif", checkpoint=path, **TILES)


def test_options_change_the_map_and_are_recorded_in_its_tags(tmp_path, weights):
    composite, elevation, plan = write_inputs(tmp_path)
    other = tmp_path / "other.safetensors"
    torch.manual_seed(5)
    network = build_network("waternet", {"base_channels": 1, "encoders": 2, "decoders": 1})
    save_checkpoint(other, network, recipe=RELATIVE, license="CC0-1.0")
    maps = {}
    for name, options in {
        "one": {"checkpoint": weights},
        "other": {"checkpoint": other},
        "both": {"checkpoint": [weights, other], "threads": 2, "batch_size": 3},
        "turned": {"checkpoint": weights, "tta": True},
        "short": {"checkpoint": weights, "dtype": "bf16"},
    }.items():
        out = tmp_path / f"{name}.tif"
        predict(composite, elevation, CELL.name, plan, out, **options, **TILES)
        data, valid, _, tags = raster.read_raster(out)
        assert valid.all()
        maps[name] = (data.astype(int), tags)
    mean = (maps["one"][0] + maps["other"][0]) / 2
    assert np.abs(maps["both"][0] - mean).max() <= 1.5
    assert [recipe["name"] for recipe in json.loads(maps["both"][1]["recipe"])] == ["paper", "relative"]
    assert len(maps["both"][1]["checkpoint_sha256"].split(", ")) == 2
    assert maps["turned"][1]["symmetries"] == "mean of 8"
    assert (maps["turned"][0] != maps["one"][0]).any()
    assert [maps[name][1]["computed_in"] for name in ("one", "short")] == ["float32", "bfloat16"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_does_not_exist_is_refused(tmp_path, weights):
    composite, elevation, plan = write_inputs(tmp_path)
    out = tmp_path / "probability.tif"
    for device in ("cuda", "cuda:1"):
        with pytest.raises(InputError, match=f"no device '{device}' on this machine"):
            predict(composite, elevation, CELL.name, plan, out, checkpoint=weights, **TILES | {"device": device})
    assert not out.exists()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_predicts_what_the_cpu_does(tmp_path, weights):
    composite, elevation, plan = write_inputs(tmp_path)
    maps = []
    for device, dtype in (("cpu", "float32"), ("cuda", "float32"), ("cuda", "bf16")):
        out = tmp_path / f"{device}-{dtype}.tif"
        options = TILES | {"device": device}
        predict(composite, elevation, CELL.name, plan, out, checkpoint=weights, dtype=dtype, **options)
        maps.append(raster.read_raster(out)[0].astype(int))
    assert np.abs(maps[0] - maps[1]).max() <= 1
    assert np.quantile(np.abs(maps[0] - maps[2]), 0.99) <= 2


def test_the_weights_that_ship_are_marked_unless_the_pin_is_of_a_demo_planet(tmp_path, capsys):
    shipped = next(path for path in default_checkpoints() if "unet" in path.name)
    composite, elevation, plan = write_inputs(tmp_path, empty=True)
    out = tmp_path / "p.tif"
    for name, version, marked in (("none", None, True), ("real", "05.09", True), ("demo", DEMO_PROCESSING, False)):
        pin = tmp_path / f"{name}.parquet"
        if version:
            item = {
                "type": "Feature", "stac_version": "1.0.0", "id": "a", "collection": "c", "links": [],
                "geometry": {"type": "Point", "coordinates": [1, 2]}, "bbox": [1, 2, 1, 2],
                "properties": {"datetime": "2023-01-01T00:00:00Z", "processing:version": version},
                "assets": {"data": {"href": "a.tif"}},
            }  # fmt: skip
            write_items(pin, [item], url="u", query={})
        predict(composite, elevation, CELL.name, plan, out, checkpoint=shipped, items=pin, **TILES)
        assert ("generated landscapes only" in capsys.readouterr().err) == marked
        assert (raster.raster_tags(out).get("weights") == "demo") == marked
        assert ("warning" in raster.raster_tags(out)) == marked


def test_the_license_and_citation_of_weights_are_tags(tmp_path, weights):
    composite, elevation, plan = write_inputs(tmp_path, empty=True)
    path = tmp_path / "imported.safetensors"
    save_checkpoint(path, load_checkpoint(weights).model, recipe=PAPER, license="CC BY-SA 4.0", citation="Who (2026)")
    predict(composite, elevation, CELL.name, plan, tmp_path / "p.tif", checkpoint=path, **TILES)
    tags = raster.raster_tags(tmp_path / "p.tif")
    assert (tags["license"], tags["citation"]) == ("CC BY-SA 4.0", "Who (2026)")
    assert load_checkpoint(path).metadata.citation == "Who (2026)"
