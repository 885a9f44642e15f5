"""Tables of lines and polygons that people give: GeoPackage, GeoParquet, GeoJSON."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from random import Random
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from hostile import place
from hostile.lab import Bench, Input
from hostile.mutation import DAMAGES, NESTED, VALUES, change_json
from hostile.place import Command

READERS: dict[str, Command] = {
    place.STREAMS: place.TDX,
    place.CATCHMENTS: place.TDX,
    place.BASINS: place.PLANNING,
}


def _in(command: Command, file: str, other: str) -> Command:
    return Command(tuple(other if word == file else word for word in command.argv), command.outputs)


def _sql(*statements: str) -> Callable[[Bench, str], None]:
    def run(bench: Bench, file: str) -> None:
        bench.change(file, lambda content: content)
        layer = file.removesuffix(".gpkg")
        connection = sqlite3.connect(bench.work / file)
        connection.create_function("ST_IsEmpty", 1, lambda _: 0)
        for name in ("ST_MinX", "ST_MaxX", "ST_MinY", "ST_MaxY"):
            connection.create_function(name, 1, lambda _: 0.0)
        with connection:
            for statement in statements:
                connection.execute(statement.replace("{layer}", layer))
        connection.close()

    return run


_VIEW = (
    "CREATE TABLE kept AS SELECT * FROM {layer}",
    "DELETE FROM rtree_{layer}_geom",
    "DELETE FROM gpkg_extensions",
    "DROP TABLE {layer}",
)
SQL: dict[str, tuple[str, ...]] = {
    "a view without end": (
        *_VIEW,
        "CREATE VIEW {layer} AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
        " SELECT kept.* FROM n, kept",
    ),
    "a view of a billion rows": (
        *_VIEW,
        "CREATE VIEW {layer} AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000000000)"
        " SELECT kept.* FROM n, kept",
    ),
    "a view of itself": (*_VIEW, "CREATE VIEW {layer} AS SELECT * FROM {layer}"),
    "a huge blob": ("UPDATE {layer} SET geom = zeroblob(100000000) WHERE fid = 1",),
    "a shape of text": ("UPDATE {layer} SET geom = 'x'",),
    "no shapes": ("UPDATE {layer} SET geom = NULL",),
    "another SRS": ("UPDATE gpkg_contents SET srs_id = -1", "UPDATE gpkg_geometry_columns SET srs_id = -1"),
    "no SRS": ("DELETE FROM gpkg_spatial_ref_sys",),
    "SRS of nonsense": ("UPDATE gpkg_spatial_ref_sys SET definition = 'x'",),
    "no contents": ("DELETE FROM gpkg_contents",),
    "a table that is not there": ("UPDATE gpkg_contents SET table_name = 'x'",),
    "a table of a path": ("UPDATE gpkg_contents SET table_name = '../../x'",),
    "no rows": ("DELETE FROM {layer}",),
    "a virtual table": ("UPDATE gpkg_contents SET identifier = 'x' || char(10) || 'y'",),
}
IDS: dict[str, Any] = {
    "10**12": 10**12, "1.5": 1.5, "NaN": float("nan"), "-1": -1, "text": "x", "10**18": 10**18, "line break": "1\n",
    "infinite": float("inf"), "nothing": None, "true": True,
}  # fmt: skip
COLUMNS = {
    place.STREAMS: ("LINKNO", "DSLINKNO", "strmOrder", "DSContArea"),
    place.CATCHMENTS: ("streamID",),
    place.BASINS: ("HYBAS_ID",),
}


def _set_column(bench: Bench, file: str, *, column: str, value: Any) -> None:
    table = gpd.read_file(bench.work / file)
    values = table[column].astype(object)
    values.iloc[0] = value
    bench.replace("table.geojson", b"")
    rows = json.loads(table.assign(**{column: values}).to_json())
    bench.replace(file.replace(".gpkg", ".geojson"), json.dumps(rows).encode())


def _star(vertices: int) -> shapely.Polygon:
    angles = (np.arange(vertices) * (vertices // 2 - 1) % vertices) * 2 * np.pi / vertices
    west, south, east, north = place.CELL.bounds
    return shapely.Polygon(
        np.column_stack([(west + east) / 2 + 0.02 * np.cos(angles), (south + north) / 2 + 0.02 * np.sin(angles)])
    )


def _shapes(bench: Bench, file: str, *, name: str) -> None:
    table = gpd.read_file(bench.work / file)
    wild: dict[str, Callable[[], Any]] = {
        "a star of 2,001 vertices": lambda: _star(2001),
        "a star of 20,001 vertices": lambda: _star(20_001),
        "coordinates of 1e300": lambda: shapely.transform(table.geometry.iloc[0], lambda xy: xy * 1e300),
        "meters that say degrees": lambda: shapely.transform(table.geometry.iloc[0], lambda xy: xy * 111_000),
        "all of the world": lambda: shapely.box(-180, -90, 180, 90),
        "a point": lambda: shapely.Point(12, 8),
        "an empty one": shapely.Polygon,
        "a collection": lambda: shapely.GeometryCollection([table.geometry.iloc[0], shapely.Point(1, 1)]),
    }
    shapes = table.geometry.to_numpy().copy()
    shapes[0] = wild[name]()
    table.set_geometry(shapes, crs=4326).to_parquet(bench.work / file.replace(".gpkg", ".parquet"))


SHAPES = (
    "a star of 2,001 vertices", "a star of 20,001 vertices", "coordinates of 1e300", "meters that say degrees",
    "all of the world", "a point", "an empty one", "a collection",
)  # fmt: skip


def _parquet(bench: Bench, file: str, *, change: Callable[[pa.Table], pa.Table]) -> None:
    table = gpd.read_file(bench.work / file)
    path = bench.work / file.replace(".gpkg", ".parquet")
    table.to_parquet(path)
    pq.write_table(change(pq.read_table(path)), path)


def _geo(**facts: Any) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        geo = json.loads(table.schema.metadata[b"geo"]) | facts
        return table.replace_schema_metadata({b"geo": json.dumps(geo).encode()})

    return change


PARQUETS: dict[str, Callable[[pa.Table], pa.Table]] = {
    "no metadata": lambda table: table.replace_schema_metadata({}),
    "metadata that is no JSON": lambda table: table.replace_schema_metadata({b"geo": b"{"}),
    "metadata that is deep": lambda table: table.replace_schema_metadata({b"geo": b"[" * NESTED}),
    "metadata of pandas that lies": lambda table: table.replace_schema_metadata(
        (table.schema.metadata or {}) | {b"pandas": b'{"index_columns": ["nothing"], "columns": 1}'}
    ),
    "another column of shapes": _geo(primary_column="nothing"),
    "columns of shapes that are a list": _geo(columns=[]),
    "version 99": _geo(version="99"),
    "shapes of numbers": lambda table: table.set_column(
        table.schema.names.index("geometry"), "geometry", pa.array(range(len(table)))
    ).replace_schema_metadata(table.schema.metadata),
    "shapes of other bytes": lambda table: table.set_column(
        table.schema.names.index("geometry"), "geometry", pa.array([b"\x01\x03\0\0\0\xff\xff\xff\xff"] * len(table))
    ).replace_schema_metadata(table.schema.metadata),
    "a column twice": lambda table: table.append_column(table.schema.names[0], table[0]),
    "no columns": lambda table: table.select([]),
}


def tables(random: Random) -> Iterator[Input]:
    """Yield streams, catchments and basins."""

    def one(file: str, what: str, make: Callable[..., None], *, suffix: str = ".gpkg", **facts: Any) -> Input:
        command = _in(READERS[file], file, file.replace(".gpkg", suffix))
        make = partial(_made, make=make, file=file, facts=facts)
        return Input("tables", f"{file}: {what}", (command,), make, slow=what.startswith(("a star", "a view")))

    fixed = [one(file, name, _sql(*SQL[name])) for name in SQL for file in READERS]
    fixed += [
        one(file, f"{column} = {name}", _set_column, suffix=".geojson", column=column, value=value)
        for file, columns in COLUMNS.items() for column in columns for name, value in IDS.items()
    ]  # fmt: skip
    fixed += [one(file, name, _shapes, suffix=".parquet", name=name) for name in SHAPES for file in READERS]
    fixed += [
        one(file, name, _parquet, suffix=".parquet", change=change)
        for name, change in PARQUETS.items()
        for file in READERS
    ]
    fixed = random.sample(fixed, len(fixed))
    for turn in count():
        # As many drawn ones as fixed ones.
        if turn < len(fixed):
            yield fixed[turn]
        file, seed = random.choice(list(READERS)), random.randrange(2**32)
        if turn % 2:
            yield one(file, f"GeoJSON drawn {seed}", _geojson, suffix=".geojson", seed=seed)
        else:
            suffix = random.choice([".gpkg", ".parquet"])
            name = random.choice(list(DAMAGES))
            yield one(file, f"{suffix} {name} {seed}", _damage, suffix=suffix, name=name, seed=seed, end=suffix)


def _made(bench: Bench, *, make: Callable[..., None], file: str, facts: dict[str, Any]) -> None:
    make(bench, file, **facts)


def _geojson(bench: Bench, file: str, *, seed: int) -> None:
    rows = json.loads(gpd.read_file(bench.work / file).to_json())
    rows["features"] = rows["features"][:3] if file == place.BASINS else rows["features"]
    changed = change_json(rows, Random(seed), VALUES)[1]
    bench.replace(file.replace(".gpkg", ".geojson"), json.dumps(changed).encode())


def _damage(bench: Bench, file: str, *, name: str, seed: int, end: str) -> None:
    path = file.replace(".gpkg", end)
    if end == ".parquet":
        gpd.read_file(bench.work / file).to_parquet(bench.work / path)
    bench.change(path, lambda content: DAMAGES[name](content, Random(seed)))
