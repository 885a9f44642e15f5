import importlib
import sys

import geopandas as gpd
import numpy as np
import pytest
from shapely import LineString

from headwater.demo.drainage import make_drainage
from headwater.demo.landscape import make_landscape
from headwater.demo.planet_parameters import planet_parameters
from support.places import ROOT


@pytest.fixture(scope="module")
def benchmarks():
    """The benchmark's two modules; they are in no package."""
    folder = str(ROOT / "benchmarks")
    sys.path.insert(0, folder)
    try:
        yield importlib.import_module("vector_region"), importlib.import_module("vectorize")
    finally:
        sys.path.remove(folder)


@pytest.fixture(scope="module")
def place(benchmarks):
    region = benchmarks[0]
    layout = region.region_layout(3, 60.0)
    land = make_landscape(layout, planet_parameters(3))
    drainage = make_drainage(layout, planet_parameters(3), land)
    return layout, land, drainage, region.probability_grid(layout, land)


def test_fifteen_percent_of_the_channels_are_dropped_off_the_backbone_and_apart(benchmarks, place):
    region = benchmarks[0]
    layout, land, drainage, _ = place
    gaps = region.make_probability(*place, 3)[1]
    off = (drainage.regime > 0) & ~drainage.backbone & land.land.ravel()[land.receiver]
    dx, dy = layout.pixel_m
    apart = np.abs(land.receiver - np.arange(land.receiver.size))
    steps = np.where(apart == 1, dx, np.where(apart == layout.columns, dy, np.hypot(dx, dy)))
    assert sum(gap.length_m for gap in gaps) / steps[off].sum() == pytest.approx(region.DROPPED_FRACTION, abs=0.01)
    cells = np.concatenate([gap.cells[:-1] for gap in gaps])
    assert off[cells].all()
    assert np.unique(cells).size == cells.size
    assert all(np.array_equal(land.receiver[gap.cells[:-1]], gap.cells[1:]) for gap in gaps)
    length_px = np.array([gap.length_m for gap in gaps]) / 20
    assert length_px.min() >= region.RUN_PX[0]
    assert length_px.max() <= region.RUN_PX[1] + 1


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(benchmarks, place):
    region = benchmarks[0]
    first, again, other = (region.make_probability(*place, seed)[0] for seed in (3, 3, 4))
    assert first.dtype == np.uint8
    assert first.shape == place[3].shape
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


def test_channels_shine_and_runs_do_not(benchmarks, place):
    region = benchmarks[0]
    layout, _, drainage, grid = place
    probability, gaps = region.make_probability(*place, 3)

    def values(cells):
        rows, columns = np.round(region._on_grid(layout, grid, cells)).astype(int).T
        return probability[rows, columns] / 255

    kept = np.setdiff1d(np.flatnonzero(drainage.regime), np.concatenate([gap.cells for gap in gaps]))
    assert (values(kept) >= 0.5).mean() > 0.9
    inner = np.concatenate([gap.cells[3:-6] for gap in gaps])
    assert (values(inner) < 0.5).mean() > 0.97
    assert (values(inner) < 0.1).mean() > 0.5


@pytest.fixture
def network():
    """A creek of two segments with a hole in its course, then the same without."""
    meters = 1 / 111_320
    lines = [[(0, 0), (300, 0)], [(900, 0), (1500, 0)], [(300, 0), (900, 0)]]
    lines = [LineString(np.array(line) * meters) for line in lines]
    return lambda targets: gpd.GeoDataFrame(
        {"stream_id": range(1, len(targets) + 1), "target_stream_id": targets, "from_tdx": False},
        geometry=lines[: len(targets)], crs="EPSG:4326",
    )  # fmt: skip


def test_a_run_is_bridged_where_a_line_follows_it_and_flows_down_it(benchmarks, network):
    bench = benchmarks[1]
    meters = 1 / 111_320
    gap = gpd.GeoDataFrame(geometry=[LineString([(300 * meters, 0), (900 * meters, 0)])], crs="EPSG:4326")
    assert bench.gaps_bridged(network([3, -1, 2]), gap).tolist() == [True]
    assert bench.gaps_bridged(network([2, -1]), gap).tolist() == [False]  # no line along it
    assert bench.gaps_bridged(network([-1, 3, -1]), gap).tolist() == [True]  # one segment passes both ends
    upward = gap.copy()
    upward.geometry = gap.geometry.reverse()
    assert bench.gaps_bridged(network([3, -1, 2]), upward).tolist() == [False]
