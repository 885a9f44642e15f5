"""The steps as functions on xarray and GeoPandas objects: what `import headwater as hw` offers.

Rasters are DataArrays with a CRS (rioxarray's `.rio`) or paths, networks are GeoDataFrames or paths. Everything is in
EPSG:4326, longitudes in degrees east, rasters north-up with coordinates at pixel centers. A composite that dask loads
gives a lazy result, computed block by block; a path is opened lazily. Call `.compute()` for the values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from headwater.core.errors import InputError
from headwater.core.sentinel2 import COMPOSITE_BANDS
from headwater.geo.grid import PREDICTION_FACTOR
from headwater.geo.plan import Plan, read_plan

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd
    import xarray as xr
    from shapely.geometry.base import BaseGeometry

    from headwater.geo.features import TableKind
    from headwater.geo.grid import Bounds, RasterGrid
    from headwater.models.channels import Recipe
    from headwater.models.checkpoint import Checkpoint
    from headwater.raster.inputs import Raster
    from headwater.waterways.backbone.tdx import Backbone

    Table: TypeAlias = gpd.GeoDataFrame | str | Path
    """Lines or polygons with their columns, or the path of a file of them."""
    Polygon: TypeAlias = BaseGeometry | gpd.GeoDataFrame | gpd.GeoSeries
    """A geometry in EPSG:4326, or a table with a CRS."""
    Area: TypeAlias = Bounds | Polygon | xr.DataArray
    """An area to map, or an array whose grid is taken."""


def composite(
    items: Iterable[Any] | Mapping[str, Any] | str | Path,
    area: Area,
    *,
    cache_dir: str | Path | None = None,
    readers: int = 4,
    **settings: Any,
) -> xr.DataArray:
    """Choose scenes over an area and make one cloud-free image of them.

    Parameters
    ----------
    items : items, ItemCollection, mapping, or path
        Sentinel-2 L2A items of pystac or as dictionaries, a FeatureCollection, or the path of an items.parquet. Scenes
        are chosen over complete MGRS tiles, the latest interval first: the intervals that an items.parquet was searched
        for, else calendar years.
    area : bounds, geometry, GeoDataFrame or DataArray
        (west, south, east, north) in degrees, a shapely geometry in EPSG:4326, a table with a CRS, or an array whose
        grid is taken. Else the result is on the 10 m grid of the one-degree cell around the area's middle, cut to an
        even number of rows and columns around the area.
    cache_dir : path, optional
        Folder that keeps what is read of scenes for the choice; a temporary one if not given.
    readers : int
        Bands read at the same time.
    **settings
        Settings of the sections `select`, `composite` and `catalog` (signing, token_url) of the configuration, such as
        max_scenes=3 or method="median"; their defaults are those of the workflow.

    Returns
    -------
    (band, y, x) uint8 DataArray
        Bands N, R, G, B, scaled to 1 to 255 with 0 for missing pixels, and clear_views. The attribute `scenes` lists
        the ids of the scenes, best first. It is computed at once.

    Raises
    ------
    InputError
        There are no Sentinel-2 items, none touches the area, or the area is empty.
    WorkError
        A scene cannot be read.

    Examples
    --------
    >>> image = hw.composite(items, (11.96, 8.01, 11.97, 8.02))
    >>> image.band.values.tolist()
    ['N', 'R', 'G', 'B', 'clear_views']
    >>> image.rio.crs.to_string()
    'EPSG:4326'
    """
    import xarray as xr

    from headwater.core.settings import refuse_unknown
    from headwater.geo.areas import grid_of_area
    from headwater.imagery.composite import composite_scenes
    from headwater.imagery.scene_statistics import SceneCache
    from headwater.imagery.select import choose_entries
    from headwater.imagery.settings import CompositeSettings, SelectSettings
    from headwater.raster import arrays
    from headwater.stac.settings import SigningSettings
    from headwater.stac.signing import make_signer

    selection = SelectSettings.pick(settings)
    compositing, access = CompositeSettings.pick(settings), SigningSettings.pick(settings)
    refuse_unknown(settings, SelectSettings, CompositeSettings, SigningSettings)
    grid = arrays.array_grid(area, "area") if isinstance(area, xr.DataArray) else grid_of_area(area)
    images, searched, catalog = _images(items, grid.bounds)
    signer = make_signer(*access.access_to(catalog))
    with TemporaryDirectory() as temporary:
        cache = SceneCache(Path(cache_dir or temporary), signer, selection.missing_scl)
        entries = choose_entries(images, grid.bounds, searched, selection, cache).entries
    if not entries:
        raise InputError("No usable scene touches the area.", "Give items that cover it, or another area.")
    result = composite_scenes(entries, grid, signer, compositing, readers=readers, label="of the area")
    made = arrays.located(result.values, grid, name="composite", band=COMPOSITE_BANDS)
    return made.assign_attrs(scenes=[entry["id"] for entry in entries if entry["id"] not in result.left_out])


def channels(composite: Raster, elevation: Raster, *, recipe: str | Recipe = "paper") -> xr.DataArray:
    """Make the channels that a network sees.

    Parameters
    ----------
    composite : (band, y, x) uint8 DataArray or path
        Bands N, R, G, B; 0 where missing. Bands are found by their labels, else by their order.
    elevation : (y, x) DataArray or path
        Meters; NaN, or its nodata value, where unknown. On another grid it is resampled bilinearly, as the workflow
        does.
    recipe : str or Recipe
        Channels, their order and constants; a name such as "paper" or "relative".

    Returns
    -------
    (channel, y, x) float32 DataArray
        NaN where a channel is missing (networks see the mean of their tile there). Lazy if the composite is; the
        channels are then those of the complete arrays: equal bit for bit, but to 1e-3 m where sums run over a
        neighborhood (relative elevation, TPI), or to one level where a recipe rounds these to 8 bits.

    Raises
    ------
    InputError
        An input has other bands, another type, CRS or place than expected, or there is no such recipe.

    Examples
    --------
    >>> hw.channels(image, elevation, recipe="relief").channel.values.tolist()
    ['relative_elevation', 'dE/dx', 'dE/dy', 'gradient']
    """
    from headwater.models.channels import make_channels
    from headwater.raster import arrays, inputs

    chosen = _recipe(recipe)
    image, grid = inputs.composite_input(composite)
    heights = inputs.elevation_input(elevation, grid, like=image)
    if arrays.is_lazy(image):
        from headwater.models.lazy_channels import lazy_channels

        values: Any = lazy_channels(image.data, heights, chosen)
    else:
        values, _ = make_channels(image.values, heights, chosen, fill=False)
    return arrays.located(values, grid, name="channels", channel=chosen.names)


def predict(
    composite: Raster,
    elevation: Raster,
    *,
    checkpoint: str | Path | Checkpoint | Sequence[str | Path | Checkpoint] | None = None,
    **settings: Any,
) -> xr.DataArray:
    """Predict the probability of water.

    Parameters
    ----------
    composite : (band, y, x) uint8 DataArray or path
        Bands N, R, G, B at 10 m; 0 where missing; an even number of rows and columns.
    elevation : (y, x) DataArray or path
        Meters; NaN, or its nodata value, where unknown. On another grid it is resampled bilinearly, as the workflow
        does.
    checkpoint : path or Checkpoint, or a sequence of them
        Weights; the mean of several; Headwater's own where not given.
    **settings
        Settings of the section `predict` of the configuration, such as device="cpu" or tile_px=416; their defaults are
        those of the workflow. `batch_size`, `compile` and `threads` have no effect on a lazy prediction.

    Returns
    -------
    (y, x) float32 DataArray
        0 to 1 at 20 m; NaN where the composite has no data in all four of its pixels, and where too much is missing in
        every tile. Lazy if the composite is: each tile of the complete raster is then predicted once, when needed, from
        its own window, and on the CPU the values are the same bit for bit (to 1e-5 if the elevation is a dask array on
        another grid, which is resampled by blocks). Rounded to p * 255 they are those of the
        workflow's probability.tif, which leaves out the margin of the composite.

    Raises
    ------
    InputError
        An input has other bands, another type, CRS or place than expected, or a checkpoint or device does not exist.

    Examples
    --------
    >>> probability = hw.predict(image, elevation)
    >>> probability.dims, probability.dtype
    (('y', 'x'), dtype('float32'))
    >>> lazy = hw.predict(image.chunk(y=64), elevation)
    >>> bool((lazy.compute() == probability).all())
    True
    """
    from headwater.core.settings import refuse_unknown
    from headwater.predict.settings import PredictSettings
    from headwater.predict.step import members_of, options_of
    from headwater.raster import arrays, inputs

    image, grid = inputs.composite_input(composite)
    heights = inputs.elevation_input(elevation, grid, like=image)
    refuse_unknown(settings, PredictSettings)
    how = PredictSettings(**settings)
    members = members_of(_checkpoints(checkpoint), max_missing=how.max_missing)
    options = options_of(how)
    if arrays.is_lazy(image):
        from headwater.predict.lazy import predict_lazily

        values: Any = predict_lazily(members, image.data, heights, options)
    else:
        from headwater.predict.pipeline import predict_arrays

        probability, valid = predict_arrays(members, image.values, heights, options)
        probability[~valid] = float("nan")
        values = probability
    made = arrays.located(values, grid.coarsen(PREDICTION_FACTOR), name="probability")
    return made.assign_attrs(long_name="probability of water", units="1")


def vectorize(
    probability: Raster,
    elevation: Raster,
    streams: Table,
    catchments: Table,
    *,
    basin_id: str = "0",
    **settings: Any,
) -> gpd.GeoDataFrame:
    """Make a network of a probability, joined to a backbone of streams.

    Parameters
    ----------
    probability : (y, x) DataArray or path
        0 to 1 with NaN where missing, or uint8 from 0 to 255.
    elevation : (y, x) DataArray or path
        Meters on any grid in EPSG:4326.
    streams, catchments : GeoDataFrame or path
        TDX-Hydro's tables with its columns, or reaches and catchments of a backbone (`backbone_from_elevation`,
        reaches.parquet and catchments.parquet of a basin).
    basin_id : str
        Region that the ids are made unique with.
    **settings
        Settings of the section `vectorize` of the configuration, such as threshold=0.6; their defaults are those of the
        workflow.

    Returns
    -------
    GeoDataFrame
        The network, as `headwater vectorize` writes it: lines drawn downstream, one row per segment.

    Raises
    ------
    InputError
        An input is not what it should be, or the inputs are not of one place.
    WorkError
        The network violates a check.

    Examples
    --------
    >>> backbone = hw.backbone_from_elevation(elevation, min_area_km2=0.1)
    >>> network = hw.vectorize(probability, elevation, backbone.reaches, backbone.catchments)
    >>> hw.check_network(network)["faults"]
    0
    """
    from headwater.core.settings import refuse_unknown
    from headwater.raster import inputs
    from headwater.waterways.blocks import Rasters
    from headwater.waterways.network_step import checked_network, refuse_faults
    from headwater.waterways.settings import VectorizeSettings
    from headwater.waterways.vectorize_step import check_one_place, vectorize_backbone

    refuse_unknown(settings, VectorizeSettings)
    how = VectorizeSettings(**settings)
    layer, lattice = inputs.probability_source(probability)
    heights, bounds = inputs.elevation_source(elevation)
    backbone = _backbone(streams, catchments)
    check_one_place(lattice, bounds, backbone.reaches)
    rasters = Rasters((layer,), (heights,), lattice)
    segments, _ = vectorize_backbone(rasters, backbone, how)
    network, checks = checked_network(segments, backbone.reaches, basin_id=basin_id)
    refuse_faults(checks)
    return network


def backbone_from_elevation(
    elevation: Raster, *, min_area_km2: float | None = None, area: Polygon | None = None
) -> Backbone:
    """Derive reaches and catchments from an elevation model by flow accumulation.

    Parameters
    ----------
    elevation : (y, x) DataArray or path
        Meters, about 30 m pixels; NaN, or its nodata value, where unknown. It is loaded completely.
    min_area_km2 : float, optional
        Upstream area from which a reach begins; the default of `backbone.min_area_km2` if not given.
    area : geometry or GeoDataFrame, optional
        Polygon of the basin; water leaves at its edge. The complete elevation if not given.

    Returns
    -------
    Backbone
        `reaches` and `catchments`, GeoDataFrames that `vectorize` takes, and `notes`.

    Raises
    ------
    InputError
        No reach has so large an upstream area, or the elevation is not what it should be.

    Examples
    --------
    >>> backbone = hw.backbone_from_elevation(elevation, min_area_km2=0.1)
    >>> int(backbone.reaches.strahler_order.max()) >= 1
    True
    """
    from headwater.geo.areas import area_polygon
    from headwater.raster import arrays, inputs
    from headwater.waterways.backbone.dem import dem_backbone
    from headwater.waterways.lines.burn import burn_polygon
    from headwater.waterways.settings import BackboneSettings

    heights, grid = inputs.single_band(inputs.open_raster(elevation, arrays.open_values, "elevation"), "elevation")
    heights = inputs.unknown_as_nan(heights).compute()
    inside = heights.notnull().values
    if area is not None:
        inside = inside & burn_polygon(area_polygon(area), grid.transform, grid.shape)
    if not inside.any():
        raise InputError("No pixel of the area has an elevation.", "Give an elevation that covers the area.")
    given: dict[str, Any] = {} if min_area_km2 is None else {"min_area_km2": min_area_km2}
    settings = BackboneSettings(kind="dem", **given)
    return dem_backbone(heights.values, inside, grid, min_area_km2=settings.min_area_km2, cells=())


def check_network(network: Table, reaches: Table | None = None) -> dict[str, Any]:
    """Check that a network is valid; see `headwater.waterways.network.check.check_network`.

    Parameters
    ----------
    network : GeoDataFrame or path
        Our columns, or the published ones.
    reaches : GeoDataFrame or path, optional
        The backbone it was built on; without it some checks are left out.

    Returns
    -------
    dict
        `faults`: number of violations; `laws`: count and first ids of each check; `segments`, `length_km`, ...

    Raises
    ------
    InputError
        A column or the geometry is missing.

    Examples
    --------
    >>> checks = hw.check_network(network)
    >>> checks["faults"], checks["segments"] == len(network)
    (0, True)
    """
    from headwater.waterways.network.check import NETWORK, check_network

    return check_network(_table(network, "network", NETWORK), None if reaches is None else _table(reaches, "reaches"))


def strahler_order(network: Table, reaches: Table | None = None) -> pd.Series[int]:
    """Return the Strahler order of each segment (Strahler 1957, doi:10.1029/TR038i006p00913).

    Parameters
    ----------
    network : GeoDataFrame or path
        Columns stream_id and target_stream_id; -1 at an outlet. With the columns of our networks, links that have an
        upstream outside the area start with the order of their backbone.
    reaches : GeoDataFrame or path, optional
        The backbone, which says which links have an upstream outside.

    Returns
    -------
    Series of int32
        With the table's index; 0 for segments in a circle or downstream of one.

    Raises
    ------
    InputError
        A column or the geometry is missing.

    Examples
    --------
    >>> bool((hw.strahler_order(network) == network.strahler_order).all())
    True
    """
    import pandas as pd

    from headwater.waterways.network.check import NETWORK, strahler_order

    table = _table(network, "network", NETWORK)
    orders = strahler_order(table, None if reaches is None else _table(reaches, "reaches"))
    return pd.Series(orders, index=table.index, name="strahler_order")


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint: weights (.safetensors) and the JSON file next to them.

    Parameters
    ----------
    path : path
        The .safetensors file.

    Returns
    -------
    Checkpoint
        `model`, and `metadata` with the recipe of its channels, license and scores.

    Raises
    ------
    InputError
        A file is missing or damaged, or the two do not belong together.

    Examples
    --------
    >>> hw.load_checkpoint(weights).metadata.network
    'waternet'
    """
    from headwater.models.checkpoint import load_checkpoint

    return load_checkpoint(Path(path))


