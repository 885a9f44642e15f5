"""Choosing the scenes of one MGRS tile: best first, until nearly all of it has one clear view.

After docs/explanation/method.md ("Imagery", the published WaterNet release): the cloud limit rises in steps, a scene is
accepted if it shows a given fraction of what no accepted scene shows, and the year before is tried if this year does
not suffice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from headwater.imagery.settings import SelectSettings
from headwater.stac.items import Scene

_Kind = TypeVar("_Kind", bound=np.generic)
ClearViews = Callable[[Scene], NDArray[np.bool_] | None]
"""Returns (y, x) bool, True where a scene shows the ground clearly; coarse, over the full tile. None: it is gone."""


def choose_scenes(years: Sequence[Sequence[Scene]], clear_views: ClearViews, rule: SelectSettings) -> list[Scene]:
    """Choose the scenes of one MGRS tile greedily.

    Parameters
    ----------
    years : sequence of sequence of Scene
        Candidates of the newest period, then of the same period a year earlier, and so on, in any order.
    clear_views : callable
        Called only for scenes that are considered.
    rule : SelectSettings
        Limits.

    Returns
    -------
    list of Scene
        In the order of acceptance: the best first.
    """
    chosen: list[Scene] = []
    uncovered: NDArray[np.bool_] | None = None
    for candidates in years:
        waiting = sorted(candidates, key=rank)
        for limit in rule.cloud_steps:
            for scene in [scene for scene in waiting if scene.cloud_cover < limit]:
                if len(chosen) >= rule.max_scenes:
                    return chosen
                clear = clear_views(scene)
                if clear is None:
                    waiting.remove(scene)
                    continue
                if uncovered is None:
                    uncovered = np.ones(clear.shape, bool)
                gain = uncovered & resize_nearest(clear, uncovered.shape)
                if gain.any() and gain.sum() >= rule.min_gain * uncovered.sum():
                    chosen.append(scene)
                    waiting.remove(scene)
                    uncovered &= ~gain
                    if uncovered.mean() < rule.stop_uncovered:
                        return chosen
    return chosen


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
