"""Arguments of the steps that make lines and describe them: backbone, vectorize, network, report, catalog."""

from __future__ import annotations

import argparse
from pathlib import Path

from headwater.cli.arguments import EACH_CELL, add_out, add_plan
from headwater.cli.options import Values, add_formats, add_settings, given
from headwater.core.errors import InputError


def backbone(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `headwater backbone`."""
    add_plan(parser)
    parser.add_argument("--streams", type=Path, nargs="+", help="TDX-Hydro streamnet of each region, for kind tdx")
    parser.add_argument("--catchments", type=Path, nargs="+", help="TDX-Hydro catchments of each region, for kind tdx")
    parser.add_argument(
        "--polygons", type=Path, nargs="+", default=[], help="basin polygons, for kinds dem and none, and for areas"
    )
    parser.add_argument(
        "--elevation",
        type=Path,
        nargs="+",
        default=[],
        help=f"elevation.tif {EACH_CELL}, and of those around an area, for kinds dem and none",
    )
    parser.add_argument(
        "--probability", type=Path, nargs="+", default=[], help=f"probability.tif {EACH_CELL}, for kind none"
    )
    parser.add_argument(
        "--threshold", type=float, help="probability from which a pixel is water, for kind none (default 0.5)"
    )
    add_settings(parser, "backbone")
    parser.add_argument("--reaches-out", type=Path, required=True, help="reaches.parquet to write")
    parser.add_argument("--catchments-out", type=Path, required=True, help="catchments.parquet to write")

    def run(
        plan: Path,
        streams: list[Path] | None,
        catchments: list[Path] | None,
        polygons: list[Path],
        elevation: list[Path],
        probability: list[Path],
        threshold: float | None,
        reaches_out: Path,
        catchments_out: Path,
        values: Values | None,
    ) -> None:
        from headwater.geo.plan import cell_paths
        from headwater.waterways.backbone_step import backbone
        from headwater.waterways.settings import BackboneSettings

        settings = given(BackboneSettings, values)
        backbone(
            plan,
            polygons,
            reaches_out,
            catchments_out,
            settings=settings,
            streams=streams,
            catchments=catchments,
            # TDX-Hydro needs no elevation around an area; its coasts are within.
            elevation=cell_paths(elevation, plan, buffer=settings.kind != "tdx"),
            probability=cell_paths(probability, plan),
            threshold=_threshold(threshold),
        )

    parser.set_defaults(run=run)


def _threshold(value: float | None) -> float:
    from headwater.waterways.settings import VectorizeSettings

    if value is None:
        return VectorizeSettings().threshold
    # Any threshold that vectorize may have.
    return VectorizeSettings(threshold=value, floor=0.0).threshold


def vectorize(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `headwater vectorize`."""
    parser.description = (
        "Turn probability into waterways that join a stream network. With --cell: the segments of one cell, from "
        "--reaches and --catchments as `backbone` writes them. Without: the complete network in one run, from "
        "--streams and --catchments with TDX-Hydro's columns."
    )
    parser.add_argument("--probability", type=Path, nargs="+", required=True, help="probability.tif or mosaic.vrt")
    parser.add_argument("--elevation", type=Path, nargs="+", required=True, help="meters, over the same area")
    parser.add_argument("--streams", type=Path, help="streams with TDX-Hydro's columns (GeoPackage or GeoParquet)")
    parser.add_argument("--reaches", type=Path, help="reaches.parquet, with --cell")
    parser.add_argument("--catchments", type=Path, required=True, help="catchments.parquet, or TDX-Hydro's")
    parser.add_argument("--cell", help="name of the cell")
    parser.add_argument(
        "--basin", dest="basin_id", default="0", help="HYBAS_ID; without it ids are not unique in the world"
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes, without --cell (default 1)")
    add_settings(parser, "vectorize")
    parser.add_argument("--water-out", dest="water", type=Path, help="polygons of wide water to write (GeoParquet)")
    parser.add_argument("--lakes", type=Path, help="without --cell: lake polygons, for the column intersects_lake")
    add_formats(parser)
    add_out(parser, "waterways.parquet (and, without --cell, waterways.checks.json next to it)")

    def run(
        probability: list[Path],
        elevation: list[Path],
        streams: Path | None,
        reaches: Path | None,
        catchments: Path,
        cell: str | None,
        basin_id: str,
        jobs: int,
        water: Path | None,
        lakes: Path | None,
        formats: list[str],
        out: Path,
        values: Values | None,
    ) -> None:
        from headwater.waterways.settings import NetworkSettings, VectorizeSettings
        from headwater.waterways.vectorize_step import vectorize, vectorize_cell

        settings = given(VectorizeSettings, values)
        if cell is not None:
            if reaches is None:
                raise InputError("--cell is given without --reaches.", "Give reaches.parquet of the basin.")
            vectorize_cell(probability, elevation, reaches, catchments, cell, out, settings=settings, water=water)
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
            catchments,
            out,
            basin_id=basin_id,
            jobs=jobs,
            settings=settings,
            water=water,
            lakes=lakes,
            formats=NetworkSettings(formats=tuple(formats)).formats,
        )

    parser.set_defaults(run=run)


def network(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `headwater network`."""
    parser.add_argument("--segments", type=Path, nargs="+", help=f"waterways.parquet {EACH_CELL}")
    add_plan(parser, required=False)
    parser.add_argument("--reaches", type=Path, help="reaches.parquet of the basin")
    parser.add_argument("--basin", dest="basin_id", help="HYBAS_ID")
    parser.add_argument("--out", type=Path, help="waterways.parquet to write")
    parser.add_argument("--checks", type=Path, help="waterways.checks.json to write")
    parser.add_argument("--lakes", type=Path, help="lake polygons, for the column intersects_lake (default: false)")
    parser.add_argument("--water", type=Path, nargs="+", default=[], help=f"water.parquet {EACH_CELL}")
    parser.add_argument("--water-out", type=Path, help="water.parquet of the basin to write")
    parser.add_argument("--items", type=Path, help="items.parquet of the basin, for the notices of its products")
    parser.add_argument(
        "--products", nargs="+", metavar="NAME", default=[], help="names of files of streams and basins, for theirs"
    )
    add_formats(parser)
    tools = parser.add_subparsers(metavar="check")
    check = tools.add_parser("check", help="check that a file is a valid network")
    check.add_argument("file", type=Path, help="GeoParquet or GeoPackage with the network's columns")

    def run_check(file: Path, **of_network: object) -> int:
        # Arguments of the step itself are parsed as well.
        superfluous = [name for name, value in of_network.items() if value]
        if superfluous:
            raise InputError(
                f"--{superfluous[0].replace('_', '-')} is an option of `headwater network`, not of its `check`.",
                "Give the file alone: headwater network check FILE.",
            )
        from headwater.waterways.network_step import check as check_file

        return 1 if check_file(file) else 0

    def run(
        segments: list[Path] | None,
        plan: Path | None,
        reaches: Path | None,
        basin_id: str | None,
        out: Path | None,
        checks: Path | None,
        lakes: Path | None,
        water: list[Path],
        water_out: Path | None,
        items: Path | None,
        products: list[str],
        formats: list[str],
    ) -> None:
        if segments is None or reaches is None or basin_id is None or out is None or checks is None:
            needed = {"segments": segments, "reaches": reaches, "basin": basin_id, "out": out, "checks": checks}
            missing = next(name for name, value in needed.items() if value is None)
            raise InputError(f"--{missing} is not given.", "Give it, or use `headwater network check FILE`.")
        from headwater.geo.plan import cell_paths
        from headwater.waterways.network_step import network
        from headwater.waterways.settings import NetworkSettings

        network(
            cell_paths(segments, plan),
            reaches,
            out,
            checks,
            basin_id=basin_id,
            lakes=lakes,
            formats=NetworkSettings(formats=tuple(formats)).formats,
            water=cell_paths(water, plan),
            water_out=water_out,
            items=items,
            products=products,
        )

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
    parser.add_argument("--page", type=Path, required=True, help="index.html to write, with its pictures next to it")
    parser.add_argument("--logs", type=Path, help="folder of the logs of the basin's jobs, for the page")
    parser.add_argument("--map", dest="map_page", type=Path, help="map.html to write, with its data in the folder map")
    parser.add_argument("--polygons", type=Path, nargs="+", default=[], help="basin polygons, for the map's outline")
    parser.add_argument("--lakes", type=Path, help="lake polygons, for the map")

    def run(
        plan: Path,
        network: Path,
        checks: Path,
        composite: list[Path],
        elevation: list[Path],
        probability: list[Path],
        summary: Path,
        page: Path,
        logs: Path | None,
        map_page: Path | None,
        polygons: list[Path],
        lakes: Path | None,
    ) -> None:
        from headwater.geo.plan import cell_paths
        from headwater.report.step import report

        report(
            plan,
            network,
            checks,
            cell_paths(composite, plan),
            cell_paths(elevation, plan),
            cell_paths(probability, plan),
            summary,
            page,
            logs,
            map_page=map_page,
            polygons=polygons,
            lakes=lakes,
        )

    parser.set_defaults(run=run)


def catalog(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `headwater catalog`."""
    parser.add_argument("--results", type=Path, required=True, help="results folder")
    parser.add_argument("--basins", nargs="+", required=True, help="ids of the basins of the collection")
    parser.add_argument("--collection", required=True, help="id of the collection: what one configuration made")
    parser.add_argument("--checkpoint", type=Path, nargs="+", default=[], help="weights, which are copied into it")
    add_out(parser, "catalog.json, with collections, items and index.html in its folder")

    def run(results: Path, basins: list[str], collection: str, checkpoint: list[Path], out: Path) -> None:
        from headwater.report.catalog import catalog

        catalog(results, basins, out, collection_id=collection, checkpoints=checkpoint)

    parser.set_defaults(run=run)