def open_basin(folder: str | Path) -> Basin:
    """Open the results of a basin: nothing is read before it is used.

    Parameters
    ----------
    folder : path
        results/<basin> of a run.

    Returns
    -------
    Basin

    Raises
    ------
    InputError
        The folder holds no plan.json.

    Examples
    --------
    >>> basin = hw.open_basin(results)
    >>> list(basin.rasters)
    ['composite', 'elevation', 'probability']
    >>> len(basin.network) == basin.checks["segments"]
    True
    """
    return Basin(Path(folder), read_plan(Path(folder) / "plan.json"))


@dataclass(frozen=True)
class Basin:
    """The results of a basin, opened when used.

    The rasters are lazy mosaics over the cells: each pixel comes from the cell that holds its center. Cells of
    different rows of the world have different pixel widths; the mosaic takes the narrowest, at which cells of that
    width are read as they are, and others resampled: the composite by nearest neighbor, elevation and probability
    bilinearly, as mosaic.vrt does. Between cells there is no data. A basin that crosses 180 degrees is in one piece,
    with longitudes beyond 180.
    """

    folder: Path
    """results/<basin>."""
    plan: Plan
    """Basin id, cells and grid."""

    @cached_property
    def composite(self) -> xr.DataArray:
        """(band, y, x) uint8 at 10 m: N, R, G, B (0 is nodata) and clear_views."""
        from headwater.raster import cells

        grid = cells.composite_grid(self.plan.cells, self.plan.bounds_in_one_piece)
        return self._mosaic("composite", grid, cells.COMPOSITE)

    @cached_property
    def elevation(self) -> xr.DataArray:
        """(y, x) float32, meters at GLO-30 posting."""
        from headwater.raster import cells

        grid = cells.posting_grid(self.plan.cells, self.plan.bounds_in_one_piece)
        return self._mosaic("elevation", grid, cells.ELEVATION)

    @cached_property
    def probability(self) -> xr.DataArray:
        """(y, x) float32, 0 to 1 at 20 m; NaN where there is no data."""
        from headwater.raster import cells

        grid = cells.probability_grid(self.plan.cells, self.plan.bounds_in_one_piece)
        return self._mosaic("probability", grid, cells.PROBABILITY)

    @cached_property
    def rasters(self) -> xr.Dataset:
        """All three on the 10 m grid: elevation bilinear, as networks see it; probability by nearest neighbor."""
        from dataclasses import replace

        import xarray as xr

        from headwater.raster import cells

        grid = cells.composite_grid(self.plan.cells, self.plan.bounds_in_one_piece)
        kinds = {
            "composite": cells.COMPOSITE,
            "elevation": replace(cells.ELEVATION, beyond=0),
            "probability": replace(cells.PROBABILITY, resampling="nearest"),
        }
        return xr.Dataset({name: self._mosaic(name, grid, kind) for name, kind in kinds.items()})

    @cached_property
    def network(self) -> gpd.GeoDataFrame:
        """The waterways, drawn downstream."""
        return _table(self.folder / "waterways.parquet", "network")

    @cached_property
    def reaches(self) -> gpd.GeoDataFrame:
        """Reaches of the backbone."""
        return _table(self.folder / "reaches.parquet", "reaches")

    @cached_property
    def catchments(self) -> gpd.GeoDataFrame:
        """Catchments of the backbone."""
        return _table(self.folder / "catchments.parquet", "catchments")

    @cached_property
    def checks(self) -> dict[str, Any]:
        """What the checks of the network found: waterways.checks.json."""
        from headwater.core.files import read_json

        return dict(read_json(self.folder / "waterways.checks.json"))

    def plot(self, *, by: Literal["strahler_order", "source"] = "strahler_order", axes: Any = None) -> Any:
        """Draw the network over relief shading with matplotlib.

        Parameters
        ----------
        by : str
            What colors show: "strahler_order" or "source".
        axes : matplotlib Axes, optional
            Where to draw; a new figure if not given.

        Returns
        -------
        matplotlib Axes

        Examples
        --------
        >>> axes = hw.open_basin(results).plot(by="source")
        """
        from headwater.report.figures import add_network, hillshade
        from headwater.report.step import map_grid, read_relief

        if axes is None:
            import matplotlib.pyplot as plt

            _, axes = plt.subplots(figsize=(10, 8), layout="constrained")
        grid = map_grid(self.plan)
        files = [self.folder / "cells" / cell.name / "elevation.tif" for cell in self.plan.cells]
        shade = hillshade(read_relief([path for path in files if path.exists()], grid), grid)
        add_network(axes, self.network, shade, grid, by=by)
        axes.set(title=f"Basin {self.plan.basin_id}", xlabel="longitude", ylabel="latitude")
        return axes

    def explore(self, *, tiles: str | None = "OpenStreetMap") -> Any:
        """Show the network on a map that one can move, in a notebook (folium, the extra `explore`).

        Parameters
        ----------
        tiles : str, optional
            Background, as folium names it; it comes from its provider, over the internet. None for none.

        Returns
        -------
        folium.Map

        Raises
        ------
        InputError
            The extra is not installed.
        """
        from headwater.core.extras import require_extra

        require_extra("explore", "folium", purpose="Basin.explore")
        import folium

        from headwater.report.figures import order_color

        facts = ["stream_id", "strahler_order", "length_m", "mean_probability"]
        west, south, east, north = self.plan.bounds_in_one_piece
        page = folium.Map(tiles=tiles)
        folium.GeoJson(
            self.network[[*facts, "geometry"]],
            style_function=lambda line: {
                "color": order_color(line["properties"]["strahler_order"]),
                "weight": 0.8 + 0.6 * line["properties"]["strahler_order"],
            },
            tooltip=folium.GeoJsonTooltip(facts),
        ).add_to(page)
        page.fit_bounds([[south, west], [north, east]])
        return page

    def __repr__(self) -> str:
        return f"<Basin {self.plan.basin_id}: {len(self.plan.cells)} cells in {self.folder}>"

    def _mosaic(self, name: str, grid: RasterGrid, kind: Any) -> xr.DataArray:
        from headwater.raster.cells import cells_array

        files = [(cell, self.folder / "cells" / cell.name / f"{name}.tif") for cell in self.plan.cells]
        return cells_array(files, grid, kind, name=name, band=COMPOSITE_BANDS if kind.bands else ())


