"""Maps of a basin as PNG files, from arrays and lines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import geopandas as gpd
import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from shapely import LineString

from headwater.core.files import atomic_path
from headwater.geo.geodesy import geodesic_length_m
from headwater.geo.grid import RasterGrid

matplotlib.use("Agg")

TINTS = LinearSegmentedColormap.from_list(
    "tints", ["#8fae8b", "#b7c397", "#e0d7a8", "#d3b787", "#b3906f", "#a08a80", "#d9d4d0", "#ffffff"]
)
"""Colors of heights, low to high: none that looks like water."""
SEA = (0.45, 0.66, 0.80)
"""Color of heights of exactly 0 m, which elevation has for the sea."""
_DPI = 150
_WIDTH_INCHES = 10.0
_ORDER_COLORS = ("#4a9ad4", "#3d8fd1", "#1f66b0", "#123f86", "#0a2360", "#4b0f6b", "#7a0f5c", "#a3123f", "#c7391d")
_NEW_COLOR, _BACKBONE_COLOR = "#d7301f", "#08306b"


def hillshade(elevation: NDArray[np.float32], grid: RasterGrid, *, exaggeration: float = 2.0) -> NDArray[np.float32]:
    """Return relief shading with light from the northwest at 45 degrees (Horn 1981, doi:10.1109/PROC.1981.11918).

    Parameters
    ----------
    elevation : (y, x) float32
        Meters.
    grid : RasterGrid
        Its grid, for the pixel size in meters.
    exaggeration : float
        Factor for heights.

    Returns
    -------
    (y, x) float32
        0 to 1.
    """
    degree_m = 111_195.0
    south, north = grid.bounds[1], grid.bounds[3]
    dx = grid.dx * degree_m * np.cos(np.radians((south + north) / 2))
    dy = grid.dy * degree_m
    down, right = np.gradient(elevation * exaggeration, dy, dx)
    norm = np.sqrt(1 + down**2 + right**2)
    azimuth, altitude = np.radians(315.0), np.radians(45.0)
    east, north_ = np.cos(altitude) * np.sin(azimuth), np.cos(altitude) * np.cos(azimuth)
    shade = (-right * east + down * north_ + np.sin(altitude)) / norm
    return np.asarray(np.clip(shade, 0, 1), dtype=np.float32)


def draw_image(path: Path, image: NDArray[Any], grid: RasterGrid, *, title: str, **style: Any) -> None:
    """Draw one raster.

    Parameters
    ----------
    path : Path
        PNG to write.
    image : (y, x) or (y, x, 3) array
        Values, or 8-bit colors.
    grid : RasterGrid
        Its grid.
    title : str
        Heading of the map.
    **style
        `label` adds a color bar; all others are options of matplotlib's imshow.
    """
    label = style.pop("label", None)
    with _map(path, grid, title) as (figure, axes):
        drawn = axes.imshow(image, extent=_extent(grid), interpolation="nearest", **style)
        if label:
            figure.colorbar(drawn, ax=axes, label=label, shrink=0.7)


def draw_relief(
    path: Path, heights: NDArray[np.float32], shade: NDArray[np.float32], grid: RasterGrid, *, title: str
) -> None:
    """Draw elevation as tints with relief shading; heights of exactly 0 m, the sea of an elevation model, are blue.

    Parameters
    ----------
    path : Path
        PNG to write.
    heights, shade : (y, x) float32
        Meters, NaN where unknown; hillshade, 0 to 1.
    grid : RasterGrid
        Their grid.
    title : str
        Heading of the map.
    """
    low, high = height_range(heights)
    with _map(path, grid, title) as (figure, axes):
        axes.imshow(relief_colors(heights, shade, low, high), extent=_extent(grid), interpolation="nearest")
        colors = ScalarMappable(Normalize(low, high), TINTS)
        figure.colorbar(colors, ax=axes, label="elevation (m)", shrink=0.7)


def height_range(heights: NDArray[np.float32]) -> tuple[float, float]:
    """Return the heights between which tints run: of land, without the outermost 0.2 % on each side."""
    land = heights[np.isfinite(heights) & (heights != 0)]
    low, high = np.percentile(land, (0.2, 99.8)) if land.size else (0.0, 1.0)
    return float(low), max(float(high), float(low) + 1)


def relief_colors(
    heights: NDArray[np.float32], shade: NDArray[np.float32], low: float, high: float
) -> NDArray[np.uint8]:
    """Return the (y, x, 4) colors of heights from `low` to `high`: clear where unknown."""
    tints = TINTS(np.clip((heights - low) / (high - low), 0, 1))[..., :3]
    tints[heights == 0] = SEA
    # Flat land keeps its tint.
    light = np.nan_to_num(shade, nan=np.sin(np.pi / 4))[..., np.newaxis] / np.sin(np.pi / 4)
    colors = np.clip(tints * (0.35 + 0.65 * light) * 255, 0, 255)
    alpha = np.where(np.isfinite(heights), 255, 0)[..., np.newaxis]
    return np.concatenate([colors, alpha], axis=-1).astype(np.uint8)


def draw_network(
    path: Path, network: gpd.GeoDataFrame, shade: NDArray[np.float32], grid: RasterGrid, *, title: str, by: str
) -> None:
    """Draw a network over hillshade.

    Parameters
    ----------
    path : Path
        PNG to write.
    network : GeoDataFrame
        Waterways.
    shade : (y, x) float32
        Hillshade, 0 to 1.
    grid : RasterGrid
        Its grid.
    title : str
        Heading of the map.
    by : str
        "strahler_order" or "source": the column shown by color.
    """
    with _map(path, grid, title) as (_, axes):
        add_network(axes, network, shade, grid, by=by)


def add_network(axes: Any, network: gpd.GeoDataFrame, shade: NDArray[np.float32], grid: RasterGrid, *, by: str) -> None:
    """Add a network over hillshade to the axes of a figure; see `draw_network`."""
    axes.imshow(shade, extent=_extent(grid), cmap="gray", vmin=0, vmax=1.15, alpha=0.75)
    order = network["strahler_order"].to_numpy()
    if by == "source":
        from_backbone = network["from_tdx"].to_numpy(bool)
        _lines(axes, network[~from_backbone], _NEW_COLOR, 0.7, "new, from imagery and elevation")
        _lines(axes, network[from_backbone], _BACKBONE_COLOR, 1.1, "backbone")
    else:
        for value in sorted(set(order.tolist())):
            _lines(axes, network[order == value], order_color(value), 0.4 + 0.35 * value, f"order {value}")
    # Below the map, where it covers nothing.
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.09), ncols=5, fontsize=8, frameon=False)


def order_color(order: int) -> str:
    """Return the color of a Strahler order."""
    return _ORDER_COLORS[min(order, len(_ORDER_COLORS)) - 1]


def probability_colors() -> ListedColormap:
    """Return the color map of the probability of water: white to dark blue, missing pixels gray."""
    blues = matplotlib.colormaps["Blues"](np.linspace(0, 1, 256))
    colors = ListedColormap(blues)
    colors.set_bad("#bbbbbb")
    return colors


def _lines(axes: Any, table: gpd.GeoDataFrame, color: str, width: float, label: str) -> None:
    paths = [np.asarray(line.coords)[:, :2] for line in table.geometry]
    km = float(table["length_m"].sum()) / 1000
    axes.add_collection(LineCollection(paths, colors=color, linewidths=width, label=f"{label} ({km:,.0f} km)"))


def scale_bar_km(width_km: float) -> float:
    """Return the length of a scale bar: 1, 2 or 5 times a power of ten, at most a quarter of the map's width."""
    power = 10.0 ** np.floor(np.log10(width_km / 4))
    return float(max(step * power for step in (1, 2, 5) if step * power <= width_km / 4))


