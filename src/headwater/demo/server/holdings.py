"""What the demo catalogue holds: the items, collections and files of planet folders side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from headwater.core.errors import InputError
from headwater.stac.item_folder import read_item

Item = dict[str, Any]

STAC_VERSION = "1.0.0"
_WORLD = {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}}


@dataclass(frozen=True)
class Holdings:
    """Items, collections and files of all folders."""

    items: dict[tuple[str, str], Item] = field(default_factory=dict)
    """By collection and id; assets that are files hold their name under /assets/."""
    collections: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, tuple[Path, str]] = field(default_factory=dict)
    """Path and collection by the name under /assets/."""


def read_folders(folders: Sequence[Path]) -> Holdings:
    """Read the items and collections of planet folders.

    Raises
    ------
    InputError
        A folder holds no items, an item's file lies outside its folder, or two folders hold the same item.
    """
    catalogue = Holdings()
    names: set[str] = set()
    for folder in folders:
        name = _folder_name(folder)
        while name in names:
            name += "-again"
        names.add(name)
        paths = sorted((folder / "stac").glob("*/*.json"))
        if not paths:
            raise InputError(
                f"{folder} holds no items (stac/<collection>/*.json).", "Give the folder of a demo planet."
            )
        for path in paths:
            item = read_item(path)
            key = (item["collection"], item["id"])
            if key in catalogue.items:
                raise InputError(f"Two folders hold the item {key[1]} of {key[0]}.", "Serve them on two ports.")
            catalogue.items[key] = _with_asset_names(item, folder, name, catalogue.files)
            catalogue.collections.setdefault(key[0], _collection(folder, key[0]))
    return catalogue


def _folder_name(folder: Path) -> str:
    """Return the part of asset addresses that keeps folders apart: the planet's basin, else the folder's name."""
    try:
        basin = json.loads((folder / "planet.json").read_bytes())["basin_id"]
    except (OSError, ValueError, KeyError, TypeError):
        basin = folder.resolve().name
    return quote(str(basin), safe="")


def _with_asset_names(item: Item, folder: Path, name: str, files: dict[str, tuple[Path, str]]) -> Item:
    root = folder.resolve()
    assets = {}
    for key, asset in item["assets"].items():
        href = str(asset["href"])
        if "://" not in href:
            path = (root / href).resolve()
            if not path.is_relative_to(root):
                raise InputError(f"The asset {href} of {item['id']} lies outside {folder}.", "Move it into the folder.")
            href = f"/assets/{name}/{quote(path.relative_to(root).as_posix().removeprefix('assets/'))}"
            files[href] = (path, item["collection"])
        assets[key] = {**asset, "href": href}
    return {**item, "assets": assets}


def _collection(folder: Path, collection: str) -> dict[str, Any]:
    try:
        document = json.loads((folder / "stac" / f"{collection}.collection.json").read_bytes())
    except FileNotFoundError:
        document = {"description": f"Items of {collection}."}
    except ValueError as error:
        raise InputError(
            f"The document of collection {collection} in {folder} is not JSON.", "Write it again."
        ) from error
    needed = {"type": "Collection", "id": collection, "stac_version": STAC_VERSION}
    return {"license": "other", "extent": _WORLD, **document, **needed}
