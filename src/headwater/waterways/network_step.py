"""network: the segments of all cells become the basin's network, which must pass every check."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd

from headwater.core.errors import InputError, WorkError
from headwater.core.events import say
from headwater.core.files import atomic_path, write_json
from headwater.core.notices import notices_of
from headwater.core.terms import Terms
from headwater.geo.basins import check_basin_id
from headwater.geo.features import PARQUET_SUFFIXES, read_table
from headwater.geo.parquet import read_terms, write_geoparquet
from headwater.waterways.backbone.stream_columns import REACH_COLUMNS, SOURCE_COAST, SOURCE_GIVEN
from headwater.waterways.backbone.tdx import NO_LINK
from headwater.waterways.lines.vectorize import WATER_COLUMNS, no_water
from headwater.waterways.network.build import build_network
from headwater.waterways.network.check import NETWORK, check_network
from headwater.waterways.network.formats import TERMS, write_descriptions, write_format
from headwater.waterways.network.geoparquet import write_network
from headwater.waterways.network.lakes import check_lakes, meets_lake
from headwater.waterways.segments import SEGMENT_COLUMNS


def network(
    segments: Sequence[Path],
    reaches: Path,
    out: Path,
    checks: Path,
    *,
    basin_id: str,
    lakes: Path | None = None,
    formats: Sequence[str] = (),
    water: Sequence[Path] = (),
    water_out: Path | None = None,
    items: Path | None = None,
    products: Sequence[str] = (),
) -> None:
    """Write waterways.parquet and waterways.checks.json of a basin.

    Parameters
    ----------
    segments : sequence of Path
        waterways.parquet of each cell.
    reaches : Path
        reaches.parquet.
    out : Path
        waterways.parquet of the basin.
    checks : Path
        waterways.checks.json; also written when a check fails.
    basin_id : str
        HYBAS_ID.
    lakes : Path, optional
        Lake polygons, for `intersects_lake`; see `headwater.waterways.network.lakes.meets_lake`.
    formats : sequence of str
        What else is written next to `out`; names of `headwater.waterways.network.formats.OUTPUT_FORMATS`.
    water : sequence of Path
        water.parquet of each cell.
    water_out : Path, optional
        water.parquet of the basin: theirs together.
    items : Path, optional
        items.parquet of the basin: which imagery and elevation went in, for their notices.
    products : sequence of str
        Names of files of streams and basins that went in, for their notices; see `headwater.core.notices`.

    Raises
    ------
    WorkError
        A check fails (`out` is not written then), or the segments do not belong to the backbone.
    InputError
        A file or one of its columns is missing.
    """
    if lakes is not None:
        check_lakes(lakes)
    backbone = _with_columns(read_table(reaches), REACH_COLUMNS, reaches)
    tables = [_with_columns(read_table(path), SEGMENT_COLUMNS, path) for path in segments]
    tables = [table for table in tables if len(table)]
    if tables:
        pieces = gpd.GeoDataFrame(pd.concat(tables, ignore_index=True), crs=tables[0].crs)
    else:
        pieces = gpd.GeoDataFrame({name: [] for name in SEGMENT_COLUMNS}, geometry="geometry", crs=backbone.crs)
    terms = Terms.union(read_terms(path) for path in segments if path.suffix.lower() in PARQUET_SUFFIXES)
    terms = _with_notices(terms, items, [*products, *([] if lakes is None else [lakes.name])])
    write_checked(pieces, backbone, out, checks, basin_id=basin_id, lakes=lakes, formats=formats, terms=terms)
    if water_out is not None:
        polygons = [_with_columns(read_table(path), WATER_COLUMNS, path) for path in water]
        polygons = [table for table in polygons if len(table)]
        every = gpd.GeoDataFrame(pd.concat(polygons, ignore_index=True)) if polygons else no_water()
        write_water(every, water_out, terms)


def _with_notices(terms: Terms, items: Path | None, products: Sequence[str]) -> Terms:
    """Add the notices of what went in; a demo planet, whose files are named as those of real places, has none."""
    if items is None:
        return Terms.union([terms, Terms(attribution=notices_of(products))])
    from headwater.stac.pins import is_demo_pin, item_ids

    if is_demo_pin(items):
        return terms
    return Terms.union([terms, Terms(attribution=notices_of([*item_ids(items), *products]))])


def write_checked(
    pieces: gpd.GeoDataFrame,
    backbone: gpd.GeoDataFrame,
    out: Path,
    checks: Path,
    *,
    basin_id: str,
    lakes: Path | None = None,
    formats: Sequence[str] = (),
    terms: Terms | None = None,
) -> None:
    """Build the network of segments, check every check, then write it with its terms of use; see `network`."""
    built, result = checked_network(pieces, backbone, basin_id=basin_id, lakes=lakes)
    asked = (terms or Terms()).tags()
    write_json(checks, result | ({"terms": asked} if asked else {}), sealed=True)
    refuse_faults(result)
    # Every format finds them there.
    built.attrs[TERMS] = asked
    write_network(built, out)
    write_descriptions(built, out)
    for name in formats:
        write_format(built, out, name)


def checked_network(
    pieces: gpd.GeoDataFrame, backbone: gpd.GeoDataFrame, *, basin_id: str, lakes: Path | None = None
) -> tuple[gpd.GeoDataFrame, dict[str, Any]]:
    """Build the network of segments and check it; return both, whatever the checks find.

    Parameters
    ----------
    pieces : GeoDataFrame
        SEGMENT_COLUMNS of all reaches.
    backbone : GeoDataFrame
        REACH_COLUMNS.
    basin_id, lakes
        See `network`.

    Returns
    -------
    network : GeoDataFrame
        NETWORK_COLUMNS.
    checks : dict
        Content of waterways.checks.json.
    """
    check_basin_id(basin_id)
    built = build_network(pieces, backbone, basin_id)
    if lakes is not None:
        built["intersects_lake"] |= meets_lake(built.geometry.to_numpy(), lakes)
    given = backbone[backbone["source"] == SOURCE_GIVEN]
    return built, check_network(built, given) | {"basin_id": basin_id, "counts": _counts(pieces, backbone)}


def refuse_faults(result: dict[str, Any]) -> None:
    """Raise a WorkError if the checks of a network found violations."""
    if result["faults"]:
        failed = {name: check for name, check in result["laws"].items() if check["faults"]}
        # A workflow removes what a failed job wrote, except its log.
        for name, check in failed.items():
            count = check["faults"]
            say(f"{count} violation(s) of the check {name!r}, the first at {check['ids']}.", faults=count)
        raise WorkError(
            f"The network of basin {result['basin_id']} fails {len(failed)} check(s): {', '.join(failed)}.",
            "Report it with the lines above and the inputs of these segments.",
        )


def write_water(polygons: gpd.GeoDataFrame, out: Path, terms: Terms | None = None) -> None:
    """Write polygons of wide water as GeoParquet, completely or not at all."""
    with atomic_path(out) as temporary:
        write_geoparquet(polygons, temporary, terms=terms, write_covering_bbox=True)


def check(file: Path) -> int:
    """Check the network in a file and print a table of the checks to stdout; return the number of violations.

    Raises
    ------
    InputError
        The file cannot be read or has no column stream_id, target_stream_id or geometry.
    """
    result = check_network(read_table(file, NETWORK))
    lines = [f"{'check':<36}{'violations':>11}  first ids"]
    for name, found in result["laws"].items():
        lines.append(f"{name:<36}{found['faults']:>11}  {' '.join(map(str, found['ids'][:5]))}".rstrip())
    lines += [f"{name:<36}{'-':>11}  not checked: no column, or needs the backbone" for name in result["not_checked"]]
    for name, found in result["laws"].items():
        lines += [f"{name}: {sentence}" for sentence in found.get("found", [])]
    lines += result.get("notes", [])
    lines.append(
        f"{result['segments']} segments, {result['length_km']:.1f} km "
        f"({result['backbone_length_km']:.1f} km of the backbone), {result['faults']} violations"
    )
    sys.stdout.write("\n".join(lines) + "\n")
    return int(result["faults"])


def _counts(pieces: gpd.GeoDataFrame, backbone: gpd.GeoDataFrame) -> dict[str, Any]:
    """Return counts that are not violations, but worth knowing."""
    each = pieces.drop_duplicates("link_id")
    missing = each["missing_share"].to_numpy(np.float64)
    coasts = backbone["source"] == SOURCE_COAST
    at_coasts = each["link_id"].isin(backbone["link_id"][coasts]).to_numpy(bool)
    backbone = backbone[~coasts]
    return {
        "links": len(backbone),
        "links_without_catchment": int((~backbone["has_catchment"]).sum()),
        "links_ending_outside_every_cell": int((backbone["cell"] == "").sum()),
        "links_with_upstream_outside": int(backbone["upstream_outside"].sum()),
        "links_with_upstream_cut": int(backbone["upstream_cut"].sum()),
        "outlets": int((backbone["downstream_link_id"] == NO_LINK).sum()),
        "new_segments": int((~pieces["from_backbone"].astype(bool)).sum()),
        "divergences": int(pieces["divergence"].astype(bool).sum()),
        # Water of catchments without their reaches, and the part of it whose connection would cost too much.
        "water_px": int(each["water_px"].sum()),
        "dropped_water_px": int(each["dropped_px"].sum()),
        "water_px_without_backbone": int(each["water_px"][at_coasts].sum()),
        "catchments_partly_without_data": int(((missing > 0) & (missing < 1)).sum()),
        "catchments_wholly_without_data": int((missing == 1).sum()),
    }


def _with_columns(table: gpd.GeoDataFrame, columns: Sequence[str], path: Path) -> gpd.GeoDataFrame:
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise InputError(f"{path} has no column {missing[0]}.", "Rerun the step that writes it.")
    return table.astype({"cell": str}) if "cell" in columns else table
