"""The segments of many reaches: rows of a cell's `waterways.parquet`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray

from headwater.core.errors import WorkError
from headwater.geo.geodesy import geodesic_length_m
from headwater.geo.grid import CRS

SEGMENT_COLUMNS = (
    "link_id",
    "local_index",
    "from_backbone",
    "downstream_index",
    "divergence",
    "mean_probability",
    "missing_share",
    "water_px",
    "dropped_px",
    "intersects_lake",
    "length_m",
    "geometry",
)
MAX_SEGMENTS = 100_000
"""Segments a link can have: local ids have five digits."""


@dataclass(frozen=True)
class Segments:
    """Segments of one link: the pieces of its reach from the head down, then the new lines."""

    lines: list[shapely.LineString]
    """Drawn downstream, EPSG:4326."""
    from_backbone: NDArray[np.bool_]
    """Whether the segment is a piece of the reach."""
    downstream_index: NDArray[np.int64]
    """Position of the segment it flows into; -1 for the first piece of the downstream link."""
    mean_probability: NDArray[np.float64]
    """Mean of the probability under it, before the reach is burned; NaN without data."""
    missing_share: float
    """Fraction of the catchment's cells without probability; NaN where there is no catchment."""
    water_px: int = 0
    """Cells of water in the catchment, its reach left out."""
    dropped_px: int = 0
    """Those of them that could not be joined to the reach."""


def whole_reach(reach: shapely.LineString) -> Segments:
    """Return a reach without catchment as one segment."""
    return Segments([reach], np.array([True]), np.array([-1]), np.array([np.nan]), math.nan)


def segment_table(results: Iterable[tuple[int, Segments]]) -> gpd.GeoDataFrame:
    """Return the segments of links as one table with SEGMENT_COLUMNS.

    Raises
    ------
    WorkError
        A link has more segments than ids have digits for.
    """
    results = list(results)
    counts = [len(segments.lines) for _, segments in results]
    return segments_of_columns(
        np.array([line for _, segments in results for line in segments.lines], dtype=object),
        link=np.repeat(np.array([link for link, _ in results], dtype=np.int64), counts),
        from_backbone=_stacked([s.from_backbone for _, s in results], np.bool_),
        downstream_index=_stacked([s.downstream_index for _, s in results], np.int64),
        divergence=np.zeros(sum(counts), dtype=bool),
        mean_probability=_stacked([s.mean_probability for _, s in results], np.float64),
        missing_share=np.repeat(np.array([s.missing_share for _, s in results], dtype=np.float64), counts),
        water_px=np.repeat(np.array([s.water_px for _, s in results], dtype=np.int64), counts),
        dropped_px=np.repeat(np.array([s.dropped_px for _, s in results], dtype=np.int64), counts),
    )


def segments_of_columns(
    lines: NDArray[Any],
    *,
    link: NDArray[np.int64],
    from_backbone: NDArray[np.bool_],
    downstream_index: NDArray[np.int64],
    divergence: NDArray[np.bool_],
    mean_probability: NDArray[np.float64],
    missing_share: NDArray[np.float64],
    water_px: NDArray[np.int64],
    dropped_px: NDArray[np.int64],
) -> gpd.GeoDataFrame:
    """Return a table with SEGMENT_COLUMNS from arrays with one value per segment; segments of a link must be adjacent.

    Raises
    ------
    WorkError
        A link has more segments than ids have digits for.
    """
    begins = np.append(True, link[1:] != link[:-1])[: len(link)]
    first = np.flatnonzero(begins)[np.cumsum(begins) - 1] if len(link) else np.zeros(0, dtype=np.int64)
    local = np.arange(len(link)) - first
    if len(link) and local.max() >= MAX_SEGMENTS:
        raise WorkError(
            f"Link {link[local.argmax()]} has {local.max() + 1} segments.",
            "Raise min_component_px, or split its catchment.",
        )
    return gpd.GeoDataFrame(
        {
            "link_id": link,
            "local_index": local.astype(np.int32),
            "from_backbone": from_backbone,
            "downstream_index": downstream_index.astype(np.int32),
            "divergence": divergence,
            "mean_probability": mean_probability,
            "missing_share": missing_share,
            "water_px": water_px,
            "dropped_px": dropped_px,
            "intersects_lake": np.zeros(len(link), dtype=bool),
            "length_m": geodesic_length_m(lines),
        },
        geometry=shapely.force_2d(lines) if shapely.has_z(lines).any() else lines,
        crs=CRS,
    )


def _stacked(parts: list[NDArray[Any]], dtype: type[np.generic]) -> NDArray[Any]:
    return np.concatenate(parts).astype(dtype) if parts else np.zeros(0, dtype)
