"""Stored chips: cut, balanced, written, read again from a folder or over HTTP."""

import functools
import json
import threading
from collections import Counter
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import geopandas as gpd
import numpy as np
import pytest
from shapely.geometry import LineString, box

from headwater import raster
from headwater.cli import main
from headwater.core.errors import InputError, WorkError
from headwater.geo.grid import RasterGrid
from headwater.train.chips import CellChips
from headwater.train.cut import CutSettings, balanced_choice, cut_chips, find_candidates
from headwater.train.shards import file_sha256, open_chips


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


class QuietServer(ThreadingHTTPServer):
    def handle_error(self, *arguments):
        """Ignore clients that disconnect early."""


@pytest.fixture
def served(chip_folder):
    with QuietServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(chip_folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_chips_come_back_as_they_were_cut(tmp_path, chip_folder):
    store = open_chips(str(chip_folder), tmp_path / "unused")
    cell = CellChips(tmp_path / "cells" / "east")
    chips = list(store.part("validation").each(40))
    assert len(chips) == 4
    for composite, elevation, types in chips:
        assert composite.shape == (4, 64, 64)
        # Heights identify the place of the chip.
        ((row, column),) = [
            (r, c)
            for r in range(0, 33, 2)
            for c in range(0, 33, 2)
            if np.array_equal(cell.elevation[r : r + 64, c : c + 64], elevation)
        ]
        np.testing.assert_array_equal(composite, cell.composite[:, row : row + 64, column : column + 64])
        np.testing.assert_array_equal(types, cell.types[row : row + 64, column : column + 64])
    for shard in store.shards:
        assert file_sha256(chip_folder / shard.file) == shard.sha256


def test_the_manifest_counts_and_no_region_is_in_two_parts(chip_folder):
    manifest = json.loads((chip_folder / "manifest.json").read_text())
    assert sum(row["chips"] for row in manifest["shards"] if row["side_px"] == 32) <= 40
    assert manifest["chips_with_type"]["training"]["perennial stream"] > 0
    store = open_chips(str(chip_folder), chip_folder)
    assert store.regions == {"training": ["north", "south"], "validation": ["east"], "test": ["west"]}
    manifest["shards"][0]["part"] = "test"
    (chip_folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="region north in two parts"):
        open_chips(str(chip_folder), chip_folder)


def test_regions_have_equal_weight_and_chips_are_cut_to_size(tmp_path, river):
    cells = {"large": [river(tmp_path / "l", 1, 200)], "small": [river(tmp_path / "s", 2, 64)]}
    settings = CutSettings(sides_px=(48,), chips_per_region=(30,))
    cut_chips([(name, "training", places) for name, places in cells.items()], tmp_path / "chips", settings)
    part = open_chips(str(tmp_path / "chips"), tmp_path).part("training")
    small = {shard.region: shard for shard in part.shards}["small"]
    heights = {float(value) for index in range(small.chips) for value in small.chip(index)[1].ravel()}
    rng = np.random.default_rng(0)
    chips = [part.draw(32, 0.5, rng) for _ in range(300)]
    assert {chip[2].shape for chip in chips} == {(32, 32)}
    fraction = np.mean([set(chip[1].ravel().tolist()) <= heights for chip in chips])
    assert 0.35 < fraction < 0.65
    again = np.random.default_rng(0)
    np.testing.assert_array_equal(part.draw(32, 0.5, again)[0], chips[0][0])
    with pytest.raises(InputError, match="no training chips of 64 px or more"):
        part.draw(64, 0.5, rng)


def test_bad_chips_are_left_out_and_counted(tmp_path, river):
    good = river(tmp_path / "good", 0, 96)
    composite, elevation, types = (np.array(array) for array in (good.composite, good.elevation, good.types))
    composite[:, :, :48] = 0
    elevation[:48] = np.nan
    types[48:, 48:] = 255
    cell = CellChips.save(tmp_path / "bad", composite=composite, elevation=elevation, types=types)
    found = find_candidates([cell], 32, 0.1, np.random.default_rng(0))
    assert found.candidates == []
    assert set(found.left_out) == {"no image", "no elevation", "no label"}
    assert len(find_candidates([good], 32, 0.1, np.random.default_rng(0)).candidates) >= 9


def test_rare_types_are_kept():
    kinds = [frozenset({0})] * 500 + [frozenset({19})] * 480 + [frozenset({19, 14})] * 20
    chosen = balanced_choice(kinds, 60, np.random.default_rng(0))
    assert len(set(chosen)) == 60
    counts = Counter(kind for index in chosen for kind in kinds[index])
    assert counts[14] >= 10
    assert min(counts[0], counts[19]) >= 10
    assert sorted(balanced_choice(kinds[:5], 60, np.random.default_rng(0))) == [0, 1, 2, 3, 4]


def test_cut_again_the_bytes_are_the_same(tmp_path, chip_folder):
    before = {path: path.read_bytes() for path in chip_folder.rglob("*.*")}
    cells = {name: [CellChips(tmp_path / "cells" / name)] for name in ("north", "south", "east", "west")}
    parts = {"north": "training", "south": "training", "east": "validation", "west": "test"}
    cut_chips(
        [(name, parts[name], places) for name, places in cells.items()],
        chip_folder,
        CutSettings(sides_px=(32, 64), chips_per_region=(10, 4)),
    )
    assert {path: path.read_bytes() for path in chip_folder.rglob("*.*")} == before


def test_a_remote_store_is_copied_once_and_checked(tmp_path, chip_folder, served):
    local, remote = (open_chips(source, tmp_path / "cache").part("training") for source in (str(chip_folder), served))
    for one, other in zip(local.each(32), remote.each(32), strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)
    shard = chip_folder / local.shards[0].file
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    next(open_chips(served, tmp_path / "cache").part("training").each(32))
    with pytest.raises(WorkError, match="damaged"):
        next(open_chips(served, tmp_path / "other").part("training").each(32))
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["manifest.json"]
    with pytest.raises(WorkError, match="cannot be read"):
        open_chips(f"{served}/nowhere", tmp_path / "third")


def test_chips_cut_again_are_read_again(tmp_path, chip_folder, served):
    old = next(open_chips(served, tmp_path / "cache").part("training").each(32))
    cells = {"north": [CellChips(tmp_path / "cells" / "south")]}
    cut_chips([("north", "training", cells["north"])], chip_folder, CutSettings(sides_px=(32,), chips_per_region=(7,)))
    store = open_chips(served, tmp_path / "cache")
    local = open_chips(str(chip_folder), tmp_path / "unused")
    new, expected = (list(each.part("training").each(32)) for each in (store, local))
    assert len(new) == 7
    np.testing.assert_array_equal(new[6][1], expected[6][1])
    assert not np.array_equal(new[0][1], old[1])


@pytest.mark.parametrize(
    "change",
    [{"file": "/tmp/planted"}, {"file": "../planted"}, {"side_px": "32"}, {"chips": -1}, {"sha256": "../planted"}],
)
def test_an_untrusted_manifest_cannot_leave_its_folder(tmp_path, chip_folder, served, change):
    manifest = json.loads((chip_folder / "manifest.json").read_text())
    manifest["shards"][0] |= change
    (chip_folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="is not a manifest of chips"):
        open_chips(served, tmp_path / "cache")


def test_a_shard_that_differs_from_its_manifest_is_refused(tmp_path, chip_folder, served):
    manifest = json.loads((chip_folder / "manifest.json").read_text())
    first = manifest["shards"][0]
    first["chips"] += 1
    (chip_folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="other chips than its manifest lists"):
        open_chips(str(chip_folder), tmp_path).shards[0].chip(0)
    (chip_folder / first["file"]).write_bytes(bytes(20_000_000))
    with pytest.raises(WorkError, match="is larger than the"):
        open_chips(served, tmp_path / "cache").shards[0].chip(0)


def test_an_interrupted_run_leaves_no_manifest(tmp_path, chip_folder, river):
    class Gone:
        @property
        def shape(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut_chips([("north", "training", [Gone()])], chip_folder, CutSettings((32,), (7,)))
    with pytest.raises(InputError):
        open_chips(str(chip_folder), tmp_path)


def test_chips_of_the_workflows_files(tmp_path, river, capsys):
    grid = RasterGrid(west=10.0, north=50.0, dx=1e-4, dy=1e-4, width=96, height=96)
    cell = river(tmp_path / "arrays", 0)
    bands = np.concatenate([cell.composite, np.ones((1, 96, 96), dtype=np.uint8)])
    folder = tmp_path / "results" / "cells" / "N49E010"
    raster.write_cog(folder / "composite.tif", bands, transform=grid.transform)
    raster.write_cog(folder / "elevation.tif", cell.elevation[None], transform=grid.transform)
    line = LineString([(10.001, 49.9915), (10.009, 49.9985)])
    gpd.GeoDataFrame({"FCODE": [46006]}, geometry=[line], crs="EPSG:4326").to_file(
        tmp_path / "nhd.gpkg", layer="NHDFlowline"
    )
    gpd.GeoDataFrame(geometry=[box(10, 49.9904, 10.0096, 49.997)], crs="EPSG:4326").to_file(tmp_path / "area.gpkg")
    region = {"name": 1019, "cells": str(tmp_path / "results" / "cells"), "labels": str(tmp_path / "nhd.gpkg")}
    config = tmp_path / "chips.yaml"
    values = {"out": str(tmp_path / "chips"), "sides_px": [24], "chips_per_region": [5]}
    rows = [{**region, "part": "training", "area": str(tmp_path / "area.gpkg")}]
    config.write_text(json.dumps({**values, "regions": rows}))
    assert main(["chips", str(config)]) == 0
    chips = list(open_chips(str(tmp_path / "chips"), tmp_path).part("training").each(24))
    assert len(chips) == 5
    assert any((types == 19).any() for _, _, types in chips)
    # The north of the cell lies beyond the area.
    assert all((types == 255).mean() <= 0.1 for _, _, types in chips)
    assert json.loads((tmp_path / "chips" / "manifest.json").read_text())["left_out"]["no label"] > 0
    assert not (tmp_path / "chips" / ".cells").exists()
    elsewhere = gpd.GeoDataFrame(geometry=[box(20, 50, 21, 51)], crs="EPSG:4326")
    elsewhere.to_parquet(tmp_path / "elsewhere.parquet")
    elsewhere.boundary.to_file(tmp_path / "border.gpkg")
    for area, message in (("elsewhere.parquet", "Not one chip could be cut"), ("border.gpkg", "other shapes"),
                          ("none.gpkg", "does not exist")):  # fmt: skip
        rows[0]["area"], values["out"] = str(tmp_path / area), str(tmp_path / "others")
        config.write_text(json.dumps({**values, "regions": rows}))
        assert main(["chips", str(config)]) == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "others" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sides": [24]}, "unknown keys: sides"),
        ({"sides_px": [25]}, "A side is odd"),
        ({"sides_px": 24}, "sides_px is 24"),
        ({"regions": None}, "regions is None"),
        ({"seed": -1}, "seed or max_missing_fraction is out of range"),
        ({"sides_px": [24, 48]}, "differ in length"),
        ({"regions": []}, "lists a region twice, or none"),
        ({"regions": [{"name": "a", "part": "train", "cells": "c", "labels": "l"}]}, "is for 'train'"),
        ({"regions": [{"name": "a", "part": "test", "cells": "c", "labels": "l"}]}, "no */composite.tif"),
    ],
)
def test_bad_configurations_of_chips_are_refused(tmp_path, capsys, change, message):
    region = {"name": "a", "part": "training", "cells": "none", "labels": "none"}
    path = tmp_path / "chips.yaml"
    path.write_text(
        json.dumps(
            {"out": str(tmp_path / "o"), "sides_px": [24], "chips_per_region": [5], "regions": [region], **change}
        )
    )
    assert main(["chips", str(path)]) == 2
    assert message in capsys.readouterr().err
