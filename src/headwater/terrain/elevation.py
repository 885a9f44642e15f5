"""elevation: merge the elevation tiles of a cell into one raster at GLO-30 posting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headwater import raster
from headwater.core.errors import InputError, WorkError
from headwater.core.events import warn
from headwater.core.files import read_json
from headwater.core.versions import STEP_VERSIONS
from headwater.geo.basins import basin_polygon, is_area
from headwater.geo.grid import RasterGrid, elevation_grid
from headwater.geo.plan import Plan, read_plan
from headwater.raster.elevation_tiles import MARGIN_POSTS, read_elevation_tile
from headwater.stac.items import Asset, Signer
from headwater.stac.settings import SigningSettings
from headwater.stac.signing import make_signer
from headwater.terrain.settings import ElevationSettings
from headwater.terrain.surface import (
    MAX_SEAM_PX,
    SOURCE_FILLED,
    SOURCE_SEA,
    Surface,
    area_km2,
    bridge_seams,
    extend_edges,
    fill_voids,
    land_mask,
    merge,
    paste,
    pixel_sides_m,
    sample,
)

MAX_LAND_WITHOUT_ELEVATION_KM2 = 1.0
"""Land of a cell that may lack elevation: slivers along a coast."""


def elevation(
    dem: Path,
    plan: Path,
    cell: str,
    out: Path,
    *,
    polygons: Sequence[Path] = (),
    basin_id: str | None = None,
    settings: ElevationSettings | None = None,
    signing: SigningSettings | None = None,
) -> None:
    """Write elevation.tif of a cell.

    The first model is read at its own posts and joined; the next ones are opened only if something is missing, and
    interpolated bicubically (Copernicus GLO-90 where GLO-30 has no tile, as in the paper). Each tile is opened once
    and only its window is read. A cell of one degree takes 700 MB (900 MB with "extend"), 400 MB of them libraries,
    however many tiles there are.

    Parameters
    ----------
    dem : Path
        dem.json of the cell.
    plan : Path
        plan.json of the basin.
    cell : str
        Name of the cell.
    out : Path
        One band float32, meters; sea 0. Tags hold the fraction of each model, its tiles, and how many pixels were
        bridged or interpolated.
    polygons : sequence of Path
        Files of basin polygons, which separate land from sea. Without them, and for an area, all that lies in a tile is
        land, and nothing else.
    basin_id : str, optional
        Basin of the polygons, if it is not the plan's.
    settings : ElevationSettings, optional
        What to make of pixels without elevation, after seams are bridged, the next models used and small voids
        interpolated.
    signing : SigningSettings, optional
        How assets are signed; as they are where not given.

    Raises
    ------
    WorkError
        A tile cannot be read, or the models do not cover the cell.
    InputError
        The manifest is not one, or a tile is no elevation in meters.
    """
    missing, signing = (settings or ElevationSettings()).missing, signing or SigningSettings()
    the_plan = read_plan(plan)
    grid = elevation_grid(the_plan.cell(cell), margin_px=the_plan.margin_px)
    tiles, best, catalog = _tiles(dem, cell)
    surface, source, used = _merged(tiles, best, grid, make_signer(*signing.access_to(catalog)))
    values, filled = fill_voids(
        surface.values, surface.valid, surface.covered & ~surface.valid, pixel_m=pixel_sides_m(grid)
    )
    source[filled] = SOURCE_FILLED
    without = source == SOURCE_SEA
    if missing == "sea":
        of_area = is_area(basin_id or the_plan.basin_id)
        # The polygon of an area may be a box in the sea.
        _check_land(without, surface, the_plan, cell, () if of_area else polygons, basin_id)
        if of_area:
            _warn_of_sea(without & ~surface.covered, surface.grid, cell)
    elif missing != "zero":
        _check_cover(without, cell, missing)
        values = extend_edges(values, source)
    tags = _tags(surface, source, used, "extended" if missing == "extend" else "sea")
    raster.write_cog(
        out,
        values[np.newaxis],
        transform=grid.transform,
        tags=tags | ({"catalog": catalog} if catalog else {}),
        bands=raster.ELEVATION,
    )


class _Tile(NamedTuple):
    collection: str
    id: str
    href: str
    epsg: int | None


def _tiles(dem: Path, cell: str) -> tuple[list[_Tile], str | None, str | None]:
    """Return the tiles of a cell, the best model, and the catalog that they are from if it is not the first one."""
    manifest = read_json(dem)
    try:
        tiles = [_Tile(item["collection"], item["id"], item["href"], item["epsg"]) for item in manifest["items"]]
        # A cell may have tiles of the fallback only: the first collection may not be among them.
        best = next(iter(manifest.get("collections", [])), tiles[0].collection if tiles else None)
        catalog = manifest.get("catalog")
        right_cell = manifest["cell"] == cell
    except (KeyError, TypeError) as error:
        raise InputError(f"{dem} is not a list of elevation tiles.", "Run `headwater select` again.") from error
    if not right_cell:
        raise InputError(f"{dem} belongs to cell {manifest['cell']}, not {cell}.", "Give the manifest of the cell.")
    return tiles, best, catalog


def _merged(
    tiles: Sequence[_Tile], best: str | None, grid: RasterGrid, signer: Signer
) -> tuple[Surface, NDArray[np.uint8], dict[str, list[str]]]:
    """Return the merged surface of a grid, the number of each pixel's model (from 1), and the tiles of each model."""
    # The padding contains both sides of a seam along the grid's edge, so the adjacent cell bridges it in the same way.
    pad = MAX_SEAM_PX + 1
    wide = grid.crop(row=-pad, column=-pad, height=grid.height + 2 * pad, width=grid.width + 2 * pad)
    merged, source = Surface.empty(wide), np.full(wide.shape, SOURCE_SEA, np.uint8)
    used: dict[str, list[str]] = {}
    for collection, members in groupby(tiles, key=lambda tile: tile.collection):
        rest = _window(~merged.valid, wide)
        if rest is None:
            break
        # The fallbacks are coarser (GLO-90): bicubic, as the paper fills Armenia and Azerbaijan.
        method = "bilinear" if collection == best else "cubic"
        layer, used[collection] = _layer(list(members), rest, grid, signer, method)
        merge(merged, source, layer, len(used))
    inner = (slice(pad, -pad), slice(pad, -pad))
    cropped = Surface(grid, *(getattr(merged, name)[inner] for name in ("values", "valid", "covered", "bridged")))
    return cropped, source[inner], used


