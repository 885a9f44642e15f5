"""What is rebuilt after a change: the jobs that Snakemake and `headwater why` report, against an explicit list.

Two basins: the planet's, with a west and an east cell, and SECOND, with the east cell only. One scene ends in the west
cell.
"""

import json
import shutil
from pathlib import Path

import pytest

from headwater.cli import main
from headwater.models.shipped import default_checkpoints
from headwater.project.why import STEPS
from support.small_run import ROOT, SECOND, change_config, digests, jobs_in, run

pytestmark = pytest.mark.e2e
WEST, EAST = "N07.00E089.95", "N07.00E090.00"
CELLS_STEPS = ("composite", "predict", "vectorize")


def jobs(basin, *basin_steps, west=(), east=()):
    """Return a set of jobs like `jobs_in`."""
    cells = {(step, basin, WEST) for step in west} | {(step, basin, EAST) for step in east}
    return cells | {(step, basin, None) for step in basin_steps}


def after_new_imagery(basin):
    """Return the jobs of new imagery in the west cell; vectors extend into the neighbor."""
    return jobs(basin, "mosaic", "network", "report", west=CELLS_STEPS, east=("vectorize",))


def planned(folder):
    code, text = run(folder, "--dry-run")
    assert code == 0, text
    return jobs_in(text)


def done(folder, *arguments):
    code, text = run(folder, *arguments)
    assert code == 0, text
    return jobs_in(text)


def reported(capsys, folder, basin, cell):
    """Return the jobs that `headwater why` reports for a cell, like `jobs_in`."""
    capsys.readouterr()
    options = ["--basin", basin, "--directory", str(folder), "--config", "config.yaml"]
    assert main(["why", cell, *options, "--snakefile", str(ROOT / "Snakefile")]) == 0
    found = set()
    for line in capsys.readouterr().out.splitlines():
        step, where, *_ = line.replace(":", "").split()
        if step == cell.replace(":", ""):
            continue  # nothing to do
        cells = line.rpartition(": ")[2].split(", ") if where.isdigit() else [None if where == "basin" else where]
        found |= {(step, basin, each) for each in cells}
    return found


def waited_for(expected, basin, cell):
    """Return the jobs that a cell's waterways wait for: its own, its basin's and its neighbors' rasters."""
    steps = [step for step in STEPS if step != "vectorize"]
    return {job for job in expected if job[1] == basin and (job[0] in steps or job[::2] == ("vectorize", cell))}


@pytest.fixture
def scene(finished):
    """Id of the scene that ends in the west cell."""
    manifests = [finished[0] / "results" / finished[1] / "cells" / cell / "scenes.json" for cell in (WEST, EAST)]
    west, east = ({scene["id"] for scene in json.loads(path.read_text())["scenes"]} for path in manifests)
    (only,) = west - east
    assert east
    return only


def refreshed(basin):
    """Return the jobs of a refresh of both basins."""
    cells = jobs(basin, "refresh_items", west=("refresh_scenes",), east=("refresh_scenes",))
    return cells | jobs(SECOND, "refresh_items", east=("refresh_scenes",))


def test_a_withdrawn_scene_rebuilds_its_cell(copied, trouble, scene, capsys):
    folder, basin = copied
    expected = after_new_imagery(basin)
    with trouble[0].trouble(withdrawn=frozenset([scene])):
        assert done(folder, "refresh") == refreshed(basin)
    assert planned(folder) == expected
    for cell in (WEST, EAST):
        assert reported(capsys, folder, basin, cell) == waited_for(expected, basin, cell)
    assert reported(capsys, folder, SECOND, EAST) == set()


@pytest.mark.long
def test_a_withdrawn_scene_and_a_new_one_are_built_and_end_in_the_same_bytes(copied, trouble, scene):
    folder, basin = copied
    before = digests(folder, basin) | digests(folder, SECOND)
    expected = after_new_imagery(basin)
    with trouble[0].trouble(withdrawn=frozenset([scene])):
        assert done(folder, "refresh") == refreshed(basin)
    assert done(folder) == expected
    assert planned(folder) == set()
    # The scene is new to this run: the same jobs again, after a second refresh too.
    assert done(folder, "refresh") == refreshed(basin)
    assert done(folder) == expected
    assert digests(folder, basin) | digests(folder, SECOND) == before


def test_a_revised_scene_rebuilds_its_cell(copied, trouble, scene):
    folder, basin = copied
    with trouble[0].trouble(revised=frozenset([scene])):
        done(folder, "refresh")
    assert planned(folder) == after_new_imagery(basin)


def test_a_new_checkpoint_reruns_from_the_prediction(copied, capsys):
    folder, basin = copied
    weights = default_checkpoints()[0]
    for path in (weights, weights.with_suffix(".json")):
        shutil.copy(path, folder)
    described = json.loads((folder / weights.with_suffix(".json").name).read_text())
    (folder / weights.with_suffix(".json").name).write_text(json.dumps(described | {"trained_on": "other planets"}))
    change_config(folder, predict={"checkpoint": weights.name})
    steps = ("predict", "vectorize")
    expected = jobs(basin, "mosaic", "network", "report", west=steps, east=steps)
    expected |= jobs(SECOND, "mosaic", "network", "report", east=steps)
    assert planned(folder) == expected
    assert reported(capsys, folder, basin, WEST) == waited_for(expected, basin, WEST)


