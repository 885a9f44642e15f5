"""Arguments of the steps that make lines: backbone, vectorize, network, report."""

from __future__ import annotations

import argparse
from pathlib import Path

from headwater.cli.arguments import EACH_CELL, FORMATS, add_out, add_plan
from headwater.core.errors import InputError


def backbone(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `headwater backbone`."""
    add_plan(parser)
    parser.add_argument("--kind", choices=("tdx", "dem"), required=True)
    parser.add_argument("--streams", type=Path, help="TDX-Hydro streamnet, for kind tdx")
    parser.add_argument("--catchments", type=Path, help="TDX-Hydro catchments, for kind tdx")
    parser.add_argument("--polygons", type=Path, nargs="+", default=[], help="basin polygons, for kind dem")
    parser.add_argument(
        "--elevation", type=Path, nargs="+", default=[], help=f"elevation.tif {EACH_CELL}, for kind dem"
    )
    parser.add_argument("--min-area-km2", type=float, default=5.0, help="where a reach begins, for kind dem")
    parser.add_argument("--reaches-out", dest="out_reaches", type=Path, required=True)
    parser.add_argument("--catchments-out", dest="out_catchments", type=Path, required=True)

    def run(plan: Path, elevation: list[Path], **options: object) -> None:
        from headwater.geo.plan import cell_paths
        from headwater.waterways.backbone_step import backbone

        backbone(plan, elevation=cell_paths(elevation, plan), **options)  # type: ignore[arg-type]

    parser.set_defaults(run=run)


def vectorize(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `headwater vectorize`."""
    parser.description = (
        "Turn probability into waterways that join a stream network. With --cell: the segments of one cell, from "
        "--reaches and --catchments as `backbone` writes them. Without: the whole network in one go, from "
        "--streams and --catchments with TDX-Hydro's columns."
    )
    parser.add_argument("--probability", type=Path, nargs="+", required=True, help="probability.tif or mosaic.vrt")
    parser.add_argument("--elevation", type=Path, nargs="+", required=True, help="metres, over the same area")
    parser.add_argument("--streams", type=Path, help="streams with TDX-Hydro's columns (GeoPackage or GeoParquet)")
    parser.add_argument("--reaches", type=Path, help="reaches.parquet, with --cell")
    parser.add_argument("--catchments", type=Path, required=True, help="catchments.parquet, or TDX-Hydro's")
    parser.add_argument("--cell", help="name of the cell")
    parser.add_argument(
        "--basin", dest="basin_id", default="0", help="HYBAS_ID; without it ids are not unique in the world"
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes, without --cell (default 1)")
    parser.add_argument("--threshold", type=float, default=0.5, help="probability of water (default 0.5)")
    parser.add_argument("--floor", type=float, default=0.1, help="cells up to this have one price (default 0.1)")
    parser.add_argument("--min-piece-px", type=int, default=4, help="shortest end of a line, pixels (default 4)")
    parser.add_argument(
        "--bits-below-floor", type=float, default=4.0, help="price of a pixel without signal, bits (default 4)"
    )
    parser.add_argument(
        "--worth-per-px", type=float, default=16.0, help="bits paid to join water, per pixel of its length (default 16)"
    )
    parser.add_argument(
        "--method",
        choices=("headwater", "published"),
        default="headwater",
        help="on whole windows, or catchment by catchment as Pierson and Mehrabi (2024) (default headwater)",
    )
    parser.add_argument("--water-out", dest="water", type=Path, help="polygons of wide water to write (GeoParquet)")
    parser.add_argument("--lakes", type=Path, help="without --cell: polygons that tell intersects_lake")
    _format(parser)
    add_out(parser, "waterways.parquet (and, without --cell, waterways.checks.json beside it)")

    def run(
        cell: str | None,
        reaches: Path | None,
        streams: Path | None,
        probability: list[Path],
        elevation: list[Path],
        basin_id: str,
        jobs: int,
        lakes: Path | None,
        formats: list[str],
        method: str,
        threshold: float,
        floor: float,
        min_piece_px: int,
        bits_below_floor: float,
        worth_per_px: float,
        **options: object,
    ) -> None:
        from headwater.waterways.settings import Settings
        from headwater.waterways.vectorize_step import vectorize, vectorize_cell

        options["settings"] = Settings(
            method=method,
            threshold=threshold,
            floor=floor,
            min_component_px=min_piece_px,
            cost_below_floor=bits_below_floor,
            max_cost_per_px=worth_per_px,
        )
        if cell is not None:
            if reaches is None:
                raise InputError("--cell is given without --reaches.", "Give reaches.parquet of the basin.")
            vectorize_cell(probability, elevation, reaches, cell=cell, **options)  # type: ignore[arg-type]
            return
        if streams is None or len(probability) != 1 or len(elevation) != 1:
            raise InputError(
                "Without --cell, --streams and exactly one raster each of --probability and --elevation are needed.",
                "Give them, or --cell and --reaches.",
            )
        vectorize(
            probability[0],
            elevation[0],
            streams,
            basin_id=basin_id,
            jobs=jobs,
            lakes=lakes,
            formats=formats,
            **options,  # type: ignore[arg-type]
        )

    parser.set_defaults(run=run)


def _format(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--format",
        dest="formats",
        action="append",
        choices=FORMATS,
        default=[],
        help="written beside it as well; may be given several times",
    )


def network(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `headwater network`."""
    parser.add_argument("--segments", type=Path, nargs="+", help=f"waterways.parquet {EACH_CELL}")
    parser.add_argument("--plan", type=Path, help="plan.json of the basin, where {cell} is used")
    parser.add_argument("--reaches", type=Path, help="reaches.parquet of the basin")
    parser.add_argument("--basin", dest="basin_id", help="HYBAS_ID")
    parser.add_argument("--out", type=Path, help="waterways.parquet to write")
    parser.add_argument("--checks", type=Path, help="waterways.checks.json to write")
    parser.add_argument("--lakes", type=Path, help="polygons that tell intersects_lake (default: it is false)")
    parser.add_argument("--water", type=Path, nargs="+", default=[], help=f"water.parquet {EACH_CELL}")
    parser.add_argument("--water-out", type=Path, help="water.parquet of the basin to write")
    _format(parser)
    tools = parser.add_subparsers(metavar="check")
    check = tools.add_parser("check", help="check that a file is a valid network")
    check.add_argument("file", type=Path, help="GeoParquet or GeoPackage with the network's columns")

    def run_check(file: Path, **_: object) -> int:
        from headwater.waterways.network_step import check as check_file

        return 1 if check_file(file) else 0

    def run(plan: Path | None, **options: object) -> None:
        from headwater.geo.plan import cell_paths
        from headwater.waterways.network_step import network

        missing = [name for name, value in options.items() if value is None and name not in ("lakes", "water_out")]
        if missing:
            raise InputError(
                f"--{missing[0].replace('_id', '')} is not given.", "Give it, or use `headwater network check FILE`."
            )
        segments: list[Path] = options.pop("segments")  # type: ignore[assignment]
        water: list[Path] = options.pop("water")  # type: ignore[assignment]
        network(cell_paths(segments, plan), water=cell_paths(water, plan), **options)  # type: ignore[arg-type]

    check.set_defaults(run=run_check)
    parser.set_defaults(run=run)


def report(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `headwater report`."""
    add_plan(parser)
    parser.add_argument("--network", type=Path, required=True, help="waterways.parquet of the basin")
    parser.add_argument("--checks", type=Path, required=True, help="waterways.checks.json of the basin")
    for name in ("composite", "elevation", "probability"):
        parser.add_argument(f"--{name}", type=Path, nargs="+", default=[], help=f"{name}.tif {EACH_CELL}; or none")
    parser.add_argument("--summary", type=Path, required=True, help="summary.csv to write")
    parser.add_argument("--page", type=Path, required=True, help="index.html to write; its pictures go beside it")
    parser.add_argument("--benchmarks", type=Path, help="folder of the benchmarks of the basin's jobs, for the page")

    def run(
        plan: Path, composite: list[Path], elevation: list[Path], probability: list[Path], **options: object
    ) -> None:
        from headwater.geo.plan import cell_paths
        from headwater.report.step import report

        rasters = {"composite": composite, "elevation": elevation, "probability": probability}
        found = {name: cell_paths(paths, plan) for name, paths in rasters.items()}
        report(plan, **found, **options)  # type: ignore[arg-type]

    parser.set_defaults(run=run)
