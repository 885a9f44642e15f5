import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import geopandas
import pyarrow.parquet as pq
import pystac
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import MultiPolygon, Polygon, box, mapping

from headwater.core.errors import InputError
from headwater.stac.pinned_items import pinned_item
from headwater.stac.pins import (
    iter_items,
    read_items,
    read_query,
    rows_touching,
    write_items,
    write_sorted,
)
from support.places import SHARED

QUERY = {"datetime": ["2023-05-01T00:00:00Z/2023-09-30T23:59:59Z"], "bbox": [0, 0, 1, 1]}


def scene(identifier: str, **properties: Any) -> dict[str, Any]:
    bands = {name: {"href": f"https://x/{identifier}/{name}.tif"} for name in ("B02", "B03", "B04", "B08", "SCL")}
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": identifier,
        "collection": "sentinel-2-l2a",
        "geometry": mapping(box(0, 0, 1, 1)),
        "bbox": [0, 0, 1, 1],
        "properties": {"datetime": "2023-06-01T10:00:00.024000Z", **properties},
        "assets": bands,
        "links": [{"rel": "self", "href": "https://x"}],
    }


def elevation(identifier: str) -> dict[str, Any]:
    item = scene(identifier)
    return {**item, "collection": "cop-dem-glo-30", "assets": {"data": {"href": f"https://x/{identifier}.tif"}}}


def test_both_collections_in_one_sorted_file(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    items = [scene("b", **{"eo:cloud_cover": 3}), elevation("z"), scene("a", **{"proj:epsg": 32633}), elevation("y")]
    assert write_items(path, items, url="https://x/stac", query=QUERY)
    back = read_items(path)
    assert [(item["collection"], item["id"]) for item in back] == [
        ("cop-dem-glo-30", "y"),
        ("cop-dem-glo-30", "z"),
        ("sentinel-2-l2a", "a"),
        ("sentinel-2-l2a", "b"),
    ]
    expected = sorted((pinned_item(item) for item in items), key=lambda item: (item["collection"], item["id"]))
    for item, other in zip(back, expected, strict=True):
        assert item["assets"] == other["assets"]
        assert item["properties"] == other["properties"]
        assert item["bbox"] == other["bbox"]
        assert json.loads(json.dumps(item["geometry"])) == json.loads(json.dumps(other["geometry"]))
        pystac.Item.from_dict(item)
    assert read_query(path) == {"catalogue": "https://x/stac", "query": QUERY}


def test_others_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    write_items(path, [scene("a"), elevation("b")], url="u", query={})
    table = geopandas.read_parquet(path)
    assert table.crs.to_epsg() == 4326
    assert list(table["id"]) == ["b", "a"]
    metadata = pq.read_schema(path).metadata
    assert b"stac-geoparquet" in metadata
    assert b"geo" in metadata


def test_same_items_same_bytes_in_any_order(tmp_path: Path) -> None:
    items = [scene("a"), scene("b"), elevation("c")]
    write_items(tmp_path / "one.parquet", items, url="u", query=QUERY)
    write_items(tmp_path / "two.parquet", reversed(items), url="u", query=QUERY)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    assert not write_items(tmp_path / "one.parquet", items, url="u", query=QUERY), "an equal file was written again"


def test_nothing_signed_is_pinned(tmp_path: Path) -> None:
    item = scene("a")
    item["assets"]["B02"]["href"] += "?st=1&se=2&sp=rl&sig=SECRET"
    write_items(tmp_path / "items.parquet", [item], url="u", query=QUERY)
    assert read_items(tmp_path / "items.parquet")[0]["assets"]["B02"]["href"] == "https://x/a/B02.tif"
    assert b"SECRET" not in (tmp_path / "items.parquet").read_bytes()


# Catalogs write the same property as an integer, a fraction, text, or not at all.
loose = st.one_of(st.none(), st.integers(0, 100), st.floats(0, 100), st.just("about 3"))


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(loose, loose), min_size=1, max_size=5))
def test_loose_types_fit_into_one_table(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[Any, Any]]) -> None:
    path = tmp_path_factory.mktemp("pin") / "items.parquet"
    items = [
        scene(f"{number}", **{"eo:cloud_cover": cloud, "s2:processing_baseline": baseline})
        for number, (cloud, baseline) in enumerate(rows)
    ]
    write_items(path, items, url="u", query={})
    for item, (cloud, _) in zip(read_items(path), rows, strict=True):
        read = item["properties"].get("eo:cloud_cover")
        assert read == (float(cloud) if isinstance(cloud, int | float) else None)


