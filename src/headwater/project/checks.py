"""Checks before the first job of a run: files that can be read, weights that fit, a disk that is large enough.

What a configuration names is looked for whenever the rules are read, a dry run included; what takes longer than that is
checked once, when a run begins.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from headwater.core.errors import DiskError, InputError
from headwater.geo.basins import tdx_header_numbers
from headwater.geo.features import ANY_TABLE, PARQUET_SUFFIXES, gdal_source, refuse_other_columns
from headwater.geo.grid import Cell, cell_grid
from headwater.project.budget import Cost, basin_cost, rates
from headwater.project.config import Config
from headwater.project.placeholder_basins import continent_of
from headwater.stac.items import DEMO_CATALOG
from headwater.stac.validation import is_web_address
from headwater.waterways.backbone.stream_columns import CATCHMENTS, STREAMS

_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")
_LANDING_S = 3.0
"""Seconds that a catalog on this machine may take to say what it is."""
_START = "paths start in this folder, or with paths_from: config in that of the configuration"
CONFIRM = "`snakemake --config confirm=true` runs nevertheless"


def refuse_missing(name: str, paths: Iterable[str | Path], what: str) -> None:
    """Refuse files that a configuration names and that are not there.

    Parameters
    ----------
    name : str
        The setting.
    paths : iterable of str or Path
        Its files.
    what : str
        What they should be, for the remedy.

    Raises
    ------
    InputError
        One of them does not exist.
    """
    for path in paths:
        if not Path(path).exists():
            raise InputError(f"{name} names {path}, which does not exist.", f"Give {what}; {_START}.")


def refuse_other_continent(basin: str, cells: Iterable[Cell]) -> None:
    """Refuse a HydroBASINS id of level 2 whose cells are all on other continents: its coordinates may be swapped.

    Raises
    ------
    InputError
        No cell is on the continent of the id.
    """
    if basin not in tdx_header_numbers():
        return
    places = {(int(south // 1), int(west // 1)) for west, south, _, _ in (cell.bounds for cell in cells)}
    if places and not any(continent_of(place) == basin[0] for place in places):
        south, west = min(places)
        raise InputError(
            f"The polygon of basin {basin} is on another continent than that HydroBASINS region, near latitude {south}"
            f" and longitude {west}.",
            "Check whether latitude and longitude are swapped in basins.polygons, or give your place another id.",
        )


def refuse_many_cells(basin: str, count: int, example: Cell, config: Config) -> None:
    """Refuse a basin of more cells than `max_cells` unless the configuration confirms it.

    Parameters
    ----------
    basin : str
        HYBAS_ID.
    count : int
        Its cells, or a lower bound of them.
    example : Cell
        One of them, for the costs.
    config : Config
        The configuration.

    Raises
    ------
    InputError
        It is too many.
    """
    if count <= config.max_cells or config.confirm:
        return
    cost = basin_cost([example], margin_px=config.grid.margin_px, published=config.is_published).times(count)
    raise InputError(
        f"Basin {basin} has {count} {config.grid.cell_degrees:g}-degree cells, more than max_cells"
        f" ({config.max_cells}): {describe_cost(cost)}.",
        f"Check its polygon and grid.cell_degrees; {CONFIRM}.",
    )


def describe_cost(cost: Cost) -> str:
    """Return in words what a basin costs, by the rates of data/rates.json."""
    read, kept, cores, gpus, instead = (
        f"{number:,.0f}" if number >= 10 else f"{number:.1g}"
        for number in (
            cost.sentinel2_gb + cost.dem_gb,
            cost.storage_gb,
            cost.cpu_hours,
            cost.gpu_hours,
            cost.predict_cpu_hours,
        )
    )
    return (
        f"about {read} GB to read, {kept} GB on disk, {cores} core hours, and {gpus} GPU hours or {instead} core hours"
        " for the prediction"
    )


_KINDS = {"backbone.streams": STREAMS, "backbone.catchments": CATCHMENTS}


def check_tables(files: Mapping[str, Sequence[str]]) -> None:
    """Refuse files of features that cannot be opened, or lack a column; their rows are not read.

    Parameters
    ----------
    files : mapping of str to sequence of str
        Files by the setting that names them.

    Raises
    ------
    InputError
        One of them is no table, has no layer, or lacks a column of its kind.
    """
    import pyarrow
    import pyarrow.parquet
    import pyogrio

    for name, paths in files.items():
        for path in paths:
            try:
                if Path(path).suffix.lower() in PARQUET_SUFFIXES:
                    pyarrow.parquet.read_schema(path)
                # Also refuses names that are misread.
                elif not len(pyogrio.list_layers(gdal_source(Path(path), ANY_TABLE))):
                    raise ValueError("it has no layer")
            except (pyogrio.errors.DataSourceError, pyarrow.ArrowException, ValueError, OSError) as error:
                reason = next(iter(str(error).splitlines()), type(error).__name__)
                raise InputError(
                    f"{name} names {path}, which cannot be read ({reason}).",
                    "Give a GeoPackage, Shapefile or GeoParquet file, or copy it again.",
                ) from error
            if name in _KINDS:
                refuse_other_columns(Path(path), _KINDS[name])


def check_weights(checkpoints: Sequence[str]) -> None:
    """Load the checkpoints that a configuration names, and make their ensemble, as each prediction will.

    Raises
    ------
    InputError
        One cannot be loaded, or they do not fit together or the 20 m grid.
    """
    if not checkpoints:
        return
    from headwater.models.checkpoint import load_checkpoint
    from headwater.predict.ensemble import Ensemble
    from headwater.predict.step import members_of

    Ensemble(members_of([load_checkpoint(Path(path)) for path in checkpoints]))


def check_published_rasters(place: str) -> None:
    """Refuse a folder of published rasters that is not there or holds none; an address is not asked.

    Raises
    ------
    InputError
        It is no folder with files {x}_{y}.tif.
    """
    if is_web_address(place):
        return
    what = "the folder of the published rasters {x}_{y}.tif, or their address"
    refuse_missing("predict.published", [place], what)
    if not any(Path(place).glob("[0-9]*_[0-9]*.tif")):
        raise InputError(f"predict.published is {place}, which holds no file {{x}}_{{y}}.tif.", f"Give {what}.")


def may_be_demo_catalog(url: str) -> bool:
    """Whether a catalog that was not searched yet may be that of demo planets.

    They are served on this machine, as `headwater demo serve` does: only there the catalog is asked what it is.
    """
    import requests

    from headwater.core.http import bounded_session, time_limit

    if urlsplit(url).hostname not in _THIS_MACHINE:
        return False
    session = bounded_session(may_redirect=lambda *_: False)
    try:
        with time_limit(_LANDING_S), session.get(url, timeout=_LANDING_S) as reply:
            return bool(reply.json().get("id") == DEMO_CATALOG)
    except (requests.RequestException, ValueError, AttributeError):
        return True  # not known: the predictions find it by the pin


def check_catalog(url: str, *, name: str = "catalog.url") -> None:
    """Refuse a catalog that is neither an address nor something on this disk.

    Parameters
    ----------
    url : str
        Its address.
    name : str
        The setting.

    Raises
    ------
    InputError
        Nothing is there.
    """
    if "://" not in url:
        refuse_missing(name, [url], "the address of a STAC API, or a folder or file of items")


def check_results_folder(results: Path) -> None:
    """Refuse a results folder that cannot be made or written in.

    Raises
    ------
    InputError
        It, or the folder that it would be made in, is a file or read-only.
    """
    folder = _existing(results)
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        what = "a read-only folder" if folder.is_dir() else "not a folder"
        raise InputError(
            f"results is {results}, but {folder} is {what}.", "Set `results` to a folder that can be written."
        )


def _existing(path: Path) -> Path:
    """Return a path, or the nearest of the folders above it that exists."""
    return next(each for each in (path.absolute(), *path.absolute().parents) if os.path.lexists(each))


def check_disk(results: Path, cells: Collection[Cell], config: Config) -> None:
    """Refuse a run whose results will not fit on the disk.

    Parameters
    ----------
    results : Path
        Results folder; may not exist yet.
    cells : collection of Cell
        Cells that are not finished.
    config : Config
        The configuration.

    Raises
    ------
    DiskError
        The free space is less than the rates predict.
    """
    if not cells or config.confirm:
        return
    margin_px = config.grid.margin_px
    needed = basin_cost(cells, margin_px=margin_px, published=config.is_published).storage_gb
    if "composite" not in config.keep and not config.is_published:
        grids = [cell_grid(cell, margin_px=margin_px) for cell in cells]
        needed -= sum(grid.width * grid.height for grid in grids) * rates()["composite_bytes_per_px"] / 1e9
    folder = _existing(results)
    free = shutil.disk_usage(folder).free / 1e9
    if free < needed:
        raise DiskError(
            f"The results of {len(cells)} cells take about {needed:.3g} GB, and {free:.3g} GB are free in {folder}.",
            f"Free space, set `results` to another disk, or `keep` fewer rasters; {CONFIRM}.",
        )
