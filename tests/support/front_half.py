"""The front half of the pipeline as an operator runs it: one process per step, logs where the workflow puts them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from headwater.geo.plan import read_plan, write_plan

HEADWATER = str(Path(sys.executable).with_name("headwater"))


def write_planet_plan(planet: Path, path: Path) -> None:
    """Write the plan of a demo planet with cells of 0.05 degrees."""
    basin = json.loads((planet / "planet.json").read_text())["basin_id"]
    write_plan([planet / "hydrobasins.gpkg"], basin, path, cell_degrees=0.05, margin_px=64)


@dataclass(frozen=True)
class FrontHalf:
    """A run of search, select, composite and elevation in its own folder."""

    folder: Path
    plan: Path
    """plan.json of the basin."""
    url: str
    """Address of the catalog."""
    token_url: str | None = None
    """Token endpoint; without it assets are not signed."""
    search_options: Sequence[str] = ("--datetime", "2023-01-01/2023-12-31")
    cells: tuple[str, ...] = ()
    """Names; by default all cells of the plan."""
    runtime: Path | None = None
    """Folder in which the processes share tokens; by default the machine's. With a shared folder a run would continue
    with the tokens of the previous run."""

    def __post_init__(self) -> None:
        if not self.cells:
            object.__setattr__(self, "cells", tuple(cell.name for cell in read_plan(self.plan).cells))
        for step in ("search", "select", "composite", "elevation"):
            self.log(step, "cell").parent.mkdir(parents=True, exist_ok=True)

    def all(self) -> None:
        """Run every step; none may fail."""
        self.done("search")
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(self._cell, self.cells))

    def _cell(self, cell: str) -> None:
        for step in ("select", "composite", "elevation"):
            self.done(step, cell)

    def done(self, step: str, cell: str | None = None) -> None:
        """Run a step; it may not fail."""
        code, text = self.run(step, cell)
        assert code == 0, text

    def run(self, step: str, cell: str | None = None, *, timeout_s: float = 300) -> tuple[int, str]:
        """Run a step; return its exit code and output."""
        done = subprocess.run(
            self.command(step, cell), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout_s,
            env=self.environment,
        )  # fmt: skip
        with self.log(step, cell).open("a") as log:
            log.write(done.stdout)
        return done.returncode, done.stdout

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment of the processes."""
        own = {"XDG_RUNTIME_DIR": str(self.runtime)} if self.runtime else {}
        return os.environ | {"PYTHONWARNINGS": "default"} | own

    def command(self, step: str, cell: str | None = None) -> list[str]:
        """Return the command of a step."""
        signing = ["--signing", "none"]
        if self.token_url:
            # The endpoint may be elsewhere than the files.
            signing = ["--signing", "token", "--token-url", self.token_url, "--hosts", urlsplit(self.url).netloc]
        where = ["--plan", str(self.plan), "--cell", str(cell)]
        options = {
            "search": ["--plan", str(self.plan), "--url", self.url, *self.search_options],
            "select": [
                *where, "--items", str(self.folder / "items.parquet"), "--cache", str(self.folder / "scene_statistics"),
                "--scenes-out", str(self.path(cell, "scenes.json")), "--dem-out", str(self.path(cell, "dem.json")),
                *signing,
            ],
            "composite": [*where, "--scenes", str(self.path(cell, "scenes.json")), *signing],
            "elevation": [*where, "--dem", str(self.path(cell, "dem.json")), *signing],
        }[step]  # fmt: skip
        out = {"search": self.folder / "items.parquet"} | {
            name: self.path(cell, f"{name}.tif") for name in ("composite", "elevation")
        }
        return [
            HEADWATER, step, "--log", str(self.log(step, cell)), *options,
            *(["--out", str(out[step])] if step in out else []),
        ]  # fmt: skip

    def log(self, step: str, cell: str | None = None) -> Path:
        """Return the path of a job's log, as in the workflow."""
        return self.folder / "logs" / "basin" / step / f"{cell}.log" if cell else self.folder / f"logs/basin/{step}.log"

    def events(self) -> list[dict[str, Any]]:
        """Return the events of all jobs."""
        files = sorted((self.folder / "logs").rglob("*.jsonl"))
        return [json.loads(line) for path in files for line in path.read_text().splitlines()]

    def path(self, cell: str | None, name: str) -> Path:
        """Return the path of a cell's file."""
        return self.folder / "cells" / str(cell) / name

    def scenes(self, cell: str) -> list[str]:
        """Return the ids of the selected scenes."""
        return [scene["id"] for scene in json.loads(self.path(cell, "scenes.json").read_bytes())["scenes"]]

    def products(self) -> dict[str, str]:
        """Return the digest of every file that a later step or a user reads, by its path."""
        files = [self.folder / "items.parquet", *(self.folder / "cells").glob("*/*")]
        return {
            str(path.relative_to(self.folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)
        }
