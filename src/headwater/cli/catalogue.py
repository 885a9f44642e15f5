"""Arguments of what finds things: plan, search, select, items, why."""

from __future__ import annotations

import argparse
from pathlib import Path

from headwater.cli.arguments import add_cell, add_out, add_plan, add_signing
from headwater.core.errors import InputError


def plan(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `headwater plan`."""
    parser.add_argument(
        "--polygons", "--basins", type=Path, nargs="+", default=[], help="files of HydroBASINS polygons"
    )
    parser.add_argument("--basin", dest="basin_ids", nargs="+", default=[], help="HYBAS_ID; several with --all")
    parser.add_argument("--cell-degrees", type=float, default=1.0, help="side of a cell (default 1)")
    parser.add_argument("--margin-px", type=int, default=64, help="margin of a cell, 10 m pixels (default 64)")
    parser.add_argument(
        "--all", dest="every", action="store_true", help="what all 62 basins, or those named, will cost"
    )
    parser.add_argument("--tiles", dest="tile_index", type=Path, help="with --all: index of GLO-30's tiles, GeoParquet")
    add_out(parser, "plan.json, or with --all summary.csv,")

    def run(
        every: bool, tile_index: Path | None, polygons: list[Path], basin_ids: list[str], **options: object
    ) -> None:
        if every:
            from headwater.project.budget import plan_all

            if tile_index is None:
                raise InputError("--tiles is not given.", "Give the index of GLO-30's tiles with --all.")
            plan_all(tile_index, polygons=polygons, basin_ids=basin_ids, **options)  # type: ignore[arg-type]
            return
        from headwater.geo.plan import write_plan

        if not polygons or len(basin_ids) != 1:
            raise InputError("A plan is of one basin.", "Give --polygons and one --basin, or --all with --tiles.")
        write_plan(polygons, basin_ids[0], **options)  # type: ignore[arg-type]

    parser.set_defaults(run=run)


def why(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `headwater why`."""
    parser.add_argument("cell", metavar="CELL", help="name of the cell")
    parser.add_argument("--basin", dest="basin_id", required=True, help="HYBAS_ID")
    parser.add_argument("--config", type=Path, default=Path("config/config.yaml"), help="(default config/config.yaml)")
    parser.add_argument("--snakefile", type=Path, default=Path("Snakefile"), help="the workflow (default Snakefile)")
    parser.add_argument("--directory", type=Path, default=Path(), help="folder it runs in (default: this one)")

    def run(**options: object) -> None:
        from headwater.project.why import why

        why(**options)  # type: ignore[arg-type]

    parser.set_defaults(run=run)


def search(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `headwater search`."""
    add_plan(parser)
    parser.add_argument("--url", required=True, help="STAC API, folder of items, or STAC GeoParquet (file or folder)")
    parser.add_argument("--datetime", required=True, help="YYYY-MM-DD/YYYY-MM-DD")
    parser.add_argument("--years-back", type=int, default=1, help="earlier years searched as well (default 1)")
    parser.add_argument("--max-cloud-cover", type=float, default=90.0, help="percent (default 90)")
    parser.add_argument("--sentinel2-collection", default="sentinel-2-l2a")
    parser.add_argument("--dem-collections", nargs="+", default=["cop-dem-glo-30", "cop-dem-glo-90"])
    parser.add_argument("--slice-days", type=int, default=31, help="days an API is asked for at a time (default 31)")
    parser.add_argument("--workers", type=int, default=2, help="requests to an API at once (default 2)")
    parser.add_argument("--timeout-s", type=float, default=60.0, help="seconds a request may take (default 60)")
    parser.add_argument("--page-limit", type=int, default=250, help="items a page (default 250)")
    add_out(parser, "items.parquet")

    def run(**options: object) -> None:
        from headwater.imagery.search import search

        search(**options)  # type: ignore[arg-type]

    parser.set_defaults(run=run)


def select(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `headwater select`."""
    parser.add_argument("--items", type=Path, required=True, help="items.parquet")
    add_plan(parser)
    add_cell(parser)
    parser.add_argument("--scenes-out", type=Path, required=True, help="scenes.json to write")
    parser.add_argument("--dem-out", type=Path, required=True, help="dem.json to write")
    parser.add_argument("--cache", dest="cache_dir", type=Path, required=True, help="folder of scene statistics")
    parser.add_argument("--max-scenes", type=int, default=6, help="most scenes of an MGRS tile (default 6)")
    parser.add_argument(
        "--cloud-steps",
        type=float,
        nargs="+",
        default=[1, 11, 21, 31, 41, 51, 61, 71, 81, 91, 101],
        help="cloud limits in percent, rising (default 1 11 21 ... 101)",
    )
    parser.add_argument("--min-gain", type=float, default=0.1, help="least share a scene must add (default 0.1)")
    parser.add_argument("--stop-uncovered", type=float, default=0.01, help="share left unseen (default 0.01)")
    parser.add_argument("--missing-scl", choices=("clear", "refuse"), default="clear")
    add_signing(parser)

    def run(**options: object) -> None:
        from headwater.imagery.select import select

        select(**options)  # type: ignore[arg-type]

    parser.set_defaults(run=run)


def items(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `headwater items`."""
    parser.add_argument("folder", type=Path, help="folder of rasters: B02, B03, B04, B08 (and SCL) and a DEM")
    parser.add_argument("--dem", type=Path, nargs="+", required=True, help="elevation raster(s), metres")
    parser.add_argument("--datetime", required=True, help="when the scene was taken, YYYY-MM-DD")
    parser.add_argument("--basin", dest="basin_id", required=True, help="id to give the place")
    parser.add_argument("--baseline", default="00.00", help="processing baseline; from 04.00 on 1000 is subtracted")
    parser.add_argument("--out", type=Path, required=True, help="folder of the catalogue to write")

    def run(**options: object) -> None:
        from headwater.imagery.own_rasters import items_from_folder

        items_from_folder(**options)  # type: ignore[arg-type]

    parser.set_defaults(run=run)
