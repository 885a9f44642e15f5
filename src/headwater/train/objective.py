"""The objective: a network and its losses as one module, so that several processes can average its gradient."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headwater.core.errors import InputError
from headwater.models.base import Directions, Network, Tasks
from headwater.train.batches import Batch
from headwater.train.losses import (
    Targets,
    evanet_loss,
    labels_of_water,
    orientation_loss,
    targets_of_values,
    waternet_loss,
)
from headwater.train.settings import Losses

_NEIGHBORS = 8


class Objective(nn.Module):
    """A batch in, its loss out."""

    def __init__(self, network: Network, losses: Losses, precision: str) -> None:
        super().__init__()
        if losses.orientation and network.directions is None:
            raise InputError(
                f"{type(network).__name__} has no orientation head.",
                "Set loop.losses.orientation to 0, or network.name to hourglass.",
            )
        self.network, self.losses, self.precision = network, losses, precision

    @property
    def directions(self) -> Directions:
        """Classes of direction that its batches must contain; none without an orientation loss."""
        directions = self.network.directions if self.losses.orientation else None
        return directions or Directions()

    def forward(self, batch: Batch) -> Tensor:
        """Return the weighted sum of the losses, in float32; the network computes in `precision`."""
        targets = targets_of_values(batch.values, scale=self.network.config.scale)
        tasks = None
        with torch.autocast(batch.channels.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            if self.losses.orientation:
                tasks = self.network.tasks(batch.channels)
                scores = tasks.segmentation[-1]
            else:
                scores = self.network.training_scores(batch.channels)
        scores = scores.float()
        loss = self.losses.waternet * waternet_loss(self.network.scores_to_log_odds(scores), targets)
        if self.losses.elevation:
            loss = loss + self.losses.elevation * self._elevation_loss(scores, batch, targets)
        if tasks is not None:
            loss = loss + self._task_loss(tasks, batch, targets)
        return loss

    def _elevation_loss(self, scores: Tensor, batch: Batch, targets: Targets) -> Tensor:
        """Return the elevation-guided loss per pair of neighbors: its sum would grow with chips and batches."""
        heights = F.avg_pool2d(batch.elevation, self.network.config.scale)
        labels = labels_of_water(targets.target, targets.counted)
        total = evanet_loss(scores, heights, labels, weighting=self.losses.elevation_weighting)
        return total / (_NEIGHBORS * targets.counted.sum()).clamp(min=1)

    def _task_loss(self, tasks: Tasks, batch: Batch, targets: Targets) -> Tensor:
        """Return the losses of the intermediate scores, and of the directions at every stack and at the end."""
        coarse = targets_of_values(batch.values, scale=self.directions.scales[0])
        loss = torch.zeros((), device=batch.channels.device)
        for scores in tasks.segmentation[:-1]:
            loss = loss + self.losses.waternet * waternet_loss(scores.float(), coarse)
        for number, scores in enumerate(tasks.orientation):
            last = number == len(tasks.orientation) - 1
            counted, classes = (targets, batch.orientation[1]) if last else (coarse, batch.orientation[0])
            loss = loss + self.losses.orientation * orientation_loss(scores.float(), classes, counted.counted[:, 0])
        return loss
