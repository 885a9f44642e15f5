"""Reading windows of rasters and writing Cloud-Optimized GeoTIFFs: the only module that opens rasters."""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from xml.sax.saxutils import escape

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import MaskFlags, Resampling
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader, MemoryFile
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from headwater import grid as grids
from headwater.catalog.assets import Asset, Signer
from headwater.errors import InputError, WorkError
from headwater.files import atomic_path
from headwater.grid import RasterGrid

_T = TypeVar("_T")

READ_ATTEMPTS = 5
GDAL_HTTP_OPTIONS: dict[str, Any] = {
    # As the Planetary Computer's own examples set them (pitfalls: usual GDAL settings).
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MULTIPLEX": "YES",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_INGESTED_BYTES_AT_OPEN": "32000",
    "GDAL_HTTP_MAX_RETRY": "3",
    "GDAL_HTTP_RETRY_DELAY": "0.5",
    "GDAL_HTTP_CONNECTTIMEOUT": "15",
    "GDAL_HTTP_TIMEOUT": "60",
    "VSI_CACHE": "TRUE",
    # Bytes: rasterio hands a number to GDAL as it is, where GDAL's own text option would mean megabytes.
    "GDAL_CACHEMAX": 256 * 2**20,
}
_COG_BLOCK_PX = 512
_SIGNATURE = re.compile(r"\?[^\s'\"]*")

# GDAL's messages hold the signed address; ours (below) are told without it.
logging.getLogger("rasterio").addHandler(logging.NullHandler())
logging.getLogger("rasterio").propagate = False


