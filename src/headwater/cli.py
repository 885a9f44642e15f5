"""The command line: one subcommand a step, named as its rule. It parses arguments and calls a function, no more.

Heavy imports wait until the subcommand runs, so that `--help` is quick.
"""

from __future__ import annotations

import argparse
import atexit
import gc
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from headwater.errors import HeadwaterError, InputError
from headwater.events import recorded

_Add = Callable[[argparse.ArgumentParser], None]
_EACH_CELL = "of each cell, or one path with {cell} in place of its name"
_FORMATS = ("gpkg", "fgb", "pmtiles", "published")
_OBJECTS_BETWEEN_SEARCHES = 100_000
_SIGNING = ("planetary_computer", "token", "none")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 done, 1 the work failed, 2 bad arguments or configuration."""
    # Libraries make a million objects as they load, hardly any in circles: to search them for garbage at each 700 new
    # ones, and at the end once more, is a tenth of the time that a short command takes.
    gc.set_threshold(_OBJECTS_BETWEEN_SEARCHES)
    atexit.register(gc.freeze)
    parser = build_parser()
    arguments = parser.parse_args(argv)
    options = {key: value for key, value in vars(arguments).items() if key not in ("run", "word", "log")}
    try:
        with recorded(arguments.word, arguments.log):
            result = arguments.run(**options)
    except HeadwaterError as error:
        print(f"headwater: {error.cause}\nheadwater: {error.remedy}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("headwater: interrupted; nothing half-written is left.", file=sys.stderr)
        return 130
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        print(f"headwater: {error.strerror} ({error.filename2 or error.filename}).", file=sys.stderr)
        print("headwater: Check the path, its permissions and the free space, then run again.", file=sys.stderr)
        return 1
    return result if isinstance(result, int) else 0


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all subcommands."""
    parser = argparse.ArgumentParser(
        prog="headwater", description="Maps the world's waterways from Sentinel-2 and Copernicus GLO-30."
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(dest="word", metavar="COMMAND", required=True)
    for word, (summary, add_arguments) in _COMMANDS.items():
        command = commands.add_parser(word, help=summary, description=_sentence(summary))
        command.add_argument("--log", type=Path, help="log of this job: its events are added, as JSON lines, beside it")
        add_arguments(command)
    return parser


def _plan(parser: argparse.ArgumentParser) -> None:
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
    _out(parser, "plan.json, or with --all summary.csv,")

    def run(
        every: bool, tile_index: Path | None, polygons: list[Path], basin_ids: list[str], **options: object
    ) -> None:
        if every:
            from headwater.steps.plan_all import plan_all

            if tile_index is None:
                raise InputError("--tiles is not given.", "Give the index of GLO-30's tiles with --all.")
            plan_all(tile_index, polygons=polygons, basin_ids=basin_ids, **options)  # type: ignore[arg-type]
            return
        from headwater.steps.plan import write_plan

        if not polygons or len(basin_ids) != 1:
            raise InputError("A plan is of one basin.", "Give --polygons and one --basin, or --all with --tiles.")
        write_plan(polygons, basin_ids[0], **options)  # type: ignore[arg-type]

    parser.set_defaults(run=run)


def _why(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("cell", metavar="CELL", help="name of the cell")
    parser.add_argument("--basin", dest="basin_id", required=True, help="HYBAS_ID")
    parser.add_argument("--config", type=Path, default=Path("config/config.yaml"), help="(default config/config.yaml)")
    parser.add_argument("--snakefile", type=Path, default=Path("Snakefile"), help="the workflow (default Snakefile)")
    parser.add_argument("--directory", type=Path, default=Path(), help="folder it runs in (default: this one)")

    def run(**options: object) -> None:
        from headwater.steps.why import why

        why(**options)  # type: ignore[arg-type]

    parser.set_defaults(run=run)


def _search(parser: argparse.ArgumentParser) -> None:
    _plan_file(parser)
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
    _out(parser, "items.parquet")

    def run(**options: object) -> None:
        from headwater.steps.search import search

        search(**options)  # type: ignore[arg-type]

    parser.set_defaults(run=run)


def _select(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--items", type=Path, required=True, help="items.parquet")
    _plan_file(parser)
    _cell(parser)
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
    _signing(parser)

    def run(**options: object) -> None:
        from headwater.steps.select import select

        select(**options)  # type: ignore[arg-type]

    parser.set_defaults(run=run)


def _composite(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--scenes", type=Path, required=True, help="scenes.json of the cell")
    _plan_file(parser)
    _cell(parser)
    parser.add_argument("--method", choices=("best_first", "mean", "median"), default="mean")
    parser.add_argument("--dilate-px", type=int, default=2, help="widening of clouds, 10 m pixels (default 2)")
    parser.add_argument("--mask", choices=("scl", "omnicloudmask"), default="scl", help="what tells clouds")
    parser.add_argument("--allow-cloud", action="store_true", help="keep cloudy views where no scene is clear")
    parser.add_argument("--reader", choices=("rasterio", "odc", "stackstac"), default="rasterio")
    parser.add_argument("--readers", type=int, default=4, help="bands read at the same time (default 4)")
    _signing(parser)
    _out(parser, "composite.tif")

    def run(**options: object) -> None:
        from headwater.steps.composite import composite

        composite(**options)  # type: ignore[arg-type]

    parser.set_defaults(run=run)


def _elevation(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dem", type=Path, required=True, help="dem.json of the cell")
    _plan_file(parser)
    _cell(parser)
    parser.add_argument("--polygons", type=Path, nargs="+", default=[], help="basin polygons, which tell land from sea")
    parser.add_argument("--basin", dest="basin_id", help="HYBAS_ID of the polygon (default: the plan's)")
    parser.add_argument(
        "--missing",
        choices=("sea", "extend", "refuse", "zero"),
        default="sea",
        help="what to make of places without elevation (default sea)",
    )
    _signing(parser)
    _out(parser, "elevation.tif")

    def run(**options: object) -> None:
        from headwater.steps.elevation import elevation

        elevation(**options)  # type: ignore[arg-type]

    parser.set_defaults(run=run)


def _predict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--composite", type=Path, required=True, help="composite.tif of the cell")
    parser.add_argument("--elevation", type=Path, required=True, help="elevation.tif of the cell")
    _plan_file(parser)
    _cell(parser)
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
    _out(parser, "probability.tif")

    def run(**options: object) -> None:
        from headwater.data import default_checkpoint
        from headwater.steps.predict import predict

        options["checkpoint"] = options["checkpoint"] or [default_checkpoint()]
        predict(**options)  # type: ignore[arg-type]

    parser.set_defaults(run=run)


def _mosaic(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rasters", type=Path, nargs="+", required=True, help=f"probability.tif {_EACH_CELL}")
    parser.add_argument("--plan", type=Path, help="plan.json of the basin, where {cell} is used")
    _out(parser, "mosaic.vrt")

    def run(rasters: list[Path], plan: Path | None, **options: object) -> None:
        from headwater.steps.mosaic import mosaic
        from headwater.steps.plan import cell_paths

        mosaic(cell_paths(rasters, plan), **options)  # type: ignore[arg-type]

    parser.set_defaults(run=run)


def _backbone(parser: argparse.ArgumentParser) -> None:
    _plan_file(parser)
    parser.add_argument("--kind", choices=("tdx", "dem"), required=True)
    parser.add_argument("--streams", type=Path, help="TDX-Hydro streamnet, for kind tdx")
    parser.add_argument("--catchments", type=Path, help="TDX-Hydro catchments, for kind tdx")
    parser.add_argument("--polygons", type=Path, nargs="+", default=[], help="basin polygons, for kind dem")
    parser.add_argument(
        "--elevation", type=Path, nargs="+", default=[], help=f"elevation.tif {_EACH_CELL}, for kind dem"
    )
    parser.add_argument("--min-area-km2", type=float, default=5.0, help="where a reach begins, for kind dem")
    parser.add_argument("--reaches-out", dest="out_reaches", type=Path, required=True)
    parser.add_argument("--catchments-out", dest="out_catchments", type=Path, required=True)

    def run(plan: Path, elevation: list[Path], **options: object) -> None:
        from headwater.steps.backbone import backbone
        from headwater.steps.plan import cell_paths

        backbone(plan, elevation=cell_paths(elevation, plan), **options)  # type: ignore[arg-type]

    parser.set_defaults(run=run)


def _vectorize(parser: argparse.ArgumentParser) -> None:
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
    _out(parser, "waterways.parquet (and, without --cell, waterways.checks.json beside it)")

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
        from headwater.steps.vectorize import vectorize, vectorize_cell
        from headwater.vector.settings import Settings

        options["settings"] = Settings(
            method=method,
            threshold=threshold,
            floor=floor,
            min_piece_px=min_piece_px,
            bits_below_floor=bits_below_floor,
            worth_per_px=worth_per_px,
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
        choices=_FORMATS,
        default=[],
        help="written beside it as well; may be given several times",
    )


def _network(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--segments", type=Path, nargs="+", help=f"waterways.parquet {_EACH_CELL}")
    parser.add_argument("--plan", type=Path, help="plan.json of the basin, where {cell} is used")
    parser.add_argument("--reaches", type=Path, help="reaches.parquet of the basin")
    parser.add_argument("--basin", dest="basin_id", help="HYBAS_ID")
    parser.add_argument("--out", type=Path, help="waterways.parquet to write")
    parser.add_argument("--checks", type=Path, help="waterways.checks.json to write")
    parser.add_argument("--lakes", type=Path, help="polygons that tell intersects_lake (default: it is false)")
    parser.add_argument("--water", type=Path, nargs="+", default=[], help=f"water.parquet {_EACH_CELL}")
    parser.add_argument("--water-out", type=Path, help="water.parquet of the basin to write")
    _format(parser)
    tools = parser.add_subparsers(metavar="check")
    check = tools.add_parser("check", help="check that a file is a valid network")
    check.add_argument("file", type=Path, help="GeoParquet or GeoPackage with the network's columns")

    def run_check(file: Path, **_: object) -> int:
        from headwater.steps.network import check as check_file

        return 1 if check_file(file) else 0

    def run(plan: Path | None, **options: object) -> None:
        from headwater.steps.network import network
        from headwater.steps.plan import cell_paths

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


def _report(parser: argparse.ArgumentParser) -> None:
    _plan_file(parser)
    parser.add_argument("--network", type=Path, required=True, help="waterways.parquet of the basin")
    parser.add_argument("--checks", type=Path, required=True, help="waterways.checks.json of the basin")
    for name in ("composite", "elevation", "probability"):
        parser.add_argument(f"--{name}", type=Path, nargs="+", default=[], help=f"{name}.tif {_EACH_CELL}; or none")
    parser.add_argument("--summary", type=Path, required=True, help="summary.csv to write")
    parser.add_argument("--page", type=Path, required=True, help="index.html to write; its pictures go beside it")
    parser.add_argument("--benchmarks", type=Path, help="folder of the benchmarks of the basin's jobs, for the page")

    def run(
        plan: Path, composite: list[Path], elevation: list[Path], probability: list[Path], **options: object
    ) -> None:
        from headwater.steps.plan import cell_paths
        from headwater.steps.report import report

        rasters = {"composite": composite, "elevation": elevation, "probability": probability}
        found = {name: cell_paths(paths, plan) for name, paths in rasters.items()}
        report(plan, **found, **options)  # type: ignore[arg-type]

    parser.set_defaults(run=run)


def _items(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="folder of rasters: B02, B03, B04, B08 (and SCL) and a DEM")
    parser.add_argument("--dem", type=Path, nargs="+", required=True, help="elevation raster(s), metres")
    parser.add_argument("--datetime", required=True, help="when the scene was taken, YYYY-MM-DD")
    parser.add_argument("--basin", dest="basin_id", required=True, help="id to give the place")
    parser.add_argument("--baseline", default="00.00", help="processing baseline; from 04.00 on 1000 is subtracted")
    parser.add_argument("--out", type=Path, required=True, help="folder of the catalogue to write")

    def run(**options: object) -> None:
        from headwater.steps.items import items_from_folder

        items_from_folder(**options)  # type: ignore[arg-type]

    parser.set_defaults(run=run)


def _train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config_path", metavar="CONFIG", type=Path, help="YAML, such as config/train-demo.yaml")
    parser.add_argument("--find-lr", action="store_true", help="only try learning rates and suggest one")

    def run(**options: object) -> None:
        from headwater.train.run import train

        train(**options)  # type: ignore[arg-type]

    parser.set_defaults(run=run)


def _chips(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config_path", metavar="CONFIG", type=Path, help="YAML, see docs/training.md")

    def run(**options: object) -> None:
        from headwater.train.cut import chips

        chips(**options)  # type: ignore[arg-type]

    parser.set_defaults(run=run)


def _models(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    listing = actions.add_parser("list", help="list networks, channel recipes and the default checkpoint")

    def run_list(**_: object) -> None:
        from headwater.steps.models import list_models

        list_models()

    listing.set_defaults(run=run_list)

    info = actions.add_parser("info", help="print what a checkpoint says of itself")
    info.add_argument("file", metavar="FILE", nargs="?", type=Path, help=".safetensors (default: Headwater's own)")

    def run_info(**options: object) -> None:
        from headwater.steps.models import show_model

        show_model(**options)  # type: ignore[arg-type]

    info.set_defaults(run=run_info)

    importing = actions.add_parser("import", help="make a checkpoint from published weights")
    importing.add_argument("network", choices=("waternet", "evanet"), help="whose weights they are")
    importing.add_argument("file", metavar="FILE", type=Path, help=".pt, .ckpt or .safetensors with a state_dict")
    importing.add_argument("--out", type=Path, required=True, help=".safetensors to write; its .json goes beside it")
    importing.add_argument("--recipe", help="channels it was trained with (default: those of the published program)")
    importing.add_argument("--licence", help="licence of the weights")
    importing.add_argument("--pixel-m", type=float, help="pixel size they were trained at (default: the recipe's)")

    def run_import(**options: object) -> None:
        from headwater.steps.models import import_model

        import_model(**options)  # type: ignore[arg-type]

    importing.set_defaults(run=run_import)

    verify = actions.add_parser("verify", help="load a checkpoint and run it twice on a seeded input")
    verify.add_argument("file", metavar="FILE", type=Path, help=".safetensors")

    def run_verify(**options: object) -> None:
        from headwater.steps.models import verify_model

        verify_model(**options)  # type: ignore[arg-type]

    verify.set_defaults(run=run_verify)


def _evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--network", type=Path, help="waterways.parquet")
    parser.add_argument("--truth", type=Path, help="lines of the true channels")
    parser.add_argument("--elevation", type=Path, nargs="+", help="elevation.tif, for the baseline")
    parser.add_argument("--polygons", type=Path, nargs="+", help="basin polygons")
    parser.add_argument("--basin", dest="basin_id", help="HYBAS_ID")
    parser.add_argument("--buffer-m", type=float, default=40.0, help="distance (default 40: two 20 m pixels)")
    parser.add_argument("--area", type=Path, help="polygons outside of which nothing counts, such as catchments")
    parser.add_argument("--out", type=Path, help="scores.json to write")
    tools = parser.add_subparsers(metavar="pixels|lines")

    pixels = tools.add_parser("pixels", help="score probability rasters against labels of water types")
    pixels.add_argument("--probability", type=Path, nargs="+", required=True, help="probability.tif, one or more")
    pixels.add_argument("--labels", type=Path, nargs="+", default=[], help="NHD files (GeoPackage, FileGDB, ...)")
    pixels.add_argument(
        "--label-raster", dest="label_rasters", type=Path, nargs="+", default=[], help="or water types of each raster"
    )
    pixels.add_argument("--region", dest="regions", nargs="+", default=[], help="name of each raster's region")
    pixels.add_argument("--area", type=Path, help="polygons that the labels cover (default: all of the rasters)")
    pixels.add_argument("--threshold", type=float, default=0.5, help="water from this probability on (default 0.5)")
    pixels.add_argument("--tile-px", type=int, default=416, help="side of the tiles that subsets are told by")
    _out(pixels, "folder of tables")

    def run_pixels(probability: list[Path], out: Path, **options: object) -> None:
        from headwater.steps.evaluate_pixels import evaluate_pixels

        names = ("labels", "label_rasters", "regions", "area", "threshold", "tile_px")
        evaluate_pixels(probability, out, **{name: options[name] for name in names})  # type: ignore[arg-type]

    lines = tools.add_parser("lines", help="score networks against true lines by Strahler order, and sum up lengths")
    lines.add_argument("--network", type=Path, nargs="+", required=True, help="waterways.parquet, one or more")
    lines.add_argument("--truth", type=Path, required=True, help="true lines; strahler_order or StreamOrde is used")
    lines.add_argument("--truth-layer", help="layer of the true lines")
    lines.add_argument("--pixels", type=float, nargs="+", default=[1, 2, 3], help="distances in 20 m (default 1 2 3)")
    lines.add_argument("--nhd", type=Path, nargs="+", default=[], help="NHD files that tell the waterways' types")
    _out(lines, "folder of tables")

    def run_lines(network: list[Path], truth: Path, out: Path, **options: object) -> None:
        from headwater.steps.evaluate_lines import evaluate_lines

        names = ("truth_layer", "pixels", "nhd")
        evaluate_lines(network, truth, out, **{name: options[name] for name in names})  # type: ignore[arg-type]

    def run(**options: object) -> None:
        from headwater.steps.evaluate import evaluate

        missing = [name for name, value in options.items() if value is None and name not in ("area", "out")]
        if missing:
            raise InputError(
                f"--{missing[0].replace('_id', '')} is not given.",
                "Give it, or use `headwater evaluate pixels` or `headwater evaluate lines`.",
            )
        evaluate(**options)  # type: ignore[arg-type]

    pixels.set_defaults(run=run_pixels)
    lines.set_defaults(run=run_lines)
    parser.set_defaults(run=run)


def _demo(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    build = actions.add_parser("build", help="make a demo planet")
    build.add_argument("--seed", type=int, required=True)
    build.add_argument("--out", type=Path, required=True, help="folder of the planet")
    _planet(build)
    build.add_argument(
        "--variety",
        choices=("plain", "wide"),
        default="plain",
        help="how much planets differ: plain as in the demo (default), wide as for training",
    )
    build.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)")

    def run_build(**options: object) -> None:
        from headwater.demo.build import build_planet

        build_planet(**options)  # type: ignore[arg-type]

    build.set_defaults(run=run_build)

    serve = actions.add_parser("serve", help="serve planets as a STAC API with signed assets")
    serve.add_argument("folders", metavar="DIR", type=Path, nargs="+")
    serve.add_argument("--host", default="127.0.0.1")
    serve.add_argument("--port", type=int, default=8321)
    serve.add_argument(
        "--token-lifetime", dest="token_lifetime_s", type=float, default=2700.0, help="seconds (default 2700)"
    )

    def run_serve(**options: object) -> None:
        from headwater.demo.serve import serve as serve_folders

        serve_folders(**options)  # type: ignore[arg-type]

    serve.set_defaults(run=run_serve)

    everything = actions.add_parser("run", help="build the planets, serve them and run the workflow")
    everything.add_argument("--config", type=Path, default=Path("config/demo.yaml"))
    everything.add_argument("--planets", type=Path, default=Path("demo"), help="folder of planets (default demo)")
    everything.add_argument("--seeds", type=int, nargs="+", default=[1], help="planets to map (default 1)")
    everything.add_argument("--port", type=int, default=8321, help="port of the catalogue (default 8321)")
    everything.add_argument("--cores", default="all", help="cores for the workflow (default all)")
    _planet(everything)

    def run_demo(**options: object) -> None:
        from headwater.demo.run import run_demo as run_everything

        run_everything(**options)  # type: ignore[arg-type]

    everything.set_defaults(run=run_demo)


def _planet(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--size-degrees", type=float, nargs=2, default=(0.3, 0.2), metavar=("LON", "LAT"), help="(default 0.3 0.2)"
    )
    parser.add_argument("--cell-degrees", type=float, default=0.1, help="(default 0.1)")
    parser.add_argument("--dates", type=int, default=5, help="acquisitions of each MGRS tile (default 5)")


def _out(parser: argparse.ArgumentParser, name: str) -> None:
    parser.add_argument("--out", type=Path, required=True, help=f"{name} to write")


def _plan_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--plan", type=Path, required=True, help="plan.json of the basin")


def _cell(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cell", required=True, help="name of the cell")


def _signing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--signing", choices=_SIGNING, default="none", help="how assets are signed (default none)")
    parser.add_argument("--token-url", help="token endpoint, for --signing token")


def _sentence(summary: str) -> str:
    return summary[0].upper() + summary[1:] + "."


def _version() -> str:
    from importlib.metadata import version

    return f"headwater {version('headwater')}"


_COMMANDS: dict[str, tuple[str, _Add]] = {
    "plan": ("list the cells of a basin", _plan),
    "search": ("find scenes and elevation tiles and pin them in a file", _search),
    "select": ("choose the scenes of a cell", _select),
    "composite": ("make the cloud-free image of a cell", _composite),
    "elevation": ("make the elevation of a cell", _elevation),
    "predict": ("predict the probability of water in a cell", _predict),
    "mosaic": ("lay the cells' rasters side by side", _mosaic),
    "backbone": ("prepare the stream network that new waterways join", _backbone),
    "vectorize": ("turn probability into waterways", _vectorize),
    "network": ("join the cells' waterways to one network, or check one", _network),
    "report": ("make tables, maps and a page of a basin", _report),
    "items": ("make a catalogue from a folder of one's own rasters", _items),
    "chips": ("cut training chips from cells and labels", _chips),
    "train": ("train a network", _train),
    "models": ("networks and checkpoints: list, info, import, verify", _models),
    "evaluate": ("score a network, probabilities or lines against the truth", _evaluate),
    "why": ("tell what a run would make again for a cell, and why", _why),
    "demo": ("the demo planet: build, serve, run", _demo),
}
"""Each subcommand: its summary and the function that adds its arguments."""


if __name__ == "__main__":
    sys.exit(main())
