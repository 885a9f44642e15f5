"""The network as GeoPackage and FlatGeobuf, written by GDAL."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.core.files import atomic_path
from headwater.waterways.network.formats import OutputFormat, terms_in
from headwater.waterways.network.geoparquet import to_arrow

if TYPE_CHECKING:
    import geopandas as gpd

LAYER = "waterways"
"""Name of the layer in files that have layers."""


def write_geopackage(network: gpd.GeoDataFrame, path: Path) -> None:
    """Write a GeoPackage, with the same bytes for the same table."""
    import pyogrio

    # The only date in the file is that of writing; a fixed one gives the same bytes again.
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": "1970-01-01T00:00:00.000Z"})
    try:
        with atomic_path(path) as temporary:
            write_with_gdal(network, temporary, "GPKG", {}, layer_metadata=terms_in(network))
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})


def write_flatgeobuf(network: gpd.GeoDataFrame, path: Path) -> None:
    """Write a FlatGeobuf."""
    described = "\n".join(f"{name}: {text}" for name, text in terms_in(network).items())
    with atomic_path(path) as temporary:
        write_with_gdal(network, temporary, "FlatGeobuf", {}, layer_options=described and {"DESCRIPTION": described})


def write_with_gdal(
    network: gpd.GeoDataFrame, path: Path, driver: str, options: dict[str, object], **described: Any
) -> None:
    """Write a network with a driver of GDAL, its lists of ids as JSON text; `described` are options of pyogrio."""
    import pyogrio

    if "source_stream_ids" in network:
        network = network.assign(source_stream_ids=_as_json(to_arrow(network, "source_stream_ids")))
    pyogrio.write_dataframe(
        network,
        path,
        driver=driver,
        layer=LAYER,
        geometry_type="LineString",
        dataset_options=options,
        **{name: value for name, value in described.items() if value},
    )


def _as_json(lists: Any) -> Any:
    """Return each list of an Arrow array of integers as "[1, 2]"."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    inside = pc.binary_join(lists.cast(pa.list_(pa.string())), ", ")
    return np.asarray(pc.binary_join_element_wise("[", inside, "]", "").to_numpy(zero_copy_only=False))


GEOPACKAGE = OutputFormat(".gpkg", write_geopackage)
FLATGEOBUF = OutputFormat(".fgb", write_flatgeobuf)
