"""Which backbone a basin gets: what `backbone.kind: auto` means, and where the files of TDX-Hydro are.

`auto` is decided from the configuration and from what is on disk, without asking any server, so that all processes of a
run decide alike. When a run begins, the choice is written into the results folder. It stays as long as the basin's
reaches.parquet is there: whatever appears on disk, or disappears, changes no finished backbone.
"""

from __future__ import annotations

import glob
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwater.core.errors import InputError, WorkError
from headwater.core.files import read_json, write_json
from headwater.fetch import store
from headwater.fetch.settings import FetchSettings
from headwater.fetch.sizes import gigabytes
from headwater.fetch.sources import HYDROBASINS, TDX_HYDRO, RemoteFile, is_region, remote_files
from headwater.geo.basins import file_for_basin, is_area
from headwater.waterways.settings import BackboneSettings


@dataclass(frozen=True)
class BackboneChoice:
    """The backbone of one basin."""

    kind: str
    """tdx or dem (or another that the configuration names)."""
    why: str = ""
    """Clause that explains it, for `auto`; "" where the configuration says so."""
    streams: tuple[str, ...] = ()
    """Files of streams, for tdx."""
    catchments: tuple[str, ...] = ()
    """Files of catchments, for tdx."""
    regions: tuple[str, ...] = ()
    """Regions of TDX-Hydro whose files these are, for tdx."""
    fetched: tuple[RemoteFile, ...] = ()
    """The same as files of the data folder; none where the configuration names its own."""

    @property
    def options(self) -> str:
        """The files as options of the step backbone, quoted."""
        words = ["--streams", *self.streams, "--catchments", *self.catchments]
        return shlex.join(words) if self.streams else ""


def choose_backbone(
    basin: str,
    backbone: BackboneSettings,
    fetch: FetchSettings,
    *,
    pin: Path,
    keeps_pin: bool,
    polygons: Sequence[Path] = (),
    budget_bytes: float = 0.0,
) -> BackboneChoice:
    """Return the backbone of a basin; reads only.

    Parameters
    ----------
    basin : str
        HYBAS_ID, or the id of an area.
    backbone : BackboneSettings
        Kind, patterns, and regions.
    fetch : FetchSettings
        Data folder, and whether it may be added to.
    pin : Path
        File in which an earlier run noted its choice.
    keeps_pin : bool
        Whether that choice stays.
    polygons : sequence of Path
        Files with the basin's polygon, to find the regions of an area.
    budget_bytes : float
        Bytes that `auto` may let the run fetch.

    Raises
    ------
    InputError
        The kind is tdx, and its files are not there and may not be fetched; or a pattern matches several files.
    """
    if backbone.kind == "tdx":
        return _tdx(_regions(basin, backbone, fetch, polygons), backbone, fetch)
    if backbone.kind != "auto":
        return BackboneChoice(backbone.kind)
    pinned = _pinned(pin) if keeps_pin else None
    if pinned is not None:
        return _as_pinned(pinned, backbone, fetch, pin)
    try:
        regions = _regions(basin, backbone, fetch, polygons)
    except NoRegion as error:
        return BackboneChoice("dem", error.cause.rstrip("."))
    return _decide(regions, backbone, fetch, budget_bytes)


def _decide(
    regions: Sequence[str], backbone: BackboneSettings, fetch: FetchSettings, budget_bytes: float
) -> BackboneChoice:
    """Return the choice of `auto` for regions."""
    own = _own_files(regions, backbone)
    if own is not None:
        return BackboneChoice("tdx", f"TDX-Hydro is at hand: {own[0][0]}", *own, tuple(regions))
    files = remote_files(TDX_HYDRO, fetch, basin_ids=regions)
    missing, folder = store.missing_bytes(files, fetch), fetch.path / TDX_HYDRO
    exact = all(store.state(file, fetch).exact for file in files)
    size = f"{'' if exact else 'about '}{gigabytes(missing)}"
    command = f"headwater fetch tdx-hydro --basin {' '.join(regions)}{store.folder_option(fetch)}"
    if all(store.state(file, fetch).complete for file in files):
        return _of_folder(files, fetch, f"TDX-Hydro is at hand in {folder}")
    if not fetch.enabled:
        return BackboneChoice("dem", f"TDX-Hydro is not in {folder}, and fetching is not enabled (`{command}`, {size})")
    if missing > fetch.max_gb * 1e9:
        return BackboneChoice(
            "dem", f"to fetch TDX-Hydro is {size}, more than fetch.max_gb ({fetch.max_gb:g}); `{command}` does it"
        )
    if missing > budget_bytes:
        return BackboneChoice(
            "dem", f"to fetch TDX-Hydro is {size}, and the run fetches other files within fetch.max_gb"
        )
    return _of_folder(files, fetch, f"TDX-Hydro is fetched, {size}")


def ask_sizes(basin: str, backbone: BackboneSettings, fetch: FetchSettings, *, polygons: Sequence[Path] = ()) -> None:
    """Ask how large the TDX-Hydro files are that a basin may need, where that is not known, and note the answers."""
    if backbone.kind not in ("tdx", "auto"):
        return
    try:
        regions = _regions(basin, backbone, fetch, polygons)
    except NoRegion:
        return
    if _own_files(regions, backbone) is None:
        store.ask_sizes(remote_files(TDX_HYDRO, fetch, basin_ids=regions), fetch)


