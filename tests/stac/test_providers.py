import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from headwater.core.errors import InputError, WorkError
from headwater.demo.server.serve import running_catalog
from headwater.stac.intervals import parse_interval
from headwater.stac.item_folder import ItemFolder
from headwater.stac.pins import write_items
from headwater.stac.providers import PROVIDERS, find_items, make_provider
from headwater.stac.query import Link, Page, Provider, Query, RequestLimits
from headwater.stac.stac_api import StacApi
from support.scripted_api import made_item
from support.tiny_catalog import DEFAULT_SCENES, write_tiny_catalog

PLACE = (15.0, 45.9, 15.2, 46.2)
JUNE = parse_interval("2023-06")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("planet")
    write_tiny_catalog(path)
    return path


@pytest.fixture(scope="module")
def catalog(folder: Path) -> Iterator[str]:
    with running_catalog([folder]) as url:
        yield f"{url}/stac"


@pytest.fixture(params=["api", "folder", "table", "tables"])
def provider(request: pytest.FixtureRequest, folder: Path, tmp_path: Path) -> Provider:
    if request.param == "api":
        return make_provider(request.getfixturevalue("catalog"), page_limit=2)
    if request.param == "folder":
        return make_provider(str(folder))
    found = [
        item
        for name in ("sentinel-2-l2a", "cop-dem-glo-30")
        for item in find_items(ItemFolder(folder), Query(name, PLACE))
    ]
    if request.param == "table":
        write_items(tmp_path / "index.parquet", found, url="u", query={})
        return make_provider(str(tmp_path / "index.parquet"))
    for number, item in enumerate(found):
        write_items(tmp_path / "index" / f"part={number % 3}" / f"{number}.parquet", [item], url="u", query={})
    return make_provider(str(tmp_path / "index"))


def names(items: list[dict[str, Any]]) -> list[str]:
    return [item["id"] for item in items]


def test_all_kinds_of_catalog_give_the_same_items(provider: Provider) -> None:
    everything = find_items(provider, Query("sentinel-2-l2a", PLACE))
    assert names(everything) == sorted(scene.id for scene in DEFAULT_SCENES)
    june = find_items(provider, Query("sentinel-2-l2a", PLACE, JUNE))
    assert names(june) == sorted(scene.id for scene in DEFAULT_SCENES if scene.day.startswith("2023"))
    clear = find_items(provider, Query("sentinel-2-l2a", PLACE, JUNE, below={"eo:cloud_cover": 10}))
    assert [item["properties"]["eo:cloud_cover"] <= 10 for item in clear] == [True, True]
    south = find_items(provider, Query("sentinel-2-l2a", (15.0, 45.9, 15.2, 45.95), JUNE))
    assert {item["properties"]["s2:mgrs_tile"] for item in south} == {"33TWL"}
    assert names(find_items(provider, Query("cop-dem-glo-30", PLACE))) == [
        "Copernicus_DSM_COG_10_N45_00_E015_00_DEM",
        "Copernicus_DSM_COG_10_N46_00_E015_00_DEM",
    ]
    assert find_items(provider, Query("no-such-collection", PLACE)) == []
    assert find_items(provider, Query("sentinel-2-l2a", (170, 45, -170, 46))) == []


def test_all_kinds_of_catalog_give_items_by_id(provider: Provider) -> None:
    known = [DEFAULT_SCENES[0].id, DEFAULT_SCENES[-1].id]
    asked = [*known, "no-such-item", *(f"filler-{number}" for number in range(120))]
    found = [item for page in provider.by_ids("sentinel-2-l2a", asked) for item in page.items]
    assert sorted(names(found)) == sorted(known)
    assert not any(page.items for page in provider.by_ids("sentinel-2-l2a", []))
    assert not any(page.items for page in provider.by_ids("no-such-collection", known))


def test_items_of_a_folder_have_absolute_paths_to_files(folder: Path) -> None:
    for item in find_items(make_provider(str(folder)), Query("sentinel-2-l2a", PLACE)):
        assert all(Path(asset["href"]).is_absolute() for asset in item["assets"].values())
        assert all(Path(asset["href"]).is_file() for asset in item["assets"].values())


@pytest.mark.parametrize("url", ["ftp://x", "/no/such/folder", "items.csv", ""])
def test_addresses_that_are_not_catalogs_are_refused(url: str) -> None:
    with pytest.raises(InputError):
        make_provider(url)


