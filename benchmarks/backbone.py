"""Time, CPU and memory of the backbone on a synthetic region, and how much of its files the job of one cell reads.

    python benchmarks/backbone.py
    python benchmarks/backbone.py --links 200000 800000 --json backbone.json

The region is as dense as TDX-Hydro: 1,600 links per degree cell, in rows that flow east, staircases of 24 vertices
drawn upstream. One link in fifty is followed by a link of zero length without geometry, and one catchment in ten has
three polygons. Each size runs in its own process. The baseline is the smallest size: ratios show how cost grows
with links.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray

from headwater.geo.features import read_table
from headwater.waterways.backbone.stream_columns import CATCHMENT_ID_COLUMNS, STREAM_COLUMNS
from headwater.waterways.backbone.tdx import tdx_backbone, write_backbone
from headwater.waterways.vectorize_step import _around

BOX_DEGREES, VERTICES, SEED = 1 / 40, 24, 5


def main() -> None:
    options = _arguments()
    if options.made:
        print(json.dumps(work(options.made)))
        return
    figures = [measure(count, options.folder) for count in options.links]
    for row in figures:
        print("\n".join(f"{key:28} {value}" for key, value in row.items()), end="\n\n")
    if len(figures) > 1:
        ratio = {key: round(figures[-1][key] / figures[0][key], 2) for key in ("links", "cpu_s", "peak_gb")}
        print("\n".join(f"ratio of {key:19} {value}" for key, value in ratio.items()))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


def measure(count: int, folder: Path | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=folder) as made:
        write_region(Path(made), count)
        process = subprocess.Popen([sys.executable, __file__, "--made", made], stdout=subprocess.PIPE, text=True)
        said = process.stdout.read() if process.stdout else ""
        _, status, used = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"the backbone failed; see above (status {status})")
        return json.loads(said) | {"peak_gb_with_writing": round(used.ru_maxrss / 2**20, 2)}


def work(folder: Path) -> dict[str, Any]:
    """Build the backbone of the files in a folder and read what the job of a cell in the middle reads."""
    streams = read_table(folder / "streams.parquet", columns=STREAM_COLUMNS)
    catchments = read_table(folder / "catchments.parquet", columns=CATCHMENT_ID_COLUMNS)
    west, south, east, north = np.floor(streams.total_bounds)
    corners = [(x, y) for y in np.arange(south, north + 1) for x in np.arange(west, east + 1)]
    cells = [(f"N{y:02.0f}E{x:03.0f}", (x, y, x + 1, y + 1)) for x, y in corners]
    start, cpu = time.perf_counter(), time.process_time()
    made = tdx_backbone(streams, catchments, cells)
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    peak, polygons = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, len(catchments)
    del streams, catchments
    write_backbone(made, folder / "reaches.out.parquet", folder / "catchments.out.parquet")
    cell = f"N{(south + north) // 2:02.0f}E{(west + east) // 2:03.0f}"
    path = folder / "catchments.out.parquet"
    _around(path, cell)
    start, before = time.perf_counter(), _bytes_read()
    around = _around(path, cell)
    seconds, read = time.perf_counter() - start, _bytes_read() - before
    own = int((made.catchments["cell"] == cell).sum())
    return {
        "links": len(made.reaches),
        "polygons": polygons,
        "links_per_cpu_s": round(len(made.reaches) / cpu),
        "wall_s": round(wall, 1),
        "cpu_s": round(cpu, 1),
        "peak_gb": round(peak / 2**20, 2),
        "catchments_of_a_cell": own,
        "catchments_around_it": len(around) - own,
        "file_mb": round(path.stat().st_size / 1e6, 1),
        "mb_of_a_cells_share": round(path.stat().st_size / 1e6 * own / len(made.catchments), 2),
        "mb_read_for_a_cell": round(read / 1e6, 2),
        "ms_for_a_cell": round(seconds * 1000),
    }


def write_region(folder: Path, count: int) -> None:
    """Write streams.parquet and catchments.parquet with TDX-Hydro's columns."""
    random = np.random.default_rng(SEED)
    side = int(np.ceil(np.sqrt(count)))
    number = np.arange(count)
    corner = np.column_stack([number % side, number // side]) * BOX_DEGREES
    # Both ends are on the borders of the box, as products of one number: neighbors share them to the last bit.
    along = np.linspace(0, 1, VERTICES)
    x = np.repeat(corner[:, :1] + BOX_DEGREES * along, 2, axis=1)[:, 1:]
    x[:, -1] = (number % side + 1) * BOX_DEGREES
    y = np.repeat(corner[:, 1:] + BOX_DEGREES / 2 + random.normal(0, 1e-4, (count, VERTICES)), 2, axis=1)[:, :-1]
    y[:, [0, -1]] = corner[:, 1:] + BOX_DEGREES / 2
    lines = shapely.linestrings(np.stack([x, y], axis=2)[:, ::-1])
    below = np.where((number % side == side - 1) | (number == count - 1), -1, number + 1)
    short = number[(number % 50 == 7) & (below >= 0)]
    after_short, below_short = below.copy(), count + np.arange(len(short))
    below[short] = below_short
    streams = gpd.GeoDataFrame(
        {
            "LINKNO": np.append(number, below_short),
            "DSLINKNO": np.append(below, after_short[short]),
            "strmOrder": np.ones(count + len(short), np.int32),
            "DSContArea": 1e6 * np.arange(count + len(short)),
            "Slope": 0.0,
        },
        geometry=np.append(lines, np.full(len(short), None)),
        crs="EPSG:4326",
    )
    streams.sample(frac=1, random_state=SEED).to_parquet(folder / "streams.parquet")
    split = number % 10 == 3
    whole, parts = corner[~split], corner[split]
    step = BOX_DEGREES
    boxes = [
        _boxes(whole, (0, 0, step, step)),
        _boxes(parts, (0, 0, step, step / 2)),
        _boxes(parts, (0, step / 2, step, step * 0.95)),
        _boxes(parts, (step, step * 0.95, step * 1.01, step)),
    ]
    ids = np.concatenate([number[~split], *[number[split]] * 3])
    areas = shapely.segmentize(np.concatenate(boxes), step / 25)
    catchments = gpd.GeoDataFrame({"streamID": ids}, geometry=areas, crs="EPSG:4326")
    catchments.sample(frac=1, random_state=SEED).to_parquet(folder / "catchments.parquet")


def _boxes(corner: NDArray[np.float64], sides: tuple[float, float, float, float]) -> NDArray[Any]:
    west, south, east, north = sides
    x, y = corner.T
    return np.asarray(shapely.box(x + west, y + south, x + east, y + north))


def _bytes_read() -> int:
    """Return the bytes that this process has requested from the system."""
    return int(Path("/proc/self/io").read_text().split()[1])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--links", type=int, nargs="+", default=[50_000, 200_000])
    parser.add_argument("--folder", type=Path, help="temporary folder of the regions")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--made", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
