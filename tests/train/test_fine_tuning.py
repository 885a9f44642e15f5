"""Training on from a checkpoint, with labels of one's own, on elevation alone."""

import json
import shutil

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import yaml
from rasterio.transform import from_origin
from shapely import LineString, box

from headwater.core.errors import InputError
from headwater.evaluate.water_types import UNKNOWN_TYPE
from headwater.models.checkpoint import load_checkpoint
from headwater.models.shipped import default_checkpoints
from headwater.train import run
from headwater.train.cut import MIDDLE_GRAY, chips, read_cut_config, read_region
from headwater.train.shards import open_chips

UTM = "EPSG:32633"
EAST, NORTH, PIXEL_M = 500_000.0, 5_100_000.0, 20.0


@pytest.fixture
def change(configure):
    """Write the small training's configuration with other keys; a key of None is removed."""

    def write(**keys):
        path = configure(keys.pop("run", "a"), **keys.pop("loop", {}))
        values = {**yaml.safe_load(path.read_text()), **keys}
        path.write_text(yaml.safe_dump({key: value for key, value in values.items() if value is not None}))
        return path

    return write


def test_a_training_goes_on_from_a_checkpoint(change, tmp_path, capsys):
    stage = {"chip_px": 24, "batch_size": 2, "steps": 20, "learning_rate": 0.01}
    run.train(change(loop={"stages": [stage]}))
    first = load_checkpoint(tmp_path / "a/net.safetensors")
    short = {"stages": [{**stage, "steps": 10, "learning_rate": 0.0001, "warmup_steps": 0}]}
    run.train(change(run="b", network=None, init=str(tmp_path / "a/net.safetensors"), loop=short))
    second = load_checkpoint(tmp_path / "b/net.safetensors")
    assert second.metadata.network == first.metadata.network
    assert second.metadata.config == first.metadata.config
    assert second.metadata.recipe == first.metadata.recipe
    assert second.metadata.training["init"]["sha256"] == first.metadata.sha256
    # What it began with, and not random weights, which the few small steps could not have made as good.
    before, after = (second.metadata.scores[name]["f1*"] for name in ("validation_before", "validation"))
    assert before == pytest.approx(first.metadata.scores["validation"]["f1*"], abs=0.01)
    assert after > before - 0.05
    assert second.metadata.scores["test_before"]
    assert "before, validation: " in capsys.readouterr().err
    # Another beginning is another training: its state is refused.
    other = change(run="b", network=None, init="shipped", loop=short, recipe=None)
    with pytest.raises(InputError):
        run.train(other)


def test_shipped_weights_bring_network_and_recipe(change):
    sides = {"stages": [{"chip_px": 32, "batch_size": 1, "steps": 1, "learning_rate": 0.01}]}
    config = run.read_config(change(network=None, init="shipped", loop=sides))
    shipped = {load_checkpoint(path).metadata.network: path for path in default_checkpoints()}
    assert config.init == shipped["waternet"]
    assert config.network["base_channels"] == 8
    assert config.recipe == load_checkpoint(config.init).metadata.recipe
    assert run.read_config(change(network={"name": "unet"}, init="shipped", loop=sides)).init == shipped["unet"]


def _damaged(folder):
    for end in (".safetensors", ".json"):
        shutil.copy(default_checkpoints()[0].with_suffix(end), folder / f"net{end}")
    content = bytearray((folder / "net.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "net.safetensors").write_bytes(content)
    return folder / "net.safetensors"


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"init": "none.safetensors"}, "none.safetensors does not exist"),
        ({"init": _damaged}, "sha256 differs"),
        ({"init": 3}, "init is 3"),
        ({"init": "shipped", "network": {"name": "fcn8s"}}, "no checkpoint of a network fcn8s comes with"),
        (
            {"init": "shipped", "network": {"name": "waternet", "base_channels": 9}},
            r"base_channels is 9, but .* it is 8",
        ),
        ({"init": "shipped", "network": {"name": "waternet", "depth": 9}}, r"network.depth is 9, but .* it is None"),
        ({"init": str(default_checkpoints()[0]), "network": {"name": "unet"}}, r"name is 'unet', but .* 'waternet'"),
        ({"init": "shipped", "recipe": "paper"}, "recipe is 'paper', but .* has the recipe 'relative'"),
        ({"init": "shipped", "recipe": 3}, "recipe is 3, but"),
        ({}, "does not name a network"),
    ],
)
def test_what_does_not_fit_the_checkpoint_is_refused(change, tmp_path, keys, words):
    if callable(keys.get("init")):
        keys = {**keys, "init": str(keys["init"](tmp_path))}
    with pytest.raises(InputError, match=words):
        run.read_config(change(**{"network": None, **keys}))


@pytest.fixture
def place(tmp_path):
    """A valley as an elevation raster in UTM, its river in another CRS, and a configuration of `headwater chips`."""
    rows, columns = np.mgrid[:160, :320]
    meters = (100 + np.minimum(np.abs(rows - 80), 40) - columns / 50).astype(np.float32)
    meters[:, 310:] = -9999
    profile = {"driver": "GTiff", "width": 320, "height": 160, "count": 1, "dtype": "float32", "nodata": -9999}
    profile |= {"crs": UTM, "transform": from_origin(EAST, NORTH, PIXEL_M, PIXEL_M)}
    with rasterio.open(tmp_path / "dem.tif", "w", **profile) as file:
        file.write(meters, 1)
    middle = NORTH - 80.5 * PIXEL_M
    river = gpd.GeoDataFrame({"kind": ["R"]}, geometry=[LineString([(EAST, middle), (EAST + 6400, middle)])], crs=UTM)
    river.to_crs(3035).to_file(tmp_path / "rivers.gpkg")

    def write(**region):
        labels = {
            "lines": str(tmp_path / "rivers.gpkg"),
            "columns": {"type": "kind"},
            "types": {"R": "perennial stream"},
        }
        one = {"name": "valley", "part": "training", "elevation": str(tmp_path / "dem.tif"), "labels": labels, **region}
        one = {key: value for key, value in one.items() if value is not None}
        path = tmp_path / "chips.yaml"
        path.write_text(yaml.safe_dump({"out": str(tmp_path / "made"), "sides_px": [64], "chips_per_region": [20],
                                        "regions": [one]}))  # fmt: skip
        return path

    return write


