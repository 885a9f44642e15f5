"""What is wrong, or only unusual, with tables that people hand us: each defect writes a file of a sound table.

The same catalog is for streams, catchments, lakes and networks; `defects_of` returns those that apply. A defect says
what must come of it: the same result as of another table, a message with it, or a refusal that names a row.
"""

import json
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import shapely

SHAPEFILES = ("shp", "zip")
GEODATABASE = {
    "driver": "OpenFileGDB",
    "layer": "rows",
    "TARGET_ARCGIS_VERSION": "ARCGIS_PRO_3_2_OR_LATER",
}
FORMATS = ("gpkg", "fgb", "geojson", "parquet", "covered.parquet", "gdb")
MULTI = {"LineString": shapely.multilinestrings, "Polygon": shapely.multipolygons}


@dataclass(frozen=True)
class Written:
    """A file with a defect."""

    path: Path
    expected: gpd.GeoDataFrame | None
    """The sound table whose result it must have; None where it must be refused."""
    said: str = ""
    """Part of the message that goes with the result."""
    named: Any = ""
    """Part of the refusal: the id of the row, or the name of the layer."""


@dataclass(frozen=True)
class Defect:
    """A kind of defect."""

    name: str
    write: Callable[[gpd.GeoDataFrame, Path, np.random.Generator], Written]
    readers: frozenset[str]


ALL = frozenset({"streams", "catchments", "lakes", "network"})
DEFECTS: list[Defect] = []
OUT_OF_RANGE = (
    *(("strmOrder", value) for value in (-9, 0, 3_000_000_000, "two")),
    *(("DSContArea", value) for value in (-1.0, 1e20, "much")),
    *(("DSLINKNO", value) for value in (None, "down", 0.5)),
)


def defect(*readers):
    """Register a defect for some readers, or for all."""

    def register(write):
        DEFECTS.append(Defect(write.__name__, write, frozenset(readers) or ALL))
        return write

    return register


def defects_of(reader):
    """Return the defects that can be in what one reader reads."""
    return [each for each in DEFECTS if reader in each.readers]


def write_table(table, folder, kind="gpkg"):
    """Write a table in a format, as a layer of the file's name; return its path."""
    path = folder / f"table.{kind}"
    if kind.endswith("parquet"):
        table.to_parquet(path, write_covering_bbox=kind.startswith("covered"))
    elif kind == "zip":
        inside = write_table(table, folder, "shp")
        with zipfile.ZipFile(path, "w") as archive:
            for file in folder.glob(f"{inside.stem}.*"):
                if file != path:
                    archive.write(file, f"folder/{file.name}")
    else:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "'crs' was not provided")
            table.to_file(path, **GEODATABASE if kind == "gdb" else {})
    return path


def changed(table, row, **values):
    """Return the table with other values in one row."""
    table = table.copy()
    for name, value in values.items():
        column = table[name].astype(object)
        column.iloc[row] = value
        table[name] = gpd.GeoSeries(column, crs=table.crs) if name == "geometry" else column.infer_objects()
    return table


def formats_of(table):
    """Return the formats that keep the names of all columns: in shapefiles they have ten characters."""
    return FORMATS + (SHAPEFILES if max(map(len, table.columns)) <= 10 else ())


def id_of(table):
    return table.columns[0]


def some_row(table, random):
    return int(random.integers(len(table)))


@defect()
def another_format(table, folder, random):
    return Written(write_table(table, folder, random.choice(formats_of(table))), table)


@defect()
def another_crs(table, folder, random):
    crs = int(random.choice([3857, 32632, 4258]))
    if "from_tdx" in table.columns:
        # Our own format promises degrees.
        if random.random() < 0.5:
            return Written(write_table(table.to_crs(crs), folder), None, named="EPSG:4326 is expected")
        table = table.drop(columns="from_tdx")
    return Written(write_table(table.to_crs(crs), folder, random.choice(["gpkg", "fgb", "covered.parquet"])), table)


@defect()
def no_crs(table, folder, random):
    table = table.set_crs(None, allow_override=True)
    return Written(write_table(table, folder, random.choice(["fgb", "parquet"])), None, named="no coord|no CRS")


@defect()
def metres_without_their_crs(table, folder, random):
    table = table.to_crs(3857).set_crs(4326, allow_override=True)
    return Written(write_table(table, folder), None)


