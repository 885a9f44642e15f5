"""Choosing the scenes of one MGRS tile: best first, until nearly all of it has one clear view.

After docs/explanation/method.md ("Imagery", the published WaterNet release): the cloud limit rises in steps, a scene is
accepted if it shows a given fraction of what no accepted scene shows, and the year before is tried if this year does
not suffice. Where that leaves ground unseen (the edge of a swath, lasting clouds), only ground that some candidate
shows counts, and the fraction falls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from headwater.imagery.settings import SelectSettings
from headwater.stac.items import Scene

_Kind = TypeVar("_Kind", bound=np.generic)
ClearViews = Callable[[Scene], NDArray[np.bool_] | None]
"""Returns (y, x) bool, True where a scene shows the ground clearly; coarse, over the tile. None: it is left out."""


@dataclass(frozen=True)
class Choice:
    """The scenes of one MGRS tile."""

    scenes: list[Scene]
    """In the order of acceptance: the best first."""
    unseen: float
    """Fraction of the tile that none of them shows, as far as any candidate is known to show it."""
    is_full: bool
    """Whether `max_scenes` ended the choice."""


def choose_scenes(years: Sequence[Sequence[Scene]], clear_views: ClearViews, rule: SelectSettings) -> Choice:
    """Choose the scenes of one MGRS tile greedily.

    Parameters
    ----------
    years : sequence of sequence of Scene
        Candidates of the newest period, then of the same period a year earlier, and so on, in any order.
    clear_views : callable
        Called only for scenes that are considered.
    rule : SelectSettings
        Limits.
    """
    choice = _Growing(clear_views, rule)
    ranked = [sorted(candidates, key=rank) for candidates in years]
    for candidates in ranked:
        for limit in rule.cloud_steps:
            if choice.add([scene for scene in candidates if scene.cloud_cover < limit], min_gain=rule.min_gain):
                return choice.result()
    # All candidates were considered, and ground is unseen: the edge of a swath, or lasting clouds.
    left = [scene for candidates in ranked for scene in candidates if scene.cloud_cover < rule.cloud_steps[-1]]
    choice.restrict_to_what_is_shown(left)
    min_gain = rule.min_gain
    while choice.could_gain(left) and not choice.add(left, min_gain=min_gain):
        min_gain /= 2
    return choice.result()


class _Growing:
    """The scenes of a tile chosen so far, and the ground that they leave unseen."""

    def __init__(self, clear_views: ClearViews, rule: SelectSettings) -> None:
        self._clear_views = clear_views
        self._rule = rule
        self._chosen: list[Scene] = []
        self._settled: set[str] = set()
        self._shown: NDArray[np.bool_] | None = None
        """What counts as ground: the complete tile, later what some candidate shows."""
        self._uncovered = np.zeros((0, 0), bool)

    def add(self, scenes: Sequence[Scene], *, min_gain: float) -> bool:
        """Accept scenes, in their order, that show at least a fraction of what is unseen; return whether it is enough.

        Scenes that are chosen or left out already are passed over.
        """
        for scene in scenes:
            clear = self._look(scene)
            if clear is None:
                continue
            gain = self._uncovered & clear
            if gain.any() and gain.sum() >= min_gain * self._uncovered.sum():
                if self._is_full():
                    return True
                self._chosen.append(scene)
                self._settled.add(scene.id)
                self._uncovered &= ~gain
                if self._is_covered():
                    return True
        return False

    def restrict_to_what_is_shown(self, scenes: Sequence[Scene]) -> None:
        """Count only ground that a chosen scene or one of `scenes` shows."""
        if self._shown is None:
            return
        shown = ~self._uncovered
        for scene in scenes:
            clear = self._look(scene)
            if clear is not None:
                shown |= clear
        self._shown = shown
        self._uncovered &= shown

    def could_gain(self, scenes: Sequence[Scene]) -> bool:
        """Return whether more scenes may be added and one of `scenes` shows something unseen."""
        if self._shown is None or self._is_full() or self._is_covered():
            return False
        views = (self._look(scene) for scene in scenes)
        return any(clear is not None and bool((self._uncovered & clear).any()) for clear in views)

    def result(self) -> Choice:
        """Return the choice."""
        unseen = float(self._uncovered.mean()) if self._uncovered.size else 0.0
        return Choice(self._chosen, unseen, self._is_full())

    def _look(self, scene: Scene) -> NDArray[np.bool_] | None:
        if scene.id in self._settled:
            return None
        clear = self._clear_views(scene)
        if clear is None:
            self._settled.add(scene.id)
            return None
        if self._shown is None:
            self._shown, self._uncovered = np.ones(clear.shape, bool), np.ones(clear.shape, bool)
        return resize_nearest(clear, self._uncovered.shape)

    def _is_full(self) -> bool:
        return len(self._chosen) >= self._rule.max_scenes

    def _is_covered(self) -> bool:
        assert self._shown is not None
        return bool(self._uncovered.sum() < self._rule.stop_uncovered * self._shown.sum())


def rank(scene: Scene) -> tuple[float, str, str]:
    """Return the sorting key of candidates: cloud cover plus empty part, then time and id."""
    return (scene.cloud_cover + scene.nodata_percentage, scene.datetime, scene.id)


def resize_nearest(values: NDArray[_Kind], shape: tuple[int, ...]) -> NDArray[_Kind]:
    """Return a (y, x) array at another shape over the same ground, by nearest neighbor."""
    if values.shape == shape:
        return values
    rows = ((np.arange(shape[0]) + 0.5) * values.shape[0] / shape[0]).astype(int)
    columns = ((np.arange(shape[1]) + 0.5) * values.shape[1] / shape[1]).astype(int)
    return values[np.ix_(rows, columns)]
