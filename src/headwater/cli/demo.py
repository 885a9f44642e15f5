"""Arguments of the demo planet: build, serve, run."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from headwater.cli.arguments import number, whole


def demo(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `headwater demo`."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    build = actions.add_parser("build", help="make a demo planet")
    build.add_argument("--seed", type=whole(0, 2**31 - 1), required=True)
    build.add_argument("--out", type=Path, required=True, help="folder of the planet")
    _planet(build)
    build.add_argument(
        "--variety",
        dest="preset",
        choices=("plain", "wide"),
        default="plain",
        help="how much planets differ: plain as in the demo (default), wide as for training",
    )
    build.add_argument(
        "--jobs", type=whole(1, 4096), default=os.cpu_count() or 1, help="processes (default: all cores)"
    )

    def run_build(
        seed: int,
        out: Path,
        size_degrees: tuple[float, float],
        cell_degrees: float,
        dates: int,
        preset: str,
        jobs: int,
    ) -> None:
        from headwater.demo.build import build_planet

        build_planet(
            seed, out, size_degrees=size_degrees, cell_degrees=cell_degrees, dates=dates, preset=preset, jobs=jobs
        )

    build.set_defaults(run=run_build)

    serve = actions.add_parser("serve", help="serve planets as a STAC API with signed assets")
    serve.add_argument("folders", metavar="DIR", type=Path, nargs="+")
    serve.add_argument("--host", default="127.0.0.1")
    serve.add_argument("--port", type=whole(0, 65_535), default=8321)
    serve.add_argument(
        "--token-lifetime",
        dest="token_lifetime_s",
        type=number(0.01, 1e7),
        default=2700.0,
        help="seconds (default 2700)",
    )

    def run_serve(folders: list[Path], host: str, port: int, token_lifetime_s: float) -> None:
        from headwater.demo.server.serve import serve as serve_folders

        serve_folders(folders, host=host, port=port, token_lifetime_s=token_lifetime_s)

    serve.set_defaults(run=run_serve)

    everything = actions.add_parser("run", help="build the planets, serve them and run the workflow")
    everything.add_argument("--config", type=Path, default=Path("config/demo.yaml"))
    everything.add_argument("--planets", type=Path, default=Path("demo"), help="folder of planets (default demo)")
    everything.add_argument(
        "--seeds", type=whole(0, 2**31 - 1), nargs="+", default=[1], help="planets to map (default 1)"
    )
    everything.add_argument("--port", type=whole(0, 65_535), default=8321, help="port of the catalog (default 8321)")
    everything.add_argument("--cores", default="all", help="cores for the workflow (default all)")
    _planet(everything)

    def run_demo(
        config: Path,
        planets: Path,
        seeds: list[int],
        port: int,
        cores: str,
        size_degrees: tuple[float, float],
        cell_degrees: float,
        dates: int,
    ) -> None:
        from headwater.project.demo_run import run_demo as run_everything

        run_everything(
            config=config,
            planets=planets,
            seeds=seeds,
            cores=cores,
            port=port,
            size_degrees=size_degrees,
            cell_degrees=cell_degrees,
            dates=dates,
        )

    everything.set_defaults(run=run_demo)


def _planet(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--size-degrees",
        type=number(0.01, 360),
        nargs=2,
        default=(0.3, 0.2),
        metavar=("LON", "LAT"),
        help="(default 0.3 0.2)",
    )
    parser.add_argument("--cell-degrees", type=number(0.01, 10), default=0.1, help="(default 0.1)")
    parser.add_argument("--dates", type=whole(1, 1000), default=5, help="acquisitions of each MGRS tile (default 5)")
