"""Arguments of what makes and judges weights: train, chips, models, evaluate."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.cli.arguments import add_out, number, whole
from headwater.core.errors import InputError

if TYPE_CHECKING:
    Actions = argparse._SubParsersAction[argparse.ArgumentParser]


def train(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `headwater train`."""
    parser.add_argument("config_path", metavar="CONFIG", type=Path, help="YAML, such as config/train-demo.yaml")
    parser.add_argument("--find-lr", action="store_true", help="only try learning rates and suggest one")

    def run(config_path: Path, find_lr: bool) -> None:
        from headwater.train.run import train

        train(config_path, find_lr=find_lr)

    parser.set_defaults(run=run)


def chips(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `headwater chips`."""
    parser.add_argument("config_path", metavar="CONFIG", type=Path, help="YAML, see docs/reference/training.md")

    def run(config_path: Path) -> None:
        from headwater.train.cut import chips

        chips(config_path)

    parser.set_defaults(run=run)


def models(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `headwater models`."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    listing = actions.add_parser("list", help="list networks, channel recipes and the default checkpoint")

    def run_list() -> None:
        from headwater.models.inspect import list_models

        list_models()

    listing.set_defaults(run=run_list)

    info = actions.add_parser("info", help="print what a checkpoint says of itself")
    info.add_argument("file", metavar="FILE", nargs="?", type=Path, help=".safetensors (default: Headwater's own)")

    def run_info(file: Path | None) -> None:
        from headwater.models.inspect import show_model

        show_model(file)

    info.set_defaults(run=run_info)

    importing = actions.add_parser("import", help="make a checkpoint from published weights")
    importing.add_argument("network", choices=("waternet", "evanet"), help="whose weights they are")
    importing.add_argument("file", metavar="FILE", type=Path, help=".pt, .ckpt or .safetensors with a state_dict")
    importing.add_argument("--out", type=Path, required=True, help=".safetensors to write; its .json goes beside it")
    importing.add_argument("--recipe", help="channels it was trained with (default: those of the published program)")
    importing.add_argument("--license", "--licence", help="license of the weights")
    importing.add_argument(
        "--pixel-m", type=number(0.01, 10_000), help="pixel size they were trained at (default: the recipe's)"
    )

    def run_import(
        network: str, file: Path, out: Path, recipe: str | None, license: str | None, pixel_m: float | None
    ) -> None:
        from headwater.models.inspect import import_model

        import_model(network, file, out, recipe=recipe, license=license, pixel_m=pixel_m)

    importing.set_defaults(run=run_import)

    from headwater.cli.fetching import models_fetch

    models_fetch(actions)

    verify = actions.add_parser("verify", help="load a checkpoint and run it twice on a seeded input")
    verify.add_argument("file", metavar="FILE", type=Path, help=".safetensors")

    def run_verify(file: Path) -> None:
        from headwater.models.inspect import verify_model

        verify_model(file)

    verify.set_defaults(run=run_verify)


def evaluate(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `headwater evaluate`."""
    parser.add_argument("--network", type=Path, help="waterways.parquet")
    parser.add_argument("--truth", type=Path, help="lines of the true channels")
    parser.add_argument("--elevation", type=Path, nargs="+", help="elevation.tif, for the baseline")
    parser.add_argument("--polygons", type=Path, nargs="+", help="basin polygons")
    parser.add_argument("--basin", dest="basin_id", help="HYBAS_ID")
    parser.add_argument(
        "--buffer-m", type=number(0, 100_000), default=40.0, help="distance (default 40: two 20 m pixels)"
    )
    parser.add_argument("--area", type=Path, help="polygons outside of which nothing counts, such as catchments")
    parser.add_argument("--out", type=Path, help="scores.json to write")
    tools = parser.add_subparsers(metavar="pixels|lines")

    _add_pixels(tools)
    _add_lines(tools)

    def run(
        network: Path | None,
        truth: Path | None,
        elevation: list[Path] | None,
        polygons: list[Path] | None,
        basin_id: str | None,
        buffer_m: float,
        area: Path | None,
        out: Path | None,
    ) -> None:
        if network is None or truth is None or elevation is None or polygons is None or basin_id is None:
            needed = {"network": network, "truth": truth, "elevation": elevation, "polygons": polygons}
            missing = next((name for name, value in needed.items() if value is None), "basin")
            raise InputError(
                f"--{missing} is not given.",
                "Give it, or use `headwater evaluate pixels` or `headwater evaluate lines`.",
            )
        from headwater.evaluate.basin_scores import evaluate

        evaluate(network, truth, elevation, polygons, basin_id, buffer_m=buffer_m, area=area, out=out)

    parser.set_defaults(run=run)


def _add_pixels(tools: Actions) -> None:
    pixels = tools.add_parser("pixels", help="score probability rasters against labels of water types")
    pixels.add_argument("--probability", type=Path, nargs="+", required=True, help="probability.tif, one or more")
    pixels.add_argument("--labels", type=Path, nargs="+", default=[], help="NHD files (GeoPackage, FileGDB, ...)")
    pixels.add_argument(
        "--label-raster", dest="label_rasters", type=Path, nargs="+", default=[], help="or water types of each raster"
    )
    pixels.add_argument("--region", dest="regions", nargs="+", default=[], help="name of each raster's region")
    pixels.add_argument("--area", type=Path, help="polygons that the labels cover (default: all of the rasters)")
    pixels.add_argument(
        "--threshold", type=number(0, 1), default=0.5, help="water from this probability on (default 0.5)"
    )
    pixels.add_argument(
        "--tile-px",
        type=whole(1, 100_000),
        default=416,
        help="side of the tiles of which subsets are scored, pixels of the prediction (default 416)",
    )
    add_out(pixels, "folder of tables")

    def run_pixels(
        probability: list[Path],
        labels: list[Path],
        label_rasters: list[Path],
        regions: list[str],
        area: Path | None,
        out: Path,
        **numbers: Any,
    ) -> None:
        from headwater.evaluate.pixel_scores import evaluate_pixels

        chosen = {name: numbers[name] for name in ("threshold", "tile_px") if name in numbers}
        evaluate_pixels(
            probability, out, labels=labels, label_rasters=label_rasters, regions=regions, area=area, **chosen
        )

    pixels.set_defaults(run=run_pixels)


def _add_lines(tools: Actions) -> None:
    lines = tools.add_parser("lines", help="score networks against true lines by Strahler order, and sum up lengths")
    lines.add_argument("--network", type=Path, nargs="+", required=True, help="waterways.parquet, one or more")
    lines.add_argument("--truth", type=Path, required=True, help="true lines; strahler_order or StreamOrde is used")
    lines.add_argument("--truth-layer", help="layer of the true lines")
    lines.add_argument(
        "--pixels", type=number(0, 10_000), nargs="+", default=[1, 2, 3], help="distances in 20 m (default 1 2 3)"
    )
    lines.add_argument("--nhd", type=Path, nargs="+", default=[], help="NHD files with the waterways' types")
    add_out(lines, "folder of tables")

    def run_lines(
        network: list[Path],
        truth: Path,
        truth_layer: str | None,
        nhd: list[Path],
        out: Path,
        pixels: list[float],
        **_: object,
    ) -> None:
        from headwater.evaluate.line_scores import evaluate_lines

        evaluate_lines(network, truth, out, truth_layer=truth_layer, pixels=pixels, nhd=nhd)

    lines.set_defaults(run=run_lines)
