"""`headwater chips CONFIG`: cut balanced chips from composites, elevation and labels of cells, and store them."""

from __future__ import annotations

import math
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.features import rasterize
from rasterio.io import DatasetReader

from headwater import raster
from headwater.core.errors import InputError
from headwater.core.events import progress
from headwater.core.files import write_json
from headwater.evaluate.nhd import WATER_TYPES, read_nhd
from headwater.evaluate.own_labels import LabelTables, read_labels
from headwater.evaluate.water_types import UNKNOWN_TYPE, burn_types
from headwater.geo.areas import grid_of_area
from headwater.geo.features import read_polygons
from headwater.geo.grid import GLO30_ROWS_PER_DEGREE, Bounds, RasterGrid
from headwater.geo.longitudes import is_on_globe
from headwater.models.features import IMAGE_BANDS
from headwater.raster.elevation_tiles import raster_footprint, read_elevation_tile
from headwater.raster.elevation_values import elevation_band
from headwater.raster.opening import crs_of, with_retry
from headwater.stac.items import Asset
from headwater.stac.signing import no_signer
from headwater.terrain.surface import Surface, bridge_seams, sample
from headwater.train.chips import CellChips, Chip
from headwater.train.config import SPLITS, check_keys, check_list, current_names, filled, read_yaml
from headwater.train.shards import BYTES_PER_PIXEL, FORMAT, MANIFEST, write_shard

SHARD_BYTES = 256_000_000
"""Maximum size of a shard, if it has more than one chip."""
MIDDLE_GRAY = 128
"""Value of each band of an image that is not there: the middle of the range of composites."""
PART_DEGREES = 0.5
"""Largest side of the parts of an elevation raster that are in memory at a time."""
_TYPES = 256


@dataclass(frozen=True)
class CutSettings:
    """How chips are cut."""

    sides_px: tuple[int, ...] = (244, 832)
    """Sides of the chips in 10 m pixels; one set of chips for each."""
    chips_per_region: tuple[int, ...] = (2000, 200)
    """Maximum number of chips of each side per region, so that regions have equal weight."""
    max_missing_fraction: float = 0.1
    """Maximum fraction of pixels without image, elevation or label."""
    seed: int = 0
    """Seed of the places and the choice."""

    def __post_init__(self) -> None:
        if len(self.sides_px) != len(self.chips_per_region) or not self.sides_px:
            raise InputError("sides_px and chips_per_region differ in length.", "Give one number for each side.")
        if any(side < 2 or side % 2 for side in self.sides_px) or min(self.chips_per_region) < 1:
            raise InputError(
                "A side is odd, or a number is 0 or less.",
                "Give even sides, so that no 20 m pixel is cut, and positive numbers.",
            )
        if self.seed < 0 or not 0 <= self.max_missing_fraction <= 1:
            raise InputError(
                "seed or max_missing_fraction is out of range.", "Give a seed from 0 and a fraction from 0 to 1."
            )


@dataclass(frozen=True)
class Region:
    """A place whose chips all belong to one part: a planet, or a HU4 region."""

    name: str
    """Its name in file names."""
    part: str
    """training, validation or test."""
    labels: str | tuple[LabelTables, ...]
    """File of the NHD, or tables of any lines and polygons."""
    cells: str = ""
    """Folder with one folder per cell, which contains composite.tif and elevation.tif as written by the workflow."""
    elevation: str = ""
    """Instead of cells: an elevation raster of any CRS, in meters. The image is then gray throughout."""
    bounds: tuple[float, ...] = ()
    """West, south, east and north in degrees: the part of the elevation that is used; all of it if empty."""
    area: str = ""
    """Polygons outside which water is not mapped; empty if the labels cover the cells."""


@dataclass(frozen=True)
class Candidate:
    """A window that could be a chip."""

    cell: CellChips
    """Its cell."""
    row: int
    """First row."""
    column: int
    """First column."""
    types: frozenset[int]
    """Its water types; only 0 if it has none."""


