"""The demo planet's catalog: a STAC API, assets with range requests behind tokens, and the token endpoint.

It answers like the Planetary Computer, so pystac-client and the pipeline need no special case for it. All items are
read once, at the start; only files that an item names are served.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from headwater.core.errors import WorkError
from headwater.core.local_server import address_of, bound_port
from headwater.demo.server.catalog_contents import (
    STAC_VERSION,
    CatalogContents,
    item_filter,
    page_range,
    read_folders,
    search_body,
    sort_items,
)
from headwater.stac.intervals import parse_instant
from headwater.stac.items import DEMO_CATALOG

Item = dict[str, Any]

_API = "https://api.stacspec.org/v1.0.0"
_CONFORMANCE = [
    f"{_API}/core",
    f"{_API}/collections",
    f"{_API}/ogcapi-features",
    f"{_API}/item-search",
    f"{_API}/item-search#query",
    f"{_API}/item-search#sort",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/geojson",
]
_GEOJSON = "application/geo+json"
MAX_REQUEST_BYTES = 1_000_000
_MAX_CONNECTIONS = 1000
_MAX_HREF = 4000
DEFAULT_LIFETIME_S = 2700.0
"""Lifetime of the Planetary Computer's tokens."""


def serve(
    folders: Sequence[Path],
    host: str = "127.0.0.1",
    port: int = 8321,
    token_lifetime_s: float = DEFAULT_LIFETIME_S,
) -> None:
    """Serve planet folders until interrupted; print one line with the address.

    Raises
    ------
    WorkError
        The port is in use.
    InputError
        A folder contains no items.
    """
    app = create_app(list(folders), token_lifetime_s=token_lifetime_s)
    with bound_port(host, port) as listener:
        print(f"The catalog is at {address_of(listener)}/stac (stop it with Ctrl+C).", flush=True)
        # uvicorn shuts down in order and then raises Ctrl+C again.
        with suppress(KeyboardInterrupt):
            _server(app).run(sockets=[listener])


@contextmanager
def running_catalog(
    folders: Sequence[Path],
    port: int = 0,
    token_lifetime_s: float = DEFAULT_LIFETIME_S,
    *,
    require_token: bool = True,
    wrap: Callable[[ASGIApp], ASGIApp] | None = None,
) -> Iterator[str]:
    """Serve planet folders on 127.0.0.1 from a thread while the block runs.

    Parameters
    ----------
    folders : sequence of Path
        Planet folders.
    port : int
        0 takes a free port.
    token_lifetime_s : float
        Seconds a token is valid.
    require_token : bool
        Whether assets need a token.
    wrap : callable, optional
        Wraps the application: middleware that delays, counts or corrupts replies.

    Yields
    ------
    str
        Base address; the API is under /stac, the token endpoint under /api/sas/v1/token.
    """
    app: ASGIApp = create_app(list(folders), token_lifetime_s=token_lifetime_s, require_token=require_token)
    with bound_port("127.0.0.1", port) as listener:
        server = _server(wrap(app) if wrap else app)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            while not server.started and thread.is_alive():
                time.sleep(0.01)
            if not server.started:
                raise WorkError("The catalog did not start.", "Run it in the foreground with 'headwater demo serve'.")
            yield address_of(listener)
        finally:
            server.should_exit = True
            thread.join(timeout=10)


def create_app(
    folders: list[Path], *, token_lifetime_s: float = DEFAULT_LIFETIME_S, require_token: bool = True
) -> Starlette:
    """Return the catalog's application.

    Parameters
    ----------
    folders : list of Path
        Planet folders, served together.
    token_lifetime_s : float
        Seconds a token is valid.
    require_token : bool
        Whether assets answer 403 without a valid token.

    Raises
    ------
    InputError
        A folder contains no items, an item's file is outside its folder, or two folders contain the same item.
    """
    catalog = read_folders(folders)
    tokens = Tokens(lifetime_s=token_lifetime_s) if require_token else None
    api = _Api(catalog)
    signing = _Signing(catalog, tokens or Tokens(lifetime_s=token_lifetime_s))
    return Starlette(
        routes=[
            Route("/stac", api.landing),
            Route("/stac/", api.landing),
            Route("/stac/conformance", lambda request: JSONResponse({"conformsTo": _CONFORMANCE})),
            Route("/stac/collections", api.collections),
            Route("/stac/collections/{collection}", api.collection),
            Route("/stac/collections/{collection}/items", api.collection_items),
            Route("/stac/collections/{collection}/items/{item}", api.item),
            Route("/stac/search", api.search_get, methods=["GET"]),
            Route("/stac/search", api.search_post, methods=["POST"]),
            Route("/api/sas/v1/token/{collection}", signing.token),
            Route("/api/sas/v1/sign", signing.sign),
            Route("/assets/{name:path}", partial(_asset, catalog, tokens), methods=["GET", "HEAD"]),
        ],
        exception_handlers={HTTPException: _error_reply, ValueError: _bad_request, RecursionError: _bad_request},
    )


