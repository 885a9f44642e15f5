"""Scenes that cannot be used: left out and named, until they are too many."""

from __future__ import annotations

from headwater.core.errors import HeadwaterError
from headwater.core.events import warn

LEAVE_OUT = "add the scene's id to search.exclude"
"""Remedy for a scene that cannot be used, in the words of a sentence."""


class LeftOut:
    """The scenes of a place that are left out.

    Parameters
    ----------
    candidates : int
        Scenes of the place.
    max_fraction : float
        More than this fraction of them is an error.
    setting : str
        Full name of the setting that gives it.
    """

    def __init__(self, candidates: int, max_fraction: float, *, setting: str) -> None:
        self._candidates = candidates
        self._max_fraction = max_fraction
        self._setting = setting
        self._ids: set[str] = set()

    def __contains__(self, scene: str) -> bool:
        return scene in self._ids

    @property
    def ids(self) -> list[str]:
        """Their ids, sorted."""
        return sorted(self._ids)

    def add(self, scene: str, error: HeadwaterError) -> None:
        """Leave out a scene and report it.

        Raises
        ------
        HeadwaterError
            There are too many: an error of the same class as the cause of the last one.
        """
        self._ids.add(scene)
        count = len(self._ids)
        if count > self._max_fraction * self._candidates:
            if self._candidates == 1:
                raise type(error)(
                    f"The only scene, {scene}, cannot be used: {error.cause}", f"{error.remedy} Or {LEAVE_OUT}."
                ) from None
            raise type(error)(
                f"{count} of {self._candidates} scenes cannot be used, the last one ({scene}) because: {error.cause}",
                f"{error.remedy} Or {LEAVE_OUT}, or raise {self._setting}.",
            ) from None
        warn(f"scene {scene} is left out: {error.cause} To silence this, {LEAVE_OUT}.")