def test_elevation_alone_becomes_chips_of_a_gray_image(place, tmp_path):
    chips(place())
    (shard,) = open_chips(str(tmp_path / "made"), tmp_path).shards
    image, _, types = shard.chip(0)
    assert (image == MIDDLE_GRAY).all()
    assert set(np.unique(types)) <= {0, 19, UNKNOWN_TYPE}
    assert sum((shard.chip(number)[2] == 19).any() for number in range(shard.chips)) > shard.chips / 4
    (cell,) = read_region(read_cut_config(place())[2][0], tmp_path / "scratch")
    heights, types = np.array(cell.elevation), np.array(cell.types)
    river = types == 19
    assert 590 < river.sum() < 680  # one pixel wide, 6.2 km long
    assert np.nanmax(heights[river]) < 103  # it is where the raster has its valley
    assert (types[np.isnan(heights)] == UNKNOWN_TYPE).all()
    assert np.isnan(heights).any()


def test_lines_of_a_width_are_wider(place, tmp_path):
    labels = {"lines": [str(tmp_path / "rivers.gpkg")], "width_m": 50}
    (cell,) = read_region(read_cut_config(place(labels=labels))[2][0], tmp_path / "scratch")
    across = (np.array(cell.types) == 20).sum(axis=0)
    assert 4.5 < across[across > 0].mean() < 6


@pytest.mark.parametrize(
    ("region", "words"),
    [
        ({"elevation": "none.tif"}, "none.tif of region valley does not exist"),
        ({"cells": "x"}, "gives cells and elevation"),
        ({"elevation": None}, "gives cells and elevation, or neither"),
        ({"bounds": [16, 46, 17, 47]}, "is not within its bounds"),
        ({"bounds": [17, 46, 16, 47]}, "regions.bounds is"),
        ({"bounds": [15, 46, 16]}, "regions.bounds is"),
        ({"labels": {}}, "neither lines nor polygons"),
        ({"labels": []}, "a region has no labels"),
        ({"labels": {"lines": "x.gpkg"}}, "x.gpkg does not exist"),
        ({"labels": {"line": "x.gpkg"}}, "missing or unknown keys: line"),
        ({"labels": {"lines": "x.gpkg", "types": ["a"]}}, "regions.labels.types is"),
        ({"labels": {"polygons": "far.gpkg"}}, "None of the labels of region valley is in its cells"),
    ],
)
def test_regions_that_cannot_be_are_refused(place, tmp_path, region, words, monkeypatch):
    monkeypatch.chdir(tmp_path)
    gpd.GeoDataFrame(geometry=[box(0, 0, 1, 1)], crs=4326).to_file("far.gpkg")
    with pytest.raises(InputError, match=words):
        chips(place(**region))
    assert not (tmp_path / "made/manifest.json").exists()


@pytest.mark.real
def test_real_hydrography_of_elevation_alone_becomes_chips(shared_data, tmp_path):
    """Three watersheds of the NHD in California, and a county's streams and lakes, each beside its elevation."""
    california, wake = shared_data / "nhd-mr-california", shared_data / "dem-streams-wake-nc"
    regions = [
        {"name": name, "part": "training", "elevation": str(california / f"{name}_dem.tif"),
         "labels": {"lines": str(california / f"{name}_lines.parquet"), "columns": {"fcode": column}}}
        for name, column in (("hopper", "FCODE"), ("navarro", "fcode"), ("sangabriel", "FCODE"))
    ]  # fmt: skip
    codes = {"33400": "other", "33600": "canal", "46000": "stream, other", "55800": "artificial path"}
    streams = {"lines": str(wake / "streams.parquet"), "columns": {"type": "FCODE"}, "types": codes}
    regions.append({
        "name": "wake", "part": "validation", "elevation": str(wake / "elev_ned_30m.tif"),
        "bounds": [-78.75, 35.70, -78.70, 35.75], "labels": [streams, {"polygons": str(wake / "lakes.gpkg")}],
    })  # fmt: skip
    (tmp_path / "chips.yaml").write_text(yaml.safe_dump({
        "out": str(tmp_path / "chips"), "sides_px": [128], "chips_per_region": [5], "max_missing_fraction": 0.3,
        "regions": regions,
    }))  # fmt: skip
    chips(tmp_path / "chips.yaml")
    made = json.loads((tmp_path / "chips/manifest.json").read_text())
    assert {shard["region"]: shard["chips"] for shard in made["shards"]} == dict.fromkeys(
        ("hopper", "navarro", "sangabriel", "wake"), 5
    )
    assert made["chips_with_type"]["validation"]["stream, other"] == 5
    # Lines of the county are in hollows of its elevation.
    (wake_shard,) = (s for s in open_chips(str(tmp_path / "chips"), tmp_path).shards if s.region == "wake")
    for number in range(wake_shard.chips):
        _, meters, types = wake_shard.chip(number)
        assert np.nanmean(meters[types == 20]) < np.nanmean(meters) - 1
