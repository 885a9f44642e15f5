"""CPU and memory of a run on published rasters: one cell of one degree, all of it land, all steps, on a local server.

The probability and the elevation of a generated landscape of 66 km (../shared/data/vector_bench) are reflected until
they fill the degree; the published raster is a complete square of zoom 6, 31,000 pixels a side. The backbone is made
from elevation.

    python benchmarks/published.py --data ../shared/data/vector_bench --work /tmp/published
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
import shapely
import uvicorn
import yaml
from rasterio.transform import Affine
from rasterio.windows import Window
from starlette.applications import Starlette
from starlette.staticfiles import StaticFiles

from headwater import raster
from headwater.core.files import write_json
from headwater.geo.grid import Cell, prediction_grid
from headwater.predict.published import squares_of
from headwater.runs.costs import cost_table, last_attempts

ROOT = Path(__file__).resolve().parents[1]
CELL = Cell(1, 32, 1.0)
"""At the equator a cell has most pixels."""
BASIN = "9000000032"
STEP = 1 / 5400
POST = 1 / 3600


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of prob.tif and dem.tif")
    parser.add_argument("--work", type=Path, required=True, help="folder for inputs and results; inputs are kept")
    parser.add_argument("--cores", type=int, default=2)
    args = parser.parse_args()
    make_inputs(args.data, args.work)
    run = args.work / f"run-{time.time():.0f}"
    run.mkdir(parents=True)
    with served(args.work / "served") as address:
        (run / "config.yaml").write_text(yaml.safe_dump(configuration(args.work, address)))
        program = Path(sys.executable).with_name("snakemake")
        command = [str(program), "--snakefile", str(ROOT / "Snakefile"), "--directory", str(run)]
        environment = dict(os.environ, PATH=f"{program.parent}{os.pathsep}{os.environ['PATH']}")
        started = time.perf_counter()
        subprocess.run(
            [*command, "--configfile", str(run / "config.yaml"), "--cores", str(args.cores)],
            check=True,
            env=environment,
        )
        seconds = time.perf_counter() - started
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
    rows = cost_table(last_attempts(run / "results/logs" / BASIN))
    for row in rows:
        size, read = row["max_rss_mb"], row["downloaded_mb"]
        print(f"{row['rule']:<10} CPU {row['cpu_s']:6.1f} s  {size:6.0f} MB  {read:6.1f} MB read")
    print(f"all        CPU {sum(row['cpu_s'] for row in rows):6.1f} s")
    print(f"with Snakemake {used.ru_utime + used.ru_stime:.1f} s of CPU, in {seconds:.0f} s")


def configuration(work: Path, address: str) -> dict[str, object]:
    """Return the configuration of the run."""
    return {
        "basins": {"polygons": str(work / "basin.gpkg"), "ids": [BASIN]},
        "grid": {"cell_degrees": CELL.degrees},
        "catalog": {"url": str(work / "catalog"), "dem_collections": ["dem"]},
        "backbone": {"kind": "dem"},
        "predict": {"source": "published", "published": f"{address}/raster"},
    }


def make_inputs(data: Path, work: Path) -> None:
    """Write basin, catalog of elevation, and published raster, unless they are there."""
    if (work / "basin.gpkg").exists():
        return
    work.mkdir(parents=True, exist_ok=True)
    west, south, east, north = CELL.bounds
    posts = math.ceil(1.1 / POST)
    heights = reflected(data / "dem.tif", posts)[None]
    transform = Affine(POST, 0, west - 0.05, 0, -POST, north + 0.05)
    raster.write_cog(work / "catalog/dem.tif", heights.astype(np.float32), transform=transform)
    around = shapely.box(west - 0.05, south - 0.05, east + 0.05, north + 0.05)
    item = {
        "type": "Feature", "stac_version": "1.0.0", "id": "dem", "collection": "dem", "links": [],
        "geometry": shapely.geometry.mapping(around), "bbox": list(around.bounds),
        "properties": {"datetime": "2021-01-01T00:00:00Z", "proj:epsg": 4326},
        "assets": {"data": {"href": str(work.resolve() / "catalog/dem.tif")}},
    }  # fmt: skip
    write_json(work / "catalog/stac/dem/dem.json", item)
    write_square(data, work / "served/raster")
    basin = gpd.GeoDataFrame({"HYBAS_ID": [int(BASIN)]}, geometry=[shapely.box(*CELL.bounds)], crs=4326)
    basin.to_file(work / "basin.gpkg")


def write_square(data: Path, folder: Path) -> None:
    """Write the complete square of zoom 6 that the cell is in."""
    (square,) = squares_of(prediction_grid(CELL))
    folder.mkdir(parents=True)
    west, south, east, north = square.bounds
    left, top = math.floor(west / STEP), math.ceil(north / STEP)
    width, height = math.ceil(east / STEP) - left, top - math.floor(south / STEP)
    profile = {
        "driver": "GTiff", "dtype": "uint8", "count": 1, "width": width, "height": height, "crs": "EPSG:4326",
        "transform": Affine(STEP, 0, left * STEP, 0, -STEP, top * STEP),
        "tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate",
    }  # fmt: skip
    first, side = 512, round(1 / STEP)
    row, column = top - round(CELL.bounds[3] / STEP), round(CELL.bounds[0] / STEP) - left
    values = reflected(data / "prob.tif", side)
    with rasterio.open(folder / f"{square.name}.tif", "w", **profile) as dataset:
        for start in range(0, height, first):
            strip = np.zeros((min(first, height - start), width), np.uint8)
            begin, end = max(start, row), min(start + len(strip), row + side)
            if begin < end:
                strip[begin - start : end - start, column : column + side] = values[begin - row : end - row]
            dataset.write(strip, 1, window=Window(0, start, width, len(strip)))


def reflected(path: Path, side: int) -> np.ndarray:
    """Return the values of a raster, reflected at its southern and eastern edges until it has `side` pixels."""
    with rasterio.open(path) as dataset:
        values = dataset.read(1)
    return np.pad(values, [(0, max(0, side - length)) for length in values.shape], mode="symmetric")[:side, :side]


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder over HTTP with ranges; yield its address."""
    app = Starlette()
    app.mount("/", StaticFiles(directory=folder))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


if __name__ == "__main__":
    main()
