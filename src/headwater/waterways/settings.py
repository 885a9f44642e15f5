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
    min_piece_px: int = 4
    """Shortest end kept, and smallest water that a connection is sought for, cells: specks would else get long lines of
    their own."""
    bits_below_floor: float = 4.0
    """Price of a cell at or under the floor (`headwater`; the published method never crosses such cells)."""
    worth_per_px: float = 16.0
    """Bits paid at most to join a piece of water, for each pixel of its length (`headwater`)."""
    most_bits: float = 400.0
    """Bits paid at most to join any piece."""
    most_rise_m: float = 2.0
    """How far the border may lie above a piece that flows over it into another catchment's water, and what a stream
    without inflow joins above its head (`headwater`); its deeper end is cut off."""
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
        if self.bits_below_floor <= 0 or self.worth_per_px <= 0 or self.most_bits <= 0:
            raise InputError("A price of a cell or the worth of a piece is not above 0.", "Use 4, 16 and 400 bits.")
        limits = list(self.limits)
        if not limits or limits != sorted(limits) or limits[0] <= 0:
            raise InputError(f"The limits {limits} do not grow from above 0.", "Use 8, 32, 400.")
