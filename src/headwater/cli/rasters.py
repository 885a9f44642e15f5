"""Arguments of the steps that make rasters: composite, elevation, predict, mosaic."""

from __future__ import annotations

import argparse
from pathlib import Path

from headwater.cli.arguments import EACH_CELL, add_cell, add_out, add_plan, add_signing


def composite(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `headwater composite`."""
    parser.add_argument("--scenes", type=Path, required=True, help="scenes.json of the cell")
    add_plan(parser)
    add_cell(parser)
    parser.add_argument("--method", choices=("best_first", "mean", "median"), default="mean")
    parser.add_argument("--dilate-px", type=int, default=2, help="widening of clouds, 10 m pixels (default 2)")
    parser.add_argument("--mask", choices=("scl", "omnicloudmask"), default="scl", help="what tells clouds")
    parser.add_argument("--allow-cloud", action="store_true", help="keep cloudy views where no scene is clear")
    parser.add_argument("--reader", choices=("rasterio", "odc", "stackstac"), default="rasterio")
    parser.add_argument("--readers", type=int, default=4, help="bands read at the same time (default 4)")
    add_signing(parser)
    add_out(parser, "composite.tif")

    def run(**options: object) -> None:
        from headwater.imagery.composite import composite

        composite(**options)  # type: ignore[arg-type]

    parser.set_defaults(run=run)


def elevation(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `headwater elevation`."""
    parser.add_argument("--dem", type=Path, required=True, help="dem.json of the cell")
    add_plan(parser)
    add_cell(parser)
    parser.add_argument("--polygons", type=Path, nargs="+", default=[], help="basin polygons, which tell land from sea")
    parser.add_argument("--basin", dest="basin_id", help="HYBAS_ID of the polygon (default: the plan's)")
    parser.add_argument(
        "--missing",
        choices=("sea", "extend", "refuse", "zero"),
        default="sea",
        help="what to make of places without elevation (default sea)",
    )
    add_signing(parser)
    add_out(parser, "elevation.tif")

    def run(**options: object) -> None:
        from headwater.terrain.elevation import elevation

        elevation(**options)  # type: ignore[arg-type]

    parser.set_defaults(run=run)


def predict(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `headwater predict`."""
    parser.add_argument("--composite", type=Path, required=True, help="composite.tif of the cell")
    parser.add_argument("--elevation", type=Path, required=True, help="elevation.tif of the cell")
    add_plan(parser)
    add_cell(parser)
    parser.add_argument(
        "--checkpoint", type=Path, nargs="+", help="checkpoint, or several to average (default: Headwater's own)"
    )
    parser.add_argument("--tile-px", type=int, default=832, help="side of a tile, 10 m pixels (default 832)")
    parser.add_argument("--overlap-px", type=int, default=208, help="least overlap of tiles (default 208)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 (default auto)")
    parser.add_argument(
        "--dtype",
        choices=("auto", "float32", "bf16", "fp16"),
        default="auto",
        help="what the network computes in (default auto: 16 bits on a GPU, float32 on the CPU)",
    )
    parser.add_argument(
        "--compile", action=argparse.BooleanOptionalAction, default=False, help="compile the network first"
    )
    parser.add_argument("--batch-size", type=int, default=0, help="tiles at once (default 0: as many as fit)")
    parser.add_argument("--threads", type=int, default=1, help="tiles side by side on the CPU (default 1)")
    parser.add_argument(
        "--tta", action=argparse.BooleanOptionalAction, default=False, help="mean over the 8 symmetries of the square"
    )
    parser.add_argument("--max-missing", type=float, help="largest missing share of a tile (default: the checkpoint's)")
    add_out(parser, "probability.tif")

    def run(**options: object) -> None:
        from headwater.predict.step import predict

        predict(**options)  # type: ignore[arg-type]

    parser.set_defaults(run=run)


def mosaic(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `headwater mosaic`."""
    parser.add_argument("--rasters", type=Path, nargs="+", required=True, help=f"probability.tif {EACH_CELL}")
    parser.add_argument("--plan", type=Path, help="plan.json of the basin, where {cell} is used")
    add_out(parser, "mosaic.vrt")

    def run(rasters: list[Path], plan: Path | None, **options: object) -> None:
        from headwater.geo.plan import cell_paths
        from headwater.raster.mosaic import mosaic

        mosaic(cell_paths(rasters, plan), **options)  # type: ignore[arg-type]

    parser.set_defaults(run=run)