def test_earth_search_names_and_box_with_height_are_kept() -> None:
    item = scene("a")
    item["assets"] = {"nir": {"href": "B08.tif"}, "nir-jp2": {"href": "s3://x/B08.jp2"}, "visual": {"href": "v.tif"}}
    item["bbox"] = [0, 0, -5, 1, 1, 900]
    pinned = pinned_item(item)
    assert pinned["assets"] == {"nir": {"href": "B08.tif"}}
    assert pinned["bbox"] == [0, 0, 1, 1]


@pytest.mark.parametrize("content", [None, b"", b"not parquet"])
def test_files_that_are_not_pins_are_reported(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "items.parquet"
    if content is not None:
        path.write_bytes(content)
    for read in (read_items, read_query):
        with pytest.raises(InputError, match=r"items\.parquet"):
            read(path)


def test_a_table_that_is_not_stac_is_reported(tmp_path: Path) -> None:
    geopandas.GeoDataFrame({"x": [1]}, geometry=[box(0, 0, 1, 1)], crs=4326).to_parquet(tmp_path / "items.parquet")
    with pytest.raises(InputError, match="STAC"):
        read_items(tmp_path / "items.parquet")


def test_nothing_to_pin_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        write_items(tmp_path / "items.parquet", [], url="u", query={})
    assert not (tmp_path / "items.parquet").exists()


@pytest.mark.real
@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data folder is not next to the checkout")
def test_real_items_of_two_providers_and_elevation_fit_together(tmp_path: Path) -> None:
    items = [json.loads(path.read_bytes()) for path in sorted((SHARED / "s2-multidate-33T").glob("*/*.json"))]
    items += json.loads((SHARED / "stac" / "pc_items_35MNM_13dates.geojson").read_bytes())["features"]
    dem = json.loads((SHARED / "stac" / "stactools_item_cop-dem-glo-30_N53W115.json").read_bytes())
    items.append({**dem, "collection": "cop-dem-glo-30"})
    write_items(tmp_path / "items.parquet", items, url="u", query={})
    back = {item["id"]: item for item in read_items(tmp_path / "items.parquet")}
    assert len(back) == len(items)
    for item in items:
        assert back[item["id"]]["properties"].get("eo:cloud_cover") == item["properties"].get("eo:cloud_cover")
    assert back["S2A_33TWL_20230815_0_L2A"]["properties"]["earthsearch:boa_offset_applied"] is True


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.dictionaries(
        st.sampled_from(["datetime", "updated", "created", "eo:cloud_cover", "proj:epsg", "platform", "proj:code"]),
        json_values | st.just("2023-06-01T10:00:00+02:00") | st.just("2023-06-01T10:00:00.123456789Z"),
    ),
    json_values,
    json_values,
    json_values,
)
def test_whatever_a_catalog_writes_is_pinned_as_it_comes_back(
    tmp_path_factory: pytest.TempPathFactory, properties: dict[str, Any], bbox: Any, version: Any, code: Any
) -> None:
    path = tmp_path_factory.mktemp("pin") / "items.parquet"
    item = {**scene("a"), "bbox": bbox, "stac_version": version}
    item["properties"] |= properties
    item["assets"]["B04"] |= {"proj:code": code, "proj:epsg": code, "type": code}
    pinned = pinned_item(item)
    assert pinned_item(pinned) == pinned
    write_items(path, [item], url="u", query={})
    (back,) = read_items(path)
    assert pinned_item(back) == pinned
    assert list(iter_items(path)) == [back], "the reader of pins and the library disagree"