@defect()
def other_layers_in_the_file(table, folder, random):
    path = write_table(table, folder)
    points = gpd.GeoDataFrame({id_of(table): [1, 2]}, geometry=gpd.points_from_xy([10, 11], [50, 51]), crs=4326)
    points.to_file(path, layer="gauges")
    pyogrio.write_dataframe(pd.DataFrame(table.drop(columns="geometry")), path, layer="attributes", driver="GPKG")
    return Written(path, table)


@defect()
def two_such_layers(table, folder, random):
    path = write_table(table, folder)
    table.iloc[:1].to_file(path, layer="copy")
    return Written(path, None, named="table, copy")


@defect()
def no_geometry(table, folder, random):
    plain = pd.DataFrame(table.drop(columns="geometry"))
    if random.random() < 0.5:
        plain.to_csv(folder / "table.csv", index=False)
        return Written(folder / "table.csv", None)
    plain.to_parquet(folder / "table.parquet")
    return Written(folder / "table.parquet", None)


@defect()
def cut_off(table, folder, random):
    # So many rows that what is lost is not only the end of an index.
    many = pd.concat([table] * 40, ignore_index=True)
    path = write_table(many, folder, random.choice([each for each in formats_of(table) if each != "gdb"]))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * random.uniform(0.05, 0.999))])
    return Written(path, None)


@defect()
def not_a_table(table, folder, random):
    path = folder / random.choice(["table.gpkg", "table.parquet", "table.zip"])
    path.write_bytes(random.bytes(2000))
    return Written(path, None)


@defect()
def shapes_of_another_kind(table, folder, random):
    return Written(
        write_table(table.set_geometry(shapely.point_on_surface(table.geometry.to_numpy()), crs=4326), folder), None
    )


@defect()
def shapes_with_one_part(table, folder, random):
    multi = MULTI[table.geometry.iloc[0].geom_type]
    return Written(write_table(table.set_geometry([multi([s]) for s in table.geometry], crs=4326), folder), table)


@defect()
def heights(table, folder, random):
    high = shapely.force_3d(table.geometry.to_numpy(), random.uniform(0, 4000))
    return Written(write_table(table.set_geometry(high, crs=4326), folder), table)


@defect("streams", "catchments", "lakes")
def a_collection(table, folder, random):
    row = some_row(table, random)
    shape = table.geometry.iloc[row]
    mixed = shapely.geometrycollections([shapely.Point(shape.bounds[:2]), shape])
    return Written(write_table(changed(table, row, geometry=mixed), folder, "parquet"), table)


@defect("streams", "catchments")
def ids_as_text_or_floats(table, folder, random):
    return Written(write_table(table.astype({id_of(table): random.choice(["str", "float64", "int32"])}), folder), table)


@defect("network")
def numbers_as_text_or_floats(table, folder, random):
    dtype = random.choice(["str", "float64"])
    columns = ["stream_id", "target_stream_id", "strahler_order"]
    return Written(write_table(table.astype(dict.fromkeys(columns, dtype)), folder), table)


@defect("streams", "catchments", "network")
def an_id_that_is_no_integer(table, folder, random):
    row = some_row(table, random)
    wrong = random.choice(["wb-1", "", 1.5])
    table = table.assign(**{id_of(table): table[id_of(table)].astype(str)})
    return Written(write_table(changed(table, row, **{id_of(table): str(wrong)}), folder), None, named=f"{wrong}")


@defect("streams", "catchments", "network")
def a_row_without_id(table, folder, random):
    row = some_row(table, random)
    return Written(write_table(changed(table, row, **{id_of(table): None}), folder), None, named=f"{row}")


@defect("streams")
def an_id_with_too_many_digits(table, folder, random):
    large = int(random.integers(10**13, 10**14))
    return Written(write_table(changed(table, some_row(table, random), LINKNO=large), folder), None, named=large)


@defect("streams")
def a_negative_id(table, folder, random):
    return Written(write_table(changed(table, some_row(table, random), LINKNO=-7), folder), None, named=-7)


@defect("streams")
def a_number_out_of_range(table, folder, random):
    row = some_row(table, random)
    column, value = OUT_OF_RANGE[random.integers(len(OUT_OF_RANGE))]
    named = table["LINKNO"].iloc[row]
    return Written(write_table(changed(table, row, **{column: value}), folder), None, named=named)


