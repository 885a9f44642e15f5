"""Arguments of the steps that make rasters of elevation and probability: elevation, predict, mosaic."""

from __future__ import annotations

import argparse
from pathlib import Path

from headwater.cli.arguments import EACH_CELL, add_cell, add_out, add_plan
from headwater.cli.options import SIGNING, Values, add_settings, given
from headwater.core.errors import InputError


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
    parser.description = (
        "Write the probability of water of one cell: by the network, from --composite and --elevation; or, with "
        "--published, from published rasters."
    )
    parser.add_argument("--composite", type=Path, help="composite.tif of the cell")
    parser.add_argument(
        "--elevation",
        type=Path,
        help="elevation.tif of the cell; with --published optional, to tell land from sea where a raster is missing",
    )
    add_plan(parser)
    add_cell(parser)
    parser.add_argument(
        "--checkpoint",
        type=Path,
        nargs="+",
        help="checkpoint, or several to average; waternet: the fetched one (default: Headwater's own)",
    )
    parser.add_argument(
        "--items", type=Path, help="items.parquet of the basin: whether the scenes are of a demo planet (default: no)"
    )
    parser.add_argument(
        "--published",
        nargs="?",
        const="",
        metavar="PLACE",
        help="take published rasters, from this address or folder (default: WaterNet's), instead of the network",
    )
    add_settings(parser, "predict")
    add_settings(parser, "catalog", only=SIGNING)
    add_out(parser, "probability.tif")

    def run(
        composite: Path | None,
        elevation: Path | None,
        plan: Path,
        cell: str,
        checkpoint: list[Path] | None,
        items: Path | None,
        published: str | None,
        out: Path,
        values: Values | None,
    ) -> None:
        from headwater.predict.settings import PUBLISHED_RASTERS, PredictSettings

        settings = given(PredictSettings, values)
        if published is not None:
            for_network = [
                composite and "--composite",
                checkpoint and "--checkpoint",
                *(values or {}).get("predict", ()),
            ]
            _refuse_with_published([str(name) for name in for_network if name])
            from headwater.predict.published import predict_published
            from headwater.stac.settings import SigningSettings

            hosts = given(SigningSettings, values).hosts
            place = published or PUBLISHED_RASTERS
            predict_published(plan, cell, out, place=place, elevation=elevation, hosts=hosts)
            return
        if composite is None or elevation is None:
            raise InputError(
                "The network needs --composite and --elevation.", "Give both, or --published for published rasters."
            )
        from headwater.fetch.settings import FetchSettings
        from headwater.models.shipped import checkpoint_named
        from headwater.predict.step import predict

        files = [checkpoint_named(each, FetchSettings().path) for each in checkpoint or ()]
        predict(composite, elevation, cell, plan, out, checkpoint=files or None, settings=settings, items=items)

    parser.set_defaults(run=run)


def _refuse_with_published(names: list[str]) -> None:
    if names:
        name = names[0] if names[0].startswith("--") else f"--{names[0].replace('_', '-')}"
        raise InputError(f"{name} is for the network, but --published is given.", "Give one or the other.")


def mosaic(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `headwater mosaic`."""
    parser.description = "Combine the cells' rasters side by side. For further kinds, give --rasters and --out again."
    parser.add_argument(
        "--rasters", type=Path, nargs="+", action="append", required=True, help=f"probability.tif {EACH_CELL}"
    )
    add_plan(parser, required=False)
    parser.add_argument("--out", type=Path, action="append", required=True, help="mosaic.vrt to write")

    def run(rasters: list[list[Path]], plan: Path | None, out: list[Path]) -> None:
        from headwater.geo.plan import cell_paths
        from headwater.raster.mosaic import mosaic, remove_other_mosaics

        if len(rasters) != len(out):
            raise InputError(
                f"--rasters is given {len(rasters)} time(s), and --out {len(out)}.",
                "Give as many of each.",
            )
        for paths, path in zip(rasters, out, strict=True):
            mosaic(cell_paths(paths, plan), path)
        if plan is not None:
            remove_other_mosaics(out)

    parser.set_defaults(run=run)