@dataclass
class CandidateWindows:
    """Candidates, and the number of windows that were left out."""

    candidates: list[Candidate] = field(default_factory=list)
    """Windows that can be chips."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Number of the others by reason."""


def chips(config_path: Path) -> None:
    """Cut chips as configured and write shards and manifest.

    Parameters
    ----------
    config_path : Path
        YAML, see docs/reference/training.md.
    """
    out, settings, regions = read_cut_config(config_path)
    scratch = out / ".cells"
    shutil.rmtree(scratch, ignore_errors=True)
    for region in regions:
        check_region(region)

    def read() -> Iterator[tuple[str, str, Sequence[CellChips]]]:
        for region in regions:
            yield region.name, region.part, read_region(region, scratch)
            shutil.rmtree(scratch)  # Only the cells of one region are on disk at a time: they take nine bytes a pixel.

    try:
        cut_chips(read(), out, settings)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def read_cut_config(path: Path) -> tuple[Path, CutSettings, list[Region]]:
    """Read and check a configuration of `headwater chips`."""
    (values,) = current_names(
        [read_yaml(path, like="the one in docs/reference/training.md")],
        {"max_missing_share": "max_missing_fraction"},
        path,
    )
    known = {item.name for item in fields(CutSettings)}
    check_keys(values, {"out", "regions", *known}, "the top level", path, needed=("out", "regions"))
    for key in ("sides_px", "chips_per_region"):
        if key in values:
            check_list(values[key], key, path, of=int)
    settings = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items() if key in known}
    regions = []
    for region in check_list(values["regions"], "regions", path, of=dict):
        check_keys(region, {item.name for item in fields(Region)}, "regions", path, needed=("name", "part", "labels"))
        if region["part"] not in SPLITS:
            raise InputError(f"In {path}, a region is for {region['part']!r}.", f"Use one of: {', '.join(SPLITS)}.")
        if ("cells" in region) == ("elevation" in region) or ("bounds" in region and "cells" in region):
            raise InputError(
                f"In {path}, the region {region['name']} gives cells and elevation, or neither, or bounds of cells.",
                "Give cells of the workflow, or an elevation raster, of which bounds name a part.",
            )
        read: dict[str, Any] = {"name": str(region["name"]), "labels": _read_label_keys(region["labels"], path)}
        if "bounds" in region:
            read["bounds"] = _read_bounds(region["bounds"], path)
        regions.append(filled(Region, {**region, **read}, "regions", path))
    if len({region.name for region in regions}) < len(regions) or not regions:
        raise InputError(f"{path} lists a region twice, or none.", "Give each region once, for one part only.")
    return Path(values["out"]), filled(CutSettings, settings, "the top level", path), regions


def _read_label_keys(labels: Any, path: Path) -> str | tuple[LabelTables, ...]:
    """Return what a region's `labels` name: a file of the NHD, or tables of lines and polygons."""
    if isinstance(labels, str):
        return labels
    found = []
    for table in check_list([labels] if isinstance(labels, dict) else labels, "regions.labels", path, of=dict):
        check_keys(table, {item.name for item in fields(LabelTables)}, "regions.labels", path, needed=())
        keys: dict[str, Any] = dict(table)
        for name in ("lines", "polygons"):
            files = keys.get(name, [])
            keys[name] = tuple(
                check_list([files] if isinstance(files, str) else files, f"regions.labels.{name}", path, of=str)
            )
        for name in ("columns", "types"):
            pairs = keys.get(name, {})
            if not isinstance(pairs, dict) or not all(isinstance(value, str) for value in pairs.values()):
                raise InputError(f"In {path}, regions.labels.{name} is {pairs!r}.", "Give a table of texts.")
            # YAML reads 3: and null: as a number and as nothing.
            keys[name] = {"null" if key is None else str(key): value for key, value in pairs.items()}
        found.append(filled(LabelTables, keys, "regions.labels", path))
    if not found:
        raise InputError(f"In {path}, a region has no labels.", "Name lines or polygons.")
    return tuple(found)


