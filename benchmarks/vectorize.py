"""Time, memory and accuracy of `headwater vectorize`, against the published method, on regions with known channels.

    python benchmarks/vectorize.py --quick
    python benchmarks/vectorize.py --folder regions --json vectorize.json
    python benchmarks/vectorize.py --folder regions --areas 1 4 16 --seeds 1 2

Each method runs as the real command, twice: first with an empty numba cache (`cold`), then with a warm one, which
counts.  CPU seconds are those of the command and its processes, user plus system; the peak memory is that of its
largest process; `mpx_per_s` counts the pixels of the catchments, without the sea around them, per CPU second.  See
`vector_region` for how the region is made and what its probability lacks.

Scores, all off the backbone (farther than 40 m from TDX-Hydro's streams):
    precision, recall, f1   fraction of the found length within 40 m of a true channel, and vice versa
    gaps_bridged            fraction of the dropped runs along which a found line is within 40 m for 80 % of the length,
                            and whose upper end flows to its lower end: downstream from a segment within 40 m of the
                            upper end, at most 40 segments lead to one within 40 m of the lower end
    faults                  violations of the network's checks (headwater network check), with the backbone
    rising_share            fraction of the new segments whose last point is more than 2 m above the first in the
                            elevation model; true_rising_share is that of the true channels, moved_rising_share that
                            between the points of true channels nearest to the ends of the new segments: the true
                            network has more short segments, which rise less often
    outlet_share            fraction of all length from which exactly joined segments lead to an outlet of the backbone
"""

from __future__ import annotations

import argparse
import json
import os
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
from scipy import ndimage

from headwater import raster
from headwater.evaluate.line_matching import TWO_PIXELS_M, line_scores, local_metric_crs
from headwater.geo.features import read_table
from headwater.waterways.backbone.tdx import Backbone, tdx_backbone
from headwater.waterways.network.build import NO_STREAM, rows_of
from headwater.waterways.network.check import check_network
from vector_region import (
    CATCHMENTS,
    ELEVATION,
    FULL_KM2,
    GAPS,
    PROBABILITY,
    SIXTEENTHS,
    STREAMS,
    TRUTH,
    ensure_part,
    ensure_region,
    facts_of,
)

RELEASE_CPU_S, RELEASE_CATCHMENTS = 203.0, 616
"""CPU seconds of the published programs for a region of this size, in their own release."""
QUICK_KM2 = 100.0
RISE_M = 2.0
KM2_PER_MPX = 400.0
"""Of the 20 m grid."""
COVERED = 0.8
_STEPS_DOWN = 40
_COLUMNS = ("cpu_s", "cold_cpu_s", "wall_s", "peak_gb", "mpx_per_s", "precision", "recall", "f1", "gaps_bridged",
            "faults", "rising_share", "true_rising_share", "moved_rising_share", "outlet_share", "new_km", "mpx",
            "catchments", "catchments_km2")  # fmt: skip
_FACTS = ("mpx", "catchments", "catchments_km2")


def main() -> None:
    options = _arguments()
    land_km2 = QUICK_KM2 if options.quick else options.land_km2
    runs: list[dict[str, Any]] = []
    for seed in options.seeds:
        region = ensure_region(options.folder, seed, land_km2=land_km2)
        for sixteenths in options.areas:
            part = ensure_part(region, sixteenths)
            facts = facts_of(part)
            print(f"\nseed {seed}, {sixteenths}/{SIXTEENTHS} of {land_km2:.0f} km2: {json.dumps(facts)}")
            some = {}
            for method in _methods(options.methods):
                some[method] = measure(part, method, options.jobs) | {key: facts[key] for key in _FACTS}
                some[method]["mpx_per_s"] = round(facts["catchments_km2"] / KM2_PER_MPX / some[method]["cpu_s"], 3)
                runs.append({"seed": seed, "sixteenths": sixteenths, "method": method} | some[method])
            _print_table(some)
    figures = _summary(runs)
    print(f"\nbaseline: the published programs, in their own release, took {RELEASE_CPU_S:.0f} CPU s for "
          f"{RELEASE_CATCHMENTS} catchments, {figures['release_cpu_s_per_catchment']:.3f} s each")  # fmt: skip
    for method in figures["methods"]:
        print(f"{method}: {figures[method]['ratio_to_release']:.3f} of the baseline's CPU seconds a catchment")
    if "cpu_ratio" in figures:
        print(f"headwater / published: {figures['cpu_ratio']:.3f} of the CPU seconds")
    if options.json:
        options.json.write_text(json.dumps(figures | {"runs": runs}, indent=1) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help=f"a region of {QUICK_KM2:.0f} km2")
    parser.add_argument("--land-km2", type=float, default=FULL_KM2, help=f"land of the region (default {FULL_KM2:.0f})")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--areas", type=int, nargs="+", default=[SIXTEENTHS], help="sixteenths of the region")
    parser.add_argument("--methods", nargs="+", default=["published", "headwater"])
    parser.add_argument("--jobs", type=int, default=1, help="processes of the command (default 1)")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "headwater-vector-regions",
                        help="folder that keeps regions between runs")  # fmt: skip
    parser.add_argument("--json", type=Path, help="file for the figures")
    return parser.parse_args()


