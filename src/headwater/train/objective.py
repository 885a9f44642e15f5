"""The objective: a network and its losses as one module, so that several processes can share its gradient."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headwater.core.errors import InputError
from headwater.models.base import Network
from headwater.models.evanet import EvaNet
from headwater.models.hourglass import Hourglass
from headwater.train.batches import Batch, Directions
from headwater.train.elevation_guided import evanet_loss, labels_of_water
from headwater.train.losses import Targets, targets_of_values, waternet_loss
from headwater.train.settings import Losses

_STACK_SCALE = 4
"""Of what an hourglass predicts after each of its stacks."""
_NEIGHBOURS = 8
_NOT_COUNTED = -100


class Objective(nn.Module):
    """A batch in, its loss out."""

    def __init__(self, network: Network, losses: Losses, precision: str) -> None:
        super().__init__()
        if losses.orientation and not isinstance(network, Hourglass):
            raise InputError(
                f"{type(network).__name__} has no orientation head.",
                "Set loop.losses.orientation to 0, or network.name to hourglass.",
            )
        self.network, self.losses, self.precision = network, losses, precision

    @property
    def directions(self) -> Directions:
        """Which classes of direction its batches must bring."""
        network = self.network
        if not self.losses.orientation or not isinstance(network, Hourglass):
            return Directions()
        return Directions((_STACK_SCALE, network.config.scale), network.config.bin_degrees)

    def forward(self, batch: Batch) -> Tensor:
        """Return the weighted sum of the losses, in float32; the network computes in `precision`."""
        scale = self.network.config.scale
        targets = targets_of_values(batch.values, scale=scale)
        directions: list[Tensor] = []
        with torch.autocast(batch.channels.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            if isinstance(self.network, Hourglass) and self.losses.orientation:
                tasks = self.network.tasks(batch.channels)
                lines, directions = list(tasks.segmentation), list(tasks.orientation)
            elif isinstance(self.network, EvaNet):
                scores = self.network(batch.channels[:, :-1], batch.channels[:, -1:])
                lines = [F.avg_pool2d(scores, scale) if scale > 1 else scores]
            else:
                lines = [self.network.logits(batch.channels)]
        scores = lines[-1].float()
        # Of two scores, flood and dry, the log-odds are the difference.
        log_odds = scores[:, :1] - scores[:, 1:] if isinstance(self.network, EvaNet) else scores
        loss = self.losses.waternet * waternet_loss(log_odds, targets)
        if self.losses.elevation:
            loss = loss + self.losses.elevation * self._elevation_loss(scores, batch, targets)
        if directions:
            loss = loss + self._task_loss(lines, directions, batch, targets)
        return loss

    def _elevation_loss(self, scores: Tensor, batch: Batch, targets: Targets) -> Tensor:
        """Return the elevation-guided loss a pair of neighbours: its sum would grow with chips and batches."""
        heights = F.avg_pool2d(batch.elevation, self.network.config.scale)
        labels = labels_of_water(targets.target, targets.counted)
        total = evanet_loss(scores, heights, labels, weighting=self.losses.elevation_weighting)
        return total / (_NEIGHBOURS * targets.counted.sum()).clamp(min=1)

    def _task_loss(self, lines: list[Tensor], directions: list[Tensor], batch: Batch, targets: Targets) -> Tensor:
        """Return what the stacks and the orientation head add: each stack is held to both tasks, as at the end."""
        coarse = targets_of_values(batch.values, scale=_STACK_SCALE)
        loss = torch.zeros((), device=batch.channels.device)
        for stack in lines[:-1]:
            loss = loss + self.losses.waternet * waternet_loss(stack.float(), coarse)
        for number, scores in enumerate(directions):
            last = number == len(directions) - 1
            counted, classes = (targets, batch.orientation[1]) if last else (coarse, batch.orientation[0])
            loss = loss + self.losses.orientation * orientation_loss(scores.float(), classes, counted.counted[:, 0])
        return loss


def orientation_loss(scores: Tensor, classes: Tensor, counted: Tensor) -> Tensor:
    """Return the mean cross-entropy of directions over the pixels that count.

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
