"""Settings of the elevation of a cell."""

from __future__ import annotations

from typing import ClassVar, Literal

from headwater.core.settings import Settings, setting


class ElevationSettings(Settings):
    """The elevation of a cell."""

    section: ClassVar[str] = "elevation"

    missing: Literal["sea", "no_tile", "extend", "refuse", "zero"] = setting(
        "sea",
        "Where no model has a value: sea takes it as sea at elevation 0 and fails if more than 1 km2 of it is land of"
        " the basin (GLO-30 has no ocean tiles), no_tile takes what is in no tile as sea, with a warning (an area whose"
        " polygon does not follow the coast), extend repeats the nearest elevation (a model of your own that ends on"
        " land), refuse fails, zero writes 0 without a check.",
    )
