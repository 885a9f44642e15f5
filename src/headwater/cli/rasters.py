"""Arguments of the steps that make rasters of elevation and probability: elevation, predict, mosaic."""

from __future__ import annotations

import argparse
from pathlib import Path

from headwater.cli.arguments import EACH_CELL, add_cell, add_out, add_plan
from headwater.cli.options import SIGNING, Values, add_settings, given


def elevation(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `headwater elevation`."""
    parser.add_argument("--dem", type=Path, required=True, help="dem.json of the cell")
    add_plan(parser)
    add_cell(parser)
    parser.add_argument("--polygons", type=Path, nargs="+", default=[], help="basin polygons: land, as opposed to sea")
    parser.add_argument("--basin", dest="basin_id", help="HYBAS_ID of the polygon (default: the plan's)")
    add_settings(parser, "elevation")
    add_settings(parser, "catalog", only=SIGNING)
    add_out(parser, "elevation.tif")

    def run(
        dem: Path,
        plan: Path,
        cell: str,
        polygons: list[Path],
        basin_id: str | None,
        out: Path,
        values: Values | None,
    ) -> None:
        from headwater.stac.settings import SigningSettings
        from headwater.terrain.elevation import elevation
        from headwater.terrain.settings import ElevationSettings

        elevation(
            dem,
            plan,
            cell,
            out,
            polygons=polygons,
            basin_id=basin_id,
            settings=given(ElevationSettings, values),
            signing=given(SigningSettings, values),
        )

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
    add_settings(parser, "predict")
    add_out(parser, "probability.tif")

    def run(
        composite: Path,
        elevation: Path,
        plan: Path,
        cell: str,
        checkpoint: list[Path] | None,
        out: Path,
        values: Values | None,
    ) -> None:
        from headwater.predict.settings import PredictSettings

        settings = given(PredictSettings, values)
        from headwater.predict.step import predict

        predict(composite, elevation, cell, plan, out, checkpoint=checkpoint, settings=settings)

    parser.set_defaults(run=run)


def mosaic(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `headwater mosaic`."""
    parser.add_argument("--rasters", type=Path, nargs="+", required=True, help=f"probability.tif {EACH_CELL}")
    add_plan(parser, required=False)
    add_out(parser, "mosaic.vrt")

    def run(rasters: list[Path], plan: Path | None, out: Path) -> None:
        from headwater.geo.plan import cell_paths
        from headwater.raster.mosaic import mosaic

        mosaic(cell_paths(rasters, plan), out)

    parser.set_defaults(run=run)
