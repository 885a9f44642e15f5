"""Time of a training step with input made as in training, and with one batch kept (the baseline).

The difference is the cost of the input. Chips are cut from synthetic cells into shards in a temporary folder and drawn
from there.

    python benchmarks/training.py
    python benchmarks/training.py --device cuda --base-channels 16 --encoders 5 --loaders 8 --json training.json
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from headwater.models.base import Directions
from headwater.models.channels import PAPER
from headwater.models.registry import build_network
from headwater.train.batches import Batch, Batches, draw_batch
from headwater.train.chips import CellChips
from headwater.train.cut import CutSettings, cut_chips
from headwater.train.loop import make_optimizer, torch_settings, train_step
from headwater.train.objective import Objective
from headwater.train.settings import LoopSettings, Stage
from headwater.train.shards import open_chips

CELL_PX = 1664
STORED_PX = {224: 244, 832: 832}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--base-channels", type=int, default=8)
    parser.add_argument("--encoders", type=int, default=4)
    parser.add_argument(
        "--batch-sizes", type=int, nargs=2, default=(4, 1), help="of 224 and 832 px chips (default 4 1)"
    )
    parser.add_argument("--steps", type=int, default=10, help="measured steps of each kind (default 10)")
    parser.add_argument(
        "--loaders", dest="num_workers", type=int, default=0, help="threads that make batches ahead (default 0)"
    )
    parser.add_argument("--precision", default="bfloat16", choices=("bfloat16", "float32"))
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    sizes = {"base_channels": options.base_channels, "encoders": options.encoders, "decoders": options.encoders - 1}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        cut_chips(
            [("made-up", "training", [cell(Path(folder) / "cells" / str(number), number) for number in range(2)])],
            Path(folder) / "chips",
            CutSettings(chips_per_region=(150, 12)),
        )
        part = open_chips(str(Path(folder) / "chips"), Path(folder)).part("training")
        for side_px, batch_size in zip(STORED_PX, options.batch_sizes, strict=True):
            stage = Stage(chip_px=side_px, batch_size=batch_size, steps=10_000, learning_rate=1e-3)
            settings = LoopSettings(
                stages=(stage,), device=options.device, precision=options.precision, num_workers=options.num_workers
            )
            torch.manual_seed(0)
            objective = Objective(build_network("waternet", sizes), settings.losses, settings.precision)
            objective.to(options.device)

            def make(step: int, number: int, stage: Stage = stage) -> Batch:
                return draw_batch(part.draw, PAPER, stage, 0.2, np.random.default_rng([step]), Directions())

            with torch_settings(settings):
                with closing(Batches(make, steps=stage.steps, threads=options.num_workers)) as batches:
                    cached_s, real_s = step_seconds(objective, settings, make(0, 0), batches, options.steps)
                start = time.perf_counter()
                make(1, 0)
                input_s = time.perf_counter() - start
            row = {
                "chip_px": side_px,
                "batch_size": batch_size,
                "cached_step_s": round(cached_s, 4),
                "real_step_s": round(real_s, 4),
                "ratio": round(real_s / cached_s, 3),
                "input_s": round(input_s, 4),
                "chips_per_s": round(batch_size / real_s, 2),
            }
            rows.append(row)
            print(row, flush=True)
    if options.json:
        settings = {key: value for key, value in vars(options).items() if key != "json"}
        options.json.write_text(json.dumps({"options": settings, "rows": rows}, indent=1) + "\n")


def step_seconds(
    objective: Objective, settings: LoopSettings, kept: Batch, batches: Batches, steps: int
) -> tuple[float, float]:
    """Return the median time of a step with a kept batch and with real input, measured alternately."""
    optimizer = make_optimizer(objective.network, settings)
    cached, real = [], []
    for step in range(steps + 2):
        start = time.perf_counter()
        # The loss is returned as a number, so a GPU has finished.
        train_step(objective, optimizer, [kept], 1, settings)
        middle = time.perf_counter()
        train_step(objective, optimizer, batches.of_step(step, 1), 1, settings)
        cached.append(middle - start)
        real.append(time.perf_counter() - middle)
    # The first steps warm up.
    return float(np.median(cached[2:])), float(np.median(real[2:]))


def cell(folder: Path, seed: int) -> CellChips:
    """Return a synthetic cell: smooth hills, noise for an image, water where a wave of the hills is low."""
    rng = np.random.default_rng(seed)
    hills = gaussian_filter(rng.normal(0, 400, (CELL_PX, CELL_PX)), 12).astype(np.float32)
    return CellChips.save(
        folder,
        composite=rng.integers(1, 256, (4, CELL_PX, CELL_PX), dtype=np.uint8),
        elevation=hills + 300,
        types=np.where(np.abs(hills) < 0.3, 19, 0).astype(np.uint8),
    )


if __name__ == "__main__":
    main()
