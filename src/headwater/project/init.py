"""`headwater init`: a project folder for any area, and what its run will cost."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry

from headwater.core.errors import DiskError, InputError
from headwater.core.files import atomic_path, write_if_changed
from headwater.core.settings import default_of
from headwater.core.texts import FILE_NAME
from headwater.fetch import store
from headwater.fetch.settings import DEFAULT_FOLDER, FOLDER_VARIABLE, FetchSettings
from headwater.fetch.sizes import free_bytes
from headwater.fetch.sources import HYDROBASINS, remote_files
from headwater.geo.area_polygons import (
    area_id,
    area_km2,
    box_polygon,
    cell_degrees_for,
    file_polygon,
    square_polygon,
)
from headwater.geo.basins import HYDROBASINS_ID, basin_polygon, is_area, read_basins, tdx_header_numbers
from headwater.geo.grid import CRS, Cell, cells_intersecting
from headwater.geo.plan import BUFFER_KM
from headwater.geo.settings import GridSettings
from headwater.project.backbone_choice import choose_backbone
from headwater.project.budget import Cost, basin_cost
from headwater.project.checks import check_disk, describe_cost
from headwater.project.config import Config, check_config, refuse_repeated_keys
from headwater.project.config_paths import paths_begin_in, read_config
from headwater.project.data_folder import missing_weights
from headwater.project.project_config import (
    AREA_NAME,
    backbone_of_area,
    check_base,
    chosen_catalog,
    default_backbone,
    is_place,
    needs_regions,
    project_text,
    project_values,
    with_kind,
)
from headwater.project.run import CONFIG_NAME
from headwater.runs.run_summary import format_duration
from headwater.stac.providers import make_provider

SIDE_KM = 20.0
"""Side of the square around a point where none is given."""
ASSUMED_MB_S = 10.0
"""Download rate of the estimated time, 10^6 bytes per second."""


@dataclass(frozen=True)
class Area:
    """The one area of a project."""

    basin_id: str
    """HYBAS_ID of a basin; otherwise an id made from the polygon."""
    polygon: BaseGeometry
    """Degrees, between -180 and 180."""
    note: str | None = None
    """What was changed about the polygon that was given."""


def init_project(
    folder: Path,
    area: Area,
    *,
    catalog: str | None = None,
    base: Path | None = None,
    datetime: str | None = None,
    source: str | None = None,
    backbone: str | None = None,
    fetch: bool = False,
    yes: bool = False,
) -> None:
    """Write a project folder with config.yaml and area.gpkg, and print what its run will cost; fetches nothing.

    The same project again changes nothing.

    Parameters
    ----------
    folder : Path
        Folder of the project; made if needed.
    area : Area
        What is mapped.
    catalog : str, optional
        Preset or address.
    base : Path, optional
        Configuration whose other keys are taken over.
    datetime, source, backbone : str, optional
        Settings search.datetime, predict.source and backbone.kind.
    fetch : bool
        Whether the run may download what it lacks.
    yes : bool
        Write a project of many cells, or for a disk that seems too small.

    Raises
    ------
    InputError
        A value is not allowed, the area is too large, or the folder contains another project.
    DiskError
        The results would not fit on the disk.
    """
    check_folder(folder)
    given = _read_base(base, folder) if base is not None else {}
    sections = {key: value for key, value in given.items() if isinstance(value, Mapping)}
    degrees = sections.get("grid", {}).get("cell_degrees") or cell_degrees_for(area.polygon, _cell_sizes())
    limit = int(given.get("max_cells", default_of(Config, "max_cells")))
    cells, confirmed = _cells(area, float(degrees), limit=limit, yes=yes)
    values = project_values(
        given,
        basin_id=area.basin_id,
        cell_degrees=float(degrees),
        catalog=None if catalog is None else _catalog(catalog, sections.get("catalog", {}), folder),
        datetime=datetime,
        backbone=_backbone(backbone, sections.get("backbone", {}), given, area, folder),
        source=source,
        fetch=_fetch_section(sections.get("fetch", given.get("fetch")), folder, fetch=fetch),
        max_cells=confirmed,
    )
    # As a run in the folder sees them.
    checked = check_config(values)
    if not yes:
        try:
            check_disk(folder / checked.results, cells, checked)
        except DiskError as error:
            raise DiskError(
                error.cause, "Free space or choose a smaller area; --yes writes the project nevertheless."
            ) from None
    written = _write(folder, project_text(values), area)
    seen = check_config(paths_begin_in(folder.absolute(), values, run_folder=Path.cwd()))
    for line in summary_lines(folder, area, cells, seen):
        print(line)
    print(f"{folder / CONFIG_NAME} {'written' if written else 'is as it was'}. Run it: headwater run {folder}")


def area_of_box(west: float, south: float, east: float, north: float) -> Area:
    """Return the area of a box in degrees; see `headwater.geo.area_polygons.box_polygon`."""
    return _area(box_polygon(west, south, east, north))


def area_around(lat: float, lon: float, *, km: float) -> Area:
    """Return the square around a point; see `headwater.geo.area_polygons.square_polygon`."""
    return _area(square_polygon(lat, lon, km=km))


def area_of_file(path: Path) -> Area:
    """Return the area of the polygons of a file; see `headwater.geo.area_polygons.file_polygon`."""
    polygon, note = file_polygon(path)
    return replace(_area(polygon), note=note)


def area_of_basin(
    basin_id: str, polygons: Sequence[Path] = (), *, base: Path | None = None, fetch: bool = False
) -> Area:
    """Return the area of a HydroBASINS basin, from files that are given or in the folder of fetched data.

    Parameters
    ----------
    basin_id : str
        HYBAS_ID.
    polygons : sequence of Path
        Files of HydroBASINS polygons.
    base : Path, optional
        Configuration with a section fetch.
    fetch : bool
        Whether the file of its region may be fetched, which is announced.

    Raises
    ------
    HeadwaterError
        There is no such basin, or no file of polygons, or it cannot be fetched.
    """
    if polygons:
        return Area(basin_id, basin_polygon(polygons, basin_id))
    known = tdx_header_numbers()
    if basin_id not in known:
        near = ", ".join(get_close_matches(basin_id, known, n=5) or list(known)[:5])
        raise InputError(f"There is no basin {basin_id} of level 2.", f"Use its HYBAS_ID, such as {near}.")
    settings = _fetch_settings(base)
    files = remote_files(HYDROBASINS, settings, basin_ids=[basin_id])
    if fetch:
        store.fetch(files, settings, limited=True)
    if not all(store.state(file, settings).complete for file in files):
        raise InputError(
            f"The polygon of basin {basin_id} is not at hand: {settings.path} lacks HydroBASINS of its region.",
            "Run `headwater fetch hydrobasins`, allow it with --fetch, or give a file with --polygons.",
        )
    return Area(basin_id, basin_polygon([store.path_of(file, settings) for file in files], basin_id))


def check_folder(folder: Path) -> None:
    """Refuse a folder that a project cannot be written to, or whose name programs would misread.

    Raises
    ------
    InputError
        It is a file or read-only, or its name has braces, control characters or a bad beginning.
    """
    path = folder.absolute()
    for name in (str(path), path.name):
        if name and (re.fullmatch(FILE_NAME, name) is None or not _is_text(name)):
            raise InputError(
                f"The folder {str(path)!a} has a name that the workflow cannot use.",
                "Use a name without braces and control characters, and without -, ~ or a space at its beginning.",
            )
    existing = next(each for each in (path, *path.parents) if os.path.lexists(each))
    if not existing.is_dir():
        raise InputError(f"{existing} is not a folder.", "Name a folder that does not exist yet.")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise InputError(f"{existing} is read-only.", "Name a folder in one that can be written.")


def summary_lines(folder: Path, area: Area, cells: Sequence[Cell], config: Config) -> list[str]:
    """Return what a project is, what its run costs, and what it lacks; its files are there.

    Parameters
    ----------
    folder : Path
        The project.
    area : Area
        Its area.
    cells : sequence of Cell
        Cells of the area.
    config : Config
        Its configuration, with paths from the current folder.
    """
    cost = basin_cost(cells, margin_px=config.grid.margin_px, published=config.is_published)
    lines = [area.note] if area.note else []
    lines += [
        f"Area {area.basin_id}: {area_km2(area.polygon):,.0f} km2, {len(cells)} cell{'s' * (len(cells) > 1)}"
        f" of {config.grid.cell_degrees:g} degrees.",
        f"Estimated cost: {describe_cost(cost)}; {free_bytes(folder) / 1e9:,.0f} GB are free. {_time_line(cost)}",
    ]
    return [*lines, *_backbone_lines(area, config, folder), *(f"Missing: {text}" for text in _missing(config))]


def _time_line(cost: Cost) -> str:
    cores, gpus = os.cpu_count() or 1, int(shutil.which("nvidia-smi") is not None)
    cpu_hours = (cost.cpu_hours + (0 if gpus else cost.predict_cpu_hours)) / cores
    hours = max(
        cpu_hours, cost.gpu_hours if gpus else 0, (cost.sentinel2_gb + cost.dem_gb) * 1000 / ASSUMED_MB_S / 3600
    )
    here = f"{cores} cores" + (" and a GPU" if gpus else "")
    return f"About {format_duration(hours * 3600)} with {here} and {ASSUMED_MB_S:g} MB/s."


def _backbone_lines(area: Area, config: Config, folder: Path) -> Iterator[str]:
    """Yield which backbone a run will make, and what it will fetch for it."""
    try:
        choice = choose_backbone(
            area.basin_id,
            config.backbone,
            config.fetch,
            pin=folder / "no pin yet",
            keeps_pin=False,
            polygons=[folder / AREA_NAME],
            budget_bytes=config.fetch.max_gb * 1e9,
        )
    except InputError as error:
        yield f"Missing: the backbone. {error.cause} {error.remedy}"
        return
    yield f"Backbone: {choice.kind}" + (f", because {choice.why}." if choice.why else ".")
    announced = store.announcement(choice.fetched, config.fetch)
    if announced:
        yield announced[0].upper() + announced[1:]
    if is_area(area.basin_id) and choice.kind != "tdx":
        yield (
            f"Elevation is read up to {BUFFER_KM:g} km around the area; rivers from farther away are marked"
            " (upstream_cut)."
        )


def _missing(config: Config) -> Iterator[str]:
    for word in missing_weights(config):
        yield f"the weights {word} (`headwater models fetch {word}`)."
    if not config.is_published and config.predict.checkpoint is None:
        yield (
            "weights for the real world. Those that come with Headwater were trained on generated landscapes; run"
            " `headwater models fetch waternet` and set predict.checkpoint to waternet (docs/how-to/fetch.md)."
        )


def _fetch_settings(base: Path | None) -> FetchSettings:
    """Return the section fetch of another configuration, with paths from the current folder."""
    given = read_config(base, run_folder=Path.cwd()).get("fetch") if base is not None and base.is_file() else None
    return FetchSettings(**given) if isinstance(given, Mapping) else FetchSettings()


def _fetch_section(base: Any, folder: Path, *, fetch: bool) -> dict[str, Any]:
    """Return the section fetch: whether the run may download what it lacks, and the data folder."""
    section = dict(base) if isinstance(base, Mapping) else {"enabled": bool(base)}
    section |= {"enabled": True} if fetch else {}
    if "folder" not in section and not os.environ.get(FOLDER_VARIABLE):
        # That of the commands which are called here; projects side by side share it.
        section["folder"] = os.path.relpath(DEFAULT_FOLDER, folder)
    return section


def _read_base(path: Path, folder: Path) -> dict[str, Any]:
    """Return the checked configuration of another run, with its paths as a run in the project's folder sees them."""
    if not path.is_file():
        raise InputError(f"{path} does not exist.", "Give --base a configuration, such as config/demo.yaml.")
    refuse_repeated_keys([path])
    values = read_config(path, run_folder=Path.cwd())
    check_base(values, path)
    return paths_begin_in(Path.cwd(), values, run_folder=folder)


