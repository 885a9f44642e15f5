"""A STAC API on a real socket: a test's function answers the searches, and their bodies are recorded."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from shapely.geometry import box, mapping
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

Item = dict[str, Any]
Body = dict[str, Any]
Answer = Callable[[Body], Mapping[str, Any] | Response]
"""From the body of a POST, or the query of a GET, to a page or any response."""

_API = "https://api.stacspec.org/v1.0.0"
CORE = (f"{_API}/core", f"{_API}/item-search")
CQL2 = (*CORE, f"{_API}/item-search#filter", "http://www.opengis.net/spec/cql2/1.0/conf/cql2-json")


@dataclass
class Script:
    """How the API answers, and the searches it received."""

    answer: Answer
    url: str = ""
    asked: list[Body] = field(default_factory=list)
    """Bodies of all searches, in the order of arrival."""


@contextmanager
def scripted_api(
    answer: Answer, *, methods: Sequence[str] = ("GET", "POST"), conformance: Sequence[str] = CORE
) -> Iterator[Script]:
    """Serve a STAC API on 127.0.0.1 while the block runs."""
    script = Script(answer)

    async def landing(request: Request) -> Response:
        root = str(request.base_url)
        search = {"rel": "search", "href": f"{root}search", "type": "application/geo+json"}
        links = [{"rel": "root", "href": root}, *({**search, "method": method} for method in methods)]
        return JSONResponse(
            {
                "type": "Catalog", "id": "scripted", "description": "Scripted.", "stac_version": "1.0.0",
                "conformsTo": list(conformance), "links": links,
            }
        )  # fmt: skip

    async def search(request: Request) -> Response:
        body = json.loads(await request.body()) if request.method == "POST" else dict(request.query_params)
        script.asked.append(body)
        reply = script.answer(body)
        return reply if isinstance(reply, Response) else JSONResponse({"type": "FeatureCollection", **reply})

    app = Starlette(routes=[Route("/", landing), Route("/search", search, methods=list(methods))])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        script.url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        try:
            yield script
        finally:
            server.should_exit = True
            thread.join()


def made_item(
    name: str, day: str = "2023-06-10", *, place: Sequence[float] = (15, 46, 15.1, 46.1), **more: Any
) -> Item:
    """Return a Sentinel-2 item as from an API; `more` are properties."""
    edges = tuple(place)
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "collection": "sentinel-2-l2a",
        "geometry": mapping(box(*edges)),
        "bbox": list(edges),
        "properties": {"datetime": f"{day}T10:00:00.024Z" if len(day) == 10 else day, **more},
        "assets": {band: {"href": f"https://x.test/{name}/{band}.tif"} for band in ("B02", "B03", "B04", "B08", "SCL")},
        "links": [],
    }


def paged(items: Sequence[Item], *, size: int | None = None, matched: bool = True) -> Answer:
    """Return an answer function that pages through these items like a correct API (it ignores the place)."""

    def answer(body: Body) -> Mapping[str, Any]:
        from headwater.demo.server.catalog_contents import item_filter

        matches = item_filter({name: body[name] for name in ("ids", "collections", "datetime") if name in body})
        found = [item for item in items if matches(item)]
        start, count = int(body.get("token", 0)), size or int(body.get("limit", 10))
        page: dict[str, Any] = {"features": found[start : start + count], "links": []}
        if matched:
            page["numberMatched"] = len(found)
        if start + count < len(found):
            after = {**body, "token": start + count}
            page["links"] = [{"rel": "next", "href": "search", "method": "POST", "body": after}]
        return page

    return answer