@defect("streams")
def a_column_is_missing(table, folder, random):
    column = random.choice(["LINKNO", "DSLINKNO", "strmOrder"])
    return Written(write_table(table.drop(columns=column), folder), None, named=column)


@defect("streams")
def rows_that_repeat(table, folder, random):
    twice = pd.concat([table, table.iloc[[some_row(table, random)]]], ignore_index=True)
    return Written(write_table(twice, folder), table, said="rows that repeat a link")


@defect("streams")
def one_id_for_two_links(table, folder, random):
    return Written(
        write_table(changed(table, 1, LINKNO=table["LINKNO"].iloc[0]), folder), None, named=table["LINKNO"].iloc[0]
    )


@defect("streams")
def drawn_upstream(table, folder, random):
    return Written(write_table(table.set_geometry(table.geometry.reverse(), crs=4326), folder), table)


@defect("streams")
def parts_in_any_order(table, folder, random):
    row = some_row(table, random)
    points = list(table.geometry.iloc[row].coords)
    parts = [shapely.LineString(pair) for pair in pairwise(points)]
    multi = shapely.multilinestrings([parts[at] for at in random.permutation(len(parts))])
    return Written(write_table(changed(table, row, geometry=multi), folder, "fgb"), table)


@defect("streams")
def parts_that_are_apart(table, folder, random):
    row = some_row(table, random)
    away = shapely.transform(table.geometry.iloc[row], lambda xy: xy + random.uniform(0.1, 1, 2))
    multi = shapely.multilinestrings([table.geometry.iloc[row], away])
    return Written(
        write_table(changed(table, row, geometry=multi), folder, "parquet"), None, named=table["LINKNO"].iloc[row]
    )


@defect("streams")
def parts_that_branch(table, folder, random):
    row = some_row(table, random)
    line = table.geometry.iloc[row]
    middle = line.interpolate(random.uniform(0.2, 0.8), normalized=True)
    branch = shapely.LineString([middle, (middle.x + 0.001, middle.y + 0.002)])
    multi = shapely.multilinestrings([line, branch])
    snapped = shapely.snap(multi, middle, 1e-9) if random.random() < 0.5 else multi
    return Written(
        write_table(changed(table, row, geometry=snapped), folder, "parquet"), None, named=table["LINKNO"].iloc[row]
    )


@defect("streams")
def a_downstream_link_that_is_far(table, folder, random):
    away = shapely.transform(table.geometry.iloc[0], lambda xy: xy + random.uniform(0.5, 3))
    return Written(write_table(changed(table, 0, geometry=away), folder), None, named=table["LINKNO"].iloc[0])


@defect("streams", "catchments")
def no_finite_coordinates(table, folder, random):
    row = some_row(table, random)
    with np.errstate(invalid="ignore"):
        wild = shapely.transform(table.geometry.iloc[row], lambda xy: np.where([[True, False]], np.inf, xy))
    return Written(write_table(changed(table, row, geometry=wild), folder, "parquet"), None)


@defect("streams", "catchments")
def longitudes_from_0_to_360(table, folder, random):
    return Written(write_table(table.set_geometry(table.geometry.translate(360), crs=4326), folder), table)


@defect("catchments", "lakes")
def an_open_ring(table, folder, random):
    path = write_table(table, folder, "parquet")
    rewrite_wkb(path, some_row(table, random), _open)
    return Written(path, table, said="repaired")


@defect("streams")
def a_line_of_one_vertex(table, folder, random):
    # A link without length where the three others meet.
    node = table.geometry.iloc[2].coords[0]
    zero = gpd.GeoDataFrame(
        {"LINKNO": [9], "DSLINKNO": [table["LINKNO"].iloc[2]], "strmOrder": [2], "DSContArea": [5e6]},
        geometry=[shapely.LineString([node, node])],
        crs=4326,
    )
    expected = pd.concat([table, zero], ignore_index=True)
    expected["DSLINKNO"] = [9, 9, *expected["DSLINKNO"].iloc[2:]]
    path = write_table(expected, folder, "parquet")
    rewrite_wkb(path, 3, lambda wkb: wkb[:5] + (1).to_bytes(4, "little") + wkb[9:25])
    return Written(path, expected, said="repaired")