def _catalog(given: str, base: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    if is_place(given):
        # Refuses what no kind of catalog is, without a request.
        make_provider(given)
        given = paths_begin_in(Path.cwd(), {"catalog": {"url": given}}, run_folder=folder)["catalog"]["url"]
    return chosen_catalog(given, base)


def _backbone(
    kind: str | None, base: Mapping[str, Any], given: Mapping[str, Any], area: Area, folder: Path
) -> dict[str, Any]:
    section = with_kind(base, kind or base.get("kind") or default_backbone())
    if not needs_regions(section) or area.basin_id in tdx_header_numbers():
        return section
    basins = given.get("basins")
    named = basins.get("polygons") if isinstance(basins, Mapping) else None
    if named is None:
        return section
    files = [folder / name for name in ([named] if isinstance(named, str) else named)]
    table = read_basins(files)
    if area.basin_id in set(table["basin_id"]):
        return section
    shapes = shapely.make_valid(table.geometry.to_numpy())
    shared = shapely.area(shapely.intersection(shapes, area.polygon)) > 0
    return backbone_of_area(section, table["basin_id"][shared])


def _cells(area: Area, degrees: float, *, limit: int, yes: bool) -> tuple[list[Cell], int | None]:
    """Return the cells of an area, and how many must be confirmed in the configuration, None if they are few."""
    count, cells = int(area.polygon.area / degrees**2), []
    if count <= limit or yes:
        cells = cells_intersecting(area.polygon, degrees)
        count = len(cells)
    if count <= limit:
        return cells, None
    if not yes:
        middle = area.polygon.representative_point()
        example = Cell(int(middle.y // degrees), int(middle.x // degrees), degrees)
        cost = basin_cost([example], margin_px=default_of(GridSettings, "margin_px")).times(count)
        raise InputError(
            f"The area has {count:,} cells of {degrees:g} degrees, more than {limit:,}: {describe_cost(cost)}.",
            "Check its edges; --yes makes the project nevertheless.",
        )
    return cells, count


def _write(folder: Path, text: str, area: Area) -> bool:
    """Write both files of a project, or neither; return whether they were written or were there before."""
    config, polygon = folder / CONFIG_NAME, folder / AREA_NAME
    if os.path.lexists(config) or os.path.lexists(polygon):
        same = (not config.exists() or config.read_bytes() == text.encode()) and _is_area(polygon, area)
        if not same:
            raise InputError(
                f"{folder} contains another project, and nothing was changed.",
                f"Use another folder, or edit {config} yourself.",
            )
        return write_if_changed(config, text.encode())
    if folder.exists():
        with _removed_on_failure(polygon):
            with atomic_path(polygon) as temporary:
                _write_area(temporary, area)
            write_if_changed(config, text.encode())
        return True
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        made.chmod(0o755)
        _write_area(made / AREA_NAME, area)
        (made / CONFIG_NAME).write_bytes(text.encode())
        made.rename(folder)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    return True


@contextmanager
def _removed_on_failure(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _write_area(path: Path, area: Area) -> None:
    import geopandas as gpd

    table = gpd.GeoDataFrame({HYDROBASINS_ID: [area.basin_id]}, geometry=[area.polygon], crs=CRS)
    table.to_file(path, driver="GPKG", layer="area")


def _is_area(path: Path, area: Area) -> bool:
    try:
        found = basin_polygon([path], area.basin_id)
    except InputError:
        return False
    return bool(shapely.equals(found, area.polygon))


def _area(polygon: BaseGeometry) -> Area:
    return Area(area_id(polygon), polygon)


def _cell_sizes() -> tuple[float, ...]:
    extra = GridSettings.model_fields["cell_degrees"].json_schema_extra
    assert isinstance(extra, dict)
    choices = extra["choices"]
    assert isinstance(choices, list)
    return tuple(float(str(choice)) for choice in choices)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