def _layer(
    tiles: Sequence[_Tile], grid: RasterGrid, cell: RasterGrid, signer: Signer, method: str
) -> tuple[Surface, list[str]]:
    """Return one model on a part of a cell's grid, and the ids of its tiles that have values there.

    Tiles are joined by lattice, seams are bridged, and only then the values are interpolated.
    """
    lattices: list[Surface] = []
    used = []
    for tile in tiles:
        asset = Asset(href=tile.href, collection=tile.collection)
        crs = f"EPSG:{tile.epsg}" if tile.epsg else None
        part = read_elevation_tile(asset, grid, cell=cell.bounds, signer=signer, crs=crs, resampling=method)
        if part is None:
            continue
        if part.valid.any():
            used.append(tile.id)
        lattice = next((one for one in lattices if one.grid.place_of(part.grid) is not None), None)
        if lattice is None:
            lattice = Surface.empty(_around(part.grid, grid))
            lattices.append(lattice)
        bridged = np.zeros(part.valid.shape, bool)
        paste(lattice, Surface(part.grid, part.values, part.valid, part.covered, bridged))
    # The lattice of the grid itself comes first: it belongs to the cell's latitude band.
    lattices.sort(key=lambda one: one.grid.place_of(grid) is None)
    layer = Surface.empty(grid)
    while lattices:
        paste(layer, sample(bridge_seams(lattices.pop(0)), grid, method=method))
    return bridge_seams(layer), used


