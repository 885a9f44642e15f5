"""STAC GeoParquet as a catalog: an index on disk of which only the rows that may match are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from headwater.core.errors import InputError
from headwater.stac.items import with_absolute_paths
from headwater.stac.pinned_items import pinned_item
from headwater.stac.pins import PINNED_COLUMNS, iter_items, rows_touching
from headwater.stac.query import Link, Page, Query, RequestLimits, answers
from headwater.stac.validation import item_defect, sanitize_for_log

_PAGE_ITEMS = 1000


def table_files(path: Path) -> list[Path]:
    """Return the .parquet files of a path: itself, or those in the folder and its subfolders."""
    if path.is_dir():
        return sorted(file for file in path.rglob("*.parquet") if not file.name.startswith((".", "_")))
    return [path] if path.suffix == ".parquet" and path.is_file() else []


class ItemTable:
    """A STAC GeoParquet file, or a folder of them, whose relative addresses start at the folder of the file."""

    remote = False

    def __init__(self, path: Path) -> None:
        self._files = table_files(path)

    @staticmethod
    def recognizes(url: str) -> bool:
        """Whether a path is a .parquet file or a folder with some."""
        return bool(table_files(Path(url)))

    @classmethod
    def open(cls, url: str, limits: RequestLimits) -> ItemTable:
        """Return the catalog in a file or folder."""
        return cls(Path(url))

    def pages(self, query: Query, after: Link | None = None) -> Iterator[Page]:
        """See `headwater.stac.query.Provider`."""
        for file in self._files:
            for page in _pages(file, query.collection, _rows(file, query)):
                yield Page([item for item in page.items if answers(item, query)], page.left_out)

    def by_ids(self, collection: str, ids: Sequence[str]) -> Iterator[Page]:
        """See `headwater.stac.query.Provider`."""
        rows = (pc.field("collection") == collection) & pc.field("id").isin(pa.array(ids, pa.string()))
        for file in self._files:
            if _schema(file) is not None:
                yield from _pages(file, collection, rows)

    def give_up(self) -> None:
        """See `headwater.stac.query.Provider`."""


def _pages(file: Path, collection: str, rows: pc.Expression | None) -> Iterator[Page]:
    if rows is None:
        return
    found = iter_items(file, filter=rows, columns=PINNED_COLUMNS)
    while some := list(islice(found, _PAGE_ITEMS)):
        items, left_out = [], []
        for item in some:
            defect = item_defect(item, collection)
            if defect is None:
                items.append(with_absolute_paths(pinned_item(item), file.parent))
            else:
                left_out.append((sanitize_for_log(item.get("id")), defect))
        yield Page(items, left_out)


def _rows(file: Path, query: Query) -> pc.Expression | None:
    """Return a filter for the rows that may match, which Parquet's statistics can evaluate; None if none can."""
    schema = _schema(file)
    if schema is None:
        return None
    rows = pc.field("collection") == query.collection
    touching = rows_touching(schema, query.box)
    if touching is not None:
        rows &= touching
    if query.interval is not None and pa.types.is_timestamp(schema.field("datetime").type):
        time, start, end = pc.field("datetime"), query.interval.start, query.interval.end
        if start is not None:
            rows &= time.is_null() | (time >= pa.scalar(start))
        if end is not None:
            rows &= time.is_null() | (time <= pa.scalar(end))
    return rows


def _schema(file: Path) -> pa.Schema | None:
    """Return the columns of a file of items; None for one without collections.

    Raises
    ------
    InputError
        The file is not STAC GeoParquet.
    """
    try:
        schema = pq.read_schema(file)
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{file} is not a readable Parquet file ({type(error).__name__}).", "Remove it or write it again."
        ) from None
    missing = {"id", "geometry", "bbox", "datetime", "assets"} - set(schema.names)
    if missing:
        raise InputError(
            f"{file} is not STAC GeoParquet: it has no column {', '.join(sorted(missing))}.",
            "Remove it or write it again.",
        )
    return schema if "collection" in schema.names else None
