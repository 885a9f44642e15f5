"""A server of small files of the sources."""

import pytest

from headwater.fetch import download as downloads
from support.faulty_server import faulty_server
from support.fetched_files import settings_of, write_sources


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    monkeypatch.setattr(downloads, "MAX_WAIT_S", 0.02)
    monkeypatch.delenv("HEADWATER_DATA", raising=False)


@pytest.fixture(scope="session")
def sources(tmp_path_factory):
    return write_sources(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="session")
def running_server(sources):
    with faulty_server(sources) as server:
        server.folder = sources
        yield server


@pytest.fixture
def server(running_server):
    """The server of the sources, which does not know HEAD."""
    running_server.behave(head=504)
    return running_server


@pytest.fixture
def settings(server, tmp_path):
    """Settings of a data folder whose sources are at the server."""
    return settings_of(server, tmp_path / "data")
