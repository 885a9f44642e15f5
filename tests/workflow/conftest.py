"""The small planet that the tests of the whole workflow map."""

import pytest

from headwater.demo.build import build_planet


@pytest.fixture(scope="session")
def planet(tmp_path_factory):
    """Folder of two cells of 0.05 degrees, three dates, two MGRS tiles; to be read only."""
    folder = tmp_path_factory.mktemp("planets") / "planet"
    build_planet(3, folder, size_degrees=(0.1, 0.05), cell_degrees=0.05, dates=3)
    return folder
