"""The backbone from the files of TDX-Hydro, with messages on what had to be repaired."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from headwater.core.events import say
from headwater.geo.features import read_table
from headwater.geo.grid import Bounds
from headwater.waterways.backbone.stream_columns import CATCHMENT_ID_COLUMNS, CATCHMENTS, STREAM_COLUMNS, STREAMS
from headwater.waterways.backbone.tdx import Backbone, tdx_backbone


def read_tdx(
    streams: Path, catchments: Path, *, cells: Iterable[tuple[str, Bounds]] = (), bounds: Bounds | None = None
) -> Backbone:
    """Read streams and catchments as a backbone, and report all repairs.

    Parameters
    ----------
    streams, catchments : Path
        Tables with TDX-Hydro's columns, in any format that `headwater.geo.features.read_table` reads. One file with
        two layers may be both.
    cells : iterable of (name, (west, south, east, north))
        See `headwater.waterways.backbone.tdx.tdx_backbone`.
    bounds : (west, south, east, north), optional
        Degrees that catchments are read in.

    Raises
    ------
    InputError
        A file cannot be read, or its table cannot be used.
    """
    made = tdx_backbone(
        read_table(streams, STREAMS, columns=STREAM_COLUMNS),
        read_table(catchments, CATCHMENTS, columns=CATCHMENT_ID_COLUMNS, bounds=bounds),
        cells,
    )
    report_repairs(made)
    return made


def report_repairs(backbone: Backbone) -> None:
    """Report what had to be repaired to get a backbone, one message each."""
    for note, count in backbone.notes.items():
        say(f"{count} {note}.", count=count)
