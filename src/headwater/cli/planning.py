"""Arguments of what looks ahead: plan, why."""

from __future__ import annotations

import argparse
from pathlib import Path

from headwater.cli.arguments import add_out
from headwater.cli.options import Values, add_settings, given
from headwater.core.errors import InputError


def plan(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `headwater plan`."""
    parser.add_argument(
        "--polygons", "--basins", type=Path, nargs="+", default=[], help="files of HydroBASINS polygons"
    )
    parser.add_argument("--basin", dest="basin_ids", nargs="+", default=[], help="HYBAS_ID; several with --all")
    parser.add_argument(
        "--all", dest="every", action="store_true", help="what all 62 basins, or the named ones, will cost"
    )
    parser.add_argument("--tiles", dest="tile_index", type=Path, help="with --all: index of GLO-30's tiles, GeoParquet")
    add_settings(parser, "grid")
    add_out(parser, "plan.json, or with --all summary.csv,")

    def run(
        polygons: list[Path],
        basin_ids: list[str],
        every: bool,
        tile_index: Path | None,
        out: Path,
        values: Values | None,
    ) -> None:
        from headwater.geo.settings import GridSettings

        grid = given(GridSettings, values)
        if every:
            from headwater.project.budget import plan_all

            if tile_index is None:
                raise InputError("--tiles is not given.", "Give the index of GLO-30's tiles with --all.")
            plan_all(tile_index, out, polygons=polygons, basin_ids=basin_ids, grid=grid)
            return
        from headwater.geo.plan import write_plan

        if not polygons or len(basin_ids) != 1:
            raise InputError("A plan is for one basin.", "Give --polygons and one --basin, or --all with --tiles.")
        write_plan(polygons, basin_ids[0], out, cell_degrees=grid.cell_degrees, margin_px=grid.margin_px)

    parser.set_defaults(run=run)


def why(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `headwater why`."""
    parser.add_argument("cell", metavar="CELL", help="name of the cell")
    parser.add_argument("--basin", dest="basin_id", required=True, help="HYBAS_ID")
    parser.add_argument("--config", type=Path, default=Path("config/config.yaml"), help="(default config/config.yaml)")
    parser.add_argument("--snakefile", type=Path, help="the workflow (default: that of Headwater)")
    parser.add_argument("--directory", type=Path, default=Path(), help="folder it runs in (default: this one)")

    def run(cell: str, basin_id: str, config: Path, snakefile: Path | None, directory: Path) -> None:
        from headwater.project.snakemake_call import workflow_folder
        from headwater.project.why import why

        why(cell, basin_id, snakefile=snakefile or workflow_folder() / "Snakefile", directory=directory, config=config)

    parser.set_defaults(run=run)