def _methods(wanted: list[str]) -> list[str]:
    """Return the methods to run; only ours if the command has no --method."""
    help_text = subprocess.run([*_command(), "--help"], check=True, capture_output=True, text=True).stdout
    return wanted if "--method" in help_text else ["headwater"]


def _command() -> list[str]:
    return [sys.executable, "-m", "headwater", "vectorize"]


def measure(region: Path, method: str, jobs: int) -> dict[str, Any]:
    """Run a method on a region, cold and warm, and score its output."""
    help_text = subprocess.run([*_command(), "--help"], check=True, capture_output=True, text=True).stdout
    with tempfile.TemporaryDirectory() as name:
        out = Path(name) / "waterways.parquet"
        command = [
            *_command(), "--probability", str(region / PROBABILITY), "--elevation", str(region / ELEVATION),
            "--streams", str(region / STREAMS), "--catchments", str(region / CATCHMENTS), "--out", str(out),
            "--jobs", str(jobs), *(["--method", method] if "--method" in help_text else []),
        ]  # fmt: skip
        environment = os.environ | {"NUMBA_CACHE_DIR": str(Path(name) / "numba")}
        cold, warm = (timed(command, environment) for _ in range(2))
        found = gpd.read_parquet(out)
    return warm | {f"cold_{key}": cold[key] for key in ("cpu_s", "wall_s")} | scores(found, region)


# A process counts the memory of its parent at the fork as its own peak: this parent is small.
_LAUNCHER = """
import json, resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([usage.ru_utime + usage.ru_stime, usage.ru_maxrss]))
sys.exit(done.stderr if done.returncode else 0)
"""


def timed(command: list[str], environment: dict[str, str]) -> dict[str, float]:
    """Run a command and return the CPU seconds and the peak memory of it and the processes it waited for."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-S", "-c", _LAUNCHER, *command], env=environment, capture_output=True, text=True
    )
    wall = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    cpu_s, peak_kb = json.loads(done.stdout)
    return {"cpu_s": round(cpu_s, 2), "wall_s": round(wall, 2), "peak_gb": round(peak_kb / 2**20, 3)}


def scores(found: gpd.GeoDataFrame, region: Path) -> dict[str, Any]:
    """Score a network against the region's truth."""
    backbone = tdx_backbone(read_table(region / STREAMS), read_table(region / CATCHMENTS))
    truth, gaps = gpd.read_parquet(region / TRUTH), gpd.read_parquet(region / GAPS)
    new = found[~found["from_tdx"].to_numpy(bool)]
    lines = line_scores(new.geometry, truth.geometry, backbone=backbone.reaches.geometry)
    laws = check_network(found, backbone.reaches)
    off = truth[~truth["on_backbone"].to_numpy(bool)]
    return {
        "precision": round(lines.correctness, 4),
        "recall": round(lines.completeness, 4),
        "f1": round(lines.f1, 4),
        "gaps_bridged": round(float(gaps_bridged(found, gaps).mean()), 4),
        "faults": laws["faults"],
        "faults_by_law": {name: law["faults"] for name, law in laws["laws"].items() if law["faults"]},
        "rising_share": round(rising_share(new, region / ELEVATION), 4),
        "true_rising_share": round(rising_share(off, region / ELEVATION), 4),
        "moved_rising_share": round(rising_share(_moved_onto(new, truth.geometry), region / ELEVATION), 4),
        "outlet_share": round(outlet_share(found, backbone), 4),
        "new_km": round(lines.found_length_m / 1e3, 1),
    }


def gaps_bridged(found: gpd.GeoDataFrame, gaps: gpd.GeoDataFrame) -> NDArray[np.bool_]:
    """Return for each dropped run whether the network leads across it, as described in the module."""
    crs = local_metric_crs(found.geometry)
    lines, runs = found.to_crs(crs).geometry.to_numpy(), gaps.to_crs(crs).geometry.to_numpy()
    target = rows_of(found["stream_id"].to_numpy(np.int64), found["target_stream_id"].to_numpy(np.int64))
    tree = shapely.STRtree(lines)
    near_run = _near(tree, runs)
    tops, bottoms = shapely.get_point(runs, 0), shapely.get_point(runs, -1)
    near_top, near_bottom = _near(tree, tops), _near(tree, bottoms)
    bridged = np.zeros(len(runs), np.bool_)
    for k, run in enumerate(runs):
        # Complete lines and their parts near the run give the same result for what is within the distance.
        around = shapely.union_all(shapely.buffer(lines[near_run[k]], TWO_PIXELS_M))
        if shapely.length(shapely.intersection(run, around)) < COVERED * shapely.length(run):
            continue
        goals = set(near_bottom[k].tolist())
        bridged[k] = any(_leads_down(int(row), goals, target, lines, tops[k], bottoms[k]) for row in near_top[k])
    return bridged


