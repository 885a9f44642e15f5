"""The losses: WaterNet's, the elevation-guided one of EvaNet, and that of directions.

WaterNet's loss is 0.3 weighted cross-entropy + 0.7 weighted Tanimoto loss (Pierson and Mehrabi 2024, arXiv 2412.00050).
Training uses it alone unless `headwater.train.settings` gives the others a weight.

The elevation-guided loss of EvaNet (Sami et al. 2024, arXiv 2404.17917, equations 2 to 4) works with any network here.
Water runs down: a pixel should be flooded if a labeled neighbor is flooded and higher, and dry if a dry neighbor is
lower. Every pixel is compared with its eight neighbors' labels; only pairs whose elevations imply something count. The
published program differs from the paper: it also pairs a pixel with itself, counts pairs of equal height and pixels
without a label, and mixes the images of a batch. This implementation follows the paper.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from headwater.core.errors import InputError

BCE_WEIGHT = 0.3
TANIMOTO_WEIGHT = 0.7
_EPSILON = 1e-6

Weighting = Literal["constant", "difference", "logarithm"]
"""Weight of a pair that counts: 1, |dh| or log(1 + |dh|), where dh is its difference in height in meters."""

_NEIGHBORS = [(step_y, step_x) for step_y in (-1, 0, 1) for step_x in (-1, 0, 1) if (step_y, step_x) != (0, 0)]
_FLOOD, _DRY = 1, -1
_NOT_COUNTED = -100


@dataclass(frozen=True)
class Targets:
    """Targets of the output, (batch, 1, y / scale, x / scale) float32."""

    target: Tensor
    """1 where there is water, else 0."""
    weight: Tensor
    """Weight of the pixel in the cross-entropy; pixels of weight 0 do not count."""
    counted: Tensor
    """1 where the pixel counts, else 0: the weight of the Tanimoto loss."""


def targets_of_values(values: Tensor, *, scale: int = 2) -> Targets:
    """Turn label values at 10 m into targets and weights at the output's resolution.

    Parameters
    ----------
    values : (batch, 1, y, x) float32
        0: not water, weight 1; between 0 and 1: not counted; 1 and above: water of that weight.
    scale : int
        Targets and weights are max-pooled by this factor.
    """
    water = (values >= 1).float()
    weight = torch.where(values >= 1, values, (values == 0).float())
    if scale > 1:
        water, weight = F.max_pool2d(water, scale), F.max_pool2d(weight, scale)
    return Targets(target=water, weight=weight, counted=(weight > 0).float())


def waternet_loss(logits: Tensor, targets: Targets) -> Tensor:
    """Return 0.3 * cross-entropy + 0.7 * Tanimoto loss of a batch, both weighted."""
    bce = F.binary_cross_entropy_with_logits(logits, targets.target, weight=targets.weight)
    return BCE_WEIGHT * bce + TANIMOTO_WEIGHT * tanimoto_loss(torch.sigmoid(logits), targets.target, targets.counted)


def tanimoto_loss(probability: Tensor, target: Tensor, counted: Tensor) -> Tensor:
    """Return 1 minus the mean Tanimoto coefficient of water and of land, over all counted pixels of the batch."""
    water = tanimoto(counted * probability, counted * target)
    land = tanimoto(counted - counted * probability, counted - counted * target)
    return 1 - (water + land) / 2


def tanimoto(p: Tensor, t: Tensor) -> Tensor:
    """Return sum(p t) / sum(p^2 + t^2 - p t); 1 where both are zero everywhere."""
    product = (p * t).sum()
    return (product + _EPSILON) / ((p * p + t * t).sum() - product + _EPSILON)


def elevation_guided_loss(
    prediction: Tensor, elevation: Tensor, label: Tensor, *, weighting: Weighting = "constant"
) -> Tensor:
    """Return the sum over labeled pixels p and their eight neighbors q of w * (1 - label(q) f(p)).

    f(p) is the prediction of flood if it is at least that of dry, else minus that of dry. w is 0 unless
    -label(q) * (h(p) - h(q)) > 0, which excludes neighbors without a label or of equal height.

    Parameters
    ----------
    prediction : (batch, 2, y, x)
        Flood and dry, each 0 to 1.
    elevation : (batch, 1, y, x)
        Meters, not normalized; pairs with NaN do not count.
    label : (batch, 1, y, x)
        1 flood, -1 dry, 0 not labeled.
    weighting : str
        See `Weighting`.

    Returns
    -------
    scalar
        The sum over the images of the batch.
    """
    if weighting not in get_args(Weighting):
        raise InputError(f"There is no weighting {weighting!r}.", f"Use one of: {', '.join(get_args(Weighting))}.")
    flood, dry = prediction[:, :1], prediction[:, 1:]
    decision = torch.where(flood >= dry, flood, -dry)
    total = prediction.new_zeros(())
    for here, there in _pairs(prediction.shape[-2], prediction.shape[-1]):
        rise = elevation[here] - elevation[there]
        counts = (label[here] != 0) & (-label[there] * rise > 0)
        weight = _weight(torch.nan_to_num(rise).abs(), weighting).to(prediction.dtype)
        distance = 1 - label[there] * decision[here]
        total = total + torch.where(counts, weight * distance, 0).sum()
    return total


def evanet_loss(
    scores: Tensor,
    elevation: Tensor,
    label: Tensor,
    *,
    weighting: Weighting = "constant",
    cross_entropy_weight: float = 0.0,
) -> Tensor:
    """Return the elevation-guided loss of a network's scores plus the weighted cross-entropy of labeled pixels.

    Parameters
    ----------
    scores : (batch, 1 or 2, y, x)
        Before the sigmoid: flood and dry, or only log-odds of water, whose opposite is taken for dry.
    elevation, label
        See `elevation_guided_loss`.
    weighting : str
        See `Weighting`.
    cross_entropy_weight : float
        Weight of the summed cross-entropy.
    """
    both = scores if scores.shape[1] == 2 else torch.cat([scores, -scores], dim=1)
    loss = elevation_guided_loss(torch.sigmoid(both), elevation, label, weighting=weighting)
    if cross_entropy_weight:
        # Of two scores the log-odds are the difference; of one it is the score itself.
        log_odds = scores[:, :1] - scores[:, 1:] if scores.shape[1] == 2 else scores
        entropy = F.binary_cross_entropy_with_logits(log_odds, (label == _FLOOD).to(log_odds.dtype), reduction="none")
        loss = loss + cross_entropy_weight * torch.where(label != 0, entropy, 0).sum()
    return loss


def labels_of_water(target: Tensor, counted: Tensor) -> Tensor:
    """Return labels 1, -1 and 0 from targets 0..1 and the pixels that count (see `Targets`)."""
    return torch.where(counted > 0, torch.where(target > 0, _FLOOD, _DRY), 0).to(target.dtype)


def orientation_loss(scores: Tensor, classes: Tensor, counted: Tensor) -> Tensor:
    """Return the mean cross-entropy of directions over the pixels that count (Batra et al. 2019).

    Parameters
    ----------
    scores : (batch, class, y, x) float32
        Before the softmax.
    classes : (batch, y, x) int64
        See `headwater.train.orientation.orientation_classes`.
    counted : (batch, y, x)
        Above 0 where the pixel counts.
    """
    classes = torch.where(counted > 0, classes, _NOT_COUNTED)
    total = F.cross_entropy(scores, classes, ignore_index=_NOT_COUNTED, reduction="sum")
    return total / (counted > 0).sum().clamp(min=1)


def _pairs(rows: int, columns: int) -> Iterator[tuple[tuple[slice | int, ...], tuple[slice | int, ...]]]:
    """Yield, for each of eight directions, the pixels with a neighbor there, and these neighbors."""
    for step_y, step_x in _NEIGHBORS:
        here, there = [], []
        for step, length in ((step_y, rows), (step_x, columns)):
            here.append(slice(max(0, -step), length - max(0, step)))
            there.append(slice(max(0, step), length - max(0, -step)))
        yield (slice(None), slice(None), *here), (slice(None), slice(None), *there)


def _weight(rise: Tensor, weighting: Weighting) -> Tensor:
    if weighting == "difference":
        return rise
    return torch.log1p(rise) if weighting == "logarithm" else torch.ones_like(rise)