def _read_bounds(bounds: Any, path: Path) -> tuple[float, ...]:
    edges = tuple(float(edge) for edge in check_list(bounds, "regions.bounds", path, of=(int, float)))
    if len(edges) != 4 or not (edges[0] < edges[2] and edges[1] < edges[3] and is_on_globe(edges)):
        raise InputError(f"In {path}, regions.bounds is {bounds}.", "Give west, south, east and north in degrees.")
    return edges


def check_region(region: Region) -> None:
    """Refuse a region whose files do not exist or are not what they should be, before hours are spent on the others."""
    if region.cells and not any(Path(region.cells).glob("*/composite.tif")):
        raise InputError(f"There is no */composite.tif in {region.cells}.", "Give the folder of a basin's cells.")
    for file in (region.labels, region.area, region.elevation):
        if isinstance(file, str) and file and not Path(file).exists():
            raise InputError(f"{file} of region {region.name} does not exist.", "Give an existing file.")
    if region.elevation:
        elevation_cells(region)
    if not isinstance(region.labels, str):
        read_labels(region.labels, bounds=_bounds_of(region), tell=lambda _: None)


def read_region(region: Region, scratch: Path) -> list[CellChips]:
    """Read the cells of a region onto a 10 m grid and rasterize their labels, one cell in memory at a time.

    Raises
    ------
    InputError
        No label is in the cells: they are of another place.
    """
    labels = region.labels
    features = read_nhd(Path(labels)) if isinstance(labels, str) else read_labels(labels, bounds=_bounds_of(region))
    area = read_polygons(Path(region.area)) if region.area else None
    cells, labeled = [], False
    for name, bands, heights, grid in _rasters_of(region):
        types = burn_types(features, grid)
        labeled |= bool(types.any())
        if area is not None:
            inside = rasterize(area, out_shape=grid.shape, transform=grid.transform, dtype="uint8")
            types[inside == 0] = UNKNOWN_TYPE
        if region.elevation:
            # An elevation raster may end at a divide, beyond which lines and land are not its own.
            types[np.isnan(heights)] = UNKNOWN_TYPE
        cells.append(CellChips.save(scratch / name, composite=bands, elevation=heights, types=types))
    if not labeled:
        raise InputError(
            f"None of the labels of region {region.name} is in its cells.",
            "Give labels of the same place, and check their coordinate reference system.",
        )
    return cells


def _rasters_of(
    region: Region,
) -> Iterator[tuple[str, npt.NDArray[np.uint8], npt.NDArray[np.float32], RasterGrid]]:
    """Yield name, image (4, y, x), elevation (y, x; NaN where unknown) and grid of each cell of a region."""
    if region.elevation:
        for name, grid in progress(elevation_cells(region), description=f"parts of {region.name}"):
            image = np.full((len(IMAGE_BANDS), *grid.shape), MIDDLE_GRAY, np.uint8)
            yield name, image, _heights(region, grid), grid
        return
    folders = sorted(path.parent for path in Path(region.cells).glob("*/composite.tif"))
    for folder in progress(folders, description=f"cells of {region.name}"):
        bands, _, grid, _ = raster.read_raster(folder / "composite.tif")
        meters, known = raster.read_window(folder / "elevation.tif", grid)
        yield folder.name, bands[: len(IMAGE_BANDS)], np.where(known, meters, np.float32(np.nan)), grid


