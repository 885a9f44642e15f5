"""Arguments of projects: init, run."""

from __future__ import annotations

import argparse
from pathlib import Path

from headwater.cli.arguments import number
from headwater.core.errors import InputError

_DEGREES = number(-360, 360)


def init(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `headwater init`."""
    parser.add_argument("folder", metavar="DIR", type=Path, help="folder of the project, made if needed")
    area = parser.add_argument_group("area, one of these").add_mutually_exclusive_group(required=True)
    area.add_argument(
        "--bbox",
        type=_DEGREES,
        nargs=4,
        metavar=("W", "S", "E", "N"),
        help="box in degrees; west above east crosses 180 degrees",
    )
    area.add_argument("--geojson", type=Path, metavar="FILE", help="polygons of any vector file, in any CRS")
    area.add_argument("--basin", metavar="HYBAS_ID", help="basin of HydroBASINS level 2")
    area.add_argument("--here", type=_DEGREES, nargs=2, metavar=("LAT", "LON"), help="square around a point")
    parser.add_argument("--km", type=number(0, 10_000), help="side of that square (default 20)")
    parser.add_argument(
        "--polygons", type=Path, nargs="+", default=[], help="files of HydroBASINS polygons, with --basin"
    )
    parser.add_argument(
        "--catalog", help="preset, such as planetary-computer (the default), or address of a STAC API or of its folder"
    )
    parser.add_argument("--base", type=Path, metavar="FILE", help="configuration from which all other keys are taken")
    parser.add_argument("--datetime", help="first and last day of the imagery, YYYY-MM-DD/YYYY-MM-DD (default 2023)")
    parser.add_argument("--source", help="where the probability comes from (predict.source)")
    parser.add_argument("--backbone", metavar="KIND", help="stream network that waterways join (backbone.kind)")
    parser.add_argument("--fetch", action="store_true", help="let the run download what it lacks")
    parser.add_argument("--yes", action="store_true", help="also if the area is large or the disk seems too small")

    def run(
        folder: Path,
        bbox: list[float] | None,
        geojson: Path | None,
        basin: str | None,
        here: list[float] | None,
        km: float | None,
        polygons: list[Path],
        catalog: str | None,
        base: Path | None,
        datetime: str | None,
        source: str | None,
        backbone: str | None,
        fetch: bool,
        yes: bool,
    ) -> None:
        from headwater.project import init as project

        if polygons and basin is None:
            raise InputError("--polygons is only for --basin.", "Give the polygons of an area with --geojson.")
        if km is not None and here is None:
            raise InputError("--km is only for --here.", "Give it with the latitude and longitude of a place.")
        project.check_folder(folder)
        if bbox is not None:
            west, south, east, north = bbox
            area = project.area_of_box(west, south, east, north)
        elif geojson is not None:
            area = project.area_of_file(geojson)
        elif here is not None:
            area = project.area_around(here[0], here[1], km=project.SIDE_KM if km is None else km)
        else:
            area = project.area_of_basin(str(basin), polygons, base=base, fetch=fetch)
        project.init_project(
            folder,
            area,
            catalog=catalog,
            base=base,
            datetime=datetime,
            source=source,
            backbone=backbone,
            fetch=fetch,
            yes=yes,
        )

    parser.set_defaults(run=run)


def run(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `headwater run`."""
    parser.usage = "headwater run DIR [options] [-- further arguments of Snakemake]"
    parser.add_argument("folder", metavar="DIR", type=Path, help="folder of the project, which headwater init made")
    parser.add_argument(
        "--cores", help="cores for the workflow, a number or all (default: all, or as the profile says)"
    )
    parser.add_argument("-n", "--dry-run", action="store_true", help="only list the jobs")
    parser.add_argument("--refresh", action="store_true", help="look for new imagery first, then make what it changes")
    parser.add_argument("--unlock", action="store_true", help="only remove the lock that a killed run left")
    parser.add_argument(
        "--profile", help="profile of Snakemake: a folder, or the name of one that comes with Headwater"
    )
    parser.set_defaults(further=[])

    def run_in(
        folder: Path,
        cores: str | None,
        dry_run: bool,
        refresh: bool,
        unlock: bool,
        profile: str | None,
        further: list[str],
    ) -> int:
        from headwater.project.run import run_project

        return run_project(
            folder,
            cores=cores,
            dry_run=dry_run,
            refresh=refresh,
            unlock=unlock,
            profile=profile,
            further=further,
        )

    parser.set_defaults(run=run_in)
