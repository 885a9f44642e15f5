"""A STAC API on a real database: stac-fastapi-pgstac on a private PostgreSQL cluster with PostGIS.

The cluster is in a temporary folder, listens only on a socket there, and is removed at the end; other clusters of the
machine are not touched. PostgreSQL refuses to run as root, so root becomes the user `postgres`, which Debian's package
creates.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

Item = dict[str, Any]

_LIB, _SHARE = Path("/usr/lib/postgresql"), Path("/usr/share/postgresql")
_DATABASE = "postgres"
_START_S = 60


def missing() -> str | None:
    """Return a sentence that names what this machine lacks for the database; None if nothing is missing."""
    programs = _programs()
    if programs is None:
        return "PostgreSQL is not installed (Debian: postgresql)."
    if not (_SHARE / programs.parent.name / "extension/postgis.control").exists():
        return "PostGIS is not installed (Debian: postgresql-postgis)."
    if os.geteuid() == 0 and _server_user() is None:
        return "PostgreSQL does not run as root, and there is no user postgres to run it as."
    return None


@dataclass(frozen=True)
class Database:
    """A running cluster with pgstac's tables."""

    socket: Path
    """Folder of its socket."""
    user: str

    @property
    def dsn(self) -> str:
        """Connection string for psycopg and pypgstac."""
        return f"host={self.socket} user={self.user} dbname={_DATABASE}"

    def load(self, table: str, documents: Iterable[Mapping[str, Any]], *, method: str = "upsert") -> None:
        """Load collections or items; existing ones are replaced."""
        with tempfile.NamedTemporaryFile("w", suffix=".ndjson") as lines:
            lines.writelines(json.dumps(document) + "\n" for document in documents)
            lines.flush()
            _pypgstac(self.dsn, "load", table, lines.name, "--method", method)

    def delete_item(self, collection: str, item_id: str) -> None:
        """Withdraw an item."""
        import psycopg

        with psycopg.connect(self.dsn, options="-c search_path=pgstac,public") as connection:
            connection.execute("SELECT delete_item(%s, %s)", (item_id, collection))


@contextmanager
def running_database() -> Iterator[Database]:
    """Create and start a cluster with pgstac's tables; remove all of it when the block ends."""
    lack = missing()
    assert lack is None, lack
    programs, user = _programs(), _server_user()
    assert programs is not None
    # Not under pytest's folders: other users cannot read them. And short: a socket's path has at most 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="headwater-pg-"))
    data = folder / "data"
    name = pwd.getpwuid(os.geteuid()).pw_name
    if user is not None:
        shutil.chown(folder, user, pwd.getpwnam(user).pw_gid)
        name = user
    try:
        _call(user, programs / "initdb", "-D", data, "-U", name, "--auth=trust", "--encoding=UTF8", "--no-sync")
        # A short-lived database: nothing needs to survive a crash. No port: only the socket gives access.
        options = (
            f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off -c full_page_writes=off"
            # Shared memory as files of the cluster, which are removed with it.
            " -c dynamic_shared_memory_type=mmap"
        )
        start = ("-D", data, "-o", options, "-l", folder / "log", "-w", "-t", _START_S, "start")
        _call(user, programs / "pg_ctl", *start)
        try:
            database = Database(folder, name)
            _pypgstac(database.dsn, "migrate")
            yield database
        finally:
            _call(user, programs / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running_api(database: Database, log: Path) -> Iterator[str]:
    """Serve the database as a STAC API from its own process; yield its address."""
    environment = os.environ | {
        "PGUSER": database.user,
        "PGPASSWORD": "",
        "PGHOST": quote(str(database.socket), safe=""),
        "PGPORT": "5432",
        "PGDATABASE": _DATABASE,
        "ENABLED_EXTENSIONS": "query,sort,fields,filter,pagination",
    }
    # Bound here and passed on: no other process can take the port in between.
    with socket.create_server(("127.0.0.1", 0)) as listener, log.open("wb") as output:
        command = [
            sys.executable, "-m", "uvicorn", "stac_fastapi.pgstac.app:create_app", "--factory",
            "--fd", str(listener.fileno()), "--log-level", "info",
        ]  # fmt: skip
        process = subprocess.Popen(
            command, env=environment, pass_fds=[listener.fileno()], stdout=output, stderr=subprocess.STDOUT
        )
        try:
            address = f"http://127.0.0.1:{listener.getsockname()[1]}"
            _wait_for(f"{address}/_mgmt/ping", process, log)
            yield address
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _programs() -> Path | None:
    """Return the folder of the newest complete PostgreSQL; Debian does not put it on the PATH."""
    folders = sorted(_LIB.glob("*/bin"), key=lambda path: float(path.parent.name))
    return next((path for path in reversed(folders) if (path / "initdb").exists()), None)


def _server_user() -> str | None:
    """Return the user that root becomes to run the server; None if we are not root or the user does not exist."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        return None


def _call(user: str | None, *command: object) -> None:
    become: dict[str, Any] = {}
    if user is not None:
        become = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}
    with tempfile.TemporaryFile("w+") as output:
        # Into a file: the server that pg_ctl starts would keep a pipe open.
        done = subprocess.run(
            list(map(str, command)), cwd="/", stdout=output, stderr=subprocess.STDOUT, timeout=2 * _START_S, **become
        )
        output.seek(0)
        assert done.returncode == 0, f"{command}: {output.read()}"


def _pypgstac(dsn: str, *arguments: str) -> None:
    program = Path(sys.executable).with_name("pypgstac")
    done = subprocess.run([str(program), *arguments, "--dsn", dsn], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if requests.get(url, timeout=5).ok:
                return
        except requests.RequestException:
            pass
        time.sleep(0.1)
    raise AssertionError(f"the API did not start: {log.read_text()}")
