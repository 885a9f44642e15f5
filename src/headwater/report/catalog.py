"""catalog: a static STAC catalog of all results, and a page with a map of their basins.

A collection holds what one configuration made: an item for each basin, for each of its cells, and for the weights. A
run writes the collection of its configuration; those of others stay as they are, without the basins that this run made
and those whose results are gone.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import pystac
from jinja2 import Environment, StrictUndefined
from pystac.extensions.scientific import ScientificExtension

from headwater.core.errors import InputError
from headwater.core.files import read_json, write_if_changed
from headwater.core.terms import Terms
from headwater.geo.grid import Bounds
from headwater.geo.longitudes import enclosing_box
from headwater.geo.parquet import read_terms
from headwater.geo.plan import read_plan
from headwater.models.checkpoint import load_metadata
from headwater.report.stac_items import basin_item, cell_item, dates_of, span, spdx, weights_item
from headwater.waterways.network.columns import COLUMNS

CATALOG_ID = "headwater"
_TITLE = "Waterways by Headwater"
_PROVIDERS = {
    "Sentinel": ("European Union, Copernicus", "https://dataspace.copernicus.eu"),
    "Copernicus DEM": ("European Space Agency, Copernicus DEM", "https://dataspace.copernicus.eu"),
    "TDX-Hydro": ("National Geospatial-Intelligence Agency", "https://earth-info.nga.mil"),
    "HydroBASINS": ("HydroSHEDS", "https://www.hydrosheds.org"),
}
"""Producers by a word of the notice that their data ask for (`headwater.core.notices`)."""


def catalog(
    results: Path, basins: Sequence[str], out: Path, *, collection_id: str, checkpoints: Sequence[Path] = ()
) -> None:
    """Write catalog.json, its collections and items, and index.html, all next to each other.

    Parameters
    ----------
    results : Path
        Results folder.
    basins : sequence of str
        Basins of this run.
    out : Path
        catalog.json; the rest is in its folder.
    collection_id : str
        Identifies the configuration.
    checkpoints : sequence of Path
        Weights of this run, which are copied into the collection; none with published rasters.

    Raises
    ------
    InputError
        A basin has no network or no plan.
    """
    folder = out.parent
    own = folder / collection_id
    made = {basin: list(_items_of_basin(results / basin)) for basin in basins}
    _write_collection(own, made, _terms(results, basins), checkpoints)
    for other in sorted(path.parent for path in folder.glob("*/collection.json") if path.parent != own):
        _keep_others(other, results, set(basins))
    collections = sorted(folder.glob("*/collection.json"))
    root = {
        "type": "Catalog",
        "id": CATALOG_ID,
        "stac_version": pystac.get_stac_version(),
        "title": _TITLE,
        "description": "Results of Headwater: a collection for each configuration, an item for each basin and cell.",
        "links": [
            _link("root", "catalog.json"),
            *(_link("child", f"{path.parent.name}/collection.json") for path in collections),
        ],
    }
    write_if_changed(folder / "index.html", _page(collections, folder).encode())
    write_if_changed(out, _text(root))


def _items_of_basin(folder: Path) -> Iterator[pystac.Item]:
    """Yield the items of a basin: its own first."""
    network = folder / "waterways.parquet"
    if not network.is_file():
        raise InputError(f"{network} does not exist.", "Run the step network of this basin first.")
    plan, terms = read_plan(folder / "plan.json"), read_terms(network)
    columns = [{"name": column.name, "type": column.dtype, "description": column.comment} for column in COLUMNS]
    yield basin_item(folder, plan, columns, {**_facts(folder), **_properties(terms)})
    for cell in plan.cells:
        yield cell_item(folder, plan, cell.name)


def _facts(folder: Path) -> dict[str, Any]:
    """Return segments and lengths in km, from summary.csv."""
    rows: list[dict[str, str]] = []
    if (folder / "summary.csv").is_file():
        rows = list(csv.DictReader((folder / "summary.csv").read_text().splitlines()))
    total = {
        source: round(sum(float(row["length_km"]) for row in rows if row["source"] == source), 3)
        for source in ("backbone", "new")
    }
    return {
        "headwater:segments": sum(int(row["segments"]) for row in rows),
        **{f"headwater:{source}_km": km for source, km in total.items()},
    }


def _properties(terms: Terms) -> dict[str, str]:
    """Return terms of use as properties of an item; STAC has no field for notices and warnings."""
    return {f"headwater:{key}": text for key, text in terms.tags().items() if key != "license"}


def _terms(results: Path, basins: Sequence[str]) -> Terms:
    return Terms.union(read_terms(results / basin / "waterways.parquet") for basin in basins)


def _write_collection(
    folder: Path, made: Mapping[str, Sequence[pystac.Item]], terms: Terms, checkpoints: Sequence[Path]
) -> None:
    items = [item for group in made.values() for item in group]
    box = enclosing_box([_box(item.bbox or ()) for item in items])
    dates = span([dates_of(item) for item in items])
    for basin, group in made.items():
        for item in group:
            _write_item(folder / basin / f"{item.id}.json", item, folder)
        _remove_others(folder / basin, {f"{item.id}.json" for item in group})
    kept = set()
    for path in checkpoints:
        weights = {"weights": folder / "weights" / path.name, "metadata": folder / "weights" / f"{path.stem}.json"}
        for source, copy in zip((path, path.with_suffix(".json")), weights.values(), strict=True):
            write_if_changed(copy, source.read_bytes())
        item = weights_item(load_metadata(path), path.stem, weights, box, dates)
        _write_item(folder / "weights" / f"{item.id}.json", item, folder)
        kept |= {f"{item.id}.json", *(copy.name for copy in weights.values())}
    _remove_others(folder / "weights", kept)
    _write_collection_file(folder, terms)


def _write_item(path: Path, item: pystac.Item, collection: Path) -> None:
    """Write an item with addresses relative to its file, and its links in the catalog."""
    for asset in item.assets.values():
        asset.href = _relative(Path(asset.href), path.parent)
    item.collection_id = collection.name
    content = item.to_dict(include_self_link=False, transform_hrefs=False)
    content["stac_extensions"] = sorted(content["stac_extensions"])
    content["links"] = [
        _link("root", _relative(collection.parent / "catalog.json", path.parent)),
        _link("parent", _relative(collection / "collection.json", path.parent)),
        _link("collection", _relative(collection / "collection.json", path.parent)),
    ]
    write_if_changed(path, _text(content))


def _write_collection_file(folder: Path, terms: Terms | None) -> None:
    """Write collection.json of the items in its folder; `terms` are those of an earlier file if not given."""
    members = sorted(folder.glob("*/*.json"))
    items = [(path, content) for path in members if (content := read_json(path)).get("type") == "Feature"]
    boxes = [_box(content["bbox"]) for _, content in items]
    starts = min(content["properties"]["start_datetime"] for _, content in items)
    ends = max(content["properties"]["end_datetime"] for _, content in items)
    path = folder / "collection.json"
    described = read_json(path) if terms is None else _described(folder.name, terms)
    content = {
        **described,
        "extent": {"spatial": {"bbox": [list(enclosing_box(boxes))]}, "temporal": {"interval": [[starts, ends]]}},
        "links": [
            _link("root", "../catalog.json"),
            _link("parent", "../catalog.json"),
            *(_link("item", _relative(each, folder)) for each, _ in items),
        ],
    }
    write_if_changed(path, _text(content))


def _described(name: str, terms: Terms) -> dict[str, Any]:
    """Return a collection without extent and links."""
    licenses = [spdx(text) for text in terms.license]
    about = ["Networks of waterways, and the rasters they were drawn from, made with one configuration."]
    about += [*terms.attribution, *terms.warning, *(f"License of what went in: {text}." for text in terms.license)]
    producers = [
        {"name": name, "roles": ["producer", "licensor"], "url": url}
        for word, (name, url) in _PROVIDERS.items()
        if any(word in notice for notice in terms.attribution)
    ]
    return {
        "type": "Collection",
        "id": name,
        "stac_version": pystac.get_stac_version(),
        "stac_extensions": [ScientificExtension.get_schema_uri()] if terms.citation else [],
        "title": f"{_TITLE}, configuration {name}",
        "description": "\n\n".join(about),
        "keywords": ["hydrology", "waterways", "sentinel-2"],
        "license": licenses[0] if len(set(licenses)) == 1 else "other",
        "providers": [
            *producers,
            {"name": "Headwater", "roles": ["processor"]},
        ],
        **({"sci:citation": "; ".join(terms.citation)} if terms.citation else {}),
    }


def _keep_others(folder: Path, results: Path, remade: set[str]) -> None:
    """Remove basins that were made again, or are gone, from the collection of another configuration."""
    basins = [path for path in folder.iterdir() if path.is_dir() and path.name != "weights"]
    for path in basins:
        if path.name in remade or not (results / path.name / "waterways.parquet").is_file():
            shutil.rmtree(path)
    if any(path.is_dir() for path in basins):
        _write_collection_file(folder, None)
    else:
        shutil.rmtree(folder)


def _remove_others(folder: Path, kept: set[str]) -> None:
    """Remove what an earlier catalog wrote into a folder and this one does not."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name not in kept:
            path.unlink()
    if folder.is_dir() and not kept:
        folder.rmdir()