def write_pin(pin: Path, choice: BackboneChoice) -> None:
    """Note the choice of a run."""
    lists = {name: list(getattr(choice, name)) for name in ("regions", "streams", "catchments")}
    write_json(pin, {"kind": choice.kind, "fetched": bool(choice.fetched), **lists}, sealed=True)


def _pinned(pin: Path) -> dict[str, Any] | None:
    """Return what an earlier run noted, None if none did."""
    if not pin.is_file():
        return None
    try:
        noted = read_json(pin)
        lists = {name: tuple(map(str, noted[name])) for name in ("regions", "streams", "catchments")}
        return {"kind": str(noted["kind"]), "fetched": bool(noted["fetched"]), **lists}
    except (InputError, WorkError, KeyError, TypeError):
        return None


def _as_pinned(noted: dict[str, Any], backbone: BackboneSettings, fetch: FetchSettings, pin: Path) -> BackboneChoice:
    why = (
        f"as the basin's backbone was made; to decide anew, delete {pin} and the basin's reaches.parquet, or set"
        " backbone.kind"
    )
    if noted["kind"] != "tdx":
        return BackboneChoice(noted["kind"], why)
    if noted["fetched"]:
        return _of_folder(remote_files(TDX_HYDRO, fetch, basin_ids=noted["regions"]), fetch, why)
    return BackboneChoice("tdx", why, noted["streams"], noted["catchments"], noted["regions"])


def _tdx(regions: Sequence[str], backbone: BackboneSettings, fetch: FetchSettings) -> BackboneChoice:
    """Return TDX-Hydro's files: those that the patterns name, else those of the data folder."""
    if backbone.streams and backbone.catchments:
        streams, catchments = (
            tuple(str(file_for_basin(pattern, region)) for region in regions)
            for pattern in (backbone.streams, backbone.catchments)
        )
        return BackboneChoice("tdx", "", streams, catchments, tuple(regions))
    files = remote_files(TDX_HYDRO, fetch, basin_ids=regions)
    if not fetch.enabled:
        store.refuse_absent(files, fetch, "backbone.kind: tdx")
    return _of_folder(files, fetch, "")


def _of_folder(files: Sequence[RemoteFile], fetch: FetchSettings, why: str) -> BackboneChoice:
    paths = [str(store.path_of(file, fetch)) for file in files]
    # The table of sources has streams first, then catchments, for each region.
    regions = tuple(dict.fromkeys(str(file.region) for file in files))
    return BackboneChoice("tdx", why, tuple(paths[::2]), tuple(paths[1::2]), regions, tuple(files))


def _own_files(regions: Sequence[str], backbone: BackboneSettings) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Return the files that match the patterns, None if not all regions have them.

    Raises
    ------
    InputError
        Several files match.
    """
    found: list[tuple[str, ...]] = []
    for pattern in (backbone.streams, backbone.catchments):
        if not pattern:
            return None
        names = [pattern.replace("{basin_id}", region) for region in regions]
        if not all(Path(name).is_file() or glob.glob(name) for name in names):  # noqa: PTH207  may be absolute
            return None
        found.append(tuple(str(file_for_basin(pattern, region)) for region in regions))
    return found[0], found[1]


class NoRegion(InputError):
    """An area whose regions of TDX-Hydro are not known."""


def _regions(basin: str, backbone: BackboneSettings, fetch: FetchSettings, polygons: Sequence[Path]) -> tuple[str, ...]:
    """Return the regions of TDX-Hydro that a basin is in.

    Raises
    ------
    NoRegion
        They are not known.
    """
    if backbone.regions:
        return backbone.regions
    # An area has no files of its own id, but may have one file for all.
    named = backbone.kind == "tdx" and backbone.streams and not (is_area(basin) and "{basin_id}" in backbone.streams)
    own = named or _own_files((basin,), backbone) is not None
    if own or is_region(basin) or (fetch.addresses_of(TDX_HYDRO) and basin.isdecimal()):
        return (basin,)
    files = [file for file in remote_files(HYDROBASINS, fetch) if store.state(file, fetch).complete]
    if not files:
        raise NoRegion(
            f"{basin} is no region of TDX-Hydro, and without HydroBASINS in {fetch.path / HYDROBASINS} its regions are"
            " not known (`headwater fetch hydrobasins`).",
            "Name them in backbone.regions, or set backbone.kind to dem.",
        )
    regions = regions_of_area(basin, polygons, [store.path_of(file, fetch) for file in files])
    if not regions:
        raise NoRegion(
            f"{basin} meets no region of the HydroBASINS files in {fetch.path / HYDROBASINS}.",
            "Fetch HydroBASINS of its continent, or set backbone.kind to dem.",
        )
    return regions


def regions_of_area(basin: str, polygons: Sequence[Path], hydrobasins: Sequence[Path]) -> tuple[str, ...]:
    """Return the regions of TDX-Hydro that the polygon of a basin meets, sorted.

    Parameters
    ----------
    basin : str
        Its id in `polygons`.
    polygons, hydrobasins : sequence of Path
        Files of the basin's polygon, and of HydroBASINS level 2.
    """
    import shapely

    from headwater.geo.basins import basin_polygon, read_basins

    area = basin_polygon(polygons, basin)
    table = read_basins(hydrobasins)
    shapes = shapely.make_valid(table.geometry.to_numpy())
    meets = shapely.area(shapely.intersection(shapes, area)) > 0
    return tuple(sorted(region for region in table["basin_id"][meets] if is_region(region)))
