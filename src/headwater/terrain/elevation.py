"""elevation: the tiles of the elevation models of a cell become one raster at GLO-30 posting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headwater import raster
from headwater.core.errors import InputError, WorkError
from headwater.core.files import read_json
from headwater.core.versions import STEP_VERSIONS
from headwater.geo.basins import basin_polygon
from headwater.geo.grid import RasterGrid, elevation_grid
from headwater.geo.plan import Plan, read_plan
from headwater.raster.elevation_tiles import POSTS_AROUND, read_posts
from headwater.stac.items import Asset, Signer
from headwater.stac.signing import make_signer
from headwater.terrain import surface as terrain
from headwater.terrain.surface import Surface

MISSING = ("sea", "extend", "refuse", "zero")
"""What may be made of places without elevation."""
LAND_WITHOUT_KM2 = 1.0
"""So much land of a cell may lack elevation: slivers along a coast."""


def elevation(
    dem: Path,
    plan: Path,
    cell: str,
    out: Path,
    *,
    polygons: Sequence[Path] = (),
    basin_id: str | None = None,
    signing: str = "none",
    token_url: str | None = None,
    missing: str = "sea",
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
        One band float32, metres; sea 0. Tags tell the share of each model, its tiles, and how many pixels were
        bridged or interpolated.
    polygons : sequence of Path
        Files of basin polygons, which tell land from sea. Without them all that lies in a tile is land, and nothing
        else.
    basin_id : str, optional
        Basin of the polygons, if it is not the plan's.
    signing, token_url : str
        How assets are signed, see `headwater.stac.signing.make_signer`.
    missing : str
        What to make of pixels without elevation, after seams are bridged, the next models asked and small voids
        interpolated: "sea" takes them for sea at elevation 0 (GLO-30 has no ocean tiles), but fails if more than
        1 km2 of land is among them; "zero" does so unasked; "extend" repeats the nearest elevation (a model of
        one's own that ends on land); "refuse" fails if any pixel of the cell is missing.

    Raises
    ------
    WorkError
        A tile cannot be read, or the models do not cover the cell.
    InputError
        The manifest is not one, or a tile is no elevation in metres.
    """
    if missing not in MISSING:
        raise InputError(f"There is no rule '{missing}' for places without elevation.", f"Use {', '.join(MISSING)}.")
    the_plan = read_plan(plan)
    grid = elevation_grid(the_plan.cell(cell), margin_px=the_plan.margin_px)
    tiles, best = _tiles(dem, cell)
    surface, source, used = _merged(tiles, best, grid, make_signer(signing, token_url))
    values, filled = terrain.fill_voids(
        surface.values, surface.valid, surface.covered & ~surface.valid, pixel_m=terrain.pixel_sides_m(grid)
    )
    source[filled] = terrain.SOURCE_FILLED
    without = source == terrain.SOURCE_SEA
    if missing == "sea":
        _check_land(without, surface, the_plan, cell, polygons, basin_id)
    elif missing != "zero":
        _check_cover(without, cell, missing)
        values = terrain.extend_edges(values, source)
    raster.write_cog(
        out,
        values[np.newaxis],
        transform=grid.transform,
        tags=_tags(surface, source, used, "extended" if missing == "extend" else "sea"),
        band_names=("elevation_m",),
    )


class _Tile(NamedTuple):
    collection: str
    id: str
    href: str
    epsg: int | None


def _tiles(dem: Path, cell: str) -> tuple[list[_Tile], str | None]:
    manifest = read_json(dem)
    try:
        tiles = [_Tile(item["collection"], item["id"], item["href"], item["epsg"]) for item in manifest["items"]]
        # A cell may lie where only the fallback has tiles: the first collection need not be among them.
        best = next(iter(manifest.get("collections", [])), tiles[0].collection if tiles else None)
        right_cell = manifest["cell"] == cell
    except (KeyError, TypeError) as error:
        raise InputError(f"{dem} is not a list of elevation tiles.", "Run `headwater select` again.") from error
    if not right_cell:
        raise InputError(f"{dem} is of cell {manifest['cell']}, not {cell}.", "Give the manifest of the cell.")
    return tiles, best


def _merged(
    tiles: Sequence[_Tile], best: str | None, grid: RasterGrid, signer: Signer
) -> tuple[Surface, NDArray[np.uint8], dict[str, list[str]]]:
    """Return the merged surface of a grid, the number of the model of each pixel (from 1), and each model's tiles."""
    # A seam along the edge of the grid is seen from both sides, as the neighbouring cell sees it.
    pad = terrain.SEAM_PX + 1
    wide = grid.crop(row=-pad, column=-pad, height=grid.height + 2 * pad, width=grid.width + 2 * pad)
    merged, source = Surface.empty(wide), np.full(wide.shape, terrain.SOURCE_SEA, np.uint8)
    used: dict[str, list[str]] = {}
    for collection, members in groupby(tiles, key=lambda tile: tile.collection):
        rest = _window(~merged.valid, wide)
        if rest is None:
            break
        # The fallbacks are coarser (GLO-90): bicubic, as the paper fills Armenia and Azerbaijan.
        method = "bilinear" if collection == best else "cubic"
        layer, used[collection] = _layer(list(members), rest, grid, signer, method)
        terrain.merge(merged, source, layer, len(used))
    here = (slice(pad, -pad), slice(pad, -pad))
    cut = Surface(grid, *(getattr(merged, name)[here] for name in ("values", "valid", "covered", "bridged")))
    return cut, source[here], used