@defect("catchments", "lakes")
def rows_without_a_shape(table, folder, random):
    empty = pd.concat([table, table.iloc[:1]], ignore_index=True)
    shape = random.choice([None, shapely.Polygon()])
    kind = random.choice(["gpkg", "parquet"])
    said = "without geometry" if id_of(table) == "streamID" else ""
    return Written(write_table(changed(empty, len(table), geometry=shape), folder, kind), table, said=said)


@defect("catchments")
def a_catchment_of_no_link(table, folder, random):
    more = pd.concat([table, table.iloc[:1].assign(streamID=77)], ignore_index=True)
    return Written(write_table(more, folder), table, said="1 catchment polygons without a link")


@defect("catchments")
def a_bow_tie(table, folder, random):
    west, south, east, north = table.geometry.iloc[0].bounds
    bow = shapely.Polygon([(west, south), (east, north), (east, south), (west, north)])
    expected = changed(table, 0, geometry=shapely.make_valid(bow))
    return Written(write_table(changed(table, 0, geometry=bow), folder), expected, said="made valid")


@defect("lakes")
def a_column_bbox_that_is_not_declared(table, folder, random):
    path = write_table(table.assign(bbox="none"), folder, "parquet")
    return Written(path, table)


@defect("lakes")
def shifted_by_a_circle(table, folder, random):
    kind = random.choice(["gpkg", "covered.parquet", "geojson"])
    return Written(write_table(table.set_geometry(table.geometry.translate(360), crs=4326), folder, kind), table)


@defect("network")
def lists_as_text(table, folder, random):
    written = random.choice(["[{}]", "{{{}}}", "({})", "{}"])
    comma = random.choice([", ", ",", ";", " "])
    dot = random.choice(["", ".0"])
    stated = map(json.loads, table["source_stream_ids"])
    lists = [written.format(comma.join(f"{each}{dot}" for each in ids)) for ids in stated]
    return Written(write_table(table.assign(source_stream_ids=lists), folder), table)


@defect("network")
def booleans_as_text_or_numbers(table, folder, random):
    yes, no = [("true", "false"), ("T", "F"), ("1", "0"), (1, 0), (1.0, 0.0), ("yes", "no")][random.integers(6)]
    return Written(write_table(table.assign(from_tdx=np.where(table["from_tdx"], yes, no)), folder), table)


@defect("network")
def a_line_drawn_upstream(table, folder, random):
    row = some_row(table, random)
    line = table.geometry.iloc[row].reverse()
    return Written(write_table(changed(table, row, geometry=line), folder), None, named=table["stream_id"].iloc[row])


@defect("network")
def a_target_that_is_absent(table, folder, random):
    row = some_row(table, random)
    target = int(random.choice([0, 999, -9999]))
    return Written(write_table(changed(table, row, target_stream_id=target), folder), None, named=target)


@defect("network")
def a_gap(table, folder, random):
    line = shapely.transform(table.geometry.iloc[0], lambda xy: xy - np.array([[0.001, 0]]))
    named = rf"{table['stream_id'].iloc[0]} ends \d+\.?\d* m from"
    return Written(write_table(changed(table, 0, geometry=line), folder), None, named=named)


@defect("network")
def a_wrong_order(table, folder, random):
    row = some_row(table, random)
    order = int(table["strahler_order"].iloc[row])
    wrong = order + int(random.choice([-9, 1, 5]))
    named = f"{table['stream_id'].iloc[row]} has order {wrong}; {order} is expected"
    return Written(write_table(changed(table, row, strahler_order=wrong), folder), None, named=named)


@defect("network")
def a_cycle(table, folder, random):
    first = int(table["stream_id"].iloc[0])
    return Written(write_table(changed(table, 2, target_stream_id=first), folder), None, named=first)


def rewrite_wkb(path, row, change):
    """Change the bytes of one row's shape in a GeoParquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    wkb = table["geometry"].to_pylist()
    wkb[row] = change(wkb[row])
    column = table.schema.names.index("geometry")
    pq.write_table(table.set_column(column, table.schema.field("geometry"), [pa.array(wkb, pa.binary())]), path)


def _open(wkb):
    """Leave out the last vertex of the only ring of a polygon."""
    vertices = int.from_bytes(wkb[9:13], "little")
    return wkb[:9] + (vertices - 1).to_bytes(4, "little") + wkb[13:-16]
