import json
from pathlib import Path
from typing import Any

import geopandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import stac_geoparquet.arrow as stac_arrow
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import box

from headwater.core.errors import InputError
from headwater.stac import item_table
from headwater.stac.intervals import parse_interval
from headwater.stac.item_table import ItemTable, table_files
from headwater.stac.pins import iter_items, write_items
from headwater.stac.providers import find_items
from headwater.stac.query import Query, answers
from support.scripted_api import made_item

S2 = "sentinel-2-l2a"


def write_foreign(path: Path, items: list[dict[str, Any]]) -> None:
    """Write a table as others do: with the library's own choice of columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stac_arrow.to_parquet(stac_arrow.parse_stac_items_to_arrow(items).read_all(), path)


def names(items: list[dict[str, Any]]) -> list[str]:
    return [item["id"] for item in items]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-179, 178), st.integers(-80, 79), st.integers(1, 28)), min_size=1, max_size=10),
    st.tuples(st.integers(-180, 100), st.integers(-90, 40)),
    st.integers(1, 27),
)
def test_reading_only_what_may_answer_loses_nothing(
    tmp_path_factory: pytest.TempPathFactory, places: list[tuple[int, int, int]], corner: tuple[int, int], day: int
) -> None:
    items = [
        made_item(f"item{number}", f"2023-06-{day:02d}", place=(x, y, x + 1.0, y + 1.0))
        for number, (x, y, day) in enumerate(places)
    ]
    west, south = corner
    query = Query(S2, (west, south, west + 80.0, south + 50.0), parse_interval(f"2023-06-{day:02d}/2023-06-28"))
    folder = tmp_path_factory.mktemp("index")
    write_items(folder / "ours.parquet", items, url="u", query={})
    write_foreign(folder / "theirs.parquet", items)
    wanted = sorted(item["id"] for item in items if answers(item, query))
    for path in folder.iterdir():
        assert names(find_items(ItemTable(path), query)) == wanted


def test_rows_that_cannot_answer_are_not_made_into_items(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = [made_item(f"i{k}", f"2023-{1 + k % 12:02d}-01", place=(k, 0, k + 1.0, 1)) for k in range(100)]
    write_items(tmp_path / "index.parquet", items, url="u", query={})
    made = 0

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal made
        for item in iter_items(*arguments, **options):
            made += 1
            yield item

    monkeypatch.setattr(item_table, "iter_items", counted)
    found = find_items(ItemTable(tmp_path / "index.parquet"), Query(S2, (10, 0, 30, 1), parse_interval("2023-03")))
    assert 0 < made == len(found) < 4


def test_files_of_different_writers_are_read_together(tmp_path: Path) -> None:
    write_items(tmp_path / "index" / "a.parquet", [made_item("ours")], url="u", query={})
    more = made_item("theirs", **{"eo:cloud_cover": 3, "other": {"a": [1]}})
    more["assets"]["B04"]["raster:bands"] = [{"nodata": 0}]
    write_foreign(tmp_path / "index" / "deep" / "b.parquet", [more])
    write_foreign(tmp_path / "index" / "_metadata.parquet", [made_item("hidden")])
    (tmp_path / "index" / "README.txt").write_text("not a table")
    found = find_items(ItemTable(tmp_path / "index"), Query(S2, (15, 46, 16, 47)))
    assert names(found) == ["ours", "theirs"]
    assert "other" not in found[1]["properties"]
    assert found[1]["assets"]["B04"] == {"href": "https://x.test/theirs/B04.tif"}


def test_relative_addresses_start_at_the_file(tmp_path: Path) -> None:
    item = made_item("a")
    item["assets"]["B04"]["href"] = "scenes/B04.tif"
    write_items(tmp_path / "index" / "deep" / "a.parquet", [item], url="u", query={})
    (found,) = find_items(ItemTable(tmp_path / "index"), Query(S2, (15, 46, 16, 47)))
    assert found["assets"]["B04"]["href"] == str(tmp_path / "index" / "deep" / "scenes" / "B04.tif")


def test_a_table_without_times_or_boxes_of_the_usual_kind_is_read(tmp_path: Path) -> None:
    """Times as text, boxes as lists: the exact test decides alone, or the file is refused."""
    write_foreign(tmp_path / "a.parquet", [made_item("a"), made_item("late", "2023-07-01")])
    table = pq.read_table(tmp_path / "a.parquet")
    span = table.drop_columns(["datetime"]).append_column(
        "datetime", pa.array([None, None], pa.timestamp("us", tz="UTC"))
    )
    times = pa.array([json.loads('"2023-06-05T00:00:00Z"'), "2023-07-05T00:00:00Z"])
    span = span.append_column("start_datetime", times.cast(pa.timestamp("us", tz="UTC")))
    span = span.append_column("end_datetime", times.cast(pa.timestamp("us", tz="UTC")))
    pq.write_table(span, tmp_path / "a.parquet")
    june = Query(S2, (15, 46, 16, 47), parse_interval("2023-06"))
    assert names(find_items(ItemTable(tmp_path / "a.parquet"), june)) == ["a"]


def test_other_tables_than_stac_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    geopandas.GeoDataFrame({"x": [1]}, geometry=[box(0, 0, 1, 1)], crs=4326).to_parquet(path)
    with pytest.raises(InputError, match=r"x\.parquet is not STAC GeoParquet"):
        find_items(ItemTable(path), Query(S2, (0, 0, 1, 1)))
    path.write_bytes(b"broken")
    with pytest.raises(InputError, match=r"x\.parquet is not a readable"):
        list(ItemTable(path).by_ids(S2, ["a"]))
    assert table_files(tmp_path / "none") == []
    assert table_files(tmp_path) == [path]