def _box(sides: Sequence[float]) -> Bounds:
    west, south, east, north = sides
    return (west, south, east, north)


def _link(relation: str, href: str) -> dict[str, str]:
    kind = "application/geo+json" if relation == "item" else "application/json"
    return {"rel": relation, "href": href if href.startswith(".") else f"./{href}", "type": kind}


def _relative(path: Path, folder: Path) -> str:
    relative = Path(os.path.relpath(path, folder)).as_posix()
    return relative if relative.startswith(".") else f"./{relative}"


def _text(value: Any) -> bytes:
    # Not sorted: readers like the order of the standard.
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _page(collections: Sequence[Path], folder: Path) -> str:
    """Return the page: a map of all basins, and a table that leads to their reports."""
    found = [read_json(path) for path in collections]
    rows = []
    for path in collections:
        for file in sorted(path.parent.glob("*/*.json")):
            item = read_json(file)
            properties = item.get("properties", {})
            if "headwater:segments" not in properties:
                continue
            rows.append(
                {
                    "id": item["id"],
                    "collection": path.parent.name,
                    "box": item["bbox"],
                    "km": properties["headwater:backbone_km"] + properties["headwater:new_km"],
                    "new_km": properties["headwater:new_km"],
                    "segments": properties["headwater:segments"],
                    "report": f"../{item['id']}/report/index.html" if "report" in item["assets"] else "",
                    "stac": _relative(file, folder),
                    "paths": _paths(item["geometry"]),
                }
            )
    template = (files("headwater.report") / "templates" / "catalog.html").read_text()
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(template)
    return page.render(rows=rows, view=_view(rows), about=[each["description"] for each in found])


def _paths(geometry: Mapping[str, Any]) -> list[str]:
    """Return polygons as paths of SVG, in degrees, north up."""
    polygons = [geometry["coordinates"]] if geometry["type"] == "Polygon" else geometry["coordinates"]
    return [" ".join(f"M{' L'.join(f'{x:g},{-y:g}' for x, y, *_ in ring)}Z" for ring in rings) for rings in polygons]


def _view(rows: Sequence[Mapping[str, Any]]) -> tuple[float, float, float, float]:
    """Return the part of the world to show, as x, y, width and height of SVG: all basins with a margin."""
    west, south, east, north = enclosing_box([_box(row["box"]) for row in rows])
    if west > east:
        west, east = -180.0, 180.0
    margin = max(0.25 * max(east - west, north - south), 0.5)
    return (west - margin, -north - margin, east - west + 2 * margin, north - south + 2 * margin)