def elevation_cells(region: Region) -> list[tuple[str, RasterGrid]]:
    """Return names and 10 m grids of the parts into which an elevation raster is cut.

    Raises
    ------
    InputError
        It is no elevation, has no CRS, or is not within the region's bounds.
    """
    path = Path(region.elevation)

    def outline(dataset: DatasetReader) -> Bounds:
        elevation_band(dataset, path)
        bounds: Bounds = raster_footprint(dataset, crs_of(dataset, None, path)).bounds
        return bounds

    west, south, east, north = with_retry(path, None, outline)
    if region.bounds:
        limits = region.bounds
        west, south, east, north = (
            max(west, limits[0]),
            max(south, limits[1]),
            min(east, limits[2]),
            min(north, limits[3]),
        )
    if not (west < east and south < north):
        raise InputError(
            f"The elevation {path} of region {region.name} is not within its bounds.", "Correct regions.bounds."
        )
    rows, columns = (max(1, math.ceil(length / PART_DEGREES)) for length in (north - south, east - west))
    edges = [np.linspace(*ends, count + 1) for ends, count in (((south, north), rows), ((west, east), columns))]
    return [
        (
            f"part-{row}-{column}",
            grid_of_area((edges[1][column], edges[0][row], edges[1][column + 1], edges[0][row + 1])),
        )
        for row in range(rows)
        for column in range(columns)
    ]


def _bounds_of(region: Region) -> Bounds | None:
    """Return the bounds of an elevation region; None of one of cells, all of whose labels are read."""
    if not region.elevation:
        return None
    edges = np.array([grid.bounds for _, grid in elevation_cells(region)])
    west, south, east, north = edges.T
    return float(west.min()), float(south.min()), float(east.max()), float(north.max())


def _heights(region: Region, grid: RasterGrid) -> npt.NDArray[np.float32]:
    """Return the elevation of a part as the workflow sees it: through posts of one arc second."""
    step = 1 / GLO30_ROWS_PER_DEGREE
    west, south, east, north = grid.bounds
    left, top = math.floor(west / step) - 2, math.ceil(north / step) + 2
    width, height = math.ceil(east / step) + 2 - left, top - math.floor(south / step) + 2
    posts = RasterGrid(west=(left - 0.5) * step, north=(top + 0.5) * step, dx=step, dy=step, width=width, height=height)
    asset = Asset(href=str(Path(region.elevation).absolute()), collection="elevation")
    tile = read_elevation_tile(asset, posts, cell=grid.bounds, signer=no_signer(None))
    if tile is None:
        return np.full(grid.shape, np.nan, np.float32)
    covered = bridge_seams(Surface(tile.grid, tile.values, tile.valid, tile.covered, np.zeros(tile.valid.shape, bool)))
    there = sample(covered, grid, method="bilinear")
    return np.where(there.valid, there.values, np.float32(np.nan))