def _recipe(recipe: str | Recipe) -> Recipe:
    from headwater.models.channels import RECIPES, Recipe

    if isinstance(recipe, Recipe):
        return recipe
    return RECIPES.load(recipe)


def _checkpoints(checkpoint: str | Path | Checkpoint | Sequence[str | Path | Checkpoint] | None) -> list[Checkpoint]:
    from headwater.models.checkpoint import Checkpoint, load_checkpoint
    from headwater.models.shipped import default_checkpoints

    if checkpoint is None:
        checkpoint = default_checkpoints()
    elif isinstance(checkpoint, str | Path | Checkpoint):
        checkpoint = [checkpoint]
    return [each if isinstance(each, Checkpoint) else load_checkpoint(Path(each)) for each in checkpoint]


def _table(source: Any, what: str, kind: TableKind | None = None) -> gpd.GeoDataFrame:
    import geopandas as gpd

    from headwater.geo.features import ANY_TABLE, read_table

    if isinstance(source, str | Path):
        return read_table(Path(source), kind or ANY_TABLE)
    if not isinstance(source, gpd.GeoDataFrame):
        raise InputError(
            f"The {what} is a {type(source).__name__}; a GeoDataFrame or a path is expected.",
            "Read it with geopandas.read_parquet or read_file.",
        )
    return source


