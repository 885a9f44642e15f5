"""Scores of checkpoints on demo planets outside their training: pixels, and lines off the backbone against DEM only.

Planets are built, composited and given a backbone once; each checkpoint then predicts, vectorizes and is scored.

    python benchmarks/weights.py --planets wide-301 plain-301 --work .weights shipped other=other.safetensors truth

Bounds: `truth` uses the planet's labels as prediction, which no network can exceed; `flow`, the baseline, scores the
pixels of flow accumulation on the elevation, at the best threshold of each planet.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from checkpoints import FLOW_KM2, HELP, named_checkpoints
from headwater import raster
from headwater.core.files import read_json, write_json
from headwater.demo.build import build_planet
from headwater.evaluate.basin_scores import evaluate
from headwater.evaluate.line_matching import local_metric_crs
from headwater.evaluate.networks import length_near
from headwater.evaluate.nhd import read_nhd
from headwater.evaluate.pixel_scores import evaluate_pixels
from headwater.evaluate.score_tables import markdown_table
from headwater.evaluate.tiles import ALL
from headwater.evaluate.water_types import burn_types, coarsen_types, values_of_types
from headwater.geo.grid import RasterGrid, prediction_grid
from headwater.geo.plan import read_plan, write_plan
from headwater.imagery.composite import composite
from headwater.imagery.search import search
from headwater.imagery.select import select
from headwater.imagery.settings import SearchSettings
from headwater.predict.settings import PredictSettings
from headwater.predict.step import predict
from headwater.stac.settings import CatalogSettings
from headwater.terrain.elevation import elevation
from headwater.terrain.relief import upslope_area
from headwater.train.planets import read_planet
from headwater.waterways.vectorize_step import vectorize

CELL_DEGREES = 0.1
MARGIN_PX = 64
METRES_A_DEGREE = 111_320
BUFFER_M = 40.0
"""Two pixels of 20 m."""
TRUTH, FLOW = "truth", "flow"
REGIMES = ("perennial", "intermittent", "ephemeral")


@dataclass(frozen=True)
class Planet:
    """A planet with the files that do not depend on the checkpoint."""

    folder: Path
    """Folder of the planet, the plan and one folder per cell."""
    cells: tuple[str, ...]

    @property
    def basin(self) -> str:
        """HYBAS_ID."""
        return str(read_json(self.planet / "planet.json")["basin_id"])

    @property
    def planet(self) -> Path:
        """Folder that `headwater demo build` wrote."""
        return self.folder / "planet"

    @property
    def plan(self) -> Path:
        """plan.json of the basin."""
        return self.folder / "plan.json"

    def of_cells(self, name: str) -> list[Path]:
        """One file per cell."""
        return [self.folder / cell / name for cell in self.cells]

    def table(self, kind: str) -> Path:
        """A vector file of the planet."""
        return next(self.planet.glob(kind))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("checkpoints", nargs="+", help=f'{HELP}; "truth" or "flow"')
    parser.add_argument("--planets", nargs="+", required=True, help="such as wide-301 or plain-301")
    parser.add_argument("--work", type=Path, required=True, help="folder of planets and maps, kept for the next run")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="file for all figures")
    parser.add_argument("--markdown", type=Path, help="file for the table")
    options = parser.parse_args()
    checkpoints = dict(named_checkpoints(text) for text in options.checkpoints)
    rows = []
    for name in options.planets:
        planet = prepare(name, options.work / name)
        for label, path in checkpoints.items():
            row = {"weights": label, "planet": name, **score(planet, label, path, options.threads)}
            rows.append(row)
            print(json.dumps(row), file=sys.stderr, flush=True)
    table = table_of(rows)
    print(markdown_table(table, digits=3), end="")
    if options.markdown:
        options.markdown.write_text(markdown_table(table, digits=3))
    if options.json:
        finite = [{k: None if v != v else v for k, v in row.items()} for row in rows]
        write_json(options.json, {"rows": finite})


def table_of(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return one row for each checkpoint and planet, after the means over all planets."""
    table = pd.DataFrame(rows)
    means = table.drop(columns="planet").groupby("weights", sort=False).mean().reset_index()
    both = pd.concat([means.assign(planet="mean"), table])
    return both[["planet", *means.columns]].set_index("planet")


def prepare(name: str, folder: Path) -> Planet:
    """Build a planet and the composites and elevations of its cells, unless they exist."""
    variety, seed = read_planet(name, "plain")
    planet = folder / "planet"
    build_planet(seed, planet, preset=variety)
    plan, items = folder / "plan.json", folder / "items.parquet"
    basin = str(read_json(planet / "planet.json")["basin_id"])
    write_plan([planet / "hydrobasins.gpkg"], basin, plan, cell_degrees=CELL_DEGREES, margin_px=MARGIN_PX)
    cells = tuple(cell.name for cell in read_plan(plan).cells)
    if not items.exists():
        dates = SearchSettings(datetime="2023-01-01/2023-12-31")
        search(plan, items, catalog=CatalogSettings(url=str(planet)), settings=dates)
    for cell in cells:
        at = folder / cell
        if not (at / "elevation.tif").exists():
            select(items, plan, cell, at / "scenes.json", at / "dem.json", cache_dir=folder / "cache")
            composite(at / "scenes.json", plan, cell, at / "composite.tif", readers=1)
            elevation(at / "dem.json", plan, cell, at / "elevation.tif")
    return Planet(folder, cells)


