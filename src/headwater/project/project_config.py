"""The configuration of a project folder: its values from what `headwater init` was given, and its text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from headwater.core.errors import InputError
from headwater.project.config import Config, check_config
from headwater.project.config_paths import PATHS_FROM

AREA_NAME = "area.gpkg"
"""File of the area's polygon in a project folder."""
DATETIME = "2023-01-01/2023-12-31"
"""Imagery where nothing else is given: the year of the published map."""
PLANETARY_COMPUTER = "planetary-computer"
_BASIN_ID = "{basin_id}"
_OF_THE_PROJECT = ("results", "basins", "confirm", PATHS_FROM)
"""Keys of another configuration that a project does not take over."""
_TDX_KEYS = ("streams", "catchments", "regions")
_COMMENTS = {
    "": "A project of Headwater, made by `headwater init`. Run it with `headwater run` and the name of this folder, or"
    "\n# from a checkout with `snakemake --cores all --configfile` and this file. Every key, also those that are not"
    "\n# here, is described in docs/reference/configuration.md.",
    PATHS_FROM: "Relative paths begin in the folder of this file.",
    "basins": "The area that is mapped.",
    "grid": "The unit of work; fixed once a run has begun.",
    "max_cells": "Confirmed with --yes: the area has more cells than usual.",
    "catalog": "Where scenes and elevation are found.",
    "search": "First and last day of the imagery.",
    "backbone": "The stream network that new waterways join: tdx reads TDX-Hydro, dem derives it from the elevation,"
    "\n# auto takes tdx where its files are at hand or may be fetched, else dem; none maps found waterways alone.",
    "predict": "The network and its weights; without predict.checkpoint those that come with Headwater, which were"
    "\n# trained on generated landscapes.",
    "fetch": "Whether a run may download the streams, polygons and weights that it lacks, and the folder for them,"
    "\n# which projects may share.",
}


def project_values(
    base: Mapping[str, Any],
    *,
    basin_id: str,
    cell_degrees: float,
    catalog: Mapping[str, Any] | None = None,
    datetime: str | None = None,
    backbone: Mapping[str, Any] | None = None,
    source: str | None = None,
    fetch: Mapping[str, Any],
    max_cells: int | None = None,
) -> dict[str, Any]:
    """Return the configuration of a project, section by section in the order of the data.

    Parameters
    ----------
    base : mapping
        Another configuration, of which every key is taken that the project does not set itself; may be empty.
    basin_id : str
        Id of the one polygon of area.gpkg.
    cell_degrees : float
        Side of a cell, where the base has none.
    catalog, backbone : mapping, optional
        These sections.
    datetime : str, optional
        First and last day of the imagery.
    source : str, optional
        Where the probability comes from.
    fetch : mapping
        This section.
    max_cells : int, optional
        Cells that are confirmed.
    """
    values: dict[str, Any] = {key: value for key, value in base.items() if key not in _OF_THE_PROJECT}
    own: dict[str, Mapping[str, Any]] = {
        "grid": {"cell_degrees": cell_degrees} | _section(base, "grid"),
        "catalog": catalog or _section(base, "catalog") or default_catalog(),
        "search": {"datetime": DATETIME} | _section(base, "search") | ({"datetime": datetime} if datetime else {}),
        "backbone": backbone or _section(base, "backbone") or {"kind": default_backbone()},
    }
    if source is not None:
        own["predict"] = _section(base, "predict") | {"source": source}
    own["fetch"] = fetch
    values |= {PATHS_FROM: "config", "basins": {"polygons": AREA_NAME, "ids": [basin_id]}} | own
    if max_cells is not None:
        values["max_cells"] = max_cells
    # The tables of settings last, in the order of the data.
    order = [PATHS_FROM, "basins", "max_cells", *(name for name in Config.model_fields if name != PATHS_FROM)]
    return {key: values[key] for key in dict.fromkeys([*order, *values]) if key in values}


def project_text(values: Mapping[str, Any]) -> str:
    """Return the configuration as YAML with a comment above each section that has one."""
    parts = [f"# {_COMMENTS['']}\n"]
    for key, value in values.items():
        comment = f"# {_COMMENTS[key]}\n" if key in _COMMENTS else ""
        parts.append(comment + yaml.safe_dump({key: value}, sort_keys=False, allow_unicode=True, width=4096))
    return "\n".join(parts)


def check_base(base: Mapping[str, Any], name: Path) -> None:
    """Refuse a configuration with a key or value that is not allowed; sections that it lacks are not missed.

    Raises
    ------
    InputError
        As `headwater.project.config.check_config`, with the file's name.
    """
    needed = {
        "basins": {"polygons": AREA_NAME, "ids": ["1"]},
        "catalog": default_catalog(),
        "backbone": {"kind": "dem"},
    }
    given = {**needed, "search": {}, **base}
    if isinstance(given["search"], Mapping):
        given["search"] = {"datetime": DATETIME, **given["search"]}
    try:
        check_config(given)
    except InputError as error:
        raise InputError(f"{name}: {error.cause}", error.remedy) from None


def default_catalog() -> dict[str, Any]:
    """Return the section catalog where none is given."""
    return {"preset": PLANETARY_COMPUTER}


def default_backbone() -> str:
    """Return the kind of backbone where none is given."""
    return "auto"


def chosen_catalog(given: str, base: Mapping[str, Any]) -> dict[str, Any]:
    """Return the section catalog for a preset or an address.

    Parameters
    ----------
    given : str
        Name of a preset, address of an API, or path of a folder or file as the project names it. A preset replaces the
        section of the base, an address only its `url`.
    base : mapping
        The section of the base; may be empty.
    """
    if is_place(given):
        return {key: value for key, value in base.items() if key != "preset"} | {"url": given}
    return {"preset": given}


def is_place(catalog: str) -> bool:
    """Return whether a catalog is given by its place rather than by the name of a preset."""
    return "://" in catalog or "/" in catalog or Path(catalog).exists()


def backbone_of_area(backbone: Mapping[str, Any], regions: Iterable[str]) -> dict[str, Any]:
    """Return the section backbone for an area that is no TDX-Hydro region, and whose id its files do not have.

    Parameters
    ----------
    backbone : mapping
        The section, with patterns of files.
    regions : iterable of str
        HYBAS_ID of the regions that the area is in.

    Raises
    ------
    InputError
        It is in none.
    """
    regions = sorted(regions)
    if not regions:
        raise InputError(
            "The area is in none of the basins of the base, so its TDX-Hydro files do not cover it.",
            "Give --backbone dem, or an area in one of these basins.",
        )
    return {**backbone, "regions": regions}


def needs_regions(backbone: Mapping[str, Any]) -> bool:
    """Return whether the files of a backbone are named by the ids of TDX-Hydro regions."""
    named = any(_BASIN_ID in str(backbone.get(key) or "") for key in ("streams", "catchments"))
    return backbone.get("kind") in ("tdx", "auto") and named and not backbone.get("regions")


def with_kind(backbone: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Return the section backbone with another kind, without files that it does not read."""
    unread = () if kind in ("tdx", "auto") else _TDX_KEYS
    return {"kind": kind} | {key: value for key, value in backbone.items() if key not in ("kind", *unread)}


def _section(base: Mapping[str, Any], name: str) -> dict[str, Any]:
    section = base.get(name)
    return dict(section) if isinstance(section, Mapping) else {}
