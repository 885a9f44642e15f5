import json
import math
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.core.errors import InputError, WorkError
from headwater.core.files import read_json
from headwater.demo.server.serve import running_catalog
from headwater.geo.longitudes import touches
from headwater.imagery.select import around
from headwater.stac.pins import _table, read_items, read_query, write_items
from support.places import SHARED
from support.steps import search, select
from support.tiny_catalog import CELLS, TinyScene, write_tiny_catalog, write_tiny_plan

SUMMER = "2023-05-01/2023-09-30"
NORTH_WEST, NORTH_EAST, SOUTH = CELLS

Select = Callable[..., tuple[dict[str, Any], dict[str, Any]]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("planet")
    write_tiny_catalog(path)
    return path


@pytest.fixture
def selecting(tmp_path: Path) -> Select:
    """Search a catalog once, then select a cell of it."""

    def run(url: str, cell: str = NORTH_WEST, **words: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        write_tiny_plan(tmp_path / "plan.json")
        items, out = tmp_path / "items.parquet", tmp_path / cell
        if not items.exists():
            search(tmp_path / "plan.json", items, url=url, datetime=SUMMER)
        words.setdefault("cache_dir", tmp_path / "cache")
        select(items, tmp_path / "plan.json", cell, out / "scenes.json", out / "dem.json", **words)
        return read_json(out / "scenes.json"), read_json(out / "dem.json")

    return run


def names(scenes: dict[str, Any]) -> list[str]:
    return [scene["id"] for scene in scenes["scenes"]]


def test_manifests_contain_what_the_composite_needs(folder: Path, selecting: Select) -> None:
    scenes, dem = selecting(str(folder))
    assert {key: scenes[key] for key in ("cell", "collection", "missing_scl")} == {
        "cell": NORTH_WEST,
        "collection": "sentinel-2-l2a",
        "missing_scl": "clear",
    }
    assert len(scenes["scenes"]) == 3
    for scene in scenes["scenes"]:
        assert set(scene) == {
            *("id", "collection", "datetime", "mgrs_tile", "baseline", "offset", "epsg"),
            *("cloud_cover", "assets", "mean", "std"),
        }
        assert list(scene["assets"]) == ["B02", "B03", "B04", "B08", "SCL"]
        assert scene["offset"] == (0 if scene["baseline"] == "03.01" else 1000)
        assert scene["epsg"] == 32633
        assert len(scene["mean"]) == len(scene["std"]) == 4
    assert {scene["mgrs_tile"] for scene in scenes["scenes"]} == {"33TWM", "33TWL"}
    assert [item["collection"] for item in dem["items"]] == ["cop-dem-glo-30"] * 2 + ["cop-dem-glo-90"] * 2
    assert all(set(item) == {"id", "collection", "href", "epsg"} for item in dem["items"])


def test_statistics_are_harmonized_and_of_clear_pixels_only(folder: Path, selecting: Select) -> None:
    scenes, _ = selecting(str(folder))
    half_cloudy = next(
        scene for scene in scenes["scenes"] if "20230620" in scene["id"] and scene["mgrs_tile"] == "33TWM"
    )
    for name, mean, std in zip(("B08", "B04", "B03", "B02"), half_cloudy["mean"], half_cloudy["std"], strict=True):
        with rasterio.open(half_cloudy["assets"][name]) as dataset:
            dn = dataset.read(1).astype(float)
        # Cloud (10000 with the offset) fills 60 % of the scene; without its pixels the mean is that of the ground.
        clear = dn[dn < 9000] - 1000
        assert clear.size == pytest.approx(0.4 * dn.size, rel=0.01)
        assert mean == pytest.approx(clear.mean(), rel=0.01)
        assert std == pytest.approx(clear.std(), rel=0.01)
    old = next(scene for scene in scenes["scenes"] if scene["baseline"] == "03.01")
    assert old["mean"][0] == pytest.approx(half_cloudy["mean"][0], rel=0.03), "one of the two was not harmonized"


def test_over_http_with_tokens_nothing_signed_is_written(folder: Path, selecting: Select, tmp_path: Path) -> None:
    with running_catalog([folder], token_lifetime_s=2) as url:
        scenes, _ = selecting(f"{url}/stac", signing="token", token_url=f"{url}/api/sas/v1/token")
        assert len(scenes["scenes"]) == 3
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 6
    for path in written:
        assert b"sig=" not in path.read_bytes(), path
    for path in (tmp_path / "cache").glob("*.npz"):
        with np.load(path) as arrays:
            assert list(arrays) == ["nearest", "throughout", "extent"]


def test_without_a_token_the_refusal_is_reported(
    folder: Path, selecting: Select, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)
    with running_catalog([folder]) as url, pytest.raises(WorkError, match="could not be read"):
        selecting(f"{url}/stac", signing="none")


def test_neighboring_cells_choose_the_same_scenes_with_the_same_statistics(
    folder: Path, selecting: Select, tmp_path: Path
) -> None:
    one, _ = selecting(str(folder), NORTH_WEST, cache_dir=tmp_path / "one")
    two, _ = selecting(str(folder), NORTH_EAST, cache_dir=tmp_path / "two")
    assert one["scenes"] == two["scenes"]
    south, _ = selecting(str(folder), SOUTH)
    assert [scene for scene in one["scenes"] if scene["id"] in names(south)] == south["scenes"]


def test_the_choice_is_greedy_per_tile(folder: Path, selecting: Select) -> None:
    scenes, _ = selecting(str(folder))
    north = [name for name in names(scenes) if "33TWM" in name]
    # The least cloudy scene leaves a strip uncovered, which only the cloudiest one shows; last year is not needed.
    assert [name.split("_")[2][:8] for name in north] == ["20230630", "20230620"]
    assert names(scenes)[:2] == sorted(names(scenes)[:2], key=lambda name: "33TWM" in name)


def test_a_year_back_when_this_year_is_cloudy(selecting: Select, tmp_path: Path) -> None:
    cloudy, old = TinyScene("33TWM", "20230610", cloudy=(0.0, 0.5)), TinyScene("33TWM", "20220610")
    write_tiny_catalog(tmp_path / "planet", [cloudy, old])
    assert names(selecting(str(tmp_path / "planet"))[0]) == [cloudy.id, old.id]
    assert names(selecting(str(tmp_path / "planet"), max_scenes=1)[0]) == [cloudy.id]
    assert names(selecting(str(tmp_path / "planet"), stop_uncovered=0.6)[0]) == [cloudy.id]
    assert names(selecting(str(tmp_path / "planet"), cloud_steps=(1, 41))[0]) == [old.id]


def test_same_pin_same_bytes_with_and_without_the_cache(folder: Path, selecting: Select, tmp_path: Path) -> None:
    selecting(str(folder))
    path = tmp_path / NORTH_WEST / "scenes.json"
    content, time_ns = path.read_bytes(), path.stat().st_mtime_ns
    kept = {file.name: file.read_bytes() for file in (tmp_path / "cache").iterdir()}
    selecting(str(folder))
    assert path.stat().st_mtime_ns == time_ns, "an equal manifest was written again"
    shutil.rmtree(tmp_path / "cache")
    path.unlink()
    selecting(str(folder))
    assert path.read_bytes() == content
    assert {file.name: file.read_bytes() for file in (tmp_path / "cache").iterdir()} == kept


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 cut short", b"{", b'{"mean": [1], "std": [1]}', b"[1, 2]"])
def test_a_damaged_cache_is_read_again(folder: Path, selecting: Select, tmp_path: Path, damage: bytes) -> None:
    expected = selecting(str(folder))
    for path in (tmp_path / "cache").iterdir():
        path.write_bytes(damage)
    assert selecting(str(folder)) == expected


def test_the_cache_saves_reading(folder: Path, selecting: Select, tmp_path: Path) -> None:
    planet = tmp_path / "planet"
    shutil.copytree(folder, planet)
    expected = selecting(str(planet))
    shutil.rmtree(planet / "assets")
    assert selecting(str(planet)) == expected


def test_cells_at_the_same_time_share_the_cache(folder: Path, selecting: Select, tmp_path: Path) -> None:
    selecting(str(folder), cache_dir=tmp_path / "apart")
    results: dict[str, Any] = {}

    def work(cell: str) -> None:
        results[cell] = selecting(str(folder), cell)

    threads = [threading.Thread(target=work, args=(cell,)) for cell in CELLS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results[NORTH_WEST][0]["scenes"] == results[NORTH_EAST][0]["scenes"]
    apart = {path.name: path.read_bytes() for path in (tmp_path / "apart").iterdir()}
    assert {path.name: path.read_bytes() for path in (tmp_path / "cache").iterdir()} == apart


def test_a_scene_without_scl_is_clear_or_refused(selecting: Select, tmp_path: Path) -> None:
    bare = TinyScene("33TWM", "20230610", cloudy=(0.0, 0.1), empty=0.2, scl=False)
    write_tiny_catalog(tmp_path / "planet", [bare])
    scenes, _ = selecting(str(tmp_path / "planet"))
    assert names(scenes) == [bare.id]
    assert scenes["scenes"][0]["assets"]["SCL"] is None
    with pytest.raises(WorkError, match="no SCL"):
        selecting(str(tmp_path / "planet"), missing_scl="refuse")


def test_a_swath_that_ends_before_the_cell_is_left_out(selecting: Select, tmp_path: Path) -> None:
    east_only, all_of_it = TinyScene("33TWM", "20230610", empty=0.9), TinyScene("33TWM", "20220610")
    write_tiny_catalog(tmp_path / "planet", [east_only, all_of_it])
    assert names(selecting(str(tmp_path / "planet"), NORTH_WEST)[0]) == [all_of_it.id]


def test_a_cell_that_nothing_touches_gets_empty_manifests_and_a_warning(
    folder: Path, selecting: Select, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    selecting(str(folder))
    pinned = read_items(tmp_path / "items.parquet")
    write_items(tmp_path / "items.parquet", pinned, url="made by hand", query={})
    plan = read_json(tmp_path / "plan.json")
    plan["cells"].append({**plan["cells"][0], "name": "N10.00E015.00"})
    (tmp_path / "far.json").write_text(json.dumps(plan))
    out = tmp_path / "far"
    select(
        *(tmp_path / "items.parquet", tmp_path / "far.json", "N10.00E015.00", out / "scenes.json", out / "dem.json"),
        cache_dir=tmp_path / "cache",
    )
    assert read_json(out / "scenes.json")["scenes"] == []
    assert read_json(out / "dem.json")["items"] == []
    assert "no usable scene touches cell N10.00E015.00" in capsys.readouterr().err


def test_a_broken_file_is_reported_and_nothing_is_written(selecting: Select, tmp_path: Path) -> None:
    write_tiny_catalog(tmp_path / "planet", [TinyScene("33TWM", "20230610")])
    path = next((tmp_path / "planet" / "assets" / "sentinel-2-l2a").glob("*/B04.tif"))
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(WorkError, match=r"B04\.tif could not be read"):
        selecting(str(tmp_path / "planet"))
    assert not (tmp_path / NORTH_WEST).exists()


@pytest.mark.parametrize(
    "words",
    [
        {"max_scenes": 0},
        {"cloud_steps": ()},
        {"cloud_steps": (11, 1)},
        {"cloud_steps": (float("nan"),)},
        {"cloud_steps": (-1, 50)},
        {"min_gain": 2},
        {"stop_uncovered": -0.1},
        {"missing_scl": "guess"},
        {"signing": "azure"},
        {"signing": "token"},
    ],
)
def test_bad_arguments_are_refused(folder: Path, selecting: Select, words: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        selecting(str(folder), **words)


def test_the_order_of_the_pin_and_items_far_away_change_nothing(
    folder: Path, selecting: Select, tmp_path: Path
) -> None:
    selecting(str(folder))
    before = [(tmp_path / NORTH_WEST / name).read_bytes() for name in ("scenes.json", "dem.json")]
    items, record = tmp_path / "items.parquet", read_query(tmp_path / "items.parquet")
    pinned = read_items(items)
    # 40 degrees to the east: too far to be any candidate's neighbor.
    far = [_moved(item, 40.0) for item in pinned]
    table = pa.concat_tables(
        [_table([item]) for item in sorted([*pinned, *far], key=lambda item: item["id"], reverse=True)]
    )
    metadata = pq.read_schema(items).metadata
    pq.write_table(table.replace_schema_metadata(metadata), items)
    assert read_query(items) == record
    assert len(read_items(items)) == 2 * len(pinned)
    selecting(str(folder))
    assert [(tmp_path / NORTH_WEST / name).read_bytes() for name in ("scenes.json", "dem.json")] == before


def _moved(item: dict[str, Any], degrees: float) -> dict[str, Any]:
    west, south, east, north = item["bbox"]
    box = shapely.box(west + degrees, south, east + degrees, north)
    return {**item, "id": f"far_{item['id']}", "bbox": list(box.bounds), "geometry": shapely.geometry.mapping(box)}


def test_a_scene_that_is_gone_is_left_out_and_the_next_best_is_taken(
    selecting: Select, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tiny_catalog(tmp_path / "planet")
    with running_catalog([tmp_path / "planet"], require_token=False) as url:
        first, _ = selecting(f"{url}/stac")
        lost = next(name for name in names(first) if "33TWM" in name)
        shutil.rmtree(tmp_path / "planet" / "assets" / "sentinel-2-l2a" / lost)
        second, _ = selecting(f"{url}/stac", cache_dir=tmp_path / "new")
    assert lost not in names(second)
    assert any("33TWM" in name for name in names(second))
    assert f"{lost} is left out" in capsys.readouterr().err


def assets_of(folder: Path, scene: TinyScene) -> Path:
    return folder / "assets" / "sentinel-2-l2a" / scene.id


def rewrite(path: Path, change: Callable[[Any], Any] = lambda values: values, **facts: Any) -> None:
    """Write a file again with other values or other facts."""
    with rasterio.open(path) as dataset:
        values, profile = change(dataset.read()), dataset.profile
    profile = {key: value for key, value in profile.items() if key not in ("driver", "blockxsize", "blockysize")}
    facts = {"dtype": values.dtype, "height": values.shape[1], "width": values.shape[2]} | facts
    with rasterio.open(path, "w", **(profile | {"driver": "GTiff", "tiled": False} | facts)) as dataset:
        dataset.write(values)


BEST, SECOND, THIRD = (
    TinyScene("33TWM", f"202306{day}", cloudy=(0, cloud)) for day, cloud in ((10, 0), (15, 0.05), (20, 0.3))
)


def lose_a_band(planet: Path) -> None:
    (assets_of(planet, BEST) / "B04.tif").unlink()


def empty_the_bands(planet: Path) -> None:
    for name in ("B08", "B04", "B03", "B02"):
        rewrite(assets_of(planet, BEST) / f"{name}.tif", np.zeros_like)


@pytest.mark.parametrize("spoil", [lose_a_band, empty_the_bands])
def test_a_useless_scene_is_replaced_by_the_next(
    selecting: Select, tmp_path: Path, spoil: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    planet = tmp_path / "planet"
    write_tiny_catalog(planet, [BEST, SECOND, THIRD])
    assert names(selecting(str(planet), cache_dir=tmp_path / "before")[0]) == [BEST.id]
    spoil(planet)
    expected, _ = selecting(str(planet))
    assert names(expected)[0] == SECOND.id, "SCL alone called the scene good"
    err = capsys.readouterr().err
    assert f"scene {BEST.id} " in err
    assert err.count(BEST.id) <= 2
    assert selecting(str(planet), cache_dir=tmp_path / "again")[0] == expected


def damage(planet: Path) -> None:
    path = assets_of(planet, BEST) / "B04.tif"
    path.write_bytes(path.read_bytes()[:3000])


def drop_bits(planet: Path) -> None:
    rewrite(assets_of(planet, BEST) / "B03.tif", lambda values: (values // 64).astype(np.uint8))


@pytest.mark.parametrize(("spoil", "cause"), [(damage, "could not be read"), (drop_bits, "holds uint8")])
def test_one_bad_scene_is_left_out_named_and_counted(
    selecting: Select, tmp_path: Path, spoil: Callable[[Path], None], cause: str, capsys: pytest.CaptureFixture[str]
) -> None:
    planet = tmp_path / "planet"
    write_tiny_catalog(planet, [BEST, SECOND, THIRD])
    spoil(planet)
    scenes, _ = selecting(str(planet))
    assert scenes["left_out"] == [BEST.id]
    assert names(scenes) == [SECOND.id]
    err = capsys.readouterr().err
    assert f"scene {BEST.id} is left out" in err
    assert cause in err
    assert "search.exclude" in err
    with pytest.raises((WorkError, InputError), match=r"1 of 3 scenes cannot be used.*select\.max_left_out"):
        selecting(str(planet), max_left_out=0.3, cache_dir=tmp_path / "again")
    # Once it is excluded, nothing is left to report.
    (tmp_path / "items.parquet").unlink()
    search(tmp_path / "plan.json", tmp_path / "items.parquet", url=str(planet), datetime=SUMMER, exclude=(BEST.id,))
    scenes, _ = selecting(str(planet), max_left_out=0.0, cache_dir=tmp_path / "excluded")
    assert (names(scenes), scenes["left_out"]) == ([SECOND.id], [])


def test_an_excluded_scene_is_withdrawn_from_the_pin(selecting: Select, tmp_path: Path) -> None:
    planet = tmp_path / "planet"
    write_tiny_catalog(planet, [BEST, SECOND])
    selecting(str(planet))
    search(tmp_path / "plan.json", tmp_path / "items.parquet", url=str(planet), datetime=SUMMER, exclude=(BEST.id,))
    assert BEST.id not in {item["id"] for item in read_items(tmp_path / "items.parquet")}


def test_scenes_that_touch_but_show_nothing_are_not_called_absent(
    selecting: Select, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tiny_catalog(tmp_path / "planet", [TinyScene("33TWM", "20230610", cloudy=(0, 0.8))])
    selecting(str(tmp_path / "planet"), cloud_steps=[1])
    err = capsys.readouterr().err
    assert f"1 scene(s) touch cell {NORTH_WEST}, but" in err
    assert "no usable scene touches" not in err


def test_the_edge_of_a_swath_is_used(selecting: Select, tmp_path: Path) -> None:
    scenes = [TinyScene("33TWM", f"202306{day:02d}", empty=0.92) for day in (1, 6, 11)]
    write_tiny_catalog(tmp_path / "planet", scenes)
    east = "N46.00E015.10"
    write_tiny_plan(tmp_path / "plan.json", names=[east])
    search(tmp_path / "plan.json", tmp_path / "items.parquet", url=str(tmp_path / "planet"), datetime=SUMMER)
    select(
        *(tmp_path / "items.parquet", tmp_path / "plan.json", east, tmp_path / "s.json", tmp_path / "d.json"),
        cache_dir=tmp_path / "cache",
    )
    assert names(read_json(tmp_path / "s.json")) == [scenes[0].id]


def test_a_scene_that_is_not_needed_is_not_read(selecting: Select, tmp_path: Path) -> None:
    planet = tmp_path / "planet"
    write_tiny_catalog(planet, [BEST, SECOND, THIRD])
    for scene in (SECOND, THIRD):
        for path in assets_of(planet, scene).iterdir():
            path.write_bytes(b"no raster")
    assert names(selecting(str(planet))[0]) == [BEST.id]
    assert {path.name.split(".")[0] for path in (tmp_path / "cache").iterdir()} == {BEST.id}


@pytest.mark.parametrize(
    ("name", "change", "facts", "words"),
    [
        ("B04", lambda values: (values / 10_000).astype(np.float32), {"nodata": None}, "B04 of .* holds float32"),
        ("SCL", lambda values: values.astype(np.float32), {}, "SCL of .* holds float32"),
        ("B03", lambda values: values[:, :200], {}, "B03 of .* covers other ground"),
        (
            "B02",
            lambda values: values,
            {"transform": rasterio.Affine(40, 0, 501_000, 0, -40, 5_108_000)},
            "other ground",
        ),
    ],
)
def test_files_that_only_look_like_bands_are_refused(
    selecting: Select, tmp_path: Path, name: str, change: Callable[[Any], Any], facts: dict[str, Any], words: str
) -> None:
    write_tiny_catalog(tmp_path / "planet", [BEST])
    rewrite(assets_of(tmp_path / "planet", BEST) / f"{name}.tif", change, **facts)
    with pytest.raises(InputError, match=words):
        selecting(str(tmp_path / "planet"))
    assert not (tmp_path / NORTH_WEST).exists()


def test_a_scene_without_a_crs_is_refused(selecting: Select, tmp_path: Path) -> None:
    planet = tmp_path / "planet"
    write_tiny_catalog(planet, [BEST])
    path = next((planet / "stac" / "sentinel-2-l2a").glob("*.json"))
    item = read_json(path)
    for key in ("proj:epsg", "s2:mgrs_tile"):
        del item["properties"][key]
    path.write_text(json.dumps(item | {"id": "my field"}))
    scenes, _ = selecting(str(planet))
    assert [(scene["id"], scene["mgrs_tile"], scene["epsg"]) for scene in scenes["scenes"]] == [
        ("my field", "my field", 0)
    ]
    (tmp_path / "items.parquet").unlink()
    for band in assets_of(planet, BEST).iterdir():
        rewrite(band, crs=None)
    with pytest.raises(InputError, match="has no coordinate reference system"):
        selecting(str(planet), cache_dir=tmp_path / "new")


@settings(max_examples=15)
@given(order=st.permutations(range(10)))
def test_any_order_of_the_pin_gives_the_same_bytes(order: list[int], pin_and_manifests: tuple[Path, bytes]) -> None:
    folder, expected = pin_and_manifests
    table = pq.read_table(folder / "items.parquet")
    assert len(table) == len(order)
    pq.write_table(table.take(order), folder / "shuffled.parquet")
    out = folder / "shuffled"
    select(
        *(folder / "shuffled.parquet", folder / "plan.json", NORTH_WEST, out / "scenes.json", out / "dem.json"),
        cache_dir=folder / "cache",
    )
    assert (out / "scenes.json").read_bytes() + (out / "dem.json").read_bytes() == expected


@pytest.fixture(scope="module")
def pin_and_manifests(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """A folder with a pin and a plan, and the manifests of a cell."""
    path = tmp_path_factory.mktemp("pin")
    write_tiny_plan(path / "plan.json")
    search(path / "plan.json", path / "items.parquet", url=str(folder), datetime=SUMMER)
    out = path / "first"
    select(
        *(path / "items.parquet", path / "plan.json", NORTH_WEST, out / "scenes.json", out / "dem.json"),
        cache_dir=path / "cache",
    )
    return path, (out / "scenes.json").read_bytes() + (out / "dem.json").read_bytes()


@given(
    lon=st.floats(-180, 180),
    lat=st.floats(-80, 83),
    east_m=st.floats(-109_800, 109_800),
    north_m=st.floats(-109_800, 109_800),
    shifted=st.booleans(),
)
def test_candidates_around_a_cell_contain_all_scenes_of_its_tiles(
    lon: float, lat: float, east_m: float, north_m: float, shifted: bool
) -> None:
    """Two scenes of a tile are within its 109.8 km: where one touches the cell, the other is read."""
    side = 0.05
    cell = (lon, lat, lon + side, lat + side)
    # On a sphere; the point that both tile and cell contain is the cell's nearest corner.
    north = lat + side + north_m / 111_195 if north_m > 0 else lat + north_m / 111_195
    wide = east_m / (111_195 * math.cos(math.radians(north)))
    east = lon + side + wide if east_m > 0 else lon + wide
    point = ((east + 180.0) % 360.0 - 180.0 + (360.0 if shifted else 0.0), north)
    assert touches(shapely.Point(point), around(cell))


def test_a_file_in_another_crs_than_its_item_specifies_is_refused(selecting: Select, tmp_path: Path) -> None:
    write_tiny_catalog(tmp_path / "planet", [TinyScene("33TWM", "20230610")])
    path = next((tmp_path / "planet" / "stac" / "sentinel-2-l2a").glob("*20230610*"))
    item = read_json(path)
    item["properties"]["proj:epsg"] = 32634
    path.write_text(json.dumps(item))
    with pytest.raises(InputError, match="is in EPSG:32633, but its item specifies EPSG:32634"):
        selecting(str(tmp_path / "planet"))


def test_a_preview_of_eight_bits_is_refused_before_any_composite(selecting: Select, tmp_path: Path) -> None:
    write_tiny_catalog(tmp_path / "planet")
    for path in (tmp_path / "planet" / "assets" / "sentinel-2-l2a").glob("*/B03.tif"):
        shutil.copy(path.with_name("SCL.tif"), path)
    with pytest.raises(InputError, match=r"B03 of .* holds uint8"):
        selecting(str(tmp_path / "planet"))
    assert not (tmp_path / NORTH_WEST).exists()


def test_a_scene_without_cloud_cover_ranks_last(selecting: Select, tmp_path: Path) -> None:
    write_tiny_catalog(
        tmp_path / "planet", [TinyScene("33TWM", "20230610", cloudy=(0, 0.3)), TinyScene("33TWM", "20230620")]
    )
    path = next((tmp_path / "planet" / "stac" / "sentinel-2-l2a").glob("*20230620*"))
    item = read_json(path)
    del item["properties"]["eo:cloud_cover"]
    path.write_text(json.dumps(item))
    scenes, _ = selecting(str(tmp_path / "planet"), min_gain=0.0)
    assert ["20230610" in name for name in names(scenes)] == [True, False]
    assert scenes["scenes"][1]["cloud_cover"] == 100


def test_cloud_steps_decide_what_is_tried_first(selecting: Select, tmp_path: Path) -> None:
    write_tiny_catalog(
        tmp_path / "planet", [TinyScene("33TWM", "20230610", cloudy=(0, 0.3)), TinyScene("33TWM", "20230620")]
    )
    scenes, _ = selecting(str(tmp_path / "planet"), cloud_steps=[1], stop_uncovered=0.0, min_gain=0.0)
    assert ["20230620" in name for name in names(scenes)] == [True]
    scenes, _ = selecting(str(tmp_path / "planet"), cloud_steps=[0.5, 101], max_scenes=1)
    assert ["20230620" in name for name in names(scenes)] == [True]


def test_bad_input_files_are_refused(folder: Path, selecting: Select, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not in the plan"):
        selecting(str(folder), "N00.00E000.00")
    (tmp_path / "items.parquet").write_bytes(b"not parquet")
    with pytest.raises(InputError, match=r"items\.parquet"):
        selecting(str(folder))


def test_items_of_another_basin_are_refused(folder: Path, selecting: Select, tmp_path: Path) -> None:
    selecting(str(folder))
    plan = read_json(tmp_path / "plan.json")
    plan["cells"].append({**plan["cells"][0], "name": "N10.00E015.00"})
    (tmp_path / "far.json").write_text(json.dumps(plan))
    out = tmp_path / "far"
    with pytest.raises(InputError, match="covers another place"):
        select(
            *(tmp_path / "items.parquet", tmp_path / "far.json", "N10.00E015.00", out / "s.json", out / "d.json"),
            cache_dir=tmp_path / "cache",
        )
    assert not out.exists()


def test_a_foreign_pin_goes_by_calendar_years(folder: Path, selecting: Select, tmp_path: Path) -> None:
    expected = names(selecting(str(folder))[0])
    items = read_items(tmp_path / "items.parquet")
    write_items(tmp_path / "items.parquet", items, url="made by hand", query={})
    assert names(selecting(str(folder))[0]) == expected


@pytest.fixture
def real_folder(tmp_path: Path) -> Path:
    """The ten real items as an offline catalog."""
    source, target = SHARED / "s2-multidate-33T", tmp_path / "real"
    (target / "stac" / "sentinel-2-l2a").mkdir(parents=True)
    for path in source.glob("*/*.json"):
        item = json.loads(path.read_bytes())
        for asset in item["assets"].values():
            if "://" not in asset["href"]:
                asset["href"] = str(path.parent / asset["href"])
        (target / "stac" / "sentinel-2-l2a" / path.name).write_text(json.dumps(item))
    return target


@pytest.mark.real
@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data folder is not next to the checkout")
def test_real_scenes_of_earth_search(real_folder: Path, tmp_path: Path) -> None:
    cell = {"name": "N46.05E015.20", "bounds": [15.2, 46.05, 15.25, 46.1], "width": 1, "height": 1}
    plan = {
        "basin_id": "2",
        "cell_degrees": 0.05,
        "margin_px": 64,
        "bounds": cell["bounds"],
        "basin_bounds": cell["bounds"],
        "cells": [cell],
    }
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    items, out = tmp_path / "items.parquet", tmp_path / "scenes.json"
    interval = "2023-08-01/2023-08-31"
    search(tmp_path / "plan.json", items, url=str(real_folder), datetime=interval, dem_collections=())
    select(items, tmp_path / "plan.json", cell["name"], out, tmp_path / "dem.json", cache_dir=tmp_path / "cache")
    scenes = read_json(out)["scenes"]
    assert {scene["mgrs_tile"] for scene in scenes} == {"33TWL", "33TWM"}
    for scene in scenes:
        # The offset was removed by the provider: subtracting it again would leave hardly anything of the red band.
        assert scene["offset"] == 0
        nir, red, _, blue = scene["mean"]
        assert 2000 < nir < 4500
        assert 100 < blue < 900
        assert 100 < red < 900
        assert nir > 3 * red
    best = min(scenes, key=lambda scene: scene["cloud_cover"])
    assert best["cloud_cover"] < 1
