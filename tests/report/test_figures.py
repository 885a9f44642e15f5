import geopandas as gpd
import numpy as np
import pytest
from PIL import Image
from shapely import LineString

from headwater.geo.grid import RasterGrid
from headwater.report.figures import (
    draw_image,
    draw_network,
    height_range,
    hillshade,
    relief_colors,
    scale_bar_km,
)

GRID = RasterGrid(west=10, north=5.1, dx=0.001, dy=0.001, width=200, height=100)


def test_slopes_that_face_the_light_are_brighter():
    ramp = np.tile(np.arange(200, dtype=np.float32) * 10, (100, 1))
    rising_to_the_east, falling_to_the_east = hillshade(ramp, GRID), hillshade(-ramp, GRID)
    flat = hillshade(np.zeros((100, 200), np.float32), GRID)
    assert rising_to_the_east.mean() > flat.mean() > falling_to_the_east.mean()
    rising_to_the_south = np.tile(np.arange(100, dtype=np.float32)[:, np.newaxis] * 10, (1, 200))
    assert hillshade(rising_to_the_south, GRID).mean() > flat.mean()
    assert np.allclose(flat, np.sin(np.pi / 4))


def test_a_network_is_drawn_at_its_place_with_reproducible_bytes(tmp_path):
    network = gpd.GeoDataFrame(
        {"strahler_order": [1, 2], "from_tdx": [False, True], "length_m": [9_000.0, 10_000.0]},
        geometry=[LineString([(10.02, 5.02), (10.1, 5.05)]), LineString([(10.1, 5.05), (10.19, 5.05)])],
        crs=4326,
    )
    shade = np.ones(GRID.shape, np.float32)
    for name in ("a", "b"):
        draw_network(tmp_path / f"{name}.png", network, shade, GRID, title="t", by="source")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    red = (pixels[..., 0] - pixels[..., 2] > 100).sum()
    blue = (pixels[..., 2] - pixels[..., 0] > 50).sum()
    assert red > 100
    assert blue > 100


def test_an_image_with_a_color_bar_is_drawn(tmp_path):
    draw_image(tmp_path / "x.png", np.zeros((100, 200)), GRID, title="t", label="meters")
    with Image.open(tmp_path / "x.png") as image:
        assert image.size[0] == 1500


@pytest.mark.parametrize("width_km", [0.3, 1.0, 7.9, 41, 399, 4000])
def test_a_scale_bar_has_a_round_length_of_a_tenth_to_a_quarter_of_the_map(width_km):
    km = scale_bar_km(width_km)
    assert width_km / 10 <= km <= width_km / 4
    assert f"{km:e}"[0] in "125"


def test_low_land_is_never_blue_and_the_sea_is():
    heights = np.array([[0.0, 1.0, 35.0, 800.0, np.nan]], np.float32)
    colors = relief_colors(heights, np.full(heights.shape, 0.7, np.float32), *height_range(heights)).astype(int)
    assert colors[0, 0, 2] > colors[0, 0, 0]
    assert (colors[0, 1:4, 2] <= colors[0, 1:4, 1]).all()
    assert colors[0, :, 3].tolist() == [255, 255, 255, 255, 0]