def test_another_threshold_reruns_from_the_vectors(copied, capsys):
    folder, basin = copied
    change_config(folder, vectorize={"threshold": 0.6})
    expected = jobs(basin, "network", "report", west=("vectorize",), east=("vectorize",))
    expected |= jobs(SECOND, "network", "report", east=("vectorize",))
    assert planned(folder) == expected
    assert reported(capsys, folder, basin, EAST) == waited_for(expected, basin, EAST)


def test_a_new_tdx_file_rebuilds_its_basin_and_no_other(copied, capsys):
    folder, basin = copied
    streams = folder / f"tdx/streams_{SECOND}.gpkg"
    other = Path(f"{streams}.new")
    other.write_bytes(streams.read_bytes() + bytes(512))
    other.replace(streams)
    expected = jobs(SECOND, "backbone", "network", "report", east=("vectorize",))
    assert planned(folder) == expected
    assert reported(capsys, folder, SECOND, EAST) == waited_for(expected, SECOND, EAST)
    assert reported(capsys, folder, basin, EAST) == set()


def test_what_a_configuration_asks_for_later_is_made(copied):
    folder, basin = copied
    made_anew = jobs(basin, "network", "report") | jobs(SECOND, "network", "report")
    change_config(folder, network={"formats": ["gpkg", "published"]})
    assert planned(folder) == made_anew
    (folder / "lakes.gpkg").write_bytes((folder / "basins.gpkg").read_bytes())
    change_config(folder, network={"formats": [], "lakes": "lakes.gpkg"})
    assert planned(folder) == made_anew
    change_config(folder, network={"lakes": None}, vectorize={"water_polygons": True})
    vectors = jobs(basin, west=("vectorize",), east=("vectorize",)) | jobs(SECOND, east=("vectorize",))
    assert planned(folder) == made_anew | vectors


def test_what_only_changes_how_results_are_made_reruns_nothing(copied):
    folder, _ = copied
    catalog = {"token_url": "http://127.0.0.1:9/token"}
    search = {"slice_days": 7, "workers": 1, "timeout_s": 5}
    predict = {"device": "cpu", "batch_size": 2, "compile": True, "threads": 2}
    change_config(folder, catalog=catalog, search=search, predict=predict, max_cells=2, confirm=True)
    assert planned(folder) == set()


def test_files_that_were_deleted_are_made_again(copied):
    """A raster that the mosaic shows, a map, and all of a cell."""
    folder, basin = copied
    results = folder / "results"
    (results / SECOND / "cells" / EAST / "probability.tif").unlink()
    (results / basin / "report/network.png").unlink()
    expected = jobs(SECOND, "mosaic", "network", "report", east=("predict", "vectorize")) | jobs(basin, "report")
    assert planned(folder) == expected
    shutil.rmtree(results / basin / "cells" / WEST)
    # With the elevation, coasts are looked for again.
    expected |= after_new_imagery(basin) | jobs(basin, "backbone", west=("select", "elevation"))
    assert planned(folder) == expected


def without(folder, basin, *kinds):
    """Remove those rasters from a finished run; its reports are rebuilt without them."""
    change_config(folder, keep=sorted({"composite", "elevation", "probability"} - set(kinds)))
    code, text = run(folder, "--delete-temp-output")
    assert code == 0, text
    assert not [path for kind in kinds for path in folder.rglob(f"{kind}.tif")]
    assert planned(folder) == jobs(basin, "mosaic", "report") | jobs(SECOND, "mosaic", "report")


def lose_a_scene(folder, basin, scene):
    path = folder / "results" / basin / "cells" / WEST / "scenes.json"
    manifest = json.loads(path.read_text())
    manifest["scenes"] = [each for each in manifest["scenes"] if each["id"] != scene]
    path.write_text(json.dumps(manifest))


def test_composites_that_are_not_kept_are_rebuilt_for_their_cell_only(copied, scene):
    folder, basin = copied
    before = digests(folder, basin) | digests(folder, SECOND)
    without(folder, basin, "composite")
    (folder / "results" / basin / "cells" / WEST / "probability.tif").unlink()
    expected = after_new_imagery(basin) | jobs(SECOND, "mosaic", "report")
    assert done(folder) == expected
    after = digests(folder, basin) | digests(folder, SECOND)
    assert after == {name: digest for name, digest in before.items() if "composite" not in name}
    assert planned(folder) == set()
    assert not list(folder.rglob("composite.*"))
    page = (folder / "results" / basin / "report/index.html").read_text()
    assert "not shown: composite" in page
    # Manifests with another date and the same content, as after a refresh without news.
    for path in folder.rglob("scenes.json"):
        path.touch()
    assert planned(folder) == set()
    lose_a_scene(folder, basin, scene)
    assert planned(folder) == after_new_imagery(basin)


@pytest.mark.long
def test_without_any_raster_nothing_runs_and_a_change_rebuilds_its_basin(copied, scene):
    folder, basin = copied
    # For coasts the elevation would stay.
    change_config(folder, backbone={"coasts": False})
    done(folder)
    without(folder, basin, "composite", "elevation", "probability")
    done(folder)
    assert planned(folder) == set()
    lose_a_scene(folder, basin, scene)
    steps = ("composite", "elevation", "predict", "vectorize")
    assert planned(folder) == jobs(basin, "network", "report", west=steps, east=steps)
