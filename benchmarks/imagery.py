"""Cost of a composite: ours, the published program's method, and decoding and warping alone, on the same files.

A cell over the corner of four MGRS tiles, three dates each: 12 scenes of four bands and SCL, synthetic COGs read over
local HTTP. Each method runs in its own process, which reports its CPU time and its peak memory.

    python benchmarks/imagery.py --scale 0.25
    python benchmarks/imagery.py --json imagery.json

Methods; `decode_warp` and `release` are the baselines:
    ours         all of `headwater composite`: read, mask, scale, mean, write the COG (--workers bands at a time)
    decode_warp  the same files read once with the default reader onto the cell, and discarded
    release      stackstac with its default settings, persist, then numpy: z-score, sigmoid, mean of the clear values
    <reader>     the scenes of one date read with each reader, to choose the default
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
from scipy import ndimage

BANDS = ("B08", "B04", "B03", "B02")
DATES = ("2023-06-10", "2023-06-20", "2023-06-30")
TILE_PX, OVERLAP_PX, PIXEL_M = 10_980, 978, 10.0
EPSG = 32633
CELL_WEST = 13.0
CORNER = (0.3, 0.8)
"""Where the four tiles meet, as fractions of the cell from its west and south edges."""
WINDOW_PX = 2048
"""The release's method holds every scene as float64: a full cell would take 57 GB, so it runs window by window."""
SEED = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--scale", type=float, default=1.0, choices=(1.0, 0.5, 0.25, 0.1), help="side of the cell")
    parser.add_argument("--workers", type=int, default=2, help="bands read in parallel (default 2)")
    parser.add_argument("--method", default="mean", choices=("mean", "best_first", "median"))
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--folder", type=Path, help="folder for the files, kept (default: a temporary folder)")
    parser.add_argument("--ways", nargs="+", default=["ours", "decode_warp", "release", "rasterio", "odc", "stackstac"])
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        _run_way(options)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        make_files(folder, options.scale)
        with _server(folder) as url:
            write_manifests(folder, url, options.scale)
            results = {way: _measure(way, options, folder, url) for way in options.ways}
    _tell(results, options)