def score(planet: Planet, label: str, checkpoint: Sequence[Path], threads: int) -> dict[str, Any]:
    """Predict, vectorize and score with one checkpoint."""
    out = planet.folder / "weights" / label
    if label == FLOW:
        return flow_accumulation(planet, out)
    maps = []
    for cell in planet.cells:
        maps.append(out / cell / "probability.tif")
        if label == TRUTH:
            write_truth(planet, cell, maps[-1])
            continue
        predict(
            *(planet.folder / cell / f"{kind}.tif" for kind in ("composite", "elevation")),
            cell, planet.plan, maps[-1], checkpoint=checkpoint, settings=PredictSettings(threads=threads),
        )  # fmt: skip
    mosaic, heights = out / "probability.vrt", out / "elevation.vrt"
    mosaic.write_text(raster.mosaic_vrt(maps))
    heights.write_text(raster.mosaic_vrt(planet.of_cells("elevation.tif")))
    network = out / "waterways.parquet"
    with redirect_stdout(sys.stderr):
        pixels = pixel_scores(planet, maps, out / "pixels")
        vectorize(
            mosaic, heights, planet.table("TDX_streamnet_*"), planet.table("TDX_streamreach_basins_*"), network,
            basin_id=planet.basin, checks=out / "checks.json",
        )  # fmt: skip
        catchments = planet.table("TDX_streamreach_basins_*")
        everywhere, lines = (
            evaluate(
                network, planet.planet / "truth.gpkg", planet.of_cells("elevation.tif"),
                [planet.planet / "hydrobasins.gpkg"], planet.basin, buffer_m=BUFFER_M, area=area,
            )
            for area in (None, catchments)
        )  # fmt: skip
    found = {
        f"{kind} {side}": lines[side][key] for side in lines if side != "buffer_m" for kind, key in LINE_SCORES.items()
    }
    found |= {f"F1 {side}, all land": everywhere[side]["f1"] for side in everywhere if side != "buffer_m"}
    faults = read_json(out / "checks.json")["faults"]
    return {**pixels, **found, **order_one(network, planet), "faults": faults}


def pixel_scores(planet: Planet, maps: Sequence[Path], out: Path) -> dict[str, Any]:
    """Score maps against the planet's labels, every type counted."""
    scores = evaluate_pixels(
        maps, out, labels=[planet.planet / "nhd.gpkg"], area=planet.planet / "hydrobasins.gpkg"
    )  # fmt: skip
    return dict(scores.loc[ALL, PIXEL_SCORES])


def write_truth(planet: Planet, cell: str, out: Path) -> None:
    """Write the probability of a perfect network: 1 on every water type, 0 elsewhere."""
    grid = prediction_grid(read_plan(planet.plan).cell(cell))
    fine = RasterGrid(grid.west, grid.north, grid.dx / 2, grid.dy / 2, grid.width * 2, grid.height * 2)
    types = coarsen_types(burn_types(read_nhd(planet.planet / "nhd.gpkg", bounds=grid.bounds), fine), 2)
    water = np.where(values_of_types(types) > 0, np.uint8(255), np.uint8(0))
    raster.write_cog(out, water[None], transform=grid.transform, mask=np.ones(grid.shape, bool))


def flow_accumulation(planet: Planet, out: Path) -> dict[str, Any]:
    """Score D8 flow accumulation at the best of some thresholds: only the baseline may tune itself on the test."""
    text = raster.mosaic_vrt(planet.of_cells("elevation.tif"))
    grid = raster.raster_grid(text)
    heights, valid = raster.read_window(text, grid)
    pixel_m = grid.dy * METRES_A_DEGREE * math.sqrt(math.cos(math.radians(grid.north)) * grid.dx / grid.dy)
    km2 = 10 ** upslope_area(np.where(valid, heights, np.float32(np.nan)), pixel_m=pixel_m, max_km2=1000)
    found = []
    for limit in FLOW_KM2:
        maps = []
        for cell in planet.cells:
            at = prediction_grid(read_plan(planet.plan).cell(cell))
            rows = (grid.north - at.north + (np.arange(at.height) + 0.5) * at.dy) / grid.dy
            columns = (at.west - grid.west + (np.arange(at.width) + 0.5) * at.dx) / grid.dx
            water = km2[np.ix_(rows.astype(int), columns.astype(int))] >= limit
            maps.append(out / f"{limit}" / cell / "probability.tif")
            pixels = np.where(water, np.uint8(255), np.uint8(0))[None]
            raster.write_cog(maps[-1], pixels, transform=at.transform, mask=np.ones(at.shape, bool))
        with redirect_stdout(sys.stderr):
            found.append(pixel_scores(planet, maps, out / f"{limit}"))
    return max(found, key=lambda scores: float(scores["F1*"]))


PIXEL_SCORES = ["P", "R", "F1", "P*", "R*", "F1*"]
LINE_SCORES: Mapping[str, str] = {"P": "correctness", "R": "completeness", "F1": "f1"}


def order_one(network: Path, planet: Planet) -> dict[str, float]:
    """Return the fraction of the true length of order 1, by regime, with a line of the network within the buffer."""
    truth = gpd.read_file(planet.planet / "truth.gpkg")
    truth = truth[(truth["strahler_order"] == 1) & ~truth["on_backbone"]]
    crs = local_metric_crs(truth.geometry)
    lines = gpd.read_parquet(network).geometry.to_crs(crs).to_numpy()
    shares = {}
    for regime in REGIMES:
        reaches = truth[truth["regime"] == regime].geometry.to_crs(crs).to_numpy()
        total = shapely.length(reaches).sum()
        near = length_near(reaches, lines, distance=BUFFER_M).sum() if len(reaches) else 0.0
        shares[f"order 1 {regime}"] = round(float(near / total), 4) if total else float("nan")
    return shares


if __name__ == "__main__":
    main()