def _draw_scale_bar(axes: Any, grid: RasterGrid) -> None:
    """Draw a scale bar in the lower left corner; it is right at the map's middle latitude."""
    west, south, east, north = grid.bounds
    latitude = (south + north) / 2
    degree_km = float(geodesic_length_m(np.array([LineString([(0, latitude), (0.1, latitude)])]))[0]) / 100
    km = scale_bar_km((east - west) * degree_km)
    left, bottom = west + 0.03 * (east - west), south + 0.04 * (north - south)
    # With a light edge, to be seen on any map.
    bar = axes.plot([left, left + km / degree_km], [bottom, bottom], color="black", linewidth=3, solid_capstyle="butt")
    text = axes.text(left, bottom + 0.012 * (north - south), f"{km:g} km", fontsize=9, va="bottom", color="black")
    for drawn, edge in ((bar[0], 6), (text, 3)):
        drawn.set_path_effects([withStroke(linewidth=edge, foreground="white")])


def _extent(grid: RasterGrid) -> tuple[float, float, float, float]:
    west, south, east, north = grid.bounds
    return (west, east, south, north)


@contextmanager
def _map(path: Path, grid: RasterGrid, title: str) -> Iterator[tuple[Figure, Any]]:
    west, south, east, north = grid.bounds
    aspect = 1 / np.cos(np.radians((south + north) / 2))
    height = _WIDTH_INCHES * (north - south) * aspect / (east - west)
    figure = Figure(figsize=(_WIDTH_INCHES, float(np.clip(height, 3.0, 14.0)) + 0.6), dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.set_facecolor("#dddddd")  # outside the cells of the basin
    yield figure, axes
    _draw_scale_bar(axes, grid)
    axes.set(xlim=(west, east), ylim=(south, north), xlabel="longitude", ylabel="latitude", title=title, aspect=aspect)
    axes.ticklabel_format(useOffset=False)
    with atomic_path(path) as temporary:
        # Without matplotlib's version in the metadata, the same map gives the same bytes.
        figure.savefig(temporary, metadata={"Software": None})
