"""What all tests share."""

from pathlib import Path

import pytest
from hypothesis import settings

# The same examples on each run and each machine; a busy machine is no failure.
settings.register_profile("headwater", deadline=None, derandomize=True)
settings.load_profile("headwater")

SHARED = Path(__file__).parents[2] / "shared" / "data"


def pytest_collection_modifyitems(items):
    if SHARED.is_dir():
        return
    skip = pytest.mark.skip(reason="the real data of the shared folder are not beside the checkout")
    for item in items:
        if "real" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def shared_data():
    """Folder of real data beside the checkout."""
    return SHARED
