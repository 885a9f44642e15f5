"""mosaic: the basin's rasters, each a VRT over the rasters of its cells."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from rasterio.enums import MaskFlags
from rasterio.io import DatasetReader

from headwater.core.errors import InputError
from headwater.core.files import write_if_changed
from headwater.core.seals import sealed_xml
from headwater.core.terms import Terms
from headwater.geo.grid import RasterGrid
from headwater.raster.bands import known_band
from headwater.raster.opening import grid_of, with_retry

_VRT_COLORS = {"nir": "NIR"}
_VRT_TYPES = {"uint8": "Byte", "uint16": "UInt16", "int16": "Int16", "float32": "Float32"}


MOSAICS = {"probability": "mosaic.vrt", "composite": "composite.vrt", "elevation": "elevation.vrt"}
"""Names of the mosaics of a basin's rasters."""


def remove_other_mosaics(written: Sequence[Path]) -> None:
    """Remove mosaics of a basin of rasters that are no longer kept: they would lead to files that are not there.

    Parameters
    ----------
    written : sequence of Path
        Those that were just written.
    """
    folders, names = {path.parent for path in written}, {path.name for path in written}
    if names <= set(MOSAICS.values()):
        for path in (folder / name for folder in folders for name in set(MOSAICS.values()) - names):
            path.unlink(missing_ok=True)


def mosaic(rasters: Sequence[Path], out: Path) -> None:
    """Write a VRT over the cells' rasters, with paths relative to its own folder.

    Parameters
    ----------
    rasters : sequence of Path
        probability.tif, composite.tif or elevation.tif of each cell.
    out : Path
        mosaic.vrt, composite.vrt or elevation.vrt.
    """
    text = mosaic_vrt([Path(path) for path in rasters], relative_to=out.parent)
    write_if_changed(out, sealed_xml(text.encode()))


def mosaic_vrt(paths: Sequence[Path], *, relative_to: Path | None = None) -> str:
    """Return the text of a VRT with the cells' rasters side by side.

    Cells at different latitudes have different columns per degree; the mosaic uses the finest and reads the others
    bilinearly. Where rasters overlap (elevation with its margins) the later path wins.

    Parameters
    ----------
    paths : sequence of Path
        Rasters in EPSG:4326 with the same bands and dtype.
    relative_to : Path, optional
        Folder that paths in the text are relative to; without it paths are absolute.

    Raises
    ------
    InputError
        No path is given, or the rasters differ in bands, dtype or mask.
    """
    if not paths:
        raise InputError("There is no raster for the mosaic.", "Check the list of cells in plan.json.")
    layers = [with_retry(Path(path), None, partial(_layer, Path(path))) for path in paths]
    first = layers[0]
    for layer in layers:
        if layer.kind != first.kind:
            raise InputError(
                f"{layer.path} and {first.path} differ in bands, data type or mask.",
                "Use rasters of one kind only.",
            )
    count, dtype, nodata, masked = first.kind
    dx = min(layer.grid.dx for layer in layers)
    dy = min(layer.grid.dy for layer in layers)
    west = min(layer.grid.bounds[0] for layer in layers)
    south = min(layer.grid.bounds[1] for layer in layers)
    east = max(layer.grid.bounds[2] for layer in layers)
    north = max(layer.grid.bounds[3] for layer in layers)
    # Rounded up: where a cell's pixels do not divide the width, part of a pixel remains, which is masked.
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
    if asked := Terms.union(layer.terms for layer in layers).tags():
        items = "".join(f"<MDI key={quoteattr(name)}>{escape(text)}</MDI>" for name, text in asked.items())
        lines.append(f"<Metadata>{items}</Metadata>")
    for band in range(1, count + 1):
        lines.append(f'<VRTRasterBand dataType="{_VRT_TYPES[dtype]}" band="{band}">')
        lines.extend(_described(layers[0].band_names[band - 1], dtype))
        if nodata is not None:
            lines.append(f"<NoDataValue>{nodata:.9g}</NoDataValue>")
        lines.extend(sources(band, extra="" if nodata is None else f"<NODATA>{nodata:.9g}</NODATA>"))
        lines.append("</VRTRasterBand>")
    if nodata is None:
        lines.append('<MaskBand><VRTRasterBand dataType="Byte">')
        # Rasters without a mask are valid inside their extent (0 * value + 255), and nowhere else.
        everywhere = "<ScaleOffset>255</ScaleOffset><ScaleRatio>0</ScaleRatio>"
        lines.extend(sources("mask,1") if masked else sources(1, extra=everywhere))
        lines.append("</VRTRasterBand></MaskBand>")
    lines.append("</VRTDataset>")
    return "\n".join(lines) + "\n"


def _described(name: str | None, dtype: str) -> Iterator[str]:
    """Yield what the VRT says about a band; of a band that is none of ours, its name alone."""
    if not name:
        return
    yield f"<Description>{escape(name)}</Description>"
    band = known_band(name, dtype)
    if band is None:
        return
    if band.meaning:
        yield f'<Metadata><MDI key="long_name">{escape(band.meaning)}</MDI></Metadata>'
    if band.unit:
        yield f"<UnitType>{escape(band.unit)}</UnitType>"
    if band.scale != 1:
        yield f"<Scale>{band.scale!r}</Scale>"
    if band.color != "undefined":
        yield f"<ColorInterp>{_VRT_COLORS.get(band.color, band.color.capitalize())}</ColorInterp>"


@dataclass(frozen=True)
class _Layer:
    path: Path
    grid: RasterGrid
    kind: tuple[int, str, float | None, bool]
    """Bands, dtype, nodata, whether it has a mask."""
    terms: Terms
    """Terms of use in its tags."""
    band_names: tuple[str | None, ...]


def _layer(path: Path, dataset: DatasetReader) -> _Layer:
    masked = MaskFlags.per_dataset in dataset.mask_flag_enums[0]
    nodata = None if dataset.nodata is None else float(dataset.nodata)
    kind = (dataset.count, dataset.dtypes[0], nodata, masked)
    return _Layer(Path(path), grid_of(dataset, path), kind, Terms.of(dataset.tags()), dataset.descriptions)
