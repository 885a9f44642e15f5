import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import box, mapping

from headwater.stac.items import newest_processing
from support.places import SHARED

BOXES = {"west": box(0, 0, 1, 1), "east": box(1, 0, 2, 1), "full": box(0, 0, 2, 1)}


def item(
    number: int, tile: str = "33TWL", second: int = 1, baseline: str | None = "05.09", place: str = "full", **more: Any
) -> dict[str, Any]:
    properties = {
        "platform": "Sentinel-2A",
        "datetime": f"2023-06-01T10:00:{second:02d}.024Z",
        "s2:mgrs_tile": tile,
        "s2:processing_baseline": baseline,
        **more,
    }
    return {
        "id": f"item-{number}",
        "collection": "sentinel-2-l2a",
        "geometry": mapping(BOXES[place]),
        "properties": {name: value for name, value in properties.items() if value is not None},
    }


collections = st.lists(
    st.tuples(
        st.sampled_from(["33TWL", "33TWM"]),
        st.integers(1, 3),
        st.sampled_from(["02.12", "03.01", "05.00", "05.09", None]),
        st.sampled_from(sorted(BOXES)),
    ),
    max_size=12,
).map(lambda rows: [item(number, *row) for number, row in enumerate(rows)])


def acquisition(entry: dict[str, Any]) -> tuple[str, str]:
    return entry["properties"]["s2:mgrs_tile"], entry["properties"]["datetime"]


@settings(deadline=None)
@given(collections, st.randoms(use_true_random=False))
def test_order_does_not_matter_and_twice_is_once(items: list[dict[str, Any]], random: Any) -> None:
    kept = newest_processing(items)
    shuffled = list(items)
    random.shuffle(shuffled)
    assert newest_processing(shuffled) == kept
    assert newest_processing(kept) == kept


@settings(deadline=None)
@given(collections)
def test_every_acquisition_stays_with_its_newest_baseline(items: list[dict[str, Any]]) -> None:
    kept = newest_processing(items)
    assert {acquisition(entry) for entry in kept} == {acquisition(entry) for entry in items}
    for entry in kept:
        rivals = [other for other in items if acquisition(other) == acquisition(entry)]
        newest = max(other["properties"].get("s2:processing_baseline", "") for other in rivals)
        assert entry["properties"].get("s2:processing_baseline", "") == newest


@settings(deadline=None)
@given(collections)
def test_no_two_of_one_acquisition_show_the_same_ground(items: list[dict[str, Any]]) -> None:
    kept = newest_processing(items)
    places = [(acquisition(entry), entry["geometry"]) for entry in kept]
    full = mapping(BOXES["full"])
    for key, geometry in places:
        same = [other for other in places if other[0] == key]
        assert len(same) == 1 or (geometry != full and len(same) == 2)


def test_the_agencys_processing_wins_over_the_planetary_computers() -> None:
    own = item(1, baseline="02.12", **{"s2:generation_time": "2020-10-07T21:46:52Z"})
    agency = item(2, baseline="05.00", **{"s2:generation_time": "2019-06-01T15:00:00Z"})
    assert newest_processing([own, agency]) == [agency]


def test_equal_baselines_the_later_generation_wins() -> None:
    early = item(2, **{"s2:generation_time": "2023-06-01T15:00:00Z"})
    late = item(1, **{"s2:generation_time": "2023-06-02T15:00:00Z"})
    assert newest_processing([early, late]) == [late]


def test_spelling_of_the_platform_and_fractions_of_a_second_do_not_matter() -> None:
    other = item(1, baseline="02.12", platform="sentinel-2a", datetime="2023-06-01T10:00:01Z")
    assert [entry["id"] for entry in newest_processing([other, item(2)])] == ["item-2"]


def test_two_platforms_are_two_acquisitions() -> None:
    assert len(newest_processing([item(1), item(2, platform="Sentinel-2B")])) == 2


@pytest.mark.real
@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data folder is not next to the checkout")
def test_real_items_of_different_acquisitions_all_stay() -> None:
    reply = json.loads((SHARED / "stac" / "pc_search_sentinel-2-l2a_2019-01-01.json").read_bytes())
    names = sorted(entry["id"] for entry in reply["features"])
    assert [entry["id"] for entry in newest_processing(reply["features"])] == names