def _around(tile: RasterGrid, grid: RasterGrid) -> RasterGrid:
    """Return the part of a tile's lattice that covers a grid and the posts around it."""
    west, south, east, north = grid.bounds
    left = int(np.floor((west - tile.west) / tile.dx)) - MARGIN_POSTS
    right = int(np.ceil((east - tile.west) / tile.dx)) + MARGIN_POSTS
    top = int(np.floor((tile.north - north) / tile.dy)) - MARGIN_POSTS
    bottom = int(np.ceil((tile.north - south) / tile.dy)) + MARGIN_POSTS
    return tile.crop(row=top, column=left, height=bottom - top, width=right - left)


def _window(where: NDArray[np.bool_], grid: RasterGrid) -> RasterGrid | None:
    """Return the smallest window of a grid that contains all True pixels, or None if there are none."""
    rows, columns = (np.flatnonzero(where.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return None
    return grid.crop(
        row=int(rows[0]),
        column=int(columns[0]),
        height=int(rows[-1] - rows[0]) + 1,
        width=int(columns[-1] - columns[0]) + 1,
    )


def _check_land(
    without: NDArray[np.bool_],
    surface: Surface,
    plan: Plan,
    cell: str,
    polygons: Sequence[Path],
    basin_id: str | None,
) -> None:
    """Fail if too much land lacks elevation. The polygon is read only if any pixel does: most cells are covered."""
    if not without.any():
        return
    if polygons:
        polygon = basin_polygon(polygons, basin_id or plan.basin_id)
        land = land_mask(polygon, surface.grid)
    else:
        land = surface.covered
    lacking = without & land
    area = area_km2(lacking, surface.grid)
    if area <= MAX_LAND_WITHOUT_ELEVATION_KM2:
        return
    voids = area_km2(lacking & surface.covered, surface.grid)
    inside = f" ({voids:.1f} km2 of it are voids inside tiles)" if voids > 0 else ""
    raise WorkError(
        f"No elevation model has a value for {area:.1f} km2 of land in cell {cell}{inside}.",
        "Name a model that covers it in catalog.dem_collections, or set elevation.missing to extend or zero.",
    )


def _warn_of_sea(without: NDArray[np.bool_], grid: RasterGrid, cell: str) -> None:
    """Report what is taken as sea because there is no tile: a provider may lack tiles of land too."""
    area = area_km2(without, grid)
    if area > MAX_LAND_WITHOUT_ELEVATION_KM2:
        warn(
            f"{area:.1f} km2 in and around cell {cell} are in no elevation tile and are taken as sea.",
            km2_without_tile=round(area, 3),
        )


def _check_cover(without: NDArray[np.bool_], cell: str, missing: str) -> None:
    fraction = float(without.mean())
    if fraction == 1 or (fraction > 0 and missing == "refuse"):
        raise WorkError(
            f"The elevation model does not cover {fraction:.1%} of cell {cell} with its margin.",
            "Give an elevation model that extends beyond the cells, or a smaller basin polygon.",
        )


def _tags(surface: Surface, source: NDArray[np.uint8], used: Mapping[str, Sequence[str]], rest: str) -> dict[str, str]:
    fractions = {name: float(np.mean(source == number)) for number, name in enumerate([rest, *used])}
    interpolated = int((source == SOURCE_FILLED).sum())
    if interpolated:
        fractions["interpolated"] = interpolated / source.size
    tags = {
        "recipe": f"elevation {STEP_VERSIONS['elevation']}",
        "source": "; ".join(f"{name} {fraction:.4f}" for name, fraction in fractions.items()),
        "tiles": " ".join(tile for name, tiles in used.items() if fractions[name] > 0 for tile in tiles),
        "seam_px": str(int(surface.bridged.sum())),
        "void_px": str(interpolated),
    }
    return {key: value for key, value in tags.items() if value}
