"""composite: the chosen scenes of a cell become one cloud-free image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater import raster
from headwater.core.errors import HeadwaterError, InputError, WorkError
from headwater.core.events import progress, warn
from headwater.core.files import read_json
from headwater.core.sentinel2 import COMPOSITE_BANDS, COMPOSITE_NODATA, REFLECTANCE_BANDS, SCL
from headwater.core.versions import STEP_VERSIONS
from headwater.geo.grid import RasterGrid, cell_grid
from headwater.geo.plan import read_plan
from headwater.imagery import compositor as compositing
from headwater.imagery.left_out import LeftOut
from headwater.imagery.masks import MASKS, CloudMask, clear_mask
from headwater.imagery.settings import CompositeSettings
from headwater.raster.opening import AssetCorrupt, AssetGone
from headwater.raster.scenes import SceneFiles, SceneReader, open_scene
from headwater.stac.items import Asset, Signer
from headwater.stac.settings import SigningSettings
from headwater.stac.signing import make_signer

PART_ROWS = 1024
"""Rows read at a time: the read-ahead stays small, and a block of a file is seldom cut."""
MEDIAN_BYTES = 2**30
"""Memory of the scenes of one block where all must be kept (median)."""


@dataclass(frozen=True)
class _Recipe:
    settings: CompositeSettings
    mask: CloudMask
    threads: int


def composite(
    scenes: Path,
    plan: Path,
    cell: str,
    out: Path,
    *,
    settings: CompositeSettings | None = None,
    signing: SigningSettings | None = None,
    readers: int = 4,
) -> None:
    """Write composite.tif of a cell.

    Memory does not grow with the number of scenes: a one-degree cell takes 2.9 GB at its peak.

    Parameters
    ----------
    scenes : Path
        scenes.json of the cell.
    plan : Path
        plan.json of the basin.
    cell : str
        Name of the cell.
    out : Path
        Five bands uint8: N, R, G, B (0 = nodata) and the count of clear views.
    settings : CompositeSettings, optional
        Method, mask, and the library that reads.
    signing : SigningSettings, optional
        How assets are signed; as they are where not given.
    readers : int
        Bands read at the same time.

    Raises
    ------
    NetworkError
        A scene cannot be read now.
    WorkError, InputError
        The manifest is not one; or more than `settings.max_left_out` of the scenes are damaged or are not Sentinel-2
        digital numbers.
    """
    if readers < 1:
        raise InputError(f"{readers} bands cannot be read at the same time.", "Give --readers as 1 or more.")
    settings, signing = settings or CompositeSettings(), signing or SigningSettings()
    the_plan = read_plan(plan)
    grid = cell_grid(the_plan.cell(cell), margin_px=the_plan.margin_px)
    manifest = read_json(scenes)
    _check_manifest(manifest, scenes, cell)
    made = composite_scenes(
        manifest["scenes"],
        grid,
        make_signer(*signing.access_to(manifest.get("catalog"))),
        settings,
        readers=readers,
        label=cell,
    )
    used = [scene for scene in manifest["scenes"] if scene["id"] not in made.left_out]
    constant = constant_bands(made.values)
    if constant:
        warn(f"the composite of cell {cell} has one value throughout in {', '.join(constant)}: look at its scenes.")
    tags = {
        "recipe": f"composite {STEP_VERSIONS['composite']}; {settings.method}; sigmoid {compositing.SIGMOID_SLOPE}; "
        f"mask {settings.mask}; dilate {settings.dilate_px} px; "
        f"{'cloud where nothing is clear' if settings.allow_cloud else 'clear only'}",
        "scenes": " ".join(scene["id"] for scene in used),
        "without_scl": " ".join(scene["id"] for scene in used if not scene["assets"].get(SCL)),
        "left_out": " ".join(sorted({*manifest.get("left_out", ()), *made.left_out})),
        "constant_bands": " ".join(constant),
        "catalog": manifest.get("catalog", ""),
    }
    # The mask, not the nodata value, marks missing pixels: 0 is a valid count in band 5.
    raster.write_cog(
        out,
        made.values,
        transform=grid.transform,
        mask=made.values[0] != COMPOSITE_NODATA,
        tags={key: value for key, value in tags.items() if value},
        bands=raster.COMPOSITE,
    )


@dataclass(frozen=True)
class Composite:
    """A composite of scenes."""

    values: NDArray[np.uint8]
    """(5, y, x): N, R, G, B (0 = nodata) and the count of clear views."""
    left_out: list[str]
    """Ids of scenes that turned out to be unusable, sorted."""


def composite_scenes(
    scenes: Sequence[Mapping[str, Any]],
    grid: RasterGrid,
    signer: Signer,
    settings: CompositeSettings,
    *,
    readers: int,
    label: str,
) -> Composite:
    """Return the composite of scenes on a grid.

    A scene whose files are damaged is left out, and the composite made again without it.

    Parameters
    ----------
    scenes : sequence of mapping
        As `headwater.imagery.select.choose_entries` makes them, best first.
    grid : RasterGrid
        Grid of the result.
    signer : Signer
        Gives the addresses to open.
    settings : CompositeSettings
        Method, mask, and the library that reads.
    readers : int
        Bands read at the same time.
    label : str
        Name of the place for the progress line.
    """
    recipe = _Recipe(settings, MASKS.load(settings.mask), readers)
    left_out = LeftOut(len(scenes), settings.max_left_out, setting="composite.max_left_out")
    while True:
        left = [scene for scene in scenes if scene["id"] not in left_out]
        try:
            return Composite(_composite(left, grid, recipe, signer, label), left_out.ids)
        except _Unusable as found:
            left_out.add(found.scene, found.error)


def constant_bands(composite: NDArray[np.uint8]) -> list[str]:
    """Return the names of bands of a composite (5, y, x) that have one value wherever they have any."""
    seen = composite[0] != COMPOSITE_NODATA
    if not seen.any():
        return []
    # Missing pixels are 0 in all bands, and no value is.
    pairs = zip(COMPOSITE_BANDS, composite[: len(REFLECTANCE_BANDS)], strict=False)
    return [name for name, band in pairs if band.max() == band.min(where=seen, initial=255)]


class _Unusable(Exception):
    """A scene that the composite must be made without."""

    def __init__(self, scene: str, error: HeadwaterError) -> None:
        super().__init__(scene)
        self.scene = scene
        self.error = error


def _composite(
    scenes: Sequence[Mapping[str, Any]], grid: RasterGrid, recipe: _Recipe, signer: Signer, label: str
) -> NDArray[np.uint8]:
    result = np.zeros((len(COMPOSITE_BANDS), *grid.shape), np.uint8)
    for first, block in _blocks(grid, recipe.settings.method, len(scenes)):
        rows = slice(first, first + block.height)
        result[:-1, rows], result[-1, rows] = _composite_block(scenes, block, recipe, signer, label)
    return result


def _blocks(grid: RasterGrid, method: str, scenes: int) -> Iterator[tuple[int, RasterGrid]]:
    """Yield the first row and the grid of each block: the complete cell, or rows of it where all scenes are kept."""
    rows = grid.height
    if method == "median":
        row_bytes = grid.width * (1 + scenes * (len(REFLECTANCE_BANDS) + 1))
        rows = min(rows, max(1, MEDIAN_BYTES // row_bytes))
    yield from _strips(grid, rows)


def _strips(grid: RasterGrid, rows: int) -> Iterator[tuple[int, RasterGrid]]:
    for first in range(0, grid.height, rows):
        yield first, grid.crop(row=first, column=0, height=min(rows, grid.height - first), width=grid.width)


def _composite_block(
    scenes: Sequence[Mapping[str, Any]], block: RasterGrid, recipe: _Recipe, signer: Signer, cell: str
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    compositor = compositing.Compositor(
        block.shape,
        bands=len(REFLECTANCE_BANDS),
        method=recipe.settings.method,
        allow_cloud=recipe.settings.allow_cloud,
    )
    for scene in progress(scenes, description=f"composite {cell}, scenes"):
        with closing(open_scene(recipe.settings.reader, _files(scene), signer, threads=recipe.threads)) as source:
            try:
                _add_scene(compositor, scene, source, block, recipe)
            except AssetGone as error:
                raise AssetGone(f"Scene {scene['id']} cannot be read: {error.cause}", error.remedy) from None
            except (AssetCorrupt, InputError) as error:
                raise _Unusable(scene["id"], error) from None
    return compositor.result()


def _add_scene(
    compositor: compositing.Compositor,
    scene: Mapping[str, Any],
    source: SceneReader,
    block: RasterGrid,
    recipe: _Recipe,
) -> None:
    """Add a scene in parts; the next part is read while this one is added."""
    window = source.overlap(block)
    if window is None:
        return
    offset = int(scene["offset"])
    tables = compositing.scaling_tables(mean=scene["mean"], std=scene["std"], offset=offset)
    row, column = round((block.north - window.north) / block.dy), round((window.west - block.west) / block.dx)
    new_scene = True

    def read(first: int, part: RasterGrid) -> _Part:
        return _read_part(compositor, scene, source, part, recipe, row=row + first, column=column)

    with ThreadPoolExecutor(1) as ahead:
        for first, part in _ahead(ahead, read, list(_strips(window, PART_ROWS))):
            place = {"row": row + first, "column": column}
            if part.dn is None:
                compositor.count(part.clear, **place)
                continue
            scaled = compositing.sigmoid_scale(part.dn, tables)
            compositor.add(scaled, part.clear, part.inside, **place, new_scene=new_scene)
            new_scene = False
    source.check_unchanged()


@dataclass(frozen=True)
class _Part:
    clear: NDArray[np.bool_]
    inside: NDArray[np.bool_]
    dn: NDArray[np.uint16] | None
    """None if the bands cannot change the composite."""


def _ahead(
    pool: ThreadPoolExecutor, read: Callable[[int, RasterGrid], _Part], parts: Sequence[tuple[int, RasterGrid]]
) -> Iterator[tuple[int, _Part]]:
    """Yield the parts in order, reading one ahead."""
    task: Future[_Part] | None = None
    for number, (first, grid) in enumerate(parts):
        done = (task or pool.submit(read, first, grid)).result()
        task = pool.submit(read, *parts[number + 1]) if number + 1 < len(parts) else None
        yield first, done


def _read_part(
    compositor: compositing.Compositor,
    scene: Mapping[str, Any],
    source: SceneReader,
    grid: RasterGrid,
    recipe: _Recipe,
    *,
    row: int,
    column: int,
) -> _Part:
    if not recipe.mask.reads_scl:
        return _read_part_with_bands(scene, source, grid, recipe)
    if not scene["assets"].get(SCL):
        # Without SCL every pixel inside the swath counts as clear: the stated rule (docs/reference/configuration.md).
        dn = source.read(REFLECTANCE_BANDS, grid)
        inside = np.all(dn != 0, axis=0)
        return _Part(inside, inside, dn)
    # Read wider than needed, so that clouds just outside the part are widened into it.
    wide, core = _with_halo(grid, recipe.mask.context_px + recipe.settings.dilate_px)
    scl = source.read([SCL], wide)[0].astype(np.uint8)
    clear, inside = clear_mask(scl, mask=recipe.mask, dilate_px=recipe.settings.dilate_px)[core], scl[core] != 0
    wanted = compositor.wants(clear, inside, row=row, column=column)
    return _Part(clear, inside, source.read(REFLECTANCE_BANDS, grid) if wanted else None)


def _read_part_with_bands(scene: Mapping[str, Any], source: SceneReader, grid: RasterGrid, recipe: _Recipe) -> _Part:
    """Read a part whose mask is made from its reflectance, which sees around the part as well."""
    wide, core = _with_halo(grid, recipe.mask.context_px + recipe.settings.dilate_px)
    dn = source.read(REFLECTANCE_BANDS, wide)
    harmonized = compositing.harmonize(dn, offset=int(scene["offset"]))
    clear = clear_mask(harmonized, mask=recipe.mask, dilate_px=recipe.settings.dilate_px)[core]
    dn = np.ascontiguousarray(dn[:, *core])
    return _Part(clear, np.all(dn != 0, axis=0), dn)


def _with_halo(grid: RasterGrid, halo: int) -> tuple[RasterGrid, tuple[slice, slice]]:
    """Return a grid extended on all sides, and the rows and columns of the grid in it."""
    wide = grid.crop(row=-halo, column=-halo, height=grid.height + 2 * halo, width=grid.width + 2 * halo)
    return wide, (slice(halo, halo + grid.height), slice(halo, halo + grid.width))


def _files(scene: Mapping[str, Any]) -> SceneFiles:
    assets = {name: Asset(href=href, collection=scene["collection"]) for name, href in scene["assets"].items() if href}
    crs = f"EPSG:{scene['epsg']}" if scene["epsg"] else None
    return SceneFiles(id=scene["id"], datetime=scene["datetime"], crs=crs, assets=assets)


def _check_manifest(manifest: Any, path: Path, cell: str) -> None:
    try:
        if manifest["cell"] != cell:
            raise InputError(f"{path} is of cell {manifest['cell']}, not {cell}.", "Give the manifest of the cell.")
        for scene in manifest["scenes"]:
            missing = [name for name in REFLECTANCE_BANDS if not scene["assets"].get(name)]
            if missing:
                raise WorkError(f"Scene {scene['id']} has no band {missing[0]}.", "Run search and select again.")
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} is not a list of scenes.", "Run `headwater select` again.") from error
