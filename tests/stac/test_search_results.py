from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from headwater.stac.items import newest_processing
from headwater.stac.pages import write_lines
from headwater.stac.pinned_items import pinned_item
from headwater.stac.search_results import SearchResult, digest_of, is_older, updated_of
from support.scripted_api import made_item

S2 = "sentinel-2-l2a"
versions = st.lists(
    st.tuples(st.sampled_from("abcde"), st.sampled_from([None, "2023-07-01T00:00:00Z", "2023-08-01T00:00:00Z"]),
              st.sampled_from(["02.12", "05.09"]), st.integers(0, 1)),
    max_size=12,
)  # fmt: skip


def item(name: str, updated: str | None = None, baseline: str = "05.09", cloud: int = 0) -> dict[str, Any]:
    # Two ids are of one acquisition.
    day = f"2023-06-{10 + ('abcde'.index(name) + 1) // 2:02d}"
    more = {"platform": "S2A", "s2:mgrs_tile": "33TWM", "s2:processing_baseline": baseline, "eo:cloud_cover": cloud}
    return pinned_item(made_item(name, day, **more, **({"updated": updated} if updated else {})))


def result_of(folder: Path, pages: list[list[dict[str, Any]]], usable: Callable[[Any], bool] = bool) -> SearchResult:
    found = SearchResult()
    for number, page in enumerate(pages):
        write_lines(folder / f"{number}.jsonl", page)
        found.add(folder / f"{number}.jsonl", usable)
    return found


@given(versions, st.integers(1, 5), st.randoms(use_true_random=False))
def test_the_order_of_items_does_not_change_the_result(
    tmp_path_factory: Any, rows: list[tuple[Any, ...]], size: int, random: Any
) -> None:
    items = [item(*row) for row in rows]
    shuffled = [*items, *items[:3]]
    random.shuffle(shuffled)
    folder = tmp_path_factory.mktemp("found")
    one = result_of(folder, [items])
    other = result_of(folder / "other", [shuffled[k : k + size] for k in range(0, len(shuffled), size)])
    kept = list(one.items(one.newest([S2])))
    assert list(other.items(other.newest([S2]))) == kept
    # The same as from the function that keeps all items in memory, of the latest version of each.
    latest: dict[str, dict[str, Any]] = {}
    for entry in sorted(items, key=lambda entry: (updated_of(entry), digest_of(entry))):
        latest[entry["id"]] = entry
    assert kept == newest_processing(latest.values())
    assert len(one) == len(latest)


def test_collections_without_acquisitions_keep_all(tmp_path: Path) -> None:
    found = result_of(tmp_path, [[item("b"), item("c", baseline="02.12")]])
    assert [entry.id for entry in found.newest([])] == ["b", "c"]
    assert [entry.id for entry in found.newest([S2])] == ["b"]


def test_unusable_items_are_not_in_the_result(tmp_path: Path) -> None:
    found = result_of(tmp_path, [[item("a"), item("b")]], lambda entry: entry["id"] == "b")
    assert found.get(S2, "a") is None
    entry = found.get(S2, "b")
    assert entry is not None
    assert entry.digest == digest_of(item("b"))


def test_older_needs_two_dates() -> None:
    assert is_older("2023-06-01T00:00:00.000000Z", "2023-06-02T00:00:00.000000Z")
    assert not is_older("2023-06-02T00:00:00.000000Z", "2023-06-02T00:00:00.000000Z")
    assert not is_older("", "2023-06-02T00:00:00.000000Z")
    assert not is_older("2023-06-02T00:00:00.000000Z", "")
