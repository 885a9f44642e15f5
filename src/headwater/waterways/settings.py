"""How water becomes lines: the two methods and their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headwater.core.errors import InputError

METHODS = ("headwater", "published")


@dataclass(frozen=True)
class Settings:
    """How water becomes lines."""

    method: str = "headwater"
    """`headwater`: on whole windows; `published`: catchment by catchment, as Pierson and Mehrabi (2024) write it."""
    threshold: float = 0.5
    """Probability from which a cell is water."""
    floor: float = 0.1
    """Probability that scales to 0."""
    min_component_px: int = 4
    """Shortest end kept, and smallest component that is connected, cells: otherwise specks would get long lines of
    their own."""
    cost_below_floor: float = 4.0
    """Cost of a cell at or under the floor, bits (`headwater`; the published method never crosses such cells)."""
    max_cost_per_px: float = 16.0
    """Highest cost of joining a component of water, bits for each pixel of its length (`headwater`)."""
    max_cost: float = 400.0
    """Highest cost of joining any component, bits."""
    max_rise_m: float = 2.0
    """How far above a component the divide may be that it crosses into another catchment's water, and how far above the
    head of a stream without inflow the place may be that it joins (`headwater`); its deeper end is cut off."""
    limits: Sequence[float] = (8.0, 32.0, 400.0)
    """Largest cost of a path, growing (`published`)."""

    water_polygons: bool = False
    """Whether water wider than three cells is given as polygons too (`headwater`)."""

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InputError(f"There is no method {self.method!r}.", f"Use {' or '.join(METHODS)}.")
        if not 0 <= self.floor < self.threshold <= 1:
            raise InputError(
                f"floor {self.floor} and threshold {self.threshold} do not fit.",
                "Choose 0 <= floor < threshold <= 1.",
            )
        if self.cost_below_floor <= 0 or self.max_cost_per_px <= 0 or self.max_cost <= 0:
            raise InputError("A cost of a cell or of joining a component is not above 0.", "Use 4, 16 and 400 bits.")
        limits = list(self.limits)
        if not limits or limits != sorted(limits) or limits[0] <= 0:
            raise InputError(f"The limits {limits} do not grow from above 0.", "Use 8, 32, 400.")
