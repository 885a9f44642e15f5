"""`headwater demo run`: build the planets, serve them, run the real workflow on them, say where the results are."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from headwater.core.errors import InputError, WorkError
from headwater.demo.build import build_planet
from headwater.demo.server.serve import running_catalog
from headwater.project.config import check_config
from headwater.project.config_paths import read_config
from headwater.project.snakemake_call import call_snakemake

_LOCK = Path(".snakemake/demo.lock")


def run_demo(
    *,
    config: Path,
    planets: Path,
    seeds: Sequence[int],
    cores: str,
    port: int,
    size_degrees: tuple[float, float] = (0.3, 0.2),
    cell_degrees: float = 0.1,
    dates: int = 5,
) -> None:
    """Run the workflow on demo planets through their own catalog.

    Parameters
    ----------
    config : Path
        Configuration of the run; the basins of the planets are added to it.
    planets : Path
        Folder that holds one folder a planet.
    seeds : sequence of int
        Planets to map, side by side.
    cores : str
        Cores for the workflow: a number or "all".
    port : int
        Port of the catalog; the configuration names it.
    size_degrees, cell_degrees, dates
        Of the planets, see `headwater.demo.build.build_planet`; the configuration names the same cells.

    Raises
    ------
    InputError
        The current folder is not the repository.
    WorkError
        The port is taken, or the workflow failed.
    """
    if not Path("Snakefile").is_file() or not config.is_file():
        raise InputError(f"Snakefile or {config} is not in this folder.", "Run it from the folder of the repository.")
    check_config(read_config(config, run_folder=Path.cwd()))
    folders = [planets / f"planet-{seed}" for seed in seeds]
    with _only_one_run() as lock:
        for seed, folder in zip(seeds, folders, strict=True):
            print(f"Planet {seed}: {folder}", file=sys.stderr, flush=True)
            build_planet(
                seed,
                folder,
                size_degrees=size_degrees,
                cell_degrees=cell_degrees,
                dates=dates,
                jobs=os.cpu_count() or 1,
            )
        basins = [json.loads((folder / "planet.json").read_text())["basin_id"] for folder in folders]
        with running_catalog(folders, port=port):
            polygons = [str(folder / "hydrobasins.gpkg") for folder in folders]
            chosen = "basins=" + json.dumps({"polygons": polygons, "ids": basins})
            options = ["--configfile", str(config), "--cores", cores, "--config", chosen]
            code = call_snakemake(options, keep_open=[lock])
            if code != 0:
                raise WorkError(
                    f"The workflow ended with exit code {code}.",
                    "Fix the cause, which the last lines above name, and rerun the command; it resumes.",
                )


@contextmanager
def _only_one_run() -> Iterator[int]:
    """Hold a lock that a killed run gives back by itself, and clear what such a run left of snakemake's own lock.

    snakemake inherits the lock's descriptor: where only this process was killed and snakemake goes on, the lock
    stays held until it has ended, and the next run waits for it.
    """
    _LOCK.parent.mkdir(exist_ok=True)
    with _LOCK.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another run of the demo is going on here; waiting for it to end.", file=sys.stderr, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        was_killed = file.read().strip() != ""
        if was_killed:
            # We hold the lock and the last demo here never gave its own back: snakemake's lock is that dead run's.
            shutil.rmtree(".snakemake/locks", ignore_errors=True)
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        try:
            yield file.fileno()
        finally:
            file.truncate(0)
