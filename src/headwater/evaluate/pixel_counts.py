"""Scores of a water mask, pixel by pixel, plain and tolerant of errors in line thickness.

Pierson and Mehrabi 2024 (arXiv 2412.00050), P, R, F1 and their starred forms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class PixelCounts:
    """Counts of pixels by outcome; counts of several rasters add up."""

    true_positive: int = 0
    """Water in both."""
    false_positive: int = 0
    """Predicted only."""
    false_negative: int = 0
    """Missed."""
    tolerable_false_positive: int = 0
    """False positives next to a target that is drawn at another thickness."""
    tolerable_false_negative: int = 0
    """False negatives next to a prediction that is drawn at another thickness."""

    def __add__(self, other: PixelCounts) -> PixelCounts:
        return PixelCounts(
            self.true_positive + other.true_positive,
            self.false_positive + other.false_positive,
            self.false_negative + other.false_negative,
            self.tolerable_false_positive + other.tolerable_false_positive,
            self.tolerable_false_negative + other.tolerable_false_negative,
        )

    def scores(self) -> dict[str, float]:
        """Return precision, recall, f1 and, tolerant of thickness, precision*, recall*, f1*; 0 where undefined."""
        found = self.true_positive + self.tolerable_false_positive
        precision = _ratio(self.true_positive, self.true_positive + self.false_positive)
        recall = _ratio(self.true_positive, self.true_positive + self.false_negative)
        precision_star = _ratio(found, self.true_positive + self.false_positive)
        recall_star = _ratio(found, found + self.false_negative - self.tolerable_false_negative)
        return {
            "precision": precision,
            "recall": recall,
            "f1": _harmonic_mean(precision, recall),
            "precision*": precision_star,
            "recall*": recall_star,
            "f1*": _harmonic_mean(precision_star, recall_star),
        }


Core = tuple[slice, slice]
"""Rows and columns of a tile without its halo."""
WHOLE: Core = (slice(None), slice(None))


def count_pixels(
    predicted: BoolArray, target: BoolArray, counted: BoolArray | None = None, *, core: Core = WHOLE
) -> PixelCounts:
    """Compare a predicted water mask with the true one.

    A false positive is tolerable if its 3 x 3 window contains a pixel that is water in the target and one that is not
    predicted; a false negative if its window contains a pixel that is not water in the target and a predicted one.

    Parameters
    ----------
    predicted, target : (y, x) bool
        True is water.
    counted : (y, x) bool, optional
        Pixels to score; others are neither errors nor hits, and do not count in windows.
    core : two slices
        Where to count. With a halo of one pixel around, the counts of tiles add up to those of the complete raster.

    Returns
    -------
    PixelCounts
    """
    if predicted.shape != target.shape or predicted.ndim != 2:
        raise ValueError(
            f"the masks have shapes {predicted.shape} and {target.shape}; two equal ones (y, x) are needed"
        )
    scored = np.ones(target.shape, dtype=bool) if counted is None else counted
    wrong_positive = scored & predicted & ~target
    wrong_negative = scored & ~predicted & target
    tolerable_positive = wrong_positive & _window_contains(scored & target) & _window_contains(scored & ~predicted)
    tolerable_negative = wrong_negative & _window_contains(scored & ~target) & _window_contains(scored & predicted)
    return PixelCounts(
        true_positive=int((scored & predicted & target)[core].sum()),
        false_positive=int(wrong_positive[core].sum()),
        false_negative=int(wrong_negative[core].sum()),
        tolerable_false_positive=int(tolerable_positive[core].sum()),
        tolerable_false_negative=int(tolerable_negative[core].sum()),
    )


def _window_contains(mask: BoolArray) -> BoolArray:
    """Return for every pixel whether its 3 x 3 window, cut at the raster's edge, contains a True."""
    contained: BoolArray = maximum_filter(mask, size=3, mode="constant", cval=False)
    return contained


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _harmonic_mean(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a + b else 0.0
