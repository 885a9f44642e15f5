"""The elevation-guided loss of EvaNet (Sami et al. 2024, arXiv 2404.17917, equations 2 to 4), for any network here.

Water runs down: where a labelled neighbour is flooded and lies higher, this pixel ought to be flooded too, and where a
dry neighbour lies lower it ought to be dry. Every pixel is compared with its eight neighbours' labels; the pairs that
elevation says something about count. The published program differs from the paper: it also pairs a pixel with itself,
counts pairs of equal height and pixels without a label, and mixes the images of a batch. Here it is as in the paper.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from headwater.core.errors import InputError

Weighting = Literal["constant", "difference", "logarithm"]
"""Weight of a pair that counts: 1, |dh| or log(1 + |dh|) with dh its difference of height in metres."""

_NEIGHBOURS = [(step_y, step_x) for step_y in (-1, 0, 1) for step_x in (-1, 0, 1) if (step_y, step_x) != (0, 0)]
_FLOOD, _DRY = 1, -1


def elevation_guided_loss(
    prediction: Tensor, elevation: Tensor, label: Tensor, *, weighting: Weighting = "constant"
) -> Tensor:
    """Return the sum over labelled pixels p and their eight neighbours q of w * (1 - label(q) f(p)).

    f(p) is the prediction of flood where it is at least that of dry, else minus that of dry. w is 0 unless
    -label(q) * (h(p) - h(q)) > 0, which leaves out neighbours without a label and of equal height.

    Parameters
    ----------
    prediction : (batch, 2, y, x)
        Flood and dry, each 0 to 1.
    elevation : (batch, 1, y, x)
        Metres, not normalised; pairs with NaN do not count.
    label : (batch, 1, y, x)
        1 flood, -1 dry, 0 not labelled.
    weighting : str
        See `Weighting`.

    Returns
    -------
    scalar
        The sum over the batch, each image by itself.
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
    cross_entropy_share: float = 0.0,
) -> Tensor:
    """Return the elevation-guided loss of a network's scores plus a share of the cross-entropy of labelled pixels.

    Parameters
    ----------
    scores : (batch, 1 or 2, y, x)
        Before the sigmoid: flood and dry, or log-odds of water alone, from which dry is taken as the opposite.
    elevation, label
        See `elevation_guided_loss`.
    weighting : str
        See `Weighting`.
    cross_entropy_share : float
        Weight of the summed cross-entropy.
    """
    both = scores if scores.shape[1] == 2 else torch.cat([scores, -scores], dim=1)
    loss = elevation_guided_loss(torch.sigmoid(both), elevation, label, weighting=weighting)
    if cross_entropy_share:
        # Of two scores the log-odds are the difference; of one it is the score itself.
        log_odds = scores[:, :1] - scores[:, 1:] if scores.shape[1] == 2 else scores
        entropy = F.binary_cross_entropy_with_logits(log_odds, (label == _FLOOD).to(log_odds.dtype), reduction="none")
        loss = loss + cross_entropy_share * torch.where(label != 0, entropy, 0).sum()
    return loss


def labels_of_water(target: Tensor, counted: Tensor) -> Tensor:
    """Return labels 1, -1 and 0 of targets 0..1 and of what counts (`headwater.train.losses.Targets`)."""
    return torch.where(counted > 0, torch.where(target > 0, _FLOOD, _DRY), 0).to(target.dtype)


def _pairs(rows: int, columns: int) -> Iterator[tuple[tuple[slice | int, ...], tuple[slice | int, ...]]]:
    """Yield, for each of eight directions, the pixels that have a neighbour there, and the neighbours."""
    for step_y, step_x in _NEIGHBOURS:
        here, there = [], []
        for step, length in ((step_y, rows), (step_x, columns)):
            here.append(slice(max(0, -step), length - max(0, step)))
            there.append(slice(max(0, step), length - max(0, -step)))
        yield (slice(None), slice(None), *here), (slice(None), slice(None), *there)


def _weight(rise: Tensor, weighting: Weighting) -> Tensor:
    if weighting == "difference":
        return rise
    return torch.log1p(rise) if weighting == "logarithm" else torch.ones_like(rise)
