"""The loss of Pierson and Mehrabi 2024 (arXiv 2412.00050): weighted cross-entropy and Tanimoto."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

BCE_SHARE = 0.3
TANIMOTO_SHARE = 0.7
_EPSILON = 1e-6


@dataclass(frozen=True)
class Targets:
    """What the output should be, (batch, 1, y / scale, x / scale) float32."""

    target: Tensor
    """1 where there is water, else 0."""
    weight: Tensor
    """Weight of the pixel in the cross-entropy; 0 is not counted."""
    counted: Tensor
    """1 where the pixel counts, else 0: the weight of the Tanimoto loss."""


def targets_of_values(values: Tensor, *, scale: int = 2) -> Targets:
    """Turn label values at 10 m into targets and weights at the output's resolution.

    Parameters
    ----------
    values : (batch, 1, y, x) float32
        0: not water, weight 1; between 0 and 1: not counted; 1 and above: water of that weight.
    scale : int
        Targets and weights are max-pooled by this much.
    """
    water = (values >= 1).float()
    weight = torch.where(values >= 1, values, (values == 0).float())
    if scale > 1:
        water, weight = F.max_pool2d(water, scale), F.max_pool2d(weight, scale)
    return Targets(target=water, weight=weight, counted=(weight > 0).float())


def waternet_loss(logits: Tensor, targets: Targets) -> Tensor:
    """Return 0.3 * cross-entropy + 0.7 * Tanimoto loss of a batch, both weighted."""
    bce = F.binary_cross_entropy_with_logits(logits, targets.target, weight=targets.weight)
    return BCE_SHARE * bce + TANIMOTO_SHARE * tanimoto_loss(torch.sigmoid(logits), targets.target, targets.counted)


def tanimoto_loss(probability: Tensor, target: Tensor, counted: Tensor) -> Tensor:
    """Return 1 minus the mean Tanimoto coefficient of water and of land, over all counted pixels of the batch."""
    water = tanimoto(counted * probability, counted * target)
    land = tanimoto(counted - counted * probability, counted - counted * target)
    return 1 - (water + land) / 2


def tanimoto(p: Tensor, t: Tensor) -> Tensor:
    """Return sum(p t) / sum(p^2 + t^2 - p t); 1 where both are zero everywhere."""
    product = (p * t).sum()
    return (product + _EPSILON) / ((p * p + t * t).sum() - product + _EPSILON)