def cut_chips(
    regions: Iterable[tuple[str, str, Sequence[CellChips]]], out: Path, settings: CutSettings
) -> dict[str, Any]:
    """Choose chips of each region and side, write them, then the manifest; return the manifest.

    Parameters
    ----------
    regions : iterable of (name, part, cells)
        Part is training, validation or test. The cells of a region are not used after the next one is requested.
    out : Path
        Folder of shards and manifest.
    settings : CutSettings
        Sides, numbers and seed of the chips.

    Raises
    ------
    InputError
        No window can be a chip.
    """
    shards: list[dict[str, Any]] = []
    counts: dict[str, Counter[str]] = {part: Counter() for part in SPLITS}
    left_out: Counter[str] = Counter()
    # An interrupted run leaves no manifest of shards that it did not write.
    (out / MANIFEST).unlink(missing_ok=True)
    for number, (region, part, places) in enumerate(regions):
        for side, quota in zip(settings.sides_px, settings.chips_per_region, strict=True):
            rng = np.random.default_rng([settings.seed, number, side])
            found = find_candidates(places, side, settings.max_missing_fraction, rng)
            left_out.update(found.left_out)
            chosen = balanced_choice([candidate.types for candidate in found.candidates], quota, rng)
            counts[part].update(_name(kind) for index in chosen for kind in found.candidates[index].types)
            picked = [found.candidates[index] for index in chosen]
            for first, chunk in _chunks(picked, max(1, SHARD_BYTES // (BYTES_PER_PIXEL * side * side))):
                file = f"{part}/{region}-{side}-{first:06d}.safetensors"
                sha256 = write_shard(out / file, [_cut(candidate, side) for candidate in chunk])
                row = {"file": file, "part": part, "region": region, "side_px": side, "chips": len(chunk)}
                shards.append({**row, "sha256": sha256})
    if not shards:
        why = ", ".join(f"{reason} ({count})" for reason, count in sorted(left_out.items()))
        raise InputError(
            f"Not one chip could be cut: {why or 'every cell is smaller than a chip'}.",
            "Check that images, elevation, labels and area are of the same place.",
        )
    manifest = {
        "format": FORMAT,
        "shards": shards,
        "chips_with_type": {part: dict(sorted(types.items())) for part, types in counts.items()},
        "left_out": dict(sorted(left_out.items())),
        "seed": settings.seed,
    }
    write_json(out / MANIFEST, manifest)
    return manifest


def find_candidates(
    cells: Sequence[CellChips], side_px: int, max_missing_fraction: float, rng: np.random.Generator
) -> CandidateWindows:
    """Place a grid of windows with half overlap on each cell at a random even shift; leave out bad ones.

    Parameters
    ----------
    cells : sequence of CellChips
        Cells of one region.
    side_px : int
        Side of a window.
    max_missing_fraction : float
        A window with a larger fraction without image, elevation or label is left out, and counted by reason.
    rng : numpy Generator
        Source of the shift.
    """
    found = CandidateWindows()
    stride = max(2, side_px // 4 * 2)
    for cell in cells:
        # The shift is at most the remainder of the grid, so that it never costs a window.
        starts = [
            range(2 * int(rng.integers((length - side_px) % stride // 2 + 1)), length - side_px + 1, stride)
            for length in cell.shape
        ]
        for row in starts[0]:
            for column in starts[1]:
                composite, elevation, types = cell.chip(row, column, side_px, side_px)
                reason = _defect(composite, elevation, types, max_missing_fraction)
                if reason:
                    found.left_out[reason] += 1
                else:
                    found.candidates.append(Candidate(cell, row, column, _types_in(types)))
    return found


def balanced_choice(types: Sequence[frozenset[int]], quota: int, rng: np.random.Generator) -> list[int]:
    """Choose chips so that rare water types are kept among the common ones.

    Parameters
    ----------
    types : sequence of frozenset
        Water types of each candidate.
    quota : int
        Number of chips to choose; all if there are fewer.
    rng : numpy Generator
        Source of randomness.

    Returns
    -------
    list of int
        Positions in random order, each once. The weight of a candidate is the sum over its types of 1 / candidates of
        that type.
    """
    if not types:
        return []
    total = Counter(kind for kinds in types for kind in kinds)
    weights = np.array([sum(1 / total[kind] for kind in kinds) for kinds in types])
    chosen = rng.choice(len(types), size=min(quota, len(types)), replace=False, p=weights / weights.sum())
    return [int(index) for index in chosen]


def _defect(
    composite: npt.NDArray[np.uint8],
    elevation: npt.NDArray[np.float32],
    types: npt.NDArray[np.uint8],
    max_missing_fraction: float,
) -> str:
    for reason, missing in (
        ("no image", (composite == 0).any(axis=0)),
        ("no elevation", ~np.isfinite(elevation)),
        ("no label", types == UNKNOWN_TYPE),
    ):
        if missing.mean() > max_missing_fraction:
            return reason
    return ""


def _types_in(types: npt.NDArray[np.uint8]) -> frozenset[int]:
    present = set(np.flatnonzero(np.bincount(types.ravel(), minlength=_TYPES)).tolist())
    return frozenset(present - {0, UNKNOWN_TYPE}) or frozenset({0})


def _cut(candidate: Candidate, side_px: int) -> Chip:
    return candidate.cell.chip(candidate.row, candidate.column, side_px, side_px)


def _chunks(items: Sequence[Candidate], size: int) -> Iterator[tuple[int, Sequence[Candidate]]]:
    for first in range(0, len(items), size):
        yield first, items[first : first + size]


def _name(kind: int) -> str:
    return WATER_TYPES[kind][0] if kind in WATER_TYPES else "none"
