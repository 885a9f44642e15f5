"""Scores against labeled water types: counts of tiles that add up to regions and subsets, and tables of them.

Pierson and Mehrabi 2024 (arXiv 2412.00050), Table 1 and Supplementary Table 1; center lines by Shit et al. 2021
(clDice, doi:10.1109/CVPR46437.2021.01629).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from headwater.evaluate.nhd import WATER_TYPES
from headwater.evaluate.pixel_counts import WHOLE, BoolArray, Core, PixelCounts, count_pixels
from headwater.evaluate.skeleton import skeleton
from headwater.evaluate.water_types import UNKNOWN_TYPE, TypeArray, values_of_types

ALL = "All Data Included"
MASKED_TYPES = frozenset(number for number, (_, value) in WATER_TYPES.items() if 0 < value < 1)
"""Types that training does not count; P** and R** leave them out."""
SUBSETS: Mapping[str, frozenset[int]] = {
    "Canals": frozenset({13, 14, 15}),
    "Intermittent Lakes": frozenset({7}),
    "Swamps": frozenset({3, 4, 5}),
}
"""Types whose presence defines subsets of tiles."""
SCORES = ("P", "R", "F1", "P*", "R*", "F1*", "P**", "R**", "F1**", "clDice", "data_percent")
_TYPES = len(WATER_TYPES) + 1


@dataclass(frozen=True, eq=False)
class TileCounts:
    """What the scores of a tile, or of a sum of tiles, are made of."""

    pixels: int
    """Pixels that are predicted and mapped."""
    plain: PixelCounts
    """All types of a value above 0 are water."""
    unmasked: PixelCounts
    """Types masked in training are left out."""
    of_type: npt.NDArray[np.int64]
    """(22,) pixels of each water type, 0 is none."""
    predicted_of_type: npt.NDArray[np.int64]
    """(22,) those of them predicted as water."""
    center: npt.NDArray[np.int64]
    """(4,) pixels of the prediction's skeleton, those of them in the target, the target's skeleton, those predicted."""

    def __add__(self, other: TileCounts) -> TileCounts:
        return TileCounts(
            self.pixels + other.pixels,
            self.plain + other.plain,
            self.unmasked + other.unmasked,
            self.of_type + other.of_type,
            self.predicted_of_type + other.predicted_of_type,
            self.center + other.center,
        )

    def has(self, types: Iterable[int]) -> bool:
        """Return whether any of these water types occurs."""
        return bool(self.of_type[list(types)].any())

    def scores(self) -> dict[str, float]:
        """Return P, R, F1, their starred and double-starred forms and clDice; 0 where undefined."""
        plain, unmasked = self.plain.scores(), self.unmasked.scores()
        names = ("precision", "recall", "f1")
        scores = [plain[name] for name in names] + [plain[f"{name}*"] for name in names]
        scores += [unmasked[name] for name in names]
        return dict(zip(SCORES, [*scores, self.cldice()], strict=False))

    def cldice(self) -> float:
        """Return the harmonic mean of the fractions of each skeleton inside the other mask; 0 where undefined."""
        predicted, in_target, true, in_prediction = (int(count) for count in self.center)
        precision = in_target / predicted if predicted else 0.0
        sensitivity = in_prediction / true if true else 0.0
        both = precision + sensitivity
        return 2 * precision * sensitivity / both if both else 0.0


def count_tile(
    predicted: BoolArray, types: TypeArray, valid: BoolArray | None = None, *, core: Core = WHOLE
) -> TileCounts:
    """Compare a predicted water mask with labels.

    Parameters
    ----------
    predicted : (y, x) bool
        True is water.
    types : (y, x) uint8
        Water types; 0 is none, 255 nobody has mapped.
    valid : (y, x) bool, optional
        Pixels that have a prediction.
    core : two slices
        Where to count: the tile without its halo. All but clDice needs one pixel; skeletons of wide water more.
    """
    values = values_of_types(types)
    counted = types != UNKNOWN_TYPE
    if valid is not None:
        counted &= valid
    water = counted & (values > 0)
    masked = (values > 0) & (values < 1)
    mapped = np.where(counted, types, 0)[core]
    predicted_lines, true_lines = skeleton(predicted & counted), skeleton(water)
    center = (predicted_lines, predicted_lines & water, true_lines, true_lines & predicted)
    return TileCounts(
        pixels=int(counted[core].sum()),
        plain=count_pixels(predicted, water, counted, core=core),
        unmasked=count_pixels(predicted, values >= 1, counted & ~masked, core=core),
        of_type=_count(mapped[mapped > 0]),
        predicted_of_type=_count(mapped[(mapped > 0) & predicted[core]]),
        center=np.array([lines[core].sum() for lines in center], dtype=np.int64),
    )


def sum_tiles(tiles: Iterable[tuple[str, TileCounts]]) -> tuple[dict[str, TileCounts], dict[str, TileCounts]]:
    """Add up tiles, one by one.

    Parameters
    ----------
    tiles : iterable of (str, TileCounts)
        Region and counts of each tile; those without a pixel to score are skipped.

    Returns
    -------
    subsets : dict of TileCounts
        Rows of the paper's Table 1 by name, in its order; those without tiles are missing.
    regions : dict of TileCounts
        By region, in the order met.
    """
    subsets: dict[str, TileCounts] = {}
    regions: dict[str, TileCounts] = {}
    for region, counts in tiles:
        if counts.pixels == 0:
            continue
        _add(regions, region, counts)
        for row in _rows_of(counts):
            _add(subsets, row, counts)
    order = [ALL, _UNMASKED, *(f"{name} {how}" for name in SUBSETS for how in ("Excluded", "Included"))]
    return {row: subsets[row] for row in order if row in subsets}, regions


def score_table(sums: Mapping[str, TileCounts], *, pixels: int) -> pd.DataFrame:
    """Return the scores of each sum, as in the paper's tables.

    Parameters
    ----------
    sums : mapping of TileCounts
        By the name of the row.
    pixels : int
        Pixels of all tiles, of which `data_percent` is a percentage.

    Returns
    -------
    DataFrame
        Index data; columns `SCORES`.
    """
    rows = {
        name: {**counts.scores(), "data_percent": 100 * counts.pixels / pixels if pixels else 0.0}
        for name, counts in sums.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(SCORES)).rename_axis("data")


def type_table(counts: TileCounts) -> pd.DataFrame:
    """Return the fraction of each water type that is predicted as water: its recall, where it counts as water.

    Returns
    -------
    DataFrame
        Index type; columns training (water, masked or land), pixels, predicted_share. Types that do not occur are
        missing.
    """
    rows = {
        name: {
            "training": "land" if value == 0 else "masked" if value < 1 else "water",
            "pixels": int(counts.of_type[number]),
            "predicted_share": float(counts.predicted_of_type[number] / counts.of_type[number]),
        }
        for number, (name, value) in WATER_TYPES.items()
        if counts.of_type[number]
    }
    columns = ["training", "pixels", "predicted_share"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("type")


_UNMASKED = "Data With Any Mask Type Excluded"


def _rows_of(counts: TileCounts) -> list[str]:
    """Return the rows of the paper's Table 1 that a tile belongs to."""
    rows = [ALL] if counts.has(MASKED_TYPES) else [ALL, _UNMASKED]
    return rows + [f"{name} {'Included' if counts.has(types) else 'Excluded'}" for name, types in SUBSETS.items()]


def _add(sums: dict[str, TileCounts], name: str, counts: TileCounts) -> None:
    sums[name] = sums[name] + counts if name in sums else counts


def _count(types: TypeArray) -> npt.NDArray[np.int64]:
    return np.bincount(types, minlength=_TYPES).astype(np.int64)