def read_window(
    source: Asset | Path | str,
    grid: RasterGrid,
    *,
    band: int = 1,
    resampling: str = "bilinear",
    signer: Signer | None = None,
    nodata: float | None = None,
    crs: str | None = None,
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Read one band warped onto a grid.

    Parameters
    ----------
    source : Asset, Path or str
        A STAC asset (signed just before it is opened), a file, or the text of a VRT.
    grid : RasterGrid
        Grid to read onto.
    band : int
        Band number, from 1.
    resampling : str
        Name of a GDAL resampling: nearest, bilinear, cubic, average, ...
    signer : Signer, optional
        Gives the address to open for an asset.
    nodata : float, optional
        Value of missing pixels where the file's own tag is missing or wrong.
    crs : str, optional
        CRS to take where the file has none.

    Returns
    -------
    values : (y, x) array of the file's dtype
    valid : (y, x) bool
        True inside the file where its pixels are not missing.

    Raises
    ------
    WorkError
        The file cannot be read after several tries.
    InputError
        The file has no CRS and none was given.
    """

    def read(dataset: DatasetReader) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        if band > dataset.count:
            raise InputError(
                f"{_public(source)} has {dataset.count} band(s); band {band} was asked for.",
                "Give a raster with the expected bands.",
            )
        missing = nodata if nodata is not None else dataset.nodata
        source_crs = _crs_of(dataset, crs, source)
        options: dict[str, Any] = {
            "src_crs": source_crs,
            "crs": grids.CRS,
            "transform": grid.transform,
            "width": grid.width,
            "height": grid.height,
            "resampling": Resampling[resampling],
            # The approximate transformer is exact to this share of a pixel; cells must agree along their edges.
            "tolerance": 0.01,
        }
        if missing is not None:
            options |= {"src_nodata": missing, "nodata": missing}
        else:
            options |= {"add_alpha": True}
        with WarpedVRT(dataset, **options) as warped:
            values = warped.read(band)
            # Without a nodata value the last band of the VRT is the mask that add_alpha made.
            valid = warped.read(warped.count) > 0 if missing is None else values != missing
        if np.issubdtype(values.dtype, np.floating):
            valid &= np.isfinite(values)
        return values, valid

    return _with_retry(source, signer, read)


def read_overview(
    source: Asset | Path | str, *, max_px: int, signer: Signer | None = None, crs: str | None = None
) -> tuple[NDArray[Any], Affine, CRS]:
    """Read a whole raster decimated, which GDAL serves from its overviews.

    Parameters
    ----------
    source : Asset, Path or str
        What to read.
    max_px : int
        Longest side of the result.
    signer : Signer, optional
        Gives the address to open for an asset.
    crs : str, optional
        CRS to take where the file has none.

    Returns
    -------
    values : (y, x) array
        Band 1, nearest neighbour.
    transform : Affine
        From pixels of the result to the file's CRS.
    crs : CRS
    """

    def read(dataset: DatasetReader) -> tuple[NDArray[Any], Affine, CRS]:
        shrink = max(1.0, max(dataset.width, dataset.height) / max_px)
        height, width = max(1, round(dataset.height / shrink)), max(1, round(dataset.width / shrink))
        values = dataset.read(1, out_shape=(height, width), resampling=Resampling.nearest)
        transform = dataset.transform @ Affine.scale(dataset.width / width, dataset.height / height)
        return values, transform, _crs_of(dataset, crs, source)

    return _with_retry(source, signer, read)


def read_raster(path: Path) -> tuple[NDArray[Any], NDArray[np.bool_], RasterGrid, dict[str, str]]:
    """Read a raster of ours whole.

    Returns
    -------
    data : (band, y, x) array
    valid : (y, x) bool
        The dataset's mask.
    grid : RasterGrid
    tags : dict of str
    """

    def read(dataset: DatasetReader) -> tuple[NDArray[Any], NDArray[np.bool_], RasterGrid, dict[str, str]]:
        return dataset.read(), dataset.dataset_mask() > 0, _grid(dataset, path), dict(dataset.tags())

    return _with_retry(path, None, read)


def read_pixels(path: Path) -> NDArray[Any]:
    """Read band 1 of a raster whole, on its own grid: (y, x) array of the file's dtype."""

    def read(dataset: DatasetReader) -> NDArray[Any]:
        return np.asarray(dataset.read(1))

    return _with_retry(path, None, read)


def raster_grid(path: Path | str) -> RasterGrid:
    """Return the grid of a raster in EPSG:4326 (a file or the text of a VRT).

    Raises
    ------
    InputError
        The raster is in another CRS, or rotated.
    """
    return _with_retry(path, None, lambda dataset: _grid(dataset, path))


def raster_tags(path: Path) -> dict[str, str]:
    """Return the dataset tags of a raster."""
    return _with_retry(path, None, lambda dataset: dict(dataset.tags()))


def raster_facts(path: Path) -> dict[str, Any]:
    """Return what a STAC item tells of a file: CRS, transform, shape, dtype, nodata, bounds in EPSG:4326."""

    def read(dataset: DatasetReader) -> dict[str, Any]:
        crs = _crs_of(dataset, None, path)
        return {
            "crs": crs,
            "epsg": crs.to_epsg(),
            "transform": dataset.transform,
            "shape": dataset.shape,
            "count": dataset.count,
            "dtype": dataset.dtypes[0],
            "nodata": dataset.nodata,
            "bounds": transform_bounds(crs, grids.CRS, *dataset.bounds),
        }

    return _with_retry(path, None, read)


def write_cog(
    path: Path,
    data: NDArray[Any],
    *,
    transform: Affine,
    crs: str = grids.CRS,
    nodata: float | None = None,
    mask: NDArray[np.bool_] | None = None,
    tags: Mapping[str, str] | None = None,
    band_names: Sequence[str] | None = None,
    overview_resampling: str = "average",
) -> None:
    """Write a Cloud-Optimized GeoTIFF, whole or not at all, with the same bytes for the same input.

    Parameters
    ----------
    path : Path
        File to write.
    data : (band, y, x) array
        Pixels.
    transform : Affine
        From pixels to `crs`.
    crs : str
        Coordinate reference system.
    nodata : float, optional
        Value of missing pixels.
    mask : (y, x) bool, optional
        True where pixels are valid; written as an internal mask.
    tags : mapping, optional
        Dataset tags.
    band_names : sequence of str, optional
        Description of each band.
    overview_resampling : str
        nearest for classes, average for quantities.
    """
    data = np.asarray(data)
    count, height, width = data.shape
    profile = {
        "driver": "GTiff",
        "count": count,
        "height": height,
        "width": width,
        "dtype": data.dtype.name,
        "crs": crs,
        "transform": transform,
        "nodata": nodata,
        "BIGTIFF": "IF_SAFER",
    }
    options = {
        "BLOCKSIZE": str(_COG_BLOCK_PX),
        "COMPRESS": "DEFLATE",
        "LEVEL": "6",
        "PREDICTOR": "YES",
        "OVERVIEW_RESAMPLING": overview_resampling.upper(),
        "NUM_THREADS": "1",
        "BIGTIFF": "IF_SAFER",
    }
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        atomic_path(path) as temporary,
        MemoryFile() as memory,
    ):
        with memory.open(**profile) as dataset:
            dataset.write(data)
            if mask is not None:
                dataset.write_mask(mask)
            if tags:
                dataset.update_tags(**tags)
            for number, name in enumerate(band_names or (), start=1):
                dataset.set_band_description(number, name)
        with memory.open() as dataset:
            rasterio.shutil.copy(dataset, str(temporary), driver="COG", **options)