def _near(tree: shapely.STRtree, shapes: NDArray[Any]) -> list[NDArray[np.int64]]:
    queried, row = tree.query(shapes, predicate="dwithin", distance=TWO_PIXELS_M)
    order = np.argsort(queried, kind="stable")
    return np.split(row[order], np.searchsorted(queried[order], np.arange(1, len(shapes))))


def _leads_down(
    row: int, goals: set[int], target: NDArray[np.int64], lines: NDArray[Any], top: Any, bottom: Any
) -> bool:
    """Return whether the path downstream from a segment near the run's upper end meets one near its lower end."""
    # One segment may pass both ends: then it must pass the upper end first.
    if row in goals and shapely.line_locate_point(lines[row], top) < shapely.line_locate_point(lines[row], bottom):
        return True
    for _ in range(_STEPS_DOWN):
        row = int(target[row])
        if row < 0 or row in goals:
            return row >= 0
    return False


def _moved_onto(segments: gpd.GeoDataFrame, truth: gpd.GeoSeries) -> gpd.GeoDataFrame:
    """Return straight lines between the points of the true channels that are nearest to the segments' ends."""
    lines, true = segments.geometry.to_numpy(), truth.to_numpy()
    tree = shapely.STRtree(true)
    ends = []
    for vertex in (0, -1):
        points = shapely.get_point(lines, vertex)
        nearest = true[tree.nearest(points)]
        on_it = shapely.line_interpolate_point(nearest, shapely.line_locate_point(nearest, points))
        ends.append(shapely.get_coordinates(on_it))
    return segments.set_geometry(shapely.linestrings(np.stack(ends, axis=1)), crs=segments.crs)


def rising_share(segments: gpd.GeoDataFrame, elevation: Path) -> float:
    """Return the fraction of lines that end more than 2 m above their start."""
    if segments.empty:
        return 0.0
    grid = raster.raster_grid(elevation)
    z = raster.read_window(elevation, grid)[0].astype(np.float32)
    lines = segments.geometry.to_numpy()

    def height(vertex: int) -> NDArray[np.float32]:
        x, y = shapely.get_coordinates(shapely.get_point(lines, vertex)).T
        at = [(grid.north - y) / grid.dy - 0.5, (x - grid.west) / grid.dx - 0.5]
        return np.asarray(ndimage.map_coordinates(z, at, order=1, mode="nearest"))

    return float((height(-1) - height(0) > RISE_M).mean())


def outlet_share(found: gpd.GeoDataFrame, backbone: Backbone) -> float:
    """Return the fraction of length that flows, over exact joins, to an outlet of the backbone."""
    ids, aim = found["stream_id"].to_numpy(np.int64), found["target_stream_id"].to_numpy(np.int64)
    target = rows_of(ids, aim)
    lines = found.geometry.to_numpy()
    first, last = (shapely.get_coordinates(shapely.get_point(lines, end)) for end in (0, -1))
    meets = (target >= 0) & (last == first[target]).all(axis=1)
    links = backbone.reaches
    mouths = links["link_id"][~links["downstream_link_id"].isin(links["link_id"])]
    is_mouth = found["from_tdx"].to_numpy(bool) & found["tdx_stream_id"].isin(mouths).to_numpy() & (aim == NO_STREAM)
    # Pointer doubling: two absorbing rows, outlet reached and path lost.
    count = len(found)
    far = np.append(np.where(is_mouth, count, np.where(meets, target, count + 1)), [count, count + 1])
    for _ in range(max(count, 1).bit_length()):
        far = far[far]
    length = found["length_m"].to_numpy(float)
    return float(length[far[:-2] == count].sum() / length.sum())


def _print_table(some: dict[str, dict[str, Any]]) -> None:
    print(f"{'':20}" + "".join(f"{method:>14}" for method in some))
    for column in _COLUMNS:
        print(f"{column:20}" + "".join(f"{figures[column]:>14}" for figures in some.values()))
    for method, figures in some.items():
        if figures["faults_by_law"]:
            print(f"{method} breaks: {figures['faults_by_law']}")


def _summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Average over the seeds, for the largest area."""
    largest = max(run["sixteenths"] for run in runs)
    methods = list(dict.fromkeys(run["method"] for run in runs))
    release = RELEASE_CPU_S / RELEASE_CATCHMENTS
    figures: dict[str, Any] = {"methods": methods, "release_cpu_s_per_catchment": round(release, 4)}
    for method in methods:
        own = [run for run in runs if run["method"] == method and run["sixteenths"] == largest]
        mean = {key: round(float(np.mean([run[key] for run in own])), 4) for key in _COLUMNS}
        figures[method] = mean | {"ratio_to_release": round(mean["cpu_s"] / mean["catchments"] / release, 4)}
    if {"published", "headwater"} <= set(methods):
        figures["cpu_ratio"] = round(figures["headwater"]["cpu_s"] / figures["published"]["cpu_s"], 4)
    return figures


if __name__ == "__main__":
    main()
