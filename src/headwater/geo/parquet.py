"""GeoParquet that steps write for each other: pages with checksums and a sealed footer, both checked on reading."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.core.seals import check_seal, damaged, is_result, seal_parquet
from headwater.core.terms import Terms

# Libraries that read tables are imported where they are used: most jobs read none.
if TYPE_CHECKING:
    import geopandas as gpd

WRITE_OPTIONS: dict[str, Any] = {"compression": "zstd", "write_page_checksum": True}
"""Options of pyarrow for every Parquet file of results."""
READ_OPTIONS: dict[str, Any] = {"page_checksum_verification": True}
"""Options of pyarrow to read any Parquet file; pages without a checksum are read too."""


def write_geoparquet(table: gpd.GeoDataFrame, path: Path, *, terms: Terms | None = None, **options: Any) -> None:
    """Write a table as GeoParquet 1.1 with checksums and seal.

    Parameters
    ----------
    table : GeoDataFrame
        Rows to write; the index is left out.
    path : Path
        Temporary path of `atomic_path`.
    terms : Terms, optional
        Terms of use of what it was made of, for its metadata.
    **options
        Of `GeoDataFrame.to_parquet`.
    """
    table.to_parquet(path, schema_version="1.1.0", index=False, **WRITE_OPTIONS, **options)
    if terms is not None and terms.tags():
        _add_metadata(path, terms.tags())
    seal_parquet(path)


def _add_metadata(path: Path, metadata: Mapping[str, str]) -> None:
    """Write a Parquet file again with further metadata: geopandas takes none."""
    import pyarrow.parquet as pq

    # Not read_table, which takes folders named a=b for columns.
    table = pq.ParquetFile(path).read()
    described = table.replace_schema_metadata({**(table.schema.metadata or {}), **metadata})
    pq.write_table(described, path, **WRITE_OPTIONS)


def read_terms(path: Path) -> Terms:
    """Return the terms of use in the metadata of a Parquet file."""
    import pyarrow.parquet as pq

    with sound(path):
        return Terms.of(pq.read_schema(path).metadata or {})


def read_geoparquet(path: Path, **options: Any) -> gpd.GeoDataFrame:
    """Read GeoParquet that a step wrote, or rows and columns of it.

    Parameters
    ----------
    path : Path
        File to read.
    **options
        Of `geopandas.read_parquet`.

    Raises
    ------
    DamagedFile
        The file is in a folder of results, and is not what was written.
    ValueError, OSError
        It is elsewhere and cannot be read.
    """
    import geopandas as gpd

    with sound(path):
        return gpd.read_parquet(path, **READ_OPTIONS, **options)


@contextmanager
def sound(path: Path) -> Iterator[None]:
    """Check the seal of a Parquet file; turn an error of reading it into a `DamagedFile` if a step wrote it."""
    path = Path(path)
    check_seal(path)
    try:
        yield
    except (ValueError, OSError, LookupError, RuntimeError) as error:
        if isinstance(error, FileNotFoundError) or not is_result(path):
            raise
        reason = next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
        raise damaged(path, f"it could not be read ({reason})") from error
