"""Shared by all tests."""

import os
from pathlib import PurePath

import pytest
from hypothesis import settings

from support import browser, pgstac, slurm_box
from support.places import SHARED

# CI: the same examples on each run and each machine; a busy machine is no failure.
settings.register_profile("headwater", deadline=None, derandomize=True, max_examples=40)
# `make test-long`: more and new examples; a failure prints how to reproduce it.
settings.register_profile("long", deadline=None, max_examples=500, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "headwater"))

# Files of tests/workflow that share what is slow to build: the finished run, or the planet alone.
_GROUPS = {
    **dict.fromkeys(("test_workflow", "test_slurm", "test_incremental", "test_recovery", "test_quickstart"), "runs"),
    **dict.fromkeys(("test_faults", "test_pgstac", "test_project"), "planet"),
}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Keep the tests of a file on one worker, and the files of a group, in the order of collection."""
    # Groups of pytest-xdist itself (`--dist loadgroup`) have no effect with pytest 9.2.
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            path = nodeid.partition("::")[0]
            return _GROUPS.get(PurePath(path).stem, path)

    config.option.loadscopereorder = False
    return ByFile(config, log)


def pytest_collection_modifyitems(items):
    # The longest first, so that none of them is left for one worker at the end.
    items.sort(key=lambda item: item.path.parent.name != "workflow")
    reasons = {
        "real": None if SHARED.is_dir() else "the real data of the shared folder are not next to the checkout",
        # CI has the database, Slurm and a browser: there the tests fail without them instead of being skipped.
        "postgres": None if os.environ.get("CI") else pgstac.missing(),
        "slurm": None if os.environ.get("CI") else slurm_box.missing(),
        "browser": None if os.environ.get("CI") else browser.missing(),
    }
    for item in items:
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
