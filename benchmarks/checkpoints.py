"""Shared by the benchmarks of weights: checkpoints on the command line, the mean of several, and their baseline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from headwater.models.checkpoint import load_checkpoint
from headwater.models.shipped import default_checkpoints
from headwater.predict.pipeline import predict_probability

HELP = 'NAME=FILE, NAME=FILE,FILE for the mean of several, or "shipped" for the weights of the package'
FLOW_KM2 = (0.02, 0.05, 0.1, 0.2, 0.5)
"""Thresholds of upstream area above which flow accumulation counts a pixel as water; the best one is reported."""


def named_checkpoints(text: str) -> tuple[str, Sequence[Path]]:
    """Return the name and the files of an argument as described in HELP."""
    name, _, paths = text.partition("=")
    return name, [Path(path) for path in paths.split(",")] if paths else default_checkpoints()


def mean_probability(
    paths: Sequence[Path], image: npt.NDArray[np.uint8], elevation: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Return the mean probability of the checkpoints, and where all of them have one; see `predict_probability`."""
    maps = []
    for path in paths:
        checkpoint = load_checkpoint(path)
        maps.append(predict_probability(checkpoint.predictor, checkpoint.metadata.recipe, image, elevation))
    probabilities, valid = zip(*maps, strict=True)
    return np.mean(probabilities, axis=0, dtype=np.float32), np.logical_and.reduce(valid)
