"""The small valley that the public functions are tried on."""

import pytest

from support import small_place


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """Path of a tiny network's checkpoint."""
    return small_place.write_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="session")
def paths(tmp_path_factory):
    """Paths of composite.tif, elevation.tif and probability.tif of the cell."""
    return small_place.write_rasters(tmp_path_factory.mktemp("rasters"))


@pytest.fixture(scope="session")
def items(tmp_path_factory):
    """STAC items of two scenes over the cell."""
    return small_place.write_stac_items(tmp_path_factory.mktemp("scenes"))


@pytest.fixture(scope="session")
def results(tmp_path_factory):
    """Results of a basin of one cell; to be read only."""
    return small_place.write_results(tmp_path_factory.mktemp("run") / "results" / "1")
