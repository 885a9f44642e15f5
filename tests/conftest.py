"""Shared by all tests."""

import os

import pytest
from hypothesis import settings

from support import pgstac, slurm_box
from support.places import SHARED

# CI: the same examples on each run and each machine; a busy machine is no failure.
settings.register_profile("headwater", deadline=None, derandomize=True, max_examples=40)
# `make test-long`: more and new examples; a failure prints how to reproduce it.
settings.register_profile("long", deadline=None, max_examples=500, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "headwater"))

_WITH_THE_FINISHED_RUN = (
    "test_workflow",
    "test_slurm",
    "test_rules",
    "test_incremental",
    "test_recovery",
    "test_quickstart",
)


def pytest_collection_modifyitems(items):
    reasons = {
        "real": None if SHARED.is_dir() else "the real data of the shared folder are not next to the checkout",
        # CI has the database and Slurm: there the tests fail without them instead of being skipped.
        "postgres": None if os.environ.get("CI") else pgstac.missing(),
        "slurm": None if os.environ.get("CI") else slurm_box.missing(),
    }
    for item in items:
        # In parallel, tests that share what is slow to build stay together: those of a file, and those of the workflow,
        # which share planets and runs, in two groups.
        group = item.nodeid.split("::")[0]
        if item.path.parent.name == "workflow":
            group = "runs" if item.path.stem in _WITH_THE_FINISHED_RUN else "faults"
        item.add_marker(pytest.mark.xdist_group(group))
        for marker, reason in reasons.items():
            if reason is not None and marker in item.keywords:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session", autouse=True)
def runtime_folder(tmp_path_factory):
    """Keep the tokens of tests, and of the steps that they run, out of the user's folder."""
    folder = tmp_path_factory.mktemp("runtime")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        yield folder


@pytest.fixture(scope="session")
def shared_data():
    """Folder of real data next to the checkout."""
    return SHARED
