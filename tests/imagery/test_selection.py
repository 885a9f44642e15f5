import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from headwater.imagery.selection import choose_scenes, rank, resize_nearest
from headwater.imagery.settings import SelectSettings
from headwater.stac.items import Scene

SHAPE = (6, 10)


def scene(number: int, cloud_cover: float, nodata: float = 0.0) -> Scene:
    return Scene(
        id=f"scene-{number}",
        collection="sentinel-2-l2a",
        datetime=f"2023-06-{number + 1:02d}T10:00:00Z",
        mgrs_tile="33TWL",
        baseline="05.09",
        offset=1000,
        epsg=32633,
        cloud_cover=cloud_cover,
        nodata_percentage=nodata,
        updated="",
        assets={},
    )


@st.composite
def archives(draw: st.DrawFn) -> tuple[list[list[Scene]], dict[str, NDArray[np.bool_]]]:
    views: dict[str, NDArray[np.bool_]] = {}
    years = []
    for year in range(draw(st.integers(1, 3))):
        scenes = []
        for number in range(draw(st.integers(0, 5))):
            clear = np.zeros(SHAPE, bool)
            start, stop = sorted((draw(st.integers(0, SHAPE[1])), draw(st.integers(0, SHAPE[1]))))
            clear[:, start:stop] = True
            entry = scene(10 * year + number, cloud_cover=100 * (1 - clear.mean()))
            views[entry.id] = clear
            scenes.append(entry)
        years.append(scenes)
    return years, views


@settings(deadline=None)
@given(archives(), st.integers(1, 6), st.sampled_from([0.0, 0.1, 0.5]), st.sampled_from([0.01, 0.05]))
def test_properties_of_the_choice(
    archive: tuple[list[list[Scene]], dict[str, NDArray[np.bool_]]], most: int, gain: float, stop: float
) -> None:
    years, views = archive
    rule = SelectSettings(max_scenes=most, min_gain=gain, stop_uncovered=stop)
    choice = choose_scenes(years, lambda entry: views[entry.id], rule)
    chosen = choice.scenes
    assert len(chosen) <= most
    assert len({entry.id for entry in chosen}) == len(chosen)
    assert all(entry.cloud_cover < max(rule.cloud_steps) for entry in chosen)
    candidates = [entry for scenes in years for entry in scenes if entry.cloud_cover < max(rule.cloud_steps)]
    uncovered = np.ones(SHAPE, bool)
    shown = np.any([np.zeros(SHAPE, bool), *(views[entry.id] for entry in candidates)], axis=0)
    for entry in chosen:
        added = uncovered & views[entry.id]
        assert added.any()
        assert uncovered.mean() >= stop, "a scene was taken although the tile was covered"
        uncovered &= ~views[entry.id]
    if len(chosen) < most and uncovered.mean() >= stop and (uncovered & shown).sum() >= stop * shown.sum():
        left = [entry.id for entry in candidates if entry not in chosen and (uncovered & views[entry.id]).any()]
        assert not left, "a scene that shows unseen ground was left"
    if len(chosen) < most and stop <= uncovered.mean():
        assert choice.unseen == pytest.approx((uncovered & shown).mean())


@settings(deadline=None)
@given(archives(), st.randoms(use_true_random=False))
def test_order_of_the_candidates_does_not_matter(
    archive: tuple[list[list[Scene]], dict[str, NDArray[np.bool_]]], random: object
) -> None:
    years, views = archive
    shuffled = [random.sample(scenes, len(scenes)) for scenes in years]  # type: ignore[attr-defined]
    rule = SelectSettings()
    look = lambda entry: views[entry.id]  # noqa: E731
    assert choose_scenes(years, look, rule) == choose_scenes(shuffled, look, rule)


def test_a_clear_old_year_waits_until_this_year_is_used_up() -> None:
    half = np.zeros(SHAPE, bool)
    half[:, :5] = True
    this_year, last_year = scene(1, 50), scene(2, 0)
    views = {this_year.id: half, last_year.id: np.ones(SHAPE, bool)}
    chosen = choose_scenes([[this_year], [last_year]], lambda entry: views[entry.id], SelectSettings())
    assert chosen.scenes == [this_year, last_year]


def test_a_clear_scene_comes_before_a_cloudy_one_and_is_enough() -> None:
    looked: list[str] = []

    def look(entry: Scene) -> NDArray[np.bool_]:
        looked.append(entry.id)
        return np.ones(SHAPE, bool)

    clear, cloudy = scene(2, 0.5), scene(1, 40)
    assert choose_scenes([[cloudy, clear]], look, SelectSettings()).scenes == [clear]
    assert looked == [clear.id], "a scene was read that was not needed"


def slivers(count: int, width: int) -> tuple[list[Scene], dict[str, NDArray[np.bool_]]]:
    """Return scenes that each show another sliver of a tile."""
    scenes = [scene(number, 89) for number in range(count)]
    views = {}
    for number, entry in enumerate(scenes):
        views[entry.id] = np.zeros((4, 100), bool)
        views[entry.id][:, number * width : (number + 1) * width] = True
    return scenes, views


def test_scenes_that_each_show_a_sliver_are_used_together() -> None:
    scenes, views = slivers(12, 8)
    choice = choose_scenes([scenes], lambda entry: views[entry.id], SelectSettings(max_scenes=20))
    assert choice.scenes == scenes
    assert choice.unseen == 0
    capped = choose_scenes([scenes], lambda entry: views[entry.id], SelectSettings())
    assert capped.scenes == scenes[:6]
    assert capped.is_full
    assert capped.unseen == pytest.approx(0.48)


def test_at_the_edge_of_a_swath_only_what_some_scene_shows_counts() -> None:
    scenes, views = slivers(1, 8)
    again = [scene(number, number) for number in range(1, 5)]
    views |= {entry.id: views[scenes[0].id] for entry in again}
    choice = choose_scenes([again], lambda entry: views[entry.id], SelectSettings())
    assert choice.scenes == again[:1], "the others show nothing new"
    assert choice.unseen == 0


def test_rank_counts_the_empty_part_of_the_swath() -> None:
    assert sorted([scene(1, 5, nodata=60), scene(2, 20), scene(3, 20)], key=rank) == [
        scene(2, 20),
        scene(3, 20),
        scene(1, 5, nodata=60),
    ]


@pytest.mark.parametrize("shape", [(3, 5), (12, 20), (7, 11)])
def test_resizing_keeps_the_ground(shape: tuple[int, int]) -> None:
    values = np.zeros(SHAPE, bool)
    values[:3, :5] = True
    resized = resize_nearest(values, shape)
    assert resized.shape == shape
    assert resized[0, 0]
    assert not resized[-1, -1]
    assert resized.mean() == pytest.approx(0.25, abs=0.12)
