"""Deliberate faults: ASGI middleware that makes a catalog as flaky as real ones sometimes are.

The number of the request and a seed decide what goes wrong, so a run meets the same faults each time as far as its
order of requests is the same. Every reply passes a real socket: a reply that is cut short announces its full length,
and then the connection closes.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SEARCH = "/stac/search"
_ASSETS = "/assets/"
_MAX_IN_A_ROW = 3
"""The search gives up on a landing page after four requests; which request meets which fault depends on the threads."""


@dataclass(frozen=True)
class Trouble:
    """What goes wrong; by default nothing."""

    fraction: float = 0.0
    """Of all requests: half of them get 503, half are cut short; the same request at most three times in a row."""
    seed: int = 0
    stall_every: int = 0
    """Delay every n-th request for an asset."""
    stall_s: float = 0.0
    hang_every: int = 0
    """Never answer every n-th search."""
    repeat: int = 0
    """Number of items of a page that the next page repeats."""
    lost: frozenset[str] = frozenset()
    """Items whose files are missing (404)."""
    withdrawn: frozenset[str] = frozenset()
    """Items that the catalog no longer lists."""
    revised: frozenset[str] = frozenset()
    """Items whose cloud cover the catalog has increased a little."""
    dead: str = ""
    """Never answer requests whose path has this prefix."""


class Faults:
    """A catalog behind faults.

    Attributes
    ----------
    app
        The catalog; can be replaced at any time, under the same address.
    met : Counter of str
        What went wrong so far.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.met = Counter[str]()
        self._trouble = Trouble()
        self._counts = Counter[str]()
        self._in_a_row = Counter[bytes]()
        self._page: list[dict[str, Any]] = []

    @contextmanager
    def trouble(self, **settings: Any) -> Iterator[Counter[str]]:
        """Cause faults while the block runs; yield the counts of what went wrong."""
        self._trouble, self.met = Trouble(**settings), Counter()
        self._counts, self._in_a_row = Counter(), Counter()
        try:
            yield self.met
        finally:
            self._trouble = Trouble()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or corrupt the reply."""
        trouble, path = self._trouble, scope["path"]
        search = path == _SEARCH
        self._counts["request"] += 1
        self._counts["search"] += search
        self._counts["asset"] += path.startswith(_ASSETS)
        if (trouble.dead and path.startswith(trouble.dead)) or (search and self._due("search", trouble.hang_every)):
            self.met["hung"] += 1
            await _until_client_leaves(receive)
            return
        if any(f"/{name}/" in path for name in trouble.lost):
            self.met["lost"] += 1
            await Response("The specified blob does not exist.", 404)(scope, receive, send)
            return
        chance = 1.0
        if trouble.fraction:
            key, receive = await _request_key(scope, receive)
            chance = self._chance(key, trouble)
        if chance < trouble.fraction / 2:
            self.met["503"] += 1
            await Response("Egress is over the account limit.", 503)(scope, receive, send)
            return
        if path.startswith(_ASSETS) and self._due("asset", trouble.stall_every):
            self.met["stalled"] += 1
            await asyncio.sleep(trouble.stall_s)
        reply = send
        if chance < trouble.fraction:
            reply = self._cut_short(reply)
        if search and (trouble.repeat or trouble.withdrawn or trouble.revised):
            request = await receive()  # a search's body comes in one piece
            follows = b'"token"' in request.get("body", b"")
            receive = _again(request, receive)
            reply = self._changed_page(reply, trouble, follows=follows)
        await self.app(scope, receive, self._counted(reply, scope))

    def _chance(self, key: bytes, trouble: Trouble) -> float:
        chance = random.Random(f"{trouble.seed} {self._counts['request']}").random()
        if chance >= trouble.fraction or self._in_a_row[key] == _MAX_IN_A_ROW:
            del self._in_a_row[key]
            return 1.0
        self._in_a_row[key] += 1
        return chance

    def _due(self, kind: str, every: int) -> bool:
        return bool(every) and self._counts[kind] % every == 0

    def _counted(self, send: Send, scope: Scope) -> Send:
        """Count refusals: separately those of a file's first bytes and later ones."""
        wanted = dict(scope["headers"]).get(b"range", b"bytes=0-")
        kind = "refused at the opening" if wanted.startswith(b"bytes=0-") else "refused further on"

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 403:
                self.met[kind] += 1
            await send(message)

        return counted

    def _cut_short(self, send: Send) -> Send:
        """Send the first half of a body; uvicorn closes the connection of a reply that never ends."""
        cut = False

        async def half(message: Message) -> None:
            nonlocal cut
            body = message.get("body", b"")
            if cut or message["type"] != "http.response.body" or len(body) < 2:
                if not cut:
                    await send(message)
                return
            cut = True
            self.met["cut short"] += 1
            await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})

        return half

    def _changed_page(self, send: Send, trouble: Trouble, *, follows: bool) -> Send:
        """Repeat items of the previous page, and leave out withdrawn items."""
        start: Message = {}
        content = b""

        async def changed(message: Message) -> None:
            nonlocal start, content
            if message["type"] == "http.response.start":
                start = message
                return
            content += message.get("body", b"")
            if message.get("more_body"):
                return
            body = self._change(content, trouble, follows=follows) if start["status"] == 200 else content
            headers = [(name, value) for name, value in start["headers"] if name != b"content-length"]
            await send({**start, "headers": [*headers, (b"content-length", str(len(body)).encode())]})
            await send({"type": "http.response.body", "body": body})

        return changed

    def _change(self, content: bytes, trouble: Trouble, *, follows: bool) -> bytes:
        page = json.loads(content)
        items = [item for item in page["features"] if item["id"] not in trouble.withdrawn]
        for item in items:
            if item["id"] in trouble.revised:
                item["properties"]["eo:cloud_cover"] += 0.01
        again = self._page[-trouble.repeat :] if trouble.repeat and follows else []
        self.met["repeated"] += len(again)
        self._page = items
        if trouble.withdrawn:
            page.pop("numberMatched", None)  # it would count them
        return json.dumps({**page, "features": [*again, *items]}).encode()


async def _until_client_leaves(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _request_key(scope: Scope, receive: Receive) -> tuple[bytes, Receive]:
    """Return what identifies a request, and a `receive` that repeats its body."""
    request = await receive()  # a search's body comes in one piece, and others have none
    wanted = dict(scope["headers"]).get(b"range", b"")
    key = b" ".join((scope["path"].encode(), scope["query_string"], wanted, request.get("body", b"")))
    return key, _again(request, receive)


def _again(message: Message, receive: Receive) -> Receive:
    """Return a `receive` that repeats a message that was already received."""
    taken = [message]

    async def receive_again() -> Message:
        return taken.pop() if taken else await receive()

    return receive_again