def _layer(
    tiles: Sequence[_Tile], grid: RasterGrid, cell: RasterGrid, signer: Signer, method: str
) -> tuple[Surface, list[str]]:
    """Return one model on a grid in a cell's: its tiles joined by lattice, seams bridged, then interpolated.

    Also the ids of the tiles that have values there.
    """
    lattices: list[Surface] = []
    used = []
    for tile in tiles:
        asset = Asset(href=tile.href, collection=tile.collection)
        crs = f"EPSG:{tile.epsg}" if tile.epsg else None
        posts = read_posts(asset, grid, cell=cell.bounds, signer=signer, crs=crs, resampling=method)
        if posts is None:
            continue
        if posts.valid.any():
            used.append(tile.id)
        lattice = next((one for one in lattices if one.grid.place_of(posts.grid) is not None), None)
        if lattice is None:
            lattice = Surface.empty(_around(posts.grid, grid))
            lattices.append(lattice)
        bridged = np.zeros(posts.valid.shape, bool)
        terrain.paste(lattice, Surface(posts.grid, posts.values, posts.valid, posts.covered, bridged))
    # Posts of the grid's own lattice come first: they are the cell's latitude band.
    lattices.sort(key=lambda one: one.grid.place_of(grid) is None)
    layer = Surface.empty(grid)
    while lattices:
        terrain.paste(layer, terrain.sample(terrain.bridge_seams(lattices.pop(0)), grid, method=method))
    return terrain.bridge_seams(layer), used


def _around(tile: RasterGrid, grid: RasterGrid) -> RasterGrid:
    """Return the part of a tile's lattice that covers a grid and the posts around it."""
    west, south, east, north = grid.bounds
    left = int(np.floor((west - tile.west) / tile.dx)) - POSTS_AROUND
    right = int(np.ceil((east - tile.west) / tile.dx)) + POSTS_AROUND
    top = int(np.floor((tile.north - north) / tile.dy)) - POSTS_AROUND
    bottom = int(np.ceil((tile.north - south) / tile.dy)) + POSTS_AROUND
    return tile.crop(row=top, column=left, height=bottom - top, width=right - left)


def _window(where: NDArray[np.bool_], grid: RasterGrid) -> RasterGrid | None:
    """Return the smallest window of a grid that holds all pixels that are True, or None if there is none."""
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
    """Fail if land lacks elevation. The polygon is read only if anything does: most cells are covered."""
    if not without.any():
        return
    if polygons:
        polygon = basin_polygon(polygons, basin_id or plan.basin_id)
        land = terrain.land_mask(polygon, surface.grid)
    else:
        land = surface.covered
    lacking = without & land
    area = terrain.area_km2(lacking, surface.grid)
    if area <= LAND_WITHOUT_KM2:
        return
    voids = terrain.area_km2(lacking & surface.covered, surface.grid)
    inside = f" ({voids:.1f} km2 of it are voids inside tiles)" if voids > 0 else ""
    raise WorkError(
        f"No elevation model has a value for {area:.1f} km2 of land in cell {cell}{inside}.",
        "Name a model that covers it in catalog.dem_collections, or set elevation.missing to extend or zero.",
    )


def _check_cover(without: NDArray[np.bool_], cell: str, missing: str) -> None:
    share = float(without.mean())
    if share == 1 or (share > 0 and missing == "refuse"):
        raise WorkError(
            f"The elevation model does not cover {share:.1%} of cell {cell} with its margin.",
            "Give an elevation model that reaches beyond the cells, or a smaller basin polygon.",
        )


def _tags(surface: Surface, source: NDArray[np.uint8], used: Mapping[str, Sequence[str]], rest: str) -> dict[str, str]:
    shares = {name: float(np.mean(source == number)) for number, name in enumerate([rest, *used])}
    interpolated = int((source == terrain.SOURCE_FILLED).sum())
    if interpolated:
        shares["interpolated"] = interpolated / source.size
    tags = {
        "recipe": f"elevation {STEP_VERSIONS['elevation']}",
        "source": "; ".join(f"{name} {share:.4f}" for name, share in shares.items()),
        "tiles": " ".join(tile for name, tiles in used.items() if shares[name] > 0 for tile in tiles),
        "seam_px": str(int(surface.bridged.sum())),
        "void_px": str(interpolated),
    }
    return {key: value for key, value in tags.items() if value}
