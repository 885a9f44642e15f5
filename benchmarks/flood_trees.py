"""Time and memory of hidden Markov trees, against sorting the same elevation.

    python benchmarks/flood_trees.py --mpx 1 5 20 --json flood.json

For each size one process makes the contour tree of a generated landscape, runs one iteration of learning on three
bands, and finds the labels. Sorting the elevation is the baseline: no method that goes by height does without it.
Compilation is not counted. CPU seconds are those of the process, one thread; memory is its peak, inputs included.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from headwater.flood.hidden_markov import best_labels, fit, from_labels, node_odds, posterior
from headwater.flood.trees import contour_tree


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--mpx", type=float, nargs="+", default=[1, 5, 20], help="millions of pixels")
    parser.add_argument("--json", type=Path, help="where the figures go too")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.mpx[0])))
        return
    rows = []
    for size in args.mpx:
        command = [sys.executable, __file__, "--one", "--mpx", str(size)]
        rows.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        print(json.dumps(rows[-1]), flush=True)
    if args.json is not None:
        args.json.write_text(json.dumps(rows, indent=1))


def measure(mpx: float) -> dict[str, Any]:
    """Return CPU seconds of each part and the peak memory, GB."""
    rng = np.random.default_rng(0)
    small = contour_tree(rng.normal(size=(5, 5)))
    posterior(small, np.zeros(25), epsilon=0.1, prior=0.5)
    best_labels(small, np.zeros(25), epsilon=0.1, prior=0.5)
    side = round(math.sqrt(mpx * 1e6))
    elevation = np.zeros((side, side), np.float32)
    for step in (4, 16, 64, 256):
        coarse = rng.normal(size=(side // step + 2, side // step + 2)).astype(np.float32)
        elevation += ndimage.zoom(coarse, step, order=1)[:side, :side] * step
    flood = (elevation < 0).ravel()
    features = rng.normal(size=(3, flood.size)).astype(np.float32) + flood
    labels = np.full(flood.size, -1)
    labels[:: max(flood.size // 2000, 1)] = flood[:: max(flood.size // 2000, 1)]
    clock = [time.process_time()]
    np.argsort(elevation.ravel(), kind="stable")
    clock.append(time.process_time())
    tree = contour_tree(elevation)
    clock.append(time.process_time())
    learned = fit(tree, features, from_labels(features, labels, epsilon=0.001, prior=0.5), max_iterations=1)
    clock.append(time.process_time())
    found = best_labels(tree, node_odds(features, learned, tree), epsilon=learned.epsilon, prior=learned.prior)
    clock.append(time.process_time())
    sort, *parts = np.diff(clock).tolist()
    return {
        "mpx": mpx,
        "sort_s": round(sort, 2),
        **{name: round(part, 2) for name, part in zip(("tree_s", "iteration_s", "labels_s"), parts, strict=True)},
        "total_s": round(sum(parts), 2),
        "against_sorting": round(sum(parts) / sort, 1),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "accuracy": round(float((found == flood).mean()), 4),
    }


if __name__ == "__main__":
    main()
