import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pystac_client
import pystac_client.warnings
import pytest
import rasterio
import requests
from rasterio.errors import RasterioError
from rasterio.windows import Window
from shapely.geometry import box, mapping

from headwater.core.errors import InputError, WorkError
from headwater.demo.server.serve import create_app, running_catalog, serve
from support.tiny_catalog import DEFAULT_SCENES, TinyScene, write_tiny_catalog

S2 = "sentinel-2-l2a"
NAMES = sorted(scene.id for scene in DEFAULT_SCENES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("planets") / "first planet"
    write_tiny_catalog(path)
    return path


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    with running_catalog([folder]) as address:
        yield address


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[pystac_client.Client]:
    # Strict: pystac-client must not warn about anything.
    with pystac_client.warnings.strict():
        opened = pystac_client.Client.open(f"{url}/stac")
        yield opened
        opened._stac_io.session.close()  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def asset(url: str) -> str:
    reply = get(f"{url}/stac/collections/{S2}/items/{NAMES[0]}").json()
    return str(reply["assets"]["B02"]["href"])


def get(address: str, **options: Any) -> requests.Response:
    return requests.get(address, timeout=10, **options)


def post(url: str, **body: Any) -> requests.Response:
    return requests.post(f"{url}/stac/search", json=body, timeout=10)


def found(url: str, **body: Any) -> list[str]:
    reply = post(url, limit=100, **body)
    assert reply.status_code == 200, reply.text
    return sorted(feature["id"] for feature in reply.json()["features"])


def token(url: str, collection: str = S2) -> str:
    return str(get(f"{url}/api/sas/v1/token/{collection}").json()["token"])


# The STAC API, with pystac-client


def test_client_accepts_the_api_and_lists_its_collections(client: pystac_client.Client) -> None:
    for name in ("CORE", "ITEM_SEARCH", "COLLECTIONS", "FEATURES", "QUERY", "SORT"):
        assert client.conforms_to(name), name
    assert [collection.id for collection in client.get_collections()] == ["cop-dem-glo-30", "cop-dem-glo-90", S2]
    collection = client.get_collection(S2)
    assert collection.extent.spatial.bboxes == [[-180, -90, 180, 90]]
    assert sorted(item.id for item in collection.get_items()) == NAMES
    assert collection.get_item(NAMES[0]).id == NAMES[0]
    assert collection.get_item("nothing") is None


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("limit", [1, 2, 4, 100])
def test_client_pages_through_everything_once(client: pystac_client.Client, method: str, limit: int) -> None:
    search = client.search(
        collections=[S2], limit=limit, method=method, sortby="+id", query={"eo:cloud_cover": {"lt": 99}}
    )
    pages = list(search.pages_as_dicts())
    assert [item["id"] for page in pages for item in page["features"]] == NAMES
    assert len(pages) == -(-len(NAMES) // limit)
    assert search.matched() == len(NAMES)
    few = client.search(collections=[S2], limit=limit, max_items=3, method=method)
    assert len(list(few.items())) == 3


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_client_filters_and_sorts(client: pystac_client.Client, method: str) -> None:
    search = client.search(
        collections=[S2],
        bbox=[15.0, 45.9, 15.2, 46.2],
        datetime="2023-06-05/2023-06-25",
        query={"eo:cloud_cover": {"gte": 10, "lt": 50}},
        sortby="-properties.eo:cloud_cover",
        method=method,
    )
    covers = [item.properties["eo:cloud_cover"] for item in search.items()]
    assert covers == sorted(covers, reverse=True)
    assert [round(cover) for cover in covers] == [40, 30]


def test_items_lead_to_their_collection_and_themselves(client: pystac_client.Client) -> None:
    item = next(client.search(ids=[NAMES[0]]).items())
    assert item.get_collection().id == S2
    assert get(item.get_self_href()).json()["id"] == item.id
    assert all(asset.href.startswith("http://127.0.0.1") for asset in item.assets.values())


def test_missing_things_are_404_with_the_planetary_computers_body(url: str) -> None:
    for path in ("collections/landsat", "collections/landsat/items", f"collections/{S2}/items/nothing"):
        reply = get(f"{url}/stac/{path}")
        assert reply.status_code == 404
        assert reply.json()["code"] == "NotFoundError"
        assert reply.json()["description"].endswith("does not exist.")


# Each parameter of a search


def test_place(url: str) -> None:
    everywhere = found(url, collections=[S2])
    assert found(url, collections=[S2], bbox=[15.0, 45.9, 15.2, 46.2]) == everywhere
    assert found(url, collections=[S2], bbox=[15.0, 45.9, 0, 15.2, 46.2, 900]) == everywhere
    assert found(url, collections=[S2], bbox=[14.0, 45.9, 14.9, 46.2]) == []
    # West > east crosses the antimeridian: the box contains 170 and -170 and not what is between.
    assert found(url, collections=[S2], bbox=[170, 45, -170, 47]) == []
    assert found(url, collections=[S2], bbox=[15.01, 45, 14.9, 47]) == everywhere
    south = mapping(box(15.0, 45.9, 15.2, 45.95))
    assert set(found(url, intersects=south, collections=[S2])) == {name for name in NAMES if "T33TWL" in name}


@pytest.mark.parametrize(
    ("datetime", "days"),
    [
        ("2023-06-20T00:00:00Z/..", {"20230620", "20230630"}),
        ("../2023-01-01T00:00:00Z", {"20220615"}),
        ("2023-06-10T10:00:00.024Z", {"20230610"}),
        ("2023-06-10", {"20230610"}),
        ("2022-01-01/2022-12-31", {"20220615"}),
    ],
)
def test_time(url: str, datetime: str, days: set[str]) -> None:
    assert {name.split("_")[2][:8] for name in found(url, collections=[S2], datetime=datetime)} == days


def test_names(url: str) -> None:
    assert found(url, ids=NAMES[:2]) == NAMES[:2]
    assert len(found(url, collections=["cop-dem-glo-30", "cop-dem-glo-90"])) == 4
    assert found(url, ids=NAMES[:2], collections=["cop-dem-glo-30"]) == []
    assert found(url, query={"s2:processing_baseline": {"eq": "03.01"}}) == [
        name for name in NAMES if "20230620" in name and "33TWL" in name
    ]


def test_two_rules_of_sorting(url: str) -> None:
    rules = [{"field": "properties.s2:mgrs_tile", "direction": "desc"}, {"field": "eo:cloud_cover", "direction": "asc"}]
    features = post(url, collections=[S2], sortby=rules, limit=50).json()["features"]
    keys = [(f["properties"]["s2:mgrs_tile"], f["properties"]["eo:cloud_cover"]) for f in features]
    assert keys == sorted(keys, key=lambda key: (-ord(key[0][-1]), key[1]))


@pytest.mark.parametrize(
    "body",
    [
        {"bbox": [1, 2, 3]},
        {"bbox": [1, 5, 3, 2]},
        {"bbox": [-190, 0, 3, 2]},
        {"bbox": ["a", 0, 3, 2]},
        {"bbox": [0, 0, 1, 1], "intersects": {"type": "Point", "coordinates": [0, 0]}},
        {"intersects": {"type": "Nonsense"}},
        {"datetime": "yesterday"},
        {"datetime": "2023-06-10/2023-06-01"},
        {"datetime": 2023},
        {"ids": "one"},
        {"collections": [3]},
        {"query": {"eo:cloud_cover": {"about": 3}}},
        {"query": [1]},
        {"sortby": "id"},
        {"sortby": [{"field": "id", "direction": "up"}]},
        {"limit": 0},
        {"limit": 1001},
        {"limit": "many"},
        {"token": "prev:3"},
        {"token": "next:-1"},
    ],
)
def test_bad_searches_get_400_and_a_sentence(url: str, body: dict[str, Any]) -> None:
    reply = post(url, **body)
    assert reply.status_code == 400
    assert len(reply.json()["description"]) > 8


@pytest.mark.parametrize("query", ["bbox=1,2,x,4", "limit=ten", "query=%7B", "datetime=never", "bbox=1,2,3"])
def test_bad_get_searches_get_400(url: str, query: str) -> None:
    assert get(f"{url}/stac/search?{query}").status_code == 400


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff"])
def test_a_body_that_is_not_an_object_gets_400(url: str, content: bytes) -> None:
    assert requests.post(f"{url}/stac/search", data=content, timeout=10).status_code == 400


# Assets


def test_assets_need_a_token_of_their_collection(url: str, asset: str) -> None:
    for address in (asset, f"{asset}?{token(url, 'cop-dem-glo-30')}", f"{asset}?se=x&sig=y", f"{asset}?sig=%C3%A9"):
        reply = get(address)
        assert reply.status_code == 403
        assert reply.headers["content-type"].startswith("application/xml")
        assert "<Code>AuthenticationFailed</Code>" in reply.text
    assert get(f"{asset}?{token(url)}").status_code == 200


def test_a_later_expiry_breaks_the_signature(url: str, asset: str) -> None:
    params = urllib.parse.parse_qs(token(url))
    assert set(params) == {"st", "se", "sp", "sig"}
    params["se"] = [params["se"][0].replace("20", "21", 1)]
    assert get(f"{asset}?{urllib.parse.urlencode(params, doseq=True)}").status_code == 403


def test_ranges_and_head(url: str, asset: str, folder: Path) -> None:
    content = next((folder / "assets" / S2 / NAMES[0]).glob("B02.tif")).read_bytes()
    signed = f"{asset}?{token(url)}"
    part = get(signed, headers={"Range": "bytes=100-199"})
    assert part.status_code == 206
    assert part.content == content[100:200]
    assert part.headers["content-range"] == f"bytes 100-199/{len(content)}"
    assert get(signed, headers={"Range": f"bytes={len(content)}-"}).status_code == 416
    head = requests.head(signed, timeout=10)
    assert (head.status_code, int(head.headers["content-length"]), head.content) == (200, len(content), b"")
    assert head.headers["accept-ranges"] == "bytes"
    assert requests.head(asset, timeout=10).status_code == 403


def test_gdal_reads_windows_through_ranges(url: str, asset: str, folder: Path) -> None:
    path = folder / "assets" / S2 / NAMES[0] / "B02.tif"
    window = Window(10, 20, 50, 40)  # type: ignore[call-arg,no-untyped-call]
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"):
        with rasterio.open(path) as local, rasterio.open(f"{asset}?{token(url)}") as remote:
            assert np.array_equal(remote.read(1, window=window), local.read(1, window=window))
        with pytest.raises(RasterioError):
            rasterio.open(asset)


@pytest.mark.parametrize(
    "path",
    [
        "../stac/sentinel-2-l2a.collection.json",
        "%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "//etc/passwd",
        "first%20planet/../../etc/passwd",
        "first%20planet/stac/sentinel-2-l2a.collection.json",
        "first%20planet",
        "",
    ],
)
def test_no_path_leads_to_another_file(url: str, path: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    # Directly over a socket: clients normalize such paths before they send them.
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        request = f"GET /assets/{path}?{token(url)} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        reply = b"".join(iter(lambda: connection.recv(65536), b""))
    assert reply.startswith(b"HTTP/1.1 404")
    assert b"root:" not in reply


# Tokens


def test_the_token_endpoint_has_the_planetary_computers_shape(url: str) -> None:
    reply = get(f"{url}/api/sas/v1/token/{S2}").json()
    assert set(reply) == {"msft:expiry", "token"}
    params = urllib.parse.parse_qs(reply["token"])
    assert params["se"] == [reply["msft:expiry"]]
    assert params["sp"] == ["rl"]
    assert get(f"{url}/api/sas/v1/token/landsat").status_code == 404


def test_an_address_can_be_signed(url: str, asset: str) -> None:
    reply = get(f"{url}/api/sas/v1/sign", params={"href": asset}).json()
    assert set(reply) == {"msft:expiry", "href"}
    assert get(reply["href"]).status_code == 200
    assert get(f"{url}/api/sas/v1/sign").status_code == 400
    assert get(f"{url}/api/sas/v1/sign", params={"href": f"{url}/assets/x"}).status_code == 404


def test_tokens_of_another_process_are_invalid(url: str, folder: Path, asset: str) -> None:
    with running_catalog([folder]) as other:
        path = urllib.parse.urlsplit(asset).path
        assert get(f"{other}{path}?{token(other)}").status_code == 200
        assert get(f"{other}{path}?{token(url)}").status_code == 403


def test_without_tokens_assets_are_free(folder: Path, asset: str) -> None:
    with running_catalog([folder], require_token=False) as other:
        assert get(f"{other}{urllib.parse.urlsplit(asset).path}").status_code == 200


# Several folders, and failures


def test_two_planets_are_served_together(folder: Path, tmp_path: Path) -> None:
    scene = TinyScene("33TWM", "20210701")
    write_tiny_catalog(tmp_path, [scene])
    for path in (tmp_path / "stac").glob("cop-dem*/*.json"):
        path.unlink()
    (tmp_path / "planet.json").write_text(json.dumps({"basin_id": 1020000010}))
    with running_catalog([folder, tmp_path]) as both:
        assert found(both, collections=[S2]) == sorted([*NAMES, scene.id])
        item = get(f"{both}/stac/collections/{S2}/items/{scene.id}").json()
        assert urllib.parse.urlsplit(item["assets"]["B02"]["href"]).path.startswith("/assets/1020000010/")
        reply = get(f"{item['assets']['B02']['href']}?{token(both)}")
        assert reply.content == (tmp_path / "assets" / S2 / scene.id / "B02.tif").read_bytes()


def test_the_same_item_in_two_folders_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="Two folders"):
        create_app([folder, folder])


def test_an_asset_outside_its_folder_is_refused(tmp_path: Path) -> None:
    write_tiny_catalog(tmp_path / "planet", [TinyScene("33TWM", "20210701")])
    path = next((tmp_path / "planet" / "stac" / S2).glob("*.json"))
    item = json.loads(path.read_bytes())
    item["assets"]["B02"]["href"] = "../secret.tif"
    path.write_text(json.dumps(item))
    with pytest.raises(InputError, match="outside"):
        create_app([tmp_path / "planet"])


def test_a_folder_without_items_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no items"):
        create_app([tmp_path])


def test_a_deleted_file_is_404(tmp_path: Path) -> None:
    write_tiny_catalog(tmp_path, [TinyScene("33TWM", "20210701")])
    with running_catalog([tmp_path]) as address:
        path = next((tmp_path / "assets" / S2).glob("*/B02.tif"))
        path.unlink()
        name = path.relative_to(tmp_path / "assets")
        assert get(f"{address}/assets/{tmp_path.name}/{name}?{token(address)}").status_code == 404


def test_a_port_in_use_is_an_error(folder: Path, url: str) -> None:
    port = int(url.rsplit(":", 1)[1])
    with pytest.raises(WorkError, match=f"Port {port}"):
        serve([folder], "127.0.0.1", port)


def test_in_the_foreground_it_prints_its_address_and_ends_quietly(folder: Path) -> None:
    program = (
        "from pathlib import Path; from headwater.demo.server.serve import serve; "
        f"serve([Path({str(folder)!r})], port=0)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        address = re.search(r"http://[0-9.]+:[0-9]+/stac", line)
        assert address is not None
        assert get(address[0]).status_code == 200
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, b"")


def test_the_server_stops_with_its_block_and_the_port_is_free_again(folder: Path) -> None:
    with running_catalog([folder]) as first:
        assert get(f"{first}/stac").status_code == 200
    port = int(first.rsplit(":", 1)[1])
    with pytest.raises(requests.ConnectionError):
        get(f"{first}/stac")
    start = time.monotonic()
    with running_catalog([folder], port=port) as second:
        assert second == first
    assert time.monotonic() - start < 5


def test_requests_are_bounded(url: str) -> None:
    deep = b'{"intersects": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert requests.post(f"{url}/stac/search", data=deep, timeout=20).status_code == 400
    assert requests.post(f"{url}/stac/search", data=b" " * 1_500_000, timeout=20).status_code == 413
    fields = [{"field": "id"}] * 11
    assert requests.post(f"{url}/stac/search", json={"sortby": fields}, timeout=20).status_code == 400
    ring = [[k / 30_000, 0.0] for k in range(30_000)] + [[0.0, 1.0], [0.0, 0.0]]
    shape = {"type": "Polygon", "coordinates": [ring]}
    assert requests.post(f"{url}/stac/search", json={"intersects": shape}, timeout=20).status_code == 400