def mosaic_vrt(paths: Sequence[Path], *, relative_to: Path | None = None) -> str:
    """Return the text of a VRT that lays cells' rasters side by side.

    Cells of different rows of the world have different columns to the degree; the mosaic takes the finest and
    reads the others bilinearly. Where rasters overlap (elevation with its margins) the later path wins.

    Parameters
    ----------
    paths : sequence of Path
        Rasters in EPSG:4326, alike in bands and dtype.
    relative_to : Path, optional
        Folder that paths in the text are relative to; absolute where not given.

    Raises
    ------
    InputError
        No path is given, or the rasters differ in bands, dtype or mask.
    """

    if not paths:
        raise InputError("There is no raster to make a mosaic of.", "Check the list of cells in plan.json.")
    layers = [_with_retry(Path(path), None, partial(_layer, Path(path))) for path in paths]
    first = layers[0]
    for layer in layers:
        if layer.kind != first.kind:
            raise InputError(
                f"{layer.path} and {first.path} differ in bands, data type or mask.",
                "Make a mosaic of rasters of one kind only.",
            )
    count, dtype, nodata, masked = first.kind
    dx = min(layer.grid.dx for layer in layers)
    dy = min(layer.grid.dy for layer in layers)
    west = min(layer.grid.bounds[0] for layer in layers)
    south = min(layer.grid.bounds[1] for layer in layers)
    east = max(layer.grid.bounds[2] for layer in layers)
    north = max(layer.grid.bounds[3] for layer in layers)
    # Outward: rows of the world whose pixels do not divide the width leave a part of a pixel, which is masked.
    width, height = math.ceil((east - west) / dx - 1e-6), math.ceil((north - south) / dy - 1e-6)

    def sources(band: int | str, *, extra: str = "") -> Iterator[str]:
        for layer in layers:
            grid = layer.grid
            name = os.path.relpath(layer.path, relative_to) if relative_to else str(layer.path.resolve())
            yield (
                f'<ComplexSource resampling="{"nearest" if band == "mask,1" else "bilinear"}">'
                f'<SourceFilename relativeToVRT="{int(relative_to is not None)}">{escape(name)}</SourceFilename>'
                f"<SourceBand>{band}</SourceBand>"
                f'<SrcRect xOff="0" yOff="0" xSize="{grid.width}" ySize="{grid.height}"/>'
                f'<DstRect xOff="{(grid.west - west) / dx:.9g}" yOff="{(north - grid.north) / dy:.9g}" '
                f'xSize="{grid.width * grid.dx / dx:.9g}" ySize="{grid.height * grid.dy / dy:.9g}"/>'
                f"{extra}</ComplexSource>"
            )

    lines = [
        f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}">',
        '<SRS dataAxisToSRSAxisMapping="2,1">EPSG:4326</SRS>',
        f"<GeoTransform>{west!r}, {dx!r}, 0.0, {north!r}, 0.0, {-dy!r}</GeoTransform>",
    ]
    for band in range(1, count + 1):
        lines.append(f'<VRTRasterBand dataType="{_VRT_TYPES[dtype]}" band="{band}">')
        if nodata is not None:
            lines.append(f"<NoDataValue>{nodata:.9g}</NoDataValue>")
        lines.extend(sources(band, extra="" if nodata is None else f"<NODATA>{nodata:.9g}</NODATA>"))
        lines.append("</VRTRasterBand>")
    if nodata is None:
        lines.append('<MaskBand><VRTRasterBand dataType="Byte">')
        # Rasters without a mask are valid wherever they lie (0 * value + 255), and nowhere else.
        everywhere = "<ScaleOffset>255</ScaleOffset><ScaleRatio>0</ScaleRatio>"
        lines.extend(sources("mask,1") if masked else sources(1, extra=everywhere))
        lines.append("</VRTRasterBand></MaskBand>")
    lines.append("</VRTDataset>")
    return "\n".join(lines) + "\n"


