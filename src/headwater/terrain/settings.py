"""Settings of the elevation of a cell."""

from __future__ import annotations

from typing import ClassVar, Literal

from headwater.core.settings import Settings, setting


class ElevationSettings(Settings):
    """The elevation of a cell."""

    section: ClassVar[str] = "elevation"

    missing: Literal["sea", "extend", "refuse", "zero"] = setting(
        "sea",
        "Where no model has a value: sea takes it as sea at elevation 0 and fails if more than 1 km2 of it is land of"
        " the basin (GLO-30 has no ocean tiles; of an area, whose polygon does not follow the coast, what is in no tile"
        " is sea, with a warning), extend repeats the nearest elevation (a model of your own that ends on land), refuse"
        " fails, zero writes 0 without a check.",
    )
