"""Time, CPU and memory of the network step on a synthetic basin of many segments.

    python benchmarks/network.py --segments 1000000
    python benchmarks/network.py --segments 1000000 5000000 --format gpkg fgb published --json network.json

The basin is a random binary forest drawn in the plane: rows of boxes of half a kilometer, each with a reach that flows
on to the next box, a tributary reach that joins it there, and trees of new streams that join in the middle. It is
written as in the workflow, one file of segments per cell, and read by `headwater network` in a separate process.
There is no external baseline: compare sizes, or the figures of two versions.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray

from headwater.geo.geodesy import geodesic_length_m

SEED, TEMPLATES, BOXES_PER_FILE = 7, 64, 1_000
BOX_DEGREES = 2.0**-8
# Vertices are on multiples of this: shifted by a box they meet exactly, as doubles.
GRID = 2.0**-30


@dataclass(frozen=True)
class Template:
    """The segments of a box; coordinates in boxes from its corner, links 0 (reach) and 1 (tributary)."""

    lines: list[NDArray[np.float64]]
    link: NDArray[np.int64]
    local: NDArray[np.int32]
    downstream: NDArray[np.int32]
    from_backbone: NDArray[np.bool_]


def main() -> None:
    options = _arguments()
    figures = [measure(count, options.formats, options.folder) for count in options.segments]
    for row in figures:
        print("\n".join(f"{key:28} {value}" for key, value in row.items()), end="\n\n")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


def measure(count: int, formats: list[str], folder: Path | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=folder) as made:
        place = Path(made)
        written = write_basin(place, count)
        asked = [word for name in formats for word in ("--format", name)]
        command = [
            sys.executable, "-c", "import sys; from headwater.cli import main; sys.exit(main())", "network",
            "--segments", *map(str, sorted(place.glob("cell_*.parquet"))), "--reaches", str(place / "reaches.parquet"),
            "--basin", "7020038340", "--out", str(place / "waterways.parquet"),
            "--checks", str(place / "waterways.checks.json"), *asked,
        ]  # fmt: skip
        start = time.perf_counter()
        process = subprocess.Popen(command)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        if status:
            raise SystemExit(f"headwater network failed; see above (status {status})")
        out = place / "waterways.parquet"
        checks = json.loads((place / "waterways.checks.json").read_text())
        return {
            "segments": written,
            "formats": ", ".join(["parquet", *formats]),
            "wall_s": round(wall, 1),
            "cpu_s": round(used.ru_utime + used.ru_stime, 1),
            "peak_gb": round(used.ru_maxrss / 2**20, 2),
            "us_per_segment": round(1e6 * wall / written, 1),
            "faults": checks["faults"],
            "length_km": checks["length_km"],
            "bytes_per_segment": round(out.stat().st_size / written, 1),
            "sha256": hashlib.sha256(out.read_bytes()).hexdigest()[:16],
        }


def write_basin(folder: Path, count: int) -> int:
    """Write cell_*.parquet and reaches.parquet of a basin of about `count` segments; return their number."""
    random = np.random.default_rng(SEED)
    templates = [_template(random) for _ in range(TEMPLATES)]
    boxes = round(count / np.mean([len(template.lines) for template in templates]))
    side = int(np.ceil(np.sqrt(boxes)))
    chosen = random.integers(TEMPLATES, size=boxes)
    reaches, written = [], 0
    for number, start in enumerate(range(0, boxes, BOXES_PER_FILE)):
        numbers = np.arange(start, min(start + BOXES_PER_FILE, boxes))
        table = _segments([templates[i] for i in chosen[numbers]], numbers, side)
        table.to_parquet(folder / f"cell_{number:05}.parquet", compression="zstd", schema_version="1.1.0", index=False)
        reaches.append(_reaches(table, numbers, side, boxes, f"cell {number}"))
        written += len(table)
    gpd.pd.concat(reaches, ignore_index=True).to_parquet(folder / "reaches.parquet", compression="zstd", index=False)
    return written


def _segments(templates: list[Template], numbers: NDArray[np.int64], side: int) -> gpd.GeoDataFrame:
    lines = [line for template in templates for line in template.lines]
    owner = np.repeat(np.arange(len(numbers)), [len(template.lines) for template in templates])
    vertex_owner = np.repeat(np.arange(len(lines)), [len(line) for line in lines])
    corner = np.column_stack([numbers % side, numbers // side]) * BOX_DEGREES + [10.0, 1.0]
    points = np.concatenate(lines) * BOX_DEGREES + corner[owner[vertex_owner]]
    shapes = shapely.linestrings(points, indices=vertex_owner)
    count = len(lines)
    return gpd.GeoDataFrame(
        {
            "link_id": 2 * numbers[owner] + np.concatenate([template.link for template in templates]),
            "local_index": np.concatenate([template.local for template in templates]),
            "from_backbone": np.concatenate([template.from_backbone for template in templates]),
            "downstream_index": np.concatenate([template.downstream for template in templates]),
            "mean_probability": (np.arange(count) % 1000) / 1000,
            "missing_share": 0.0,
            "intersects_lake": False,
            "length_m": geodesic_length_m(shapes),
        },
        geometry=shapes,
        crs="EPSG:4326",
    )


def _reaches(table: gpd.GeoDataFrame, numbers: NDArray[np.int64], side: int, boxes: int, cell: str) -> gpd.GeoDataFrame:
    own = table[table["from_backbone"]].sort_values(["link_id", "local_index"])
    first = own.drop_duplicates("link_id")
    last = own.drop_duplicates("link_id", keep="last")
    ends = [shapely.get_coordinates(shapely.get_point(t.geometry.to_numpy(), i)) for t, i in ((first, 0), (last, -1))]
    # The last box of a row, or of all, flows out; the others flow into the next box. Tributaries join at a box's start.
    flows_out = (numbers % side == side - 1) | (numbers == boxes - 1)
    downstream = np.column_stack([np.where(flows_out, -1, 2 * numbers + 2), 2 * numbers]).ravel()
    return gpd.GeoDataFrame(
        {
            "link_id": first["link_id"].to_numpy(),
            "downstream_link_id": downstream,
            "strahler_order": np.ones(len(first), np.int32),
            "upstream_area_km2": np.arange(len(first)) / 10,
            "length_m": own.groupby("link_id")["length_m"].sum().to_numpy(),
            "has_catchment": True,
            "upstream_outside": False,
            "upstream_cut": False,
            "source": "given",
            "cell": cell,
        },
        geometry=shapely.linestrings(np.stack(ends, axis=1)),
        crs="EPSG:4326",
    )


def _template(random: np.random.Generator) -> Template:
    """Draw a box: the reach from (0, 0) to (1, 0), the tributary above its start, trees above and below its joins."""
    joins = np.sort(random.choice(np.arange(1, 8), size=random.integers(2, 5), replace=False)) / 8
    stops = np.array([0.0, *joins, 1.0])
    count = len(joins) + 1
    lines = [_wiggly(random, (a, 0.0), (b, 0.0)) for a, b in pairwise(stops)]
    downstream = [*range(1, count), -1]
    for number, x in enumerate(joins):
        up = bool(random.integers(2))
        _grow(random, lines, downstream, number + 1, (x, 0.0), (x - 1 / 16, x + 1 / 16), 0.9 if up else -0.09, 0)
    own = np.arange(len(lines))
    lines.append(_wiggly(random, (0.0, 0.85), (0.0, 0.0)))
    return Template(
        lines,
        np.append(np.zeros(len(own), np.int64), 1),
        np.append(own, 0).astype(np.int32),
        np.append(downstream, -1).astype(np.int32),
        np.append(own < count, True),
    )


def _grow(
    random: np.random.Generator,
    lines: list[NDArray[np.float64]],
    downstream: list[int],
    below: int,
    foot: tuple[float, float],
    between: tuple[float, float],
    height: float,
    depth: int,
) -> None:
    """Draw a segment that ends at `foot`, and upstream of it, at random, two trees in the halves of its strip."""
    west, east = between
    head = ((west + east) / 2, foot[1] + height / 2)
    lines.append(_wiggly(random, head, foot))
    downstream.append(below)
    own = len(lines) - 1
    if depth < 5 and random.random() < 0.8:
        middle = (west + east) / 2
        for half in ((west, middle), (middle, east)):
            _grow(random, lines, downstream, own, head, half, height / 2, depth + 1)


def _wiggly(random: np.random.Generator, start: tuple[float, float], end: tuple[float, float]) -> NDArray[np.float64]:
    """Return a line of three to seven vertices that deviates from straight by a thousandth of its length."""
    share = np.linspace(0, 1, random.integers(3, 8))[:, None]
    points = np.array(start) * (1 - share) + np.array(end) * share
    points[1:-1] += random.uniform(-1e-3, 1e-3, points[1:-1].shape) * np.hypot(*np.subtract(end, start))
    return np.round(points / GRID) * GRID


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--segments", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--format", dest="formats", nargs="+", default=[], help="formats in addition to GeoParquet")
    parser.add_argument("--folder", type=Path, help="temporary folder of the basin")
    parser.add_argument("--json", type=Path, help="file for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    main()
