"""view: serve the map page of a basin to a browser of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from headwater.core.errors import InputError
from headwater.core.local_server import address_of, bound_port

if TYPE_CHECKING:
    from starlette.applications import Starlette

HOST = "127.0.0.1"
PAGE = "report/map.html"
_POLICY = (
    "default-src 'none'; script-src 'self'; worker-src blob:; connect-src 'self'; img-src 'self' blob: data:;"
    " style-src 'self' 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What pages may load: only what is here, even if a text in the data were to become part of a page."""


def view(folder: Path, *, port: int = 0) -> None:
    """Serve a basin's results until interrupted, and print the address of its map page; nothing is written.

    Parameters
    ----------
    folder : Path
        Folder of a basin's results.
    port : int
        Port to listen on; 0 takes a free one.

    Raises
    ------
    InputError
        The folder has no map page.
    WorkError
        The port cannot be used.
    """
    import uvicorn

    folder = folder_with_map(folder)
    with bound_port(HOST, port) as listener:
        print(f"{address_of(listener)}/{PAGE}\nServes {folder} to this machine alone. Ctrl-C ends it.", flush=True)
        config = uvicorn.Config(view_app(folder), log_level="warning", access_log=False, lifespan="off", ws="none")
        uvicorn.Server(config).run(sockets=[listener])


def folder_with_map(folder: Path) -> Path:
    """Return the folder of a basin's results, given as itself, as its report or as its map page."""
    given = Path(folder)
    for candidate in (given, *given.absolute().parents[:2]):
        if (candidate / PAGE).is_file():
            return candidate
    if not given.exists():
        raise InputError(f"{given} does not exist.", "Give the folder of a basin's results, results/<basin>.")
    below = sorted(path.parents[1] for path in given.glob(f"*/{PAGE}"))
    if below:
        raise InputError(f"{given} has the results of {len(below)} basin(s).", f"Give one of them, such as {below[0]}.")
    raise InputError(
        f"{given} has no map page ({PAGE}).",
        "Run the workflow again: it makes the page of results of an older version, too.",
    )


def view_app(folder: Path) -> Starlette:
    """Return the application that serves a folder: whole files and ranges of them, under this machine's names only.

    A page of another site cannot read the files, also if its name leads here (DNS rebinding): the Host is checked.
    """
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.requests import Request
    from starlette.responses import RedirectResponse, Response
    from starlette.routing import Mount, Route
    from starlette.staticfiles import StaticFiles
    from starlette.types import Scope

    class Files(StaticFiles):
        """Files of a folder; neither it nor links lead out of it."""

        async def get_response(self, path: str, scope: Scope) -> Response:
            """Answer with a file, and with what its pages may do."""
            response = await super().get_response(path, scope)
            response.headers["Content-Security-Policy"] = _POLICY
            response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
            response.headers["X-Content-Type-Options"] = "nosniff"
            response.headers["Cache-Control"] = "no-cache"
            return response

    async def home(request: Request) -> Response:
        return RedirectResponse(f"/{PAGE}")

    return Starlette(
        routes=[Route("/", home), Mount("/", Files(directory=folder))],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"], www_redirect=False)],
    )