@pytest.mark.parametrize("page_limit", [0, 1001])
def test_page_size_is_bounded(page_limit: int) -> None:
    with pytest.raises(InputError):
        make_provider("http://x", page_limit=page_limit)


def test_a_file_that_is_not_an_item_is_reported(tmp_path: Path) -> None:
    (tmp_path / "stac" / "c").mkdir(parents=True)
    (tmp_path / "stac" / "c" / "broken.json").write_text('{"id": "a"')
    with pytest.raises(InputError, match="broken"):
        find_items(make_provider(str(tmp_path)), Query("c", PLACE))


def test_an_unreachable_catalog_is_reported_in_bounded_time() -> None:
    start = time.monotonic()
    with pytest.raises(WorkError, match="cannot be reached"):
        find_items(StacApi("http://127.0.0.1:9/stac", patience_s=1), Query("c", PLACE))
    assert time.monotonic() - start < 5


def test_a_catalog_that_never_answers_is_reported_in_bounded_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(WorkError, match="cannot be reached"):
        find_items(
            StacApi(f"http://127.0.0.1:{listener.getsockname()[1]}/stac", timeout_s=0.3, patience_s=1),
            Query("c", PLACE),
        )


def test_a_server_that_is_not_a_stac_api_is_reported(folder: Path) -> None:
    with running_catalog([folder]) as url, pytest.raises(WorkError, match=r"STAC|refused"):
        find_items(StacApi(f"{url}/api/sas/v1/token/sentinel-2-l2a"), Query("c", PLACE))


@pytest.fixture
def stuck_catalog(folder: Path) -> Iterator[str]:
    """A real server whose search answers any page with the first one and a link to itself."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    item = json.loads(next((folder / "stac" / "sentinel-2-l2a").glob("*.json")).read_bytes())

    async def landing(request: Request) -> JSONResponse:
        root = str(request.base_url)
        return JSONResponse(
            {
                "type": "Catalog",
                "id": "stuck",
                "description": "stuck",
                "stac_version": "1.0.0",
                "conformsTo": ["https://api.stacspec.org/v1.0.0/core", "https://api.stacspec.org/v1.0.0/item-search"],
                "links": [
                    {"rel": "root", "href": root},
                    {"rel": "search", "href": f"{root}search", "type": "application/geo+json", "method": "POST"},
                ],
            }
        )

    async def search(request: Request) -> JSONResponse:
        body = await request.json()
        link = {"rel": "next", "href": f"{request.base_url}search", "method": "POST", "body": body}
        return JSONResponse({"type": "FeatureCollection", "features": [item, {"id": 3}], "links": [link]})

    app = Starlette(routes=[Route("/", landing), Route("/search", search, methods=["POST"])])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        server.should_exit = True
        thread.join()


def test_a_server_that_repeats_its_page_is_not_followed_forever(stuck_catalog: str) -> None:
    with pytest.raises(WorkError, match="repeats"):
        find_items(StacApi(stuck_catalog), Query("sentinel-2-l2a", PLACE))


class MemoryCatalog:
    """A provider of another package: items in memory, at addresses memory:NAME."""

    remote = False

    @staticmethod
    def recognizes(url: str) -> bool:
        return url.startswith("memory:")

    @classmethod
    def open(cls, url: str, limits: RequestLimits) -> "MemoryCatalog":
        return cls()

    def pages(self, query: Query, after: Link | None = None) -> Iterator[Page]:
        yield Page([made_item("a")])

    def by_ids(self, collection: str, ids: Sequence[str]) -> Iterator[Page]:
        yield Page([])

    def give_up(self) -> None:
        pass


def test_another_package_brings_a_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PROVIDERS, "_added", {})
    PROVIDERS.add("memory", MemoryCatalog)
    assert names(find_items(make_provider("memory:x"), Query("sentinel-2-l2a", PLACE))) == ["a"]


def test_a_provider_that_cannot_be_imported_leaves_the_others_usable(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PROVIDERS, "_addresses", {"broken": "no_such_package:Catalog", **PROVIDERS._addresses})
    assert isinstance(make_provider(str(folder)), ItemFolder)
    with pytest.raises(InputError, match=r"neither.*provider 'broken' .* cannot be imported"):
        make_provider("memory:x")