def make_files(folder: Path, scale: float) -> None:
    """Write the tiles' bands once and each date's SCL; dates share the bands' pixels under separate addresses."""
    from affine import Affine

    size = round(TILE_PX * scale)
    for tile, (west, north) in tile_corners(scale).items():
        transform = Affine(PIXEL_M, 0, west, 0, -PIXEL_M, north)
        random = np.random.default_rng([SEED, *tile.encode()])
        relief = _noise(random, size, (8, 64, 512))
        for number, band in enumerate(BANDS):
            first = folder / tile / DATES[0] / f"{band}.tif"
            if not first.exists():
                grain = random.standard_normal((size, size), dtype=np.float32)
                dn = np.clip(2500 + 300 * number + 400 * relief + 40 * grain, 1001, 15000).astype(np.uint16)
                _write(first, dn, transform)
            for date in DATES[1:]:
                target = folder / tile / date / f"{band}.tif"
                target.parent.mkdir(parents=True, exist_ok=True)
                if not target.exists():
                    os.link(first, target)
        for date in DATES:
            path = folder / tile / date / "SCL.tif"
            if not path.exists():
                cloud = _noise(random, size // 2, (64, 256)) > 0.8
                _write(path, np.where(cloud, 9, 4).astype(np.uint8), transform @ Affine.scale(2))


def tile_corners(scale: float) -> dict[str, tuple[float, float]]:
    """Return the upper left corner of each tile, meters of UTM zone 33, snapped like those of Sentinel-2."""
    from rasterio.warp import transform

    (x,), (y,) = transform("EPSG:4326", f"EPSG:{EPSG}", [CELL_WEST + CORNER[0] * scale], [CORNER[1] * scale])
    x, y = round(x / 20) * 20.0, round(y / 20) * 20.0
    side, half = round(TILE_PX * scale) * PIXEL_M, round(OVERLAP_PX * scale / 4) * 2 * PIXEL_M
    wests, norths = (x + half - side, x - half), (y - half + side, y + half)
    return {f"33N{'VW'[c]}{'BA'[r]}": (wests[c], norths[r]) for c in (0, 1) for r in (0, 1)}


def write_manifests(folder: Path, url: str, scale: float) -> None:
    """Write plan.json and scenes.json as `headwater plan` and `headwater select` would."""
    from headwater.core.sentinel2 import OFFSET_DN

    cell = _cell(scale)
    plan = {"basin_id": "1", "cell_degrees": scale, "margin_px": 64, "basin_bounds": cell.bounds, "bounds": cell.bounds,
            "cells": [{"name": cell.name, "bounds": cell.bounds}]}  # fmt: skip
    (folder / "plan.json").write_text(json.dumps(plan))
    scenes = [
        {"id": f"S2A_{tile}_{date}", "collection": "sentinel-2-l2a", "datetime": f"{date}T10:00:00Z",
         "mgrs_tile": tile, "baseline": "05.09", "offset": OFFSET_DN, "epsg": EPSG, "cloud_cover": 20.0,
         "assets": {name: f"{url}/{tile}/{date}/{name}.tif" for name in (*BANDS, "SCL")},
         "mean": [1500.0 + 300 * number for number in range(4)], "std": [400.0] * 4}
        for date in DATES for tile in tile_corners(scale)
    ]  # fmt: skip
    (folder / "scenes.json").write_text(json.dumps({"cell": cell.name, "scenes": scenes}))


def _run_way(options: argparse.Namespace) -> None:
    """Run one method in this process and print its cost."""
    folder, scenes = options.folder, json.loads((options.folder / "scenes.json").read_text())["scenes"]
    _warm_up(options.way)
    start, before = time.monotonic(), _cpu_s()
    if options.way == "ours":
        from headwater.imagery.composite import composite
        from headwater.imagery.settings import CompositeSettings

        cell = _cell(options.scale).name
        composite(
            folder / "scenes.json", folder / "plan.json", cell, folder / "composite.tif",
            settings=CompositeSettings(method=options.method), readers=options.workers,
        )  # fmt: skip
    elif options.way == "release":
        _release(scenes, options)
    elif options.way == "decode_warp":
        for scene in scenes:
            _read_all(scene, "rasterio", options)
    else:
        for scene in scenes[: len(scenes) // len(DATES)]:
            _read_all(scene, options.way, options)
    cost = {"cpu_s": _cpu_s() - before, "wall_s": time.monotonic() - start}
    print(json.dumps(cost | {"peak_gb": _peak_gb()}))


def _read_all(scene: dict[str, object], reader: str, options: argparse.Namespace) -> None:
    """Read a scene's bands and SCL onto its part of the cell, as the composite does, and discard them."""
    from headwater.geo.grid import cell_grid
    from headwater.imagery import composite as step
    from headwater.raster.scenes import open_scene

    grid = cell_grid(_cell(options.scale), margin_px=64)
    files = step._files(scene)
    with closing(open_scene(reader, files, lambda asset, renew=False: asset.href, threads=options.workers)) as source:
        window = source.overlap(grid)
        for _, part in step._strips(window, step.PART_ROWS):
            source.read(["SCL"], part)
            source.read(BANDS, part)


def _release(scenes: list[dict[str, object]], options: argparse.Namespace) -> None:
    """Composite like the published program (docs/explanation/method.md): stackstac, persist, numpy."""
    import warnings

    import stackstac

    from headwater.core.sentinel2 import CLEAR_SCL
    from headwater.geo.grid import cell_grid

    warnings.simplefilter("ignore")
    grid = cell_grid(_cell(options.scale), margin_px=64)
    items = [_item(scene, options.scale) for scene in scenes]
    for row in range(0, grid.height, WINDOW_PX):
        for column in range(0, grid.width, WINDOW_PX):
            height, width = min(WINDOW_PX, grid.height - row), min(WINDOW_PX, grid.width - column)
            window = grid.crop(row=row, column=column, height=height, width=width)
            stack = stackstac.stack(
                items, assets=[*BANDS, "SCL"], epsg=4326, resolution=(grid.dx, grid.dy), bounds=window.bounds,
                snap_bounds=False,
            ).persist(num_workers=options.workers)  # fmt: skip
            total, count = np.zeros((4, height, width)), np.zeros((height, width))
            for scene in stack.values[:, :, :height, :width]:
                clear = np.isin(scene[4], CLEAR_SCL)
                if not clear.any():
                    continue
                for band in range(4):
                    dn = scene[band]
                    z = (dn - np.nanmean(dn[clear])) / np.nanstd(dn[clear])
                    value = np.nan_to_num(255 / (1 + np.exp(-0.6 * z))).astype(np.uint8)
                    total[band] += np.where(clear, value, 0)
                count += clear
            (total / np.maximum(count, 1)).astype(np.uint8)


def _item(scene: dict[str, object], scale: float) -> dict[str, object]:
    """Return the STAC item of a scene, with what stackstac needs to skip it in windows that it does not touch."""
    from rasterio.warp import transform_bounds

    west, north = tile_corners(scale)[str(scene["mgrs_tile"])]
    size = round(TILE_PX * scale)
    side = size * PIXEL_M
    box = list(transform_bounds(f"EPSG:{EPSG}", "EPSG:4326", west, north - side, west + side, north))
    assets = {
        name: {"href": href, "type": "image/tiff", "proj:shape": [pixels, pixels],
               "proj:transform": [side / pixels, 0.0, west, 0.0, -side / pixels, north]}
        for name, href in scene["assets"].items()
        for pixels in [size // 2 if name == "SCL" else size]
    }  # fmt: skip
    corners = [[box[0], box[1]], [box[2], box[1]], [box[2], box[3]], [box[0], box[3]], [box[0], box[1]]]
    return {"type": "Feature", "stac_version": "1.0.0", "id": scene["id"], "collection": scene["collection"],
            "bbox": box, "geometry": {"type": "Polygon", "coordinates": [corners]}, "links": [], "assets": assets,
            "properties": {"datetime": scene["datetime"], "proj:epsg": EPSG}}  # fmt: skip


def _warm_up(way: str) -> None:
    """Import and compile before the measurement: in a workflow run both are already done."""
    if way == "release":
        import stackstac  # noqa: F401
    elif way == "odc":
        import odc.stac  # noqa: F401
    if way == "ours":
        from headwater.imagery import masks
        from headwater.imagery.compositor import Compositor, scaling_tables, sigmoid_scale

        # A part of an array, as the composite takes it from a wider one: compiled separately.
        clear = masks.clear_mask(np.full((8, 8), 4, np.uint8), dilate_px=2)[2:6, 2:6]
        tables = scaling_tables(mean=[1.0] * 4, std=[1.0] * 4, offset=0)
        for method in ("mean", "best_first", "median"):
            compositor = Compositor((4, 4), bands=4, method=method)
            compositor.add(sigmoid_scale(np.ones((4, 4, 4), np.uint16), tables), clear)
            compositor.result()


def _measure(way: str, options: argparse.Namespace, folder: Path, url: str) -> dict[str, float]:
    before = _sent(url)
    done = subprocess.run(
        [sys.executable, __file__, "--way", way, "--url", url, "--folder", str(folder), "--scale", str(options.scale),
         "--workers", str(options.workers), "--method", options.method],
        check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    result = {**json.loads(done.stdout.splitlines()[-1]), "gigabytes_sent": (_sent(url) - before) / 1e9}
    print(f"{way:12}", "  ".join(f"{name} {value:8.2f}" for name, value in result.items()), flush=True)
    return result


def _tell(results: dict[str, dict[str, float]], options: argparse.Namespace) -> None:
    figures: dict[str, object] = {"scale": options.scale, "workers": options.workers, "ways": results}
    if "ours" in results:
        figures["peak_gb"] = results["ours"]["peak_gb"]
    for name, other in (("cpu_ratio_vs_release", "release"), ("over_decode_warp", "decode_warp")):
        if "ours" in results and other in results:
            figures[name] = results["ours"]["cpu_s"] / results[other]["cpu_s"]
    print("  ".join(f"{name} {value:.3f}" for name, value in figures.items() if isinstance(value, float)))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


def _cell(scale: float):  # type: ignore[no-untyped-def]
    from headwater.geo.grid import Cell

    return Cell(0, round(CELL_WEST / scale), scale)


def _noise(random: np.random.Generator, size: int, lengths: tuple[int, ...]) -> np.ndarray:
    """Return smooth noise of variance about one, with several wavelengths in pixels."""
    total = np.zeros((size, size), np.float32)
    for length in lengths:
        coarse = random.standard_normal((size // length + 2,) * 2, dtype=np.float32)
        total += ndimage.zoom(coarse, length, order=1)[:size, :size]
    return total / np.float32(len(lengths) ** 0.5 * 0.7)


def _write(path: Path, values: np.ndarray, transform: object) -> None:
    from headwater.raster import write_cog

    kind = "nearest" if values.dtype == np.uint8 else "average"
    write_cog(path, values[np.newaxis], transform=transform, crs=f"EPSG:{EPSG}", nodata=0, overview_resampling=kind)


def _peak_gb() -> float:
    """Return this process's peak resident memory; getrusage would return the parent's if that was higher."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1]) * 1024 / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


@contextmanager
def _server(folder: Path) -> Iterator[str]:
    """Serve the files over HTTP from a separate process, whose time is not counted."""
    code = (
        "import sys, uvicorn\n"
        "from starlette.applications import Starlette\n"
        "from starlette.responses import PlainTextResponse\n"
        "from starlette.routing import Mount, Route\n"
        "from starlette.staticfiles import StaticFiles\n"
        "sent = 0\n"
        "def count(app):\n"
        "    async def counted(scope, receive, send):\n"
        "        async def counting(message):\n"
        "            global sent\n"
        "            sent += len(message.get('body', b''))\n"
        "            await send(message)\n"
        "        await app(scope, receive, counting)\n"
        "    return counted\n"
        "app = Starlette(routes=[Route('/sent', lambda request: PlainTextResponse(str(sent))),\n"
        "                        Mount('/', StaticFiles(directory=sys.argv[1]))])\n"
        "uvicorn.run(count(app), port=int(sys.argv[2]), log_level='error')\n"
    )
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-c", code, str(folder), str(port)])
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(200):
            try:
                _sent(url)
                break
            except OSError:
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait()


def _sent(url: str) -> int:
    with urllib.request.urlopen(f"{url}/sent") as reply:
        return int(reply.read())


if __name__ == "__main__":
    main()
