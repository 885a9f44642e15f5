from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.stac.pinned_items import pinned_item
from headwater.stac.validation import (
    asset_defect,
    is_plain_id,
    is_web_address,
    item_defect,
    public_address,
    sanitize_for_log,
)
from support.scripted_api import made_item

S2 = "sentinel-2-l2a"
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def test_a_real_item_lacks_nothing() -> None:
    assert item_defect(made_item("a"), S2) is None
    assert asset_defect(pinned_item(made_item("a")), remote=True, bands=True) is None


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a\\b", "a\nb", "a\0b", "\ud800", ".hidden", "x" * 201])
def test_ids_that_cannot_name_a_file_are_refused(name: str) -> None:
    assert not is_plain_id(name)
    assert item_defect(made_item("a") | {"id": name}, S2) == "an id that can name a file"


@pytest.mark.parametrize("name", ["S2A_MSIL2A_20190101T000001_R116_T60VUK_20201007T214652", "a..b", "x" * 200, "été"])
def test_other_ids_are_fine(name: str) -> None:
    assert is_plain_id(name)


@given(st.dictionaries(st.sampled_from(["id", "collection", "properties", "assets", "geometry", "bbox"]), json_values))
def test_whatever_a_reply_contains_has_a_defect_or_can_be_pinned(changes: dict[str, Any]) -> None:
    feature = made_item("a") | changes
    lack = item_defect(feature, S2)
    if lack is None:
        asset_defect(pinned_item(feature), remote=True, bands=True)


@pytest.mark.parametrize(
    ("href", "web"),
    [
        ("https://x.test/a.tif", True),
        ("http://127.0.0.1:8321/a.tif?st=1", True),
        ("/etc/passwd", False),
        ("file:///etc/passwd", False),
        ("/vsicurl/https://x.test/a.tif", False),
        ("s3://bucket/a.tif", False),
        ("B08.tif", False),
        ("https:///a.tif", False),
        ("http://[x", False),
        ("https://x.test/a b.tif", False),
        ("https://x.test/a\n.tif", False),
    ],
)
def test_only_web_addresses_are_taken_from_the_web(href: str, web: bool) -> None:
    assert is_web_address(href) is web
    item = made_item("a")
    item["assets"]["B04"]["href"] = href
    lack = asset_defect(pinned_item(item), remote=True, bands=True)
    bucket = " (s3://bucket)" if href.startswith("s3") else ""
    assert lack == (None if web else f"http(s) addresses{bucket}")
    plain = web or href in ("/etc/passwd", "B08.tif")
    lack = asset_defect(pinned_item(item), remote=False, bands=True)
    assert lack == (None if plain else f"file paths or http(s) addresses{bucket}")


def test_heights_of_a_footprint_are_not_pinned() -> None:
    item = made_item("a")
    flat = pinned_item(item)
    item["geometry"]["coordinates"] = [
        [[*point, float("inf")] for point in ring] for ring in item["geometry"]["coordinates"]
    ]
    assert pinned_item(item) == flat


@pytest.mark.parametrize("day", [None, "yesterday", "2023-13-01T00:00:00Z", 5])
def test_a_scene_without_a_time_is_useless(day: Any) -> None:
    item = made_item("a")
    item["properties"]["datetime"] = day
    assert asset_defect(pinned_item(item), remote=True, bands=True) == "a valid date and time"


def test_sanitized_ids_are_short_printable_and_still_distinct() -> None:
    assert sanitize_for_log("a\x1b[31m") == "a?[31m"
    assert sanitize_for_log(None) == ""
    assert sanitize_for_log(3) == "3"
    assert sanitize_for_log("x" * 500) != sanitize_for_log("x" * 501)
    assert len(sanitize_for_log("x" * 500)) < 100
    assert public_address("https://user:word@x.test:1/stac?sig=2#a") == "https://x.test:1/stac"
    assert public_address("demo/planet-1") == "demo/planet-1"