_VRT_TYPES = {"uint8": "Byte", "uint16": "UInt16", "int16": "Int16", "float32": "Float32"}


@dataclass(frozen=True)
class _Layer:
    path: Path
    grid: RasterGrid
    kind: tuple[int, str, float | None, bool]
    """Bands, dtype, nodata, whether it has a mask."""


def _layer(path: Path, dataset: DatasetReader) -> _Layer:
    masked = MaskFlags.per_dataset in dataset.mask_flag_enums[0]
    nodata = None if dataset.nodata is None else float(dataset.nodata)
    return _Layer(Path(path), _grid(dataset, path), (dataset.count, dataset.dtypes[0], nodata, masked))


def _grid(dataset: DatasetReader, source: Path | str) -> RasterGrid:
    crs, transform = dataset.crs, dataset.transform
    if crs is None or crs.to_epsg() != 4326 or transform.b or transform.d or transform.e >= 0:
        raise InputError(
            f"{_public(source)} is not a north-up raster in EPSG:4326.", "Reproject it to EPSG:4326 first."
        )
    return RasterGrid(
        west=transform.c,
        north=transform.f,
        dx=transform.a,
        dy=-transform.e,
        width=dataset.width,
        height=dataset.height,
    )


def _crs_of(dataset: DatasetReader, fallback: str | None, source: Asset | Path | str) -> CRS:
    if dataset.crs is not None:
        return dataset.crs
    if fallback is None:
        raise InputError(f"{_public(source)} has no coordinate reference system.", "Write its CRS into the file.")
    return CRS.from_user_input(fallback)


def _with_retry(source: Asset | Path | str, signer: Signer | None, read: Callable[[DatasetReader], _T]) -> _T:
    """Open and read; on failure open again, signed afresh and past GDAL's cache of failed requests."""
    if isinstance(source, Path) and not source.is_file():
        raise InputError(f"{source} does not exist.", "Give the path of a raster file.")
    remote = isinstance(source, Asset) and source.href.startswith(("http://", "https://"))
    attempts = READ_ATTEMPTS if remote else 1
    try:
        for attempt in Retrying(
            stop=stop_after_attempt(attempts),
            wait=wait_random_exponential(multiplier=0.3, max=10),
            retry=retry_if_exception_type(RasterioError),
            reraise=True,
        ):
            with attempt:
                again = attempt.retry_state.attempt_number > 1
                with _open(source, signer, again=again) as dataset:
                    return read(dataset)
    except RasterioError as error:
        tried = f" after {attempts} tries" if attempts > 1 else ""
        raise WorkError(
            f"{_public(source)} could not be read{tried}: {_without_signature(str(error))}.",
            "Check that the file is whole and the server answers, then run again.",
        ) from None
    raise AssertionError("unreachable")  # pragma: no cover


@contextmanager
def _open(source: Asset | Path | str, signer: Signer | None, *, again: bool) -> Iterator[DatasetReader]:
    options = dict(GDAL_HTTP_OPTIONS)
    if again:
        # GDAL replays a cached failure: read past its cache.
        options["CPL_VSIL_CURL_NON_CACHED"] = "/vsicurl/"
    if isinstance(source, Asset):
        address = signer(source, renew=again) if signer is not None else source.href
    else:
        address = str(source)
    with rasterio.Env(**options), rasterio.open(address) as dataset:
        yield dataset


def _public(source: Asset | Path | str) -> str:
    text = source.href if isinstance(source, Asset) else str(source)
    return "The mosaic" if text.startswith("<VRT") else _without_signature(text)


def _without_signature(text: str) -> str:
    """Cut the query of every address out of a text: it may hold a signature."""
    return _SIGNATURE.sub("", text).strip().rstrip(".")