def _backbone(streams: Table, catchments: Table) -> Backbone:
    """Return tables of TDX-Hydro as a backbone; those of a backbone as they are."""
    from headwater.waterways.backbone.stream_columns import CATCHMENT_COLUMNS, CATCHMENTS, REACH_COLUMNS, STREAMS
    from headwater.waterways.backbone.tdx import Backbone, tdx_backbone
    from headwater.waterways.backbone.tdx_files import report_repairs

    reaches, areas = _table(streams, "streams", STREAMS), _table(catchments, "catchments", CATCHMENTS)
    if set(REACH_COLUMNS) <= set(reaches.columns) and set(CATCHMENT_COLUMNS) <= set(areas.columns):
        return Backbone(reaches.astype({"cell": str}), areas.astype({"cell": str}))
    made = tdx_backbone(reaches, areas)
    report_repairs(made)
    return made


def _images(source: Any, bounds: Bounds) -> tuple[list[dict[str, Any]], Sequence[str] | None, str | None]:
    """Return Sentinel-2 items as dictionaries, the intervals they were searched for and the fallback they are from."""
    from headwater.core.settings import default_of
    from headwater.imagery.select import around
    from headwater.stac.pinned_items import pinned_item
    from headwater.stac.pins import fallback_of, read_items, read_query
    from headwater.stac.settings import CatalogSettings

    searched: Sequence[str] | None = None
    catalog: str | None = None
    dem_collections: Sequence[str] = default_of(CatalogSettings, "dem_collections")
    if isinstance(source, str | Path):
        found = read_items(Path(source), box=around(bounds))
        catalog, query = fallback_of(Path(source)), read_query(Path(source)).get("query", {})
        searched, dem_collections = query.get("datetime"), query.get("dem_collections", dem_collections)
    else:
        members = source["features"] if isinstance(source, Mapping) and "features" in source else source
        try:
            found = [pinned_item(each if isinstance(each, dict) else each.to_dict()) for each in members]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"The items are not STAC items ({type(error).__name__}: {error}).",
                "Give pystac items, their dictionaries, or the path of an items.parquet.",
            ) from error
    images = [item for item in found if item["collection"] not in dem_collections]
    if not images:
        raise InputError("There are no Sentinel-2 items for the area.", "Search for them, or give another area.")
    return images, searched, catalog
