"""Arguments of the steps from the catalog to the composite: search, select, composite; and items."""

from __future__ import annotations

import argparse
from pathlib import Path

from headwater.cli.arguments import add_cell, add_out, add_plan, whole
from headwater.cli.options import SIGNING, Values, add_settings, given


def search(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `headwater search`."""
    add_plan(parser)
    parser.add_argument("--page-limit", type=whole(1, 10_000), default=argparse.SUPPRESS, help="items of a page")
    add_settings(parser, "catalog")
    add_settings(parser, "search")
    add_out(parser, "items.parquet")

    def run(plan: Path, out: Path, values: Values | None, **page: int) -> None:
        from headwater.imagery.search import search
        from headwater.imagery.settings import SearchSettings
        from headwater.stac.settings import CatalogSettings

        search(plan, out, catalog=given(CatalogSettings, values), settings=given(SearchSettings, values), **page)

    parser.set_defaults(run=run)


def select(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `headwater select`."""
    parser.add_argument("--items", type=Path, required=True, help="items.parquet")
    add_plan(parser)
    add_cell(parser)
    parser.add_argument("--scenes-out", type=Path, required=True, help="scenes.json to write")
    parser.add_argument("--dem-out", type=Path, required=True, help="dem.json to write")
    parser.add_argument("--cache", dest="cache_dir", type=Path, required=True, help="folder of scene statistics")
    add_settings(parser, "select")
    add_settings(parser, "catalog", only=SIGNING)

    def run(
        items: Path, plan: Path, cell: str, scenes_out: Path, dem_out: Path, cache_dir: Path, values: Values | None
    ) -> None:
        from headwater.imagery.select import select
        from headwater.imagery.settings import SelectSettings
        from headwater.stac.settings import SigningSettings

        select(
            items,
            plan,
            cell,
            scenes_out,
            dem_out,
            cache_dir=cache_dir,
            settings=given(SelectSettings, values),
            signing=given(SigningSettings, values),
        )

    parser.set_defaults(run=run)


def composite(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `headwater composite`."""
    parser.add_argument("--scenes", type=Path, required=True, help="scenes.json of the cell")
    add_plan(parser)
    add_cell(parser)
    parser.add_argument("--readers", type=whole(1, 256), default=argparse.SUPPRESS, help="bands read at the same time")
    add_settings(parser, "composite")
    add_settings(parser, "catalog", only=SIGNING)
    add_out(parser, "composite.tif")

    def run(scenes: Path, plan: Path, cell: str, out: Path, values: Values | None, **readers: int) -> None:
        from headwater.imagery.composite import composite
        from headwater.imagery.settings import CompositeSettings
        from headwater.stac.settings import SigningSettings

        composite(
            scenes,
            plan,
            cell,
            out,
            settings=given(CompositeSettings, values),
            signing=given(SigningSettings, values),
            **readers,
        )

    parser.set_defaults(run=run)


def items(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `headwater items`."""
    parser.add_argument("folder", type=Path, help="folder of rasters: B02, B03, B04, B08 (and SCL) and a DEM")
    parser.add_argument("--dem", type=Path, nargs="+", required=True, help="elevation raster(s), meters")
    parser.add_argument("--datetime", required=True, help="when the scene was taken, YYYY-MM-DD")
    parser.add_argument("--basin", dest="basin_id", required=True, help="id to give the place")
    parser.add_argument("--baseline", default="00.00", help="processing baseline; from 04.00 on 1000 is subtracted")
    parser.add_argument("--out", type=Path, required=True, help="folder of the catalog to write")

    def run(folder: Path, dem: list[Path], datetime: str, basin_id: str, baseline: str, out: Path) -> None:
        from headwater.imagery.own_rasters import items_from_folder

        items_from_folder(folder, dem=dem, datetime=datetime, basin_id=basin_id, baseline=baseline, out=out)

    parser.set_defaults(run=run)
