"""The small planet that the tests of the complete workflow map."""

import json
import shutil

import pytest
from shapely import box
from shapely.geometry import mapping, shape

from headwater.demo.build import build_planet
from headwater.demo.server.serve import running_catalog
from support.faults import Faults
from support.small_run import configure_two, run


@pytest.fixture(scope="session")
def planet(tmp_path_factory):
    """Folder of two cells of 0.05 degrees, three dates, two MGRS tiles; read-only."""
    folder = tmp_path_factory.mktemp("planets") / "planet"
    build_planet(3, folder, size_degrees=(0.1, 0.05), cell_degrees=0.05, dates=3)
    end_swath(next((folder / "stac").rglob("S2?_*_2023*_T45NZH_20230823*.json")))
    return folder


def end_swath(path):
    """Let the footprint of a scene end in the west cell: it covers nothing of the other cell."""
    item = json.loads(path.read_text())
    west, south, _, north = item["bbox"]
    item["bbox"][2] = west + 0.05
    item["geometry"] = mapping(shape(item["geometry"]).intersection(box(west, south, west + 0.05, north)))
    path.write_text(json.dumps(item))


@pytest.fixture(scope="session")
def trouble():
    """Faults in front of the catalog of the small planet; filled by `served`."""
    return []


@pytest.fixture(scope="session")
def served(planet, trouble):
    """Address of the catalog that serves the small planet."""

    def wrap(app):
        trouble.append(Faults(app))
        return trouble[0]

    # Tokens expire long before the run ends.
    with running_catalog([planet], token_lifetime_s=20, wrap=wrap) as url:
        yield url


@pytest.fixture(scope="session")
def finished(tmp_path_factory, planet, served):
    """Folder and basin of a finished run on this machine, next to a second basin; results are read-only."""
    folder = tmp_path_factory.mktemp("run")
    basin = configure_two(folder, planet, served)
    code, text = run(folder, cores=2)
    assert code == 0, text
    return folder, basin


@pytest.fixture
def copied(tmp_path, finished):
    """Folder and basin of a copy of the finished run, with its dates and Snakemake's records."""
    folder = tmp_path / "copy"
    shutil.copytree(finished[0], folder)
    return folder, finished[1]