class _Api:
    """The STAC API's pages."""

    def __init__(self, catalog: CatalogContents) -> None:
        self._items = catalog.items
        self._collections = catalog.collections

    def landing(self, request: Request) -> Response:
        root = _root(request)
        links = [
            _link("self", root),
            _link("root", root),
            _link("conformance", f"{root}/conformance"),
            _link("data", f"{root}/collections"),
            _link("search", f"{root}/search", _GEOJSON, method="GET"),
            _link("search", f"{root}/search", _GEOJSON, method="POST"),
            *(_link("child", f"{root}/collections/{name}") for name in self._collections),
        ]
        return JSONResponse(
            {
                "type": "Catalog",
                "id": DEMO_CATALOG,
                "title": "Headwater demo planet",
                "description": "Sentinel-2-like scenes and elevation of a synthetic landscape.",
                "stac_version": STAC_VERSION,
                "conformsTo": _CONFORMANCE,
                "links": links,
            }
        )

    def collections(self, request: Request) -> Response:
        root = _root(request)
        documents = [self._collection(root, name) for name in self._collections]
        links = [_link("self", f"{root}/collections"), _link("root", root)]
        return JSONResponse({"collections": documents, "links": links})

    def collection(self, request: Request) -> Response:
        return JSONResponse(self._collection(_root(request), request.path_params["collection"]))

    def item(self, request: Request) -> Response:
        name, item_id = request.path_params["collection"], request.path_params["item"]
        if (name, item_id) not in self._items:
            raise HTTPException(404, f"Item {item_id} in Collection {name} does not exist.")
        return JSONResponse(_public(self._items[name, item_id], request), media_type=_GEOJSON)

    def collection_items(self, request: Request) -> Response:
        name = request.path_params["collection"]
        self._collection(_root(request), name)
        body = search_body(request.query_params) | {"collections": [name]}
        return self._search(request, body, "GET")

    def search_get(self, request: Request) -> Response:
        return self._search(request, search_body(request.query_params), "GET")

    async def search_post(self, request: Request) -> Response:
        body = json.loads(await _body(request) or b"{}")
        if not isinstance(body, dict):
            raise ValueError("the body must be a JSON object")
        return self._search(request, body, "POST")

    def _search(self, request: Request, body: Mapping[str, Any], method: str) -> Response:
        test = item_filter(body)
        found = sort_items([item for item in self._items.values() if test(item)], body.get("sortby"))
        limit, start = page_range(body)
        page = found[start : start + limit]
        links = [_link("root", _root(request)), _link("self", str(request.url))]
        if start + limit < len(found):
            token = f"next:{start + limit}"
            if method == "POST":
                links.append(_link("next", str(request.url), _GEOJSON, method="POST", body={**body, "token": token}))
            else:
                query = urlencode({**dict(request.query_params), "token": token})
                links.append(_link("next", f"{str(request.url).split('?')[0]}?{query}", _GEOJSON, method="GET"))
        reply = {
            "type": "FeatureCollection",
            "features": [_public(item, request) for item in page],
            "links": links,
            "numberMatched": len(found),
            "numberReturned": len(page),
        }
        return JSONResponse(reply, media_type=_GEOJSON)

    def _collection(self, root: str, name: str) -> dict[str, Any]:
        if name not in self._collections:
            raise HTTPException(404, f"Collection {name} does not exist.")
        links = [
            _link("self", f"{root}/collections/{name}"),
            _link("root", root),
            _link("parent", root),
            _link("items", f"{root}/collections/{name}/items", _GEOJSON),
        ]
        return {**self._collections[name], "links": links}


async def _body(request: Request) -> bytes:
    """Return the body of a request, which may not be longer than any search."""
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > MAX_REQUEST_BYTES:
            raise HTTPException(413, f"A search has at most {MAX_REQUEST_BYTES} bytes.")
    return content


