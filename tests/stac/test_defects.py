"""One random defect of an item or of a table of items: the same items, one left out with its reason, or a refusal."""

import json
from pathlib import Path
from typing import Any

import pytest
import shapely
import stac_geoparquet.arrow as stac_arrow
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.core.errors import InputError
from headwater.stac.intervals import parse_interval
from headwater.stac.item_folder import ItemFolder
from headwater.stac.item_table import ItemTable
from headwater.stac.items import Scene, scene_facts
from headwater.stac.pins import write_items
from headwater.stac.query import Item, Provider, Query
from headwater.stac.validation import asset_defect
from support.item_defects import ITEM_DEFECTS, TABLE_DEFECTS
from support.scripted_api import made_item

S2 = "sentinel-2-l2a"
QUERY = Query(S2, (15.02, 46.02, 15.05, 46.05), parse_interval("2023-06"), below={"eo:cloud_cover": 50})
FACTS = {"proj:epsg": 32633, "s2:mgrs_tile": "33TWM", "s2:processing_baseline": "05.09", "platform": "Sentinel-2A"}
VALID = [made_item(name, f"2023-06-{day}", **FACTS, **{"eo:cloud_cover": 10}) for name, day in
         (("a", "10"), ("b", "15"), ("c", "20"))]  # fmt: skip
OTHERS = [made_item("far", place=(15.2, 46, 15.3, 46.1), **FACTS), made_item("late", "2023-07-02", **FACTS),
          made_item("cloudy", **FACTS, **{"eo:cloud_cover": 80})]  # fmt: skip
EXAMPLES = max(50, settings.default.max_examples)


def found(provider: Provider) -> tuple[dict[str, Item], set[str]]:
    """Return the usable items by id, and the reasons of those left out."""
    items, reasons = {}, set()
    for page in provider.pages(QUERY):
        reasons |= {defect for _, defect in page.left_out if defect}
        for item in page.items:
            defect = asset_defect(item, remote=True, bands=True)
            if defect is None:
                items[item["id"]] = item
            else:
                reasons.add(defect)
    return items, reasons


def facts_of(item: Item) -> tuple[Scene, Any, list[float]]:
    scene = scene_facts({**item, "properties": {**item["properties"]}})
    return scene, shapely.force_2d(shapely.geometry.shape(item["geometry"])).normalize(), item["bbox"]


def assert_same(items: dict[str, Item], valid: list[Item]) -> None:
    assert set(items) == {item["id"] for item in valid}
    for item in valid:
        (one, place, box), (scene, own, _) = facts_of(items[item["id"]]), facts_of(item)
        assert one.assets == scene.assets
        assert (one.cloud_cover, one.epsg, one.mgrs_tile, one.offset) == (10.0, 32633, "33TWM", 1000)
        assert one.datetime[:19] == scene.datetime[:19]
        assert place.equals(own)
        assert box == list(own.bounds)


@pytest.mark.parametrize("kind", ["folder", "table"])
@settings(deadline=None, max_examples=EXAMPLES)
@given(st.sampled_from(sorted(ITEM_DEFECTS)), st.integers(0, len(VALID) - 1))
def test_a_defect_of_an_item_changes_nothing_or_is_reported(
    tmp_path_factory: pytest.TempPathFactory, kind: str, name: str, number: int
) -> None:
    verdict, spoil = ITEM_DEFECTS[name]
    folder = tmp_path_factory.mktemp("items")
    items = [spoil(item) if k == number else item for k, item in enumerate(VALID)] + OTHERS
    if kind == "folder":
        (folder / "stac" / S2).mkdir(parents=True)
        for k, item in enumerate(items):
            (folder / "stac" / S2 / f"{k}.json").write_text(json.dumps(item))
        usable, reasons = found(ItemFolder(folder))
    else:
        boxed = [{**item, "bbox": [0.0, 0.0, 1.0, 1.0]} for item in items]
        write_foreign(folder / "items.parquet", boxed)
        usable, reasons = found(ItemTable(folder / "items.parquet"))
    if verdict == "left out":
        assert_same(usable, [item for k, item in enumerate(VALID) if k != number])
        assert len(reasons) == 1
    else:
        assert_same(usable, VALID)
        assert not reasons


def write_foreign(path: Path, items: list[Item]) -> None:
    """Write a table with JSON in its columns, which takes any item."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        {
            "id": item["id"], "collection": item["collection"], "assets": json.dumps(item["assets"]),
            "properties": json.dumps(item["properties"]),
            "geometry": None if item["geometry"] is None else json.dumps(item["geometry"]),
        }
        for item in items
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), path)


@pytest.fixture(scope="module")
def table() -> Any:
    return stac_arrow.parse_stac_items_to_arrow(VALID + OTHERS).read_all()


@settings(deadline=None, max_examples=EXAMPLES)
@given(st.sampled_from(sorted(TABLE_DEFECTS)))
def test_a_table_of_any_maker_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, table: Any, name: str
) -> None:
    verdict, write = TABLE_DEFECTS[name]
    folder = tmp_path_factory.mktemp("table")
    write(table, folder)
    if verdict == "refused":
        with pytest.raises(InputError) as caught:
            found(ItemTable(folder))
        assert caught.value.cause.endswith(".")
        assert caught.value.remedy.endswith(".")
        return
    usable, reasons = found(ItemTable(folder))
    assert_same(usable, VALID)
    assert not reasons
    by_id = {item["id"] for page in ItemTable(folder).by_ids(S2, ["b", "late"]) for item in page.items}
    assert by_id == {"b", "late"}


def test_our_own_table_and_one_of_another_maker_give_the_same_items(tmp_path: Path, table: Any) -> None:
    write_items(tmp_path / "own.parquet", VALID + OTHERS, url="u", query={})
    (tmp_path / "theirs").mkdir()
    TABLE_DEFECTS["as it is"][1](table, tmp_path / "theirs")
    assert found(ItemTable(tmp_path / "own.parquet")) == found(ItemTable(tmp_path / "theirs"))