def test_instants_are_one_however_they_are_written() -> None:
    texts = ("2023-06-01T10:00:00.5Z", "2023-06-01t12:00:00.500+02:00", "2023-06-01T10:00:00.500000")
    assert {pinned_item(scene("a", updated=text))["properties"]["updated"] for text in texts} == {
        "2023-06-01T10:00:00.500000Z"
    }


def test_many_items_are_written_and_read_in_parts(tmp_path: Path) -> None:
    names = [f"item{number:05d}" for number in range(4500)]
    pinned = pinned_item(scene("x"))
    assert write_sorted(tmp_path / "a.parquet", ({**pinned, "id": name} for name in names), url="u", query={})
    assert pq.ParquetFile(tmp_path / "a.parquet").num_row_groups == 3
    items = iter_items(tmp_path / "a.parquet")
    assert [item["id"] for item in items] == names
    write_items(tmp_path / "b.parquet", [{**scene("x"), "id": name} for name in reversed(names)], url="u", query={})
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


CROSSING = {"crossing", "jumping", "beyond"}


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ((179.9, -1.0, 180.1, 1.0), {"east", "round", "west"}),
        ((179.9, -1.0, -179.9, 1.0), {"east", "round", "west"}),
        ((-179.95, -1.0, -179.9, 1.0), {"round", "west"}),
        ((179.0, -1.0, 179.1, 1.0), {"round"}),
        ((10.5, -1.0, 10.6, 1.0), {"round", "home"}),
        ((10.5, 5.0, 10.6, 6.0), None),
    ],
)
def test_a_box_leaves_out_only_what_cannot_touch_it(
    wanted: tuple[float, float, float, float], found: set[str] | None, tmp_path: Path
) -> None:
    """The geometry decides, whatever the box of an item says; one across longitude 180 is always read."""
    shapes = {
        "crossing": MultiPolygon([box(179.5, 0, 180, 1), box(-180, 0, -179.5, 1)]),
        "jumping": box(-179.5, 0, 179.5, 1),
        "beyond": box(179.5, 0, 181, 1),
        "round": Polygon([(x, y) for y, step in ((0, 1), (1, -1)) for x in range(-180 * step, 181 * step, 90 * step)]),
        "east": box(179.5, 0, 179.95, 1),
        "west": box(-180, 0, -179.5, 1),
        "home": box(10, 0, 11, 1),
        "north": box(10, 40, 11, 41),
    }
    items = [{**scene(name), "geometry": mapping(shape), "bbox": [40, 50, 41, 51]} for name, shape in shapes.items()]
    write_items(tmp_path / "items.parquet", items, url="https://x/stac", query={})
    path = tmp_path / "items.parquet"
    back = read_items(path, box=wanted)
    names = {item["id"] for item in back}
    # As it is written, this polygon is taken for one that jumps at 180.
    assert names - {"round"} == (set() if found is None else (found | CROSSING) - {"round"})
    assert list(iter_items(path, filter=rows_touching(pq.read_schema(path), wanted))) == back


def test_a_pin_is_read_without_imports_that_take_longer_than_reading(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    write_items(path, [scene("a"), scene("b", updated="2023-07-01T00:00:00Z")], url="u", query={})
    code = (
        "import sys; from pathlib import Path; import headwater.imagery.select;"
        "from headwater.stac.pins import read_items, read_query;"
        "read_items(Path(sys.argv[1]), box=(0, 0, 1, 1)), read_query(Path(sys.argv[1]));"
        "print(*{'pandas', 'requests', 'stac_geoparquet', 'pystac', 'tqdm', 'numba'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""