def _public(item: Item, request: Request) -> Item:
    """Return an item as this server publishes it: with absolute addresses and links."""
    base, root = str(request.base_url).rstrip("/"), _root(request)
    collection = f"{root}/collections/{item['collection']}"
    assets = {
        key: {**asset, "href": base + asset["href"] if asset["href"].startswith("/assets/") else asset["href"]}
        for key, asset in item["assets"].items()
    }
    links = [
        _link("self", f"{collection}/items/{item['id']}", _GEOJSON),
        _link("collection", collection),
        _link("parent", collection),
        _link("root", root),
    ]
    return {**item, "assets": assets, "links": links}


def _root(request: Request) -> str:
    return f"{str(request.base_url).rstrip('/')}/stac"


def _link(rel: str, href: str, media_type: str = "application/json", **more: Any) -> dict[str, Any]:
    return {"rel": rel, "href": href, "type": media_type, **more}


class _Signing:
    """The token endpoint."""

    def __init__(self, catalog: CatalogContents, tokens: Tokens) -> None:
        self._catalog = catalog
        self._tokens = tokens

    def token(self, request: Request) -> Response:
        collection = request.path_params["collection"]
        if collection not in self._catalog.collections:
            raise HTTPException(404, f"Collection {collection} does not exist.")
        expiry, token = self._tokens.issue(collection)
        return JSONResponse({"msft:expiry": expiry, "token": token})

    def sign(self, request: Request) -> Response:
        href = request.query_params.get("href")
        if not href:
            raise ValueError("href is missing")
        if len(href) > _MAX_HREF:
            raise ValueError("href is too long")
        _, collection = self._catalog.files.get(urlsplit(href).path, (None, None))
        if collection is None:
            raise HTTPException(404, "There is no such asset.")
        expiry, token = self._tokens.issue(collection)
        return JSONResponse({"msft:expiry": expiry, "href": f"{href.split('?')[0]}?{token}"})


class Tokens:
    """Shared-access tokens like the Planetary Computer's, signed with a secret of this process."""

    def __init__(self, *, lifetime_s: float) -> None:
        self._lifetime = timedelta(seconds=lifetime_s)
        self._secret = secrets.token_bytes(32)

    def issue(self, collection: str) -> tuple[str, str]:
        """Return the expiry and the token of a collection."""
        now = datetime.now(UTC)
        expiry = _instant(now + self._lifetime)
        # The Planetary Computer's tokens start a day earlier; only the expiry matters.
        params = {"st": _instant(now - timedelta(days=1)), "se": expiry, "sp": "rl"}
        return expiry, urlencode({**params, "sig": self._signature(collection, expiry)})

    def valid(self, collection: str, params: Mapping[str, str]) -> bool:
        """Return whether the query of an address contains a token of this collection that has not expired."""
        expiry = params.get("se", "")
        if not hmac.compare_digest(self._signature(collection, expiry).encode(), params.get("sig", "").encode()):
            return False
        return datetime.now(UTC) < parse_instant(expiry)

    def _signature(self, collection: str, expiry: str) -> str:
        text = f"{collection}\n{expiry}".encode()
        return base64.b64encode(hmac.new(self._secret, text, hashlib.sha256).digest()).decode()


def _instant(instant: datetime) -> str:
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _asset(catalog: CatalogContents, tokens: Tokens | None, request: Request) -> Response:
    """Answer with a file or a part of it; only files that an item names are served, so no path leads elsewhere."""
    path, collection = catalog.files.get(f"/assets/{quote(request.path_params['name'])}", (None, ""))
    if path is None or not path.is_file():
        return _storage_error(404, "BlobNotFound", "The specified blob does not exist.")
    if tokens is not None and not tokens.valid(collection, request.query_params):
        return _storage_error(
            403,
            "AuthenticationFailed",
            "Server failed to authenticate the request. Make sure the value of Authorization header is formed "
            "correctly including the signature.",
        )
    return FileResponse(path, media_type="image/tiff" if path.suffix == ".tif" else None)


def _storage_error(status: int, code: str, message: str) -> Response:
    """Answer like Azure's blob storage."""
    body = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return Response(body, status, media_type="application/xml", headers={"x-ms-error-code": code})


async def _error_reply(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = "NotFoundError" if error.status_code == 404 else "RequestError"
    return JSONResponse({"code": code, "description": error.detail}, error.status_code)


async def _bad_request(request: Request, error: Exception) -> Response:
    return JSONResponse({"code": "RequestValidationError", "description": str(error)}, 400)


def _server(app: ASGIApp) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=2,
        limit_concurrency=_MAX_CONNECTIONS,
    )
    return uvicorn.Server(config)
