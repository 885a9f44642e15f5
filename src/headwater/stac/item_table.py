"""STAC GeoParquet as a catalog: an index on disk of which only the rows that may match are read."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from functools import reduce
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from headwater.core.errors import InputError
from headwater.geo.longitudes import Box
from headwater.stac.foreign_rows import collection_of_file
from headwater.stac.intervals import Interval
from headwater.stac.items import with_absolute_paths
from headwater.stac.pinned_items import pinned_item
from headwater.stac.pins import check_items_schema, is_own_schema, iter_items, rows_touching
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
            schema = _schema(file)
            if _may_contain(file, schema, query.collection):
                box = None if is_own_schema(schema) else query.box
                for page in _pages(file, query.collection, _rows(schema, query), box):
                    yield Page([item for item in page.items if answers(item, query)], page.left_out)

    def by_ids(self, collection: str, ids: Sequence[str]) -> Iterator[Page]:
        """See `headwater.stac.query.Provider`."""
        wanted = set(ids)
        for file in self._files:
            schema = _schema(file)
            if _may_contain(file, schema, collection):
                for page in _pages(file, collection, _collection_rows(schema, collection), None):
                    yield Page([item for item in page.items if item["id"] in wanted])

    def give_up(self) -> None:
        """See `headwater.stac.query.Provider`."""


def _pages(file: Path, collection: str, rows: pc.Expression | None, box: Box | None) -> Iterator[Page]:
    # A file may hold other collections, of which nothing is reported.
    found = (item for item in iter_items(file, filter=rows, box=box) if item["collection"] == collection)
    while some := list(islice(found, _PAGE_ITEMS)):
        items, left_out = [], []
        for item in some:
            defect = item_defect(item, collection)
            if defect is None:
                items.append(with_absolute_paths(pinned_item(item), file.parent))
            else:
                left_out.append((sanitize_for_log(item.get("id")), defect))
        yield Page(items, left_out)


def _may_contain(file: Path, schema: pa.Schema, collection: str) -> bool:
    """Whether a file may have items of a collection, by its folder or its metadata.

    Raises
    ------
    InputError
        Nothing names the collection of its items.
    """
    if "collection" in schema.names:
        return True
    named = collection_of_file(file, schema)
    if named is None:
        raise InputError(
            f"{file} does not name the collection of its items.",
            "Add a column 'collection', or put the file into a folder collection=NAME.",
        )
    return named == collection


def _rows(schema: pa.Schema, query: Query) -> pc.Expression | None:
    """Return a filter for the rows that may match, which Parquet's statistics can evaluate; None for all rows.

    Only boxes of our own files are an index: those of others may be wrong, and their geometries decide.
    """
    tests = [_collection_rows(schema, query.collection)]
    if is_own_schema(schema):
        tests.append(rows_touching(schema, query.box))
    if query.interval is not None and "datetime" in schema.names:
        tests += _in_time(schema.field("datetime").type, query.interval)
    known = [test for test in tests if test is not None]
    return reduce(operator.and_, known) if known else None


def _collection_rows(schema: pa.Schema, collection: str) -> pc.Expression | None:
    if "collection" not in schema.names or not pa.types.is_string(schema.field("collection").type):
        return None
    return pc.field("collection") == collection


def _in_time(kind: pa.DataType, interval: Interval) -> list[pc.Expression]:
    if not pa.types.is_timestamp(kind):
        return []
    time, tests = pc.field("datetime"), []
    for end, compare in ((interval.start, operator.ge), (interval.end, operator.le)):
        if end is not None:
            # Without a zone, times are in UTC.
            instant = pa.scalar(end if kind.tz else end.replace(tzinfo=None), pa.timestamp("us", tz=kind.tz))
            tests.append(time.is_null() | compare(time, instant))
    return tests


def _schema(file: Path) -> pa.Schema:
    """Return the columns of a file of items.

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
    check_items_schema(file, schema)
    return schema
