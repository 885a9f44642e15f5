"""Replies of catalogs and token endpoints."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from hostile import place
from hostile.lab import Bench, Input
from hostile.mutation import NESTED, change_json
from hostile.server import Answer, Reply

SEARCH = place.search("{server}/api")
CHAIN = (SEARCH, place.SELECT)
_API = "https://api.stacspec.org/v1.0.0"
Pages = dict[str, Any]
Change = Callable[[Pages, Bench], Pages | Reply]


def landing(url: str) -> dict[str, Any]:
    """Return the landing page of the API."""
    search = {"rel": "search", "href": f"{url}/api/search", "type": "application/geo+json"}
    links = [{"rel": "root", "href": f"{url}/api"}, {**search, "method": "GET"}, {**search, "method": "POST"}]
    return {
        "type": "Catalog", "id": "hostile", "description": "Hostile.", "stac_version": "1.0.0",
        "conformsTo": [f"{_API}/core", f"{_API}/item-search"], "links": links,
    }  # fmt: skip


def items_in(work: Path) -> list[dict[str, Any]]:
    """Return the items of the place."""
    return [json.loads(path.read_text()) for path in sorted((work / "catalog" / "stac").rglob("*.json"))]


def answers(bench: Bench, change: Callable[[str, dict[str, Any]], dict[str, Any] | Reply]) -> Answer:
    """Return the answer of an API whose documents are changed: "landing" and "search"."""
    items = items_in(bench.work)

    def answer(method: str, path: str, body: bytes) -> Reply:
        address = path.partition("?")[0].rstrip("/")
        if address == "/api":
            made = change("landing", landing(bench.server.url))
        elif address == "/api/search":
            # Whatever the catalog was asked for, both collections are distinguished by what is in the request.
            wanted = "cop-dem-glo-30" if "cop-dem-glo-30" in path + body.decode(errors="replace") else "sentinel-2-l2a"
            found = [item for item in items if item["collection"] == wanted]
            made = change("search", {"type": "FeatureCollection", "features": found, "links": []})
        else:
            made = Reply(b"not found", 404)
        return made if isinstance(made, Reply) else Reply.json(made)

    return answer


def _of_search(change: Callable[[dict[str, Any], Bench], dict[str, Any] | Reply], bench: Bench) -> Answer:
    return answers(bench, lambda which, document: change(document, bench) if which == "search" else document)


def _of_landing(change: Callable[[dict[str, Any], Bench], dict[str, Any] | Reply], bench: Bench) -> Answer:
    return answers(bench, lambda which, document: change(document, bench) if which == "landing" else document)


def _of_items(change: Callable[[dict[str, Any], Bench], None], bench: Bench) -> Answer:
    def changed(document: dict[str, Any], bench: Bench) -> dict[str, Any]:
        for item in document["features"]:
            change(item, bench)
        return document

    return _of_search(changed, bench)


def _link(bench: Bench, href: str, rel: str = "next", **more: Any) -> dict[str, Any]:
    return {"rel": rel, "href": href.replace("{canary}", bench.canary.url).replace("{server}", bench.server.url)} | more


def _with_next(href: str, **more: Any) -> Callable[[dict[str, Any], Bench], dict[str, Any]]:
    return lambda document, bench: document | {"links": [_link(bench, href, **more)]}


def _reply(body: bytes, status: int = 200, pause_s: float = 0.0, **headers: str) -> Callable[[Any, Bench], Reply]:
    def made(_: Any, bench: Bench) -> Reply:
        named = {name.replace("_", "-"): text.replace("{canary}", bench.canary.url) for name, text in headers.items()}
        return Reply(body, status, named, pause_s)

    return made


def _hrefs(text: str) -> Callable[[dict[str, Any], Bench], None]:
    """Let all files of an item be elsewhere."""

    def change(item: dict[str, Any], bench: Bench) -> None:
        folder = bench.canary.folder
        href = text.replace("{canary}", bench.canary.url).replace("{folder}", str(folder))
        href = href.replace("{server}", bench.server.url)
        for asset in item["assets"].values():
            asset["href"] = href

    return change


def _in_item(**values: Any) -> Callable[[dict[str, Any], Bench], None]:
    return lambda item, bench: item.update(values)


def _in_properties(**values: Any) -> Callable[[dict[str, Any], Bench], None]:
    return lambda item, bench: item["properties"].update({name.replace("_", ":", 1): v for name, v in values.items()})


def _star(vertices: int) -> dict[str, Any]:
    """Return a polygon of which each edge crosses most others."""
    step = vertices // 2 - 1
    from math import cos, pi, sin

    points = [((i * step) % vertices) * 2 * pi / vertices for i in range(vertices)]
    ring = [[12 + 0.2 * cos(angle), 8 + 0.2 * sin(angle)] for angle in points]
    return {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}


_BOMB = gzip.compress(bytes(300_000_000), 9)
SEARCHES: dict[str, Callable[[dict[str, Any], Bench], dict[str, Any] | Reply]] = {
    "next leads to itself": _with_next("{server}/api/search?token=1"),
    "next on another server": _with_next("{canary}/search?token=1"),
    "next is a file": _with_next("file:///etc/passwd"),
    "next is no address": _with_next("http://[::1"),
    "next with a body that is text": _with_next("{server}/api/search", method="POST", body="x"),
    "next with headers": _with_next("{server}/api/search?t=2", headers={"Host": "x\r\nEvil: 1"}),
    "next of an unknown method": _with_next("{server}/api/search?t=2", method="DELETE"),
    "many next": lambda d, b: d | {"links": [_link(b, "{server}/api/search?t=" + n) for n in "12345"]},
    "empty": _reply(b""),
    "null": _reply(b"null"),
    "a list": _reply(b"[]"),
    "a page of HTML": _reply(b"<html>busy</html>"),
    "deep lists": _reply(b'{"features": ' + b"[" * NESTED + b"]" * NESTED + b"}"),
    "deep objects": _reply(b'{"features":' * NESTED + b"1" + b"}" * NESTED),
    "a huge number": _reply(b'{"features": [' + b"9" * 5_000 + b"]}"),
    "a number of 10,000,000 digits": _reply(b'{"features": [], "numberMatched": ' + b"9" * 10_000_000 + b"}"),
    "not UTF-8": _reply(b'{"features": ["\xff\xfe"]}'),
    "cut off": _reply(b'{"features": [{"id": '),
    "keys twice": _reply(b'{"features": [], "features": [1]}'),
    "55 MB": _reply(b'{"x": "' + b"x" * 55_000_000 + b'", "features": []}'),
    "a gzip bomb": _reply(_BOMB, Content_Encoding="gzip"),
    "gzip that is none": _reply(b"xxxx", Content_Encoding="gzip"),
    "a wrong length": _reply(b"{}", Content_Length="5000"),
    "a byte a second": _reply(b'{"features": []}' * 200, pause_s=0.5),
    "500": _reply(b"error", 500),
    "503 with an hour": _reply(b"", 503, Retry_After="3600"),
    "429 with nonsense": _reply(b"", 429, Retry_After="-1e9"),
    "400 with escape codes": _reply(b"\x1b[2J\x1b]0;evil\x07 bad", 400),
    "301 to another server": _reply(b"", 301, Location="{canary}/x"),
    "307 to another server": _reply(b"", 307, Location="{canary}/x"),
    "302 to a file": _reply(b"", 302, Location="file:///etc/passwd"),
    "302 to itself": _reply(b"", 302, Location="/api/search"),
    "100,000 features that are none": lambda d, b: d | {"features": [1] * 100_000},
    "features is an object": lambda d, b: d | {"features": {"0": d["features"][0]}},
    "links is null": lambda d, b: d | {"links": None},
    "items twice": lambda d, b: d | {"features": d["features"] * 2},
}
LANDINGS: dict[str, Callable[[dict[str, Any], Bench], dict[str, Any] | Reply]] = {
    "search on another server": lambda d, b: (
        d | {"links": [_link(b, "{canary}/search", "search", method="POST"), _link(b, "{canary}/search", "search")]}
    ),
    "search is a file": lambda d, b: d | {"links": [_link(b, "file:///etc/passwd", "search")]},
    "no links": lambda d, b: d | {"links": []},
    "links are text": lambda d, b: d | {"links": "x"},
    "conformsTo of numbers": lambda d, b: d | {"conformsTo": [1, None]},
    "empty": _reply(b""),
    "deep": _reply(b'{"a":' * NESTED),
    "to another server": _reply(b"", 302, Location="{canary}/"),
    "a byte a second": _reply(b'{"features": []}' * 200, pause_s=0.5),
}
ITEMS: dict[str, Callable[[dict[str, Any], Bench], None]] = {
    "files on this machine": _hrefs("{folder}/secret.tif"),
    "file addresses": _hrefs("file://{folder}/secret.tif"),
    "a text file": _hrefs("{folder}/secret.txt"),
    "files on another server": _hrefs("{canary}/x.tif"),
    "vsicurl to another server": _hrefs("/vsicurl/{canary}/x.tif"),
    "vsicurl with a header file": _hrefs("/vsicurl?header_file={folder}/secret.txt&url={canary}/x.tif"),
    "a VRT in the address": _hrefs("<VRTDataset rasterXSize='9' rasterYSize='9'>{folder}/secret.tif</VRTDataset>"),
    "a chain": _hrefs("/vsizip//vsicurl/{canary}/x.zip/x.tif"),
    "vsisubfile": _hrefs("/vsisubfile/0_100,{folder}/secret.tif"),
    "vsistdin": _hrefs("/vsistdin/"),
    "a driver's prefix": _hrefs("GTIFF_DIR:1:{folder}/secret.tif"),
    "a user and password": _hrefs("http://user:password@{canary}/x.tif"),
    "an s3 address": _hrefs("s3://bucket/x.tif"),
    "an empty address": _hrefs(""),
    "an address of 100,000 letters": _hrefs("http://x.test/" + "x" * 100_000),
    "an address with a line break": _hrefs("{server}/x\r\nEvil: 1"),
    "a device": _hrefs("/dev/zero"),
    "id of a path": _in_item(id="../../../x"),
    "id with a line break": _in_item(id="a\nb"),
    "id with NUL": _in_item(id="a\0b"),
    "id that is half a letter": _in_item(id="\ud800"),
    "id of an option": _in_item(id="--help"),
    "id of 10,000 letters": _in_item(id="x" * 10_000),
    "id that is a number": _in_item(id=7),
    "the same id for all": _in_item(id="x"),
    "a star of 2,001 vertices": _in_item(geometry=_star(2001)),
    "a star of 20,001 vertices": _in_item(geometry=_star(20_001)),
    "coordinates that are NaN": _in_item(geometry={"type": "Polygon", "coordinates": [[[float("nan"), 1]] * 4]}),
    "coordinates that are huge": _in_item(
        geometry={"type": "Polygon", "coordinates": [[[1e300, 1], [2, 1e300], [3, 3], [1e300, 1]]]}
    ),
    "a collection of collections": _in_item(
        geometry={"type": "GeometryCollection", "geometries": [{"type": "GeometryCollection", "geometries": []}]}
    ),
    "no geometry": _in_item(geometry=None),
    "a point": _in_item(geometry={"type": "Point", "coordinates": [12, 8]}),
    "bbox of six": _in_item(bbox=[11, 7, 0, 13, 9, 1]),
    "bbox the other way round": _in_item(bbox=[13, 9, 11, 7]),
    "bbox of texts": _in_item(bbox=["a", "b", "c", "d"]),
    "EPSG that does not exist": _in_properties(proj_epsg=999_999),
    "EPSG as text": _in_properties(proj_epsg="32632; DROP"),
    "EPSG of another place": _in_properties(proj_epsg=32660),
    "cloud cover of NaN": _in_properties(eo_cloud_cover=float("nan")),
    "a year beyond all": _in_properties(datetime="99999-01-01T00:00:00Z"),
    "a baseline of words": _in_properties(s2_processing_baseline="../../x"),
    "an MGRS tile that is a path": _in_properties(s2_mgrs_tile="../../etc"),
}  # fmt: skip


def catalog_replies(random: Random) -> Iterator[Input]:
    """Yield replies of a STAC API to `search`, with `select` after it."""
    tables = (("search", SEARCHES, _of_search), ("landing", LANDINGS, _of_landing), ("item", ITEMS, _of_items))
    fixed = [
        (f"{kind}: {name}", partial(wrap, change)) for kind, table, wrap in tables for name, change in table.items()
    ]
    random.shuffle(fixed)
    for name, answer in fixed:
        yield Input("catalog", name, CHAIN, answer=answer, slow=_is_slow(name))
    while True:
        seed = random.randrange(2**32)
        yield Input("catalog", f"drawn {seed}", CHAIN, answer=partial(_drawn, seed=seed))


def _drawn(bench: Bench, seed: int) -> Answer:
    def change(which: str, document: dict[str, Any]) -> dict[str, Any]:
        # The same change for each request for the same document.
        drawn = Random(f"{seed} {which}")
        if which != ("landing" if seed % 8 == 0 else "search"):
            return document
        if which == "search" and document["features"]:
            at = drawn.randrange(len(document["features"]))
            _, document["features"][at] = change_json(document["features"][at], drawn)
            return document
        changed = change_json(document, drawn)[1]
        return changed if isinstance(changed, dict) else {}

    return answers(bench, change)


def _is_slow(name: str) -> bool:
    """Whether a client does well to ask again for a while, or shapes take long."""
    return any(
        word in name for word in ("a star", "a byte a second", "503", "429", "500", "55 MB", "10,000,000", "bomb")
    )


TOKEN = {"msft:expiry": "2099-01-01T00:00:00Z", "token": "st=2023-01-01&se=2099-01-01&sig=abc"}
_SIGNED = place.Command(
    (*place.SELECT.argv, "--signing", "token", "--token-url", "{server}/token"), place.SELECT.outputs
)
_TOKENS: dict[str, Callable[[Any, Bench], Reply]] = {
    "sound": _reply(json.dumps(TOKEN).encode()),
    "empty": _reply(b""),
    "a list": _reply(b"[1]"),
    "deep": _reply(b'{"token":' * NESTED),
    "a huge number": _reply(b'{"token": ' + b"9" * 60_000 + b"}"),
    "80 kB": _reply(b'{"token": "' + b"x" * 80_000 + b'"}'),
    "not UTF-8": _reply(b'{"token": "\xff"}'),
    "HTML": _reply(b"<html/>"),
    "expired": _reply(json.dumps(TOKEN | {"msft:expiry": "2001-01-01T00:00:00Z"}).encode()),
    "no date": _reply(json.dumps(TOKEN | {"msft:expiry": "soon"}).encode()),
    "year 9999": _reply(json.dumps(TOKEN | {"msft:expiry": "9999-12-31T23:59:59+14:00"}).encode()),
    "year 0": _reply(json.dumps(TOKEN | {"msft:expiry": "0000-00-00T00:00:00Z"}).encode()),
    "line breaks": _reply(json.dumps(TOKEN | {"token": "a=1\r\nEvil: 1"}).encode()),
    "spaces": _reply(json.dumps(TOKEN | {"token": "a b"}).encode()),
    "another address": _reply(json.dumps(TOKEN | {"token": "@{canary}/"}).encode()),
    "a fragment": _reply(json.dumps(TOKEN | {"token": "#x"}).encode()),
    "half a letter": _reply(json.dumps(TOKEN | {"token": "\ud800"}).encode()),
    "a gzip bomb": _reply(_BOMB, Content_Encoding="gzip"),
    "to another server": _reply(b"", 302, Location="{canary}/token"),
    "to a file": _reply(b"", 302, Location="file:///etc/passwd"),
    "401": _reply(b"sig=secret", 401),
    "404": _reply(b"", 404),
    "a byte a second": _reply(b'{"token": "x"}' * 200, pause_s=0.5),
    "503": _reply(b"", 503),
}


def token_replies(random: Random) -> Iterator[Input]:
    """Yield replies of a token endpoint, to a `select` whose files are on the server."""
    for name, reply in random.sample(list(_TOKENS.items()), len(_TOKENS)):
        answer = partial(_token_answer, reply)
        yield Input("tokens", name, (_served, _SIGNED), prepare=serve_files, answer=answer, slow=_is_slow(name))
    while True:
        name, document = change_json(TOKEN, random)
        reply = _reply(json.dumps(document).encode())
        yield Input("tokens", name, (_served, _SIGNED), prepare=serve_files, answer=partial(_token_answer, reply))


_served = place.search("catalog")


def serve_files(bench: Bench) -> None:
    """Let the items name files on the server."""

    def change(item: Any) -> Any:
        for asset in item["assets"].values():
            asset["href"] = asset["href"].replace(str(bench.work), f"{bench.server.url}/files")
        return item

    for path in sorted((bench.work / "catalog" / "stac").rglob("*.json")):
        bench.change_json(str(path.relative_to(bench.work)), change)


def _token_answer(reply: Callable[[Any, Bench], Reply], bench: Bench) -> Answer:
    def answer(method: str, path: str, body: bytes) -> Reply:
        if path.startswith("/token/"):
            return reply(None, bench)
        return file_reply(bench, path)

    return answer


def file_reply(bench: Bench, path: str) -> Reply:
    """Return a file of the place."""
    file = bench.work / path.partition("?")[0].removeprefix("/files/")
    return Reply(file.read_bytes(), headers={"ETag": '"1"'}) if file.is_file() else Reply(b"", 404)
