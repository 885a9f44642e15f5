"""Settings of the grid: the cells of a basin."""

from __future__ import annotations

from typing import ClassVar

from headwater.core.settings import Settings, setting


class GridSettings(Settings):
    """The cells, the unit of work."""

    section: ClassVar[str] = "grid"

    cell_degrees: float = setting(
        1.0,
        "Side of a cell in degrees.",
        unit="degrees",
        reruns_from="refused",
        choices=(1.0, 0.5, 0.25, 0.2, 0.1, 0.05),
    )
    margin_px: int = setting(
        64,
        "Pixels of 10 m by which a cell's composite and elevation reach beyond its edge.",
        unit="pixels of 10 m",
        reruns_from="refused",
        ge=0,
        le=1024,
        multiple_of=2,
    )
