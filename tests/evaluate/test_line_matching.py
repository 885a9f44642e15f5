import geopandas as gpd
import numpy as np
import pytest
import shapely

from headwater.evaluate.line_matching import dem_streams, length_off_backbone_m, line_scores, local_metric_crs
from headwater.geo.grid import RasterGrid

METER = 1 / 111_194.9


def lines(*points):
    return gpd.GeoSeries([shapely.LineString(np.array(p) * METER + (20, 0)) for p in points], crs="EPSG:4326")


TRUTH = lines([(0, 0), (1000, 0)], [(0, 500), (1000, 500)])


def test_perfect_and_absent():
    same = line_scores(TRUTH, TRUTH)
    assert (same.completeness, same.correctness, same.f1) == pytest.approx((1, 1, 1))
    assert same.true_length_m == pytest.approx(2000, rel=0.01)
    nothing = line_scores(TRUTH.iloc[:0], TRUTH)
    assert nothing.completeness == 0
    assert np.isnan(nothing.correctness)
    assert nothing.found_length_m == 0


def test_half_found_and_half_wrong():
    found = lines([(0, 20), (1000, 20)], [(0, 700), (1000, 700)])
    scores = line_scores(found, TRUTH, distance_m=40)
    assert scores.completeness == pytest.approx(0.5, abs=0.001)
    assert scores.correctness == pytest.approx(0.5, abs=0.001)
    assert scores.f1 == pytest.approx(0.5, abs=0.001)
    assert scores.quality == pytest.approx(1 / 3, abs=0.001)
    assert line_scores(found, TRUTH, distance_m=10).f1 == 0


def test_near_the_backbone_nothing_counts():
    backbone = TRUTH.iloc[:1]
    found = lines([(0, 10), (1000, 10)], [(0, 500), (500, 500)])
    scores = line_scores(found, TRUTH, distance_m=40, backbone=backbone)
    assert scores.true_length_m == pytest.approx(1000, rel=0.01)
    assert scores.found_length_m == pytest.approx(500, rel=0.01)
    # The round end of the buffer reaches 40 m beyond.
    assert scores.completeness == pytest.approx(0.54, abs=0.005)
    assert scores.correctness == pytest.approx(1)
    assert length_off_backbone_m(found, backbone) == pytest.approx(500, rel=0.01)


def test_projection_is_true_to_scale_here():
    place = gpd.GeoSeries([shapely.LineString([(-60, 70), (-59.9, 70)])], crs="EPSG:4326")
    assert place.to_crs(local_metric_crs(place)).length[0] == pytest.approx(3816, abs=3)


def test_baseline_has_the_length_asked_for():
    random = np.random.default_rng(2)
    size = 120
    wave = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size)))
    wave[0, 0] = 1
    noise = np.fft.ifft2(np.fft.fft2(random.normal(size=(size, size))) / wave**1.9).real
    elevation = (noise / noise.std() * 50 + np.linspace(300, 0, size)[:, None]).astype(np.float32)
    grid = RasterGrid(west=20, north=0.1, dx=1 / 3600, dy=1 / 3600, width=size, height=size)
    mask = np.ones(grid.shape, bool)
    mask[:, :10] = False
    streams = dem_streams(elevation, grid, mask, 20_000)
    metric = streams.to_crs(local_metric_crs(streams.geometry))
    assert metric.length.sum() == pytest.approx(20_000, rel=0.03)
    assert streams.total_bounds[0] > 20 + 10 / 3600
    # The longest streams are the ones with most water.
    fewer = dem_streams(elevation, grid, mask, 5_000)
    assert fewer["upstream_area_km2"].min() > streams["upstream_area_km2"].min()
    off = dem_streams(elevation, grid, mask, 20_000, backbone=fewer.geometry)
    assert length_off_backbone_m(off.geometry, fewer.geometry) == pytest.approx(20_000, rel=0.05)
