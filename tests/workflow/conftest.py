"""The small planet that the tests of the whole workflow map."""

import pytest

from headwater.demo.build import build_planet
from headwater.demo.serve import running_catalogue
from small_run import configure, run


@pytest.fixture(scope="session")
def planet(tmp_path_factory):
    """Folder of two cells of 0.05 degrees, three dates, two MGRS tiles; to be read only."""
    folder = tmp_path_factory.mktemp("planets") / "planet"
    build_planet(3, folder, size_degrees=(0.1, 0.05), cell_degrees=0.05, dates=3)
    return folder


@pytest.fixture(scope="session")
def served(planet):
    """Address of the catalogue that serves the small planet."""
    # Tokens end long before the run does.
    with running_catalogue([planet], token_lifetime_s=20) as url:
        yield url


@pytest.fixture(scope="session")
def finished(tmp_path_factory, planet, served):
    """Folder and basin of a finished run on this machine; results are to be read only."""
    folder = tmp_path_factory.mktemp("run")
    basin = configure(folder, planet, served)
    code, text = run(folder, cores=2)
    assert code == 0, text
    return folder, basin
