"""The three scene readers, on files over HTTP."""

import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from affine import Affine
from rasterio.warp import transform

from headwater import raster
from headwater.core.errors import InputError, WorkError
from headwater.geo.grid import Cell, RasterGrid, cell_grid
from headwater.raster.scenes import READERS, SceneFiles, open_scene
from headwater.stac.items import Asset

SLOPE_DN = (8, 5)
"""DN per 10 m pixel to the east and to the south: reveals a shift of the grid."""
TOLERANCE_PX = 0.25
"""Readers may differ by this fraction of a pixel: GDAL's approximate transformer allows each an eighth."""
SIZE = 400
BANDS = ("B08", "B04", "B03", "B02")


def unsigned(asset, *, renew=False):
    return asset.href


def write_files(folder, epsg, lon, lat, *, clouds=True, gap=True, crs=True):
    """Write a scene around a place: planes of DN, SCL in squares of 640 m, an empty corner."""
    (x,), (y,) = transform("EPSG:4326", f"EPSG:{epsg}", [lon], [lat])
    west, north = x // 20 * 20 - SIZE * 5, y // 20 * 20 + SIZE * 5
    place = Affine(10, 0, west, 0, -10, north)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    assets = {}
    for number, name in enumerate(BANDS):
        dn = (1500 + 1000 * number + SLOPE_DN[0] * columns + SLOPE_DN[1] * rows).astype(np.uint16)
        if gap:
            dn[rows + columns < 120] = 0
        assets[name] = write(folder / f"{name}.tif", dn, place, epsg, crs)
    scl = np.where(((rows // 64) + (columns // 64)) % 2 * clouds == 1, 9, 4).astype(np.uint8)
    if gap:
        scl[rows + columns < 120] = 0
    assets["SCL"] = write(folder / "SCL.tif", scl[::2, ::2], place @ Affine.scale(2), epsg, crs)
    return SceneFiles("S2A", "2023-06-01T10:00:00Z", f"EPSG:{epsg}", assets)


def write(path, values, place, epsg, crs):
    raster.write_cog(path, values[np.newaxis], transform=place, crs=f"EPSG:{epsg}" if crs else "", nodata=0)
    return Asset(str(path), "sentinel-2-l2a")


def grid_at(lon, lat, *, width=300, height=280):
    cell = cell_grid(Cell(int(lat // 1), int(lon // 1), 1.0))
    return RasterGrid(lon - width / 2 * cell.dx, lat + height / 2 * cell.dy, cell.dx, cell.dy, width, height)


def read(reader, files, grid):
    scene = open_scene(reader, files, unsigned, threads=2)
    try:
        assert scene.overlap(grid) is not None
        return scene.read(BANDS, grid), scene.read(["SCL"], grid)[0]
    finally:
        scene.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("scene"), 32633, 15.7, 46.3)


@pytest.mark.parametrize("reader", [name for name in READERS.names() if name != "rasterio"])
def test_all_readers_agree_within_a_quarter_of_a_pixel(files, reader):
    grid = grid_at(15.705, 46.301)
    ours, our_scl = read("rasterio", files, grid)
    theirs, their_scl = read(reader, files, grid)
    both = (ours != 0) & (theirs != 0)
    assert both.mean() > 0.8
    assert np.abs(ours[both].astype(int) - theirs[both]).max() <= TOLERANCE_PX * sum(SLOPE_DN) + 1
    # With edges off by a quarter of a pixel: at most one pixel in four along the edges of the swath and of the squares.
    assert ((ours == 0) != (theirs == 0)).mean() < 0.01
    assert (our_scl != their_scl).mean() < 0.25 * 4 / 64


def test_the_tolerance_detects_a_shifted_file(files, tmp_path):
    """The test above can fail."""
    grid = grid_at(15.705, 46.301)
    shifted = RasterGrid(grid.west + grid.dx / 2, grid.north, grid.dx, grid.dy, grid.width, grid.height)
    ours, theirs = read("rasterio", files, grid)[0], read("rasterio", files, shifted)[0]
    both = (ours != 0) & (theirs != 0)
    assert np.median(np.abs(ours[both].astype(int) - theirs[both])) > TOLERANCE_PX * SLOPE_DN[0] + 1


@pytest.mark.parametrize(
    ("epsg", "lon", "lat"),
    [(32633, 15.7, 46.3), (32760, 179.95, -17.2), (32701, -179.95, -17.2), (32601, -179.9, 66.5), (32633, 15.2, 79.5)],
)
def test_pixels_are_at_the_position_of_the_projection(tmp_path, epsg, lon, lat):
    """Both sides of the antimeridian (Fiji, Chukotka) and the far north, against the projection pixel by pixel."""
    files = write_files(tmp_path, epsg, lon, lat, gap=False)
    # The grid of the cell west of 180 extends beyond it; a scene east of it is found there.
    grid = grid_at(lon if lon > 0 or abs(lon) < 179 else lon + 360, lat, width=200, height=180)
    dn = read("rasterio", files, grid)[0][0]
    columns, rows = np.meshgrid(np.arange(grid.width) + 0.5, np.arange(grid.height) + 0.5)
    lons, lats = grid.west + columns * grid.dx, grid.north - rows * grid.dy
    xs, ys = transform("EPSG:4326", f"EPSG:{epsg}", lons.ravel(), lats.ravel())
    (x,), (y,) = transform("EPSG:4326", f"EPSG:{epsg}", [lon], [lat])
    across = (np.array(xs) - (x // 20 * 20 - SIZE * 5)) / 10 - 0.5
    down = ((y // 20 * 20 + SIZE * 5) - np.array(ys)) / 10 - 0.5
    inside = (across > 1) & (across < SIZE - 2) & (down > 1) & (down < SIZE - 2)
    assert inside.mean() > 0.9
    expected = 1500 + SLOPE_DN[0] * across + SLOPE_DN[1] * down
    assert np.abs(dn.ravel()[inside] - expected[inside]).max() <= 0.02 * sum(SLOPE_DN) + 1


def test_parts_equal_the_complete_read(files):
    grid = grid_at(15.705, 46.301)
    complete, _ = read("rasterio", files, grid)
    upper, _ = read("rasterio", files, grid.crop(row=0, column=0, height=100, width=grid.width))
    lower, _ = read("rasterio", files, grid.crop(row=100, column=0, height=180, width=grid.width))
    assert np.abs(np.concatenate([upper, lower], axis=1).astype(int) - complete).max() <= 0.02 * sum(SLOPE_DN) + 1


def test_the_overlap_is_where_the_scene_is(files):
    grid = grid_at(15.72, 46.31, width=3000, height=3000)
    scene = open_scene("rasterio", files, unsigned)
    part = scene.overlap(grid)
    assert part.width < 800
    assert part.height < 800
    outside = scene.read(BANDS, grid)
    rows = slice(round((grid.north - part.north) / grid.dy), round((grid.north - part.north) / grid.dy) + part.height)
    columns = slice(round((part.west - grid.west) / grid.dx), round((part.west - grid.west) / grid.dx) + part.width)
    assert outside[:, rows, columns].any()
    outside[:, rows, columns] = 0
    assert not outside.any()
    assert scene.overlap(grid_at(17, 46)) is None
    scene.close()


@pytest.mark.parametrize("reader", READERS.names())
def test_a_file_without_crs_uses_that_of_the_item_or_is_refused(tmp_path, reader):
    files = write_files(tmp_path, 32633, 15.7, 46.3, crs=False)
    grid = grid_at(15.7, 46.3, width=100, height=100)
    if reader == "rasterio":
        assert read(reader, files, grid)[0].all()
    nameless = SceneFiles(files.id, files.datetime, None, files.assets)
    with pytest.raises(InputError, match="coordinate reference system"):
        read(reader, nameless, grid)


@pytest.mark.parametrize("reader", READERS.names())
def test_8_bit_reflectance_is_refused(tmp_path, reader):
    files = write_files(tmp_path, 32633, 15.7, 46.3)
    assets = {**files.assets, "B03": files.assets["SCL"]}
    with pytest.raises(InputError, match=r"B03 of S2A holds uint8"):
        read(reader, SceneFiles(files.id, files.datetime, files.crs, assets), grid_at(15.7, 46.3))


def test_bands_in_longitudes_of_0_to_360_are_at_their_place(tmp_path):
    grid = grid_at(-159.8, -21.2, width=60, height=50)
    rows, columns = np.mgrid[:90, :90]
    dn = (1500 + 8 * columns + 5 * rows).astype(np.uint16)
    found = []
    for name, west in (("own", grid.west), ("around", grid.west + 360)):
        (tmp_path / name).mkdir()
        place = Affine(grid.dx, 0, west - 10 * grid.dx, 0, -grid.dy, grid.north + 10 * grid.dy)
        assets = {band: write(tmp_path / name / f"{band}.tif", dn, place, 4326, True) for band in BANDS}
        scene = open_scene("rasterio", SceneFiles("S2A", "2023-06-01T10:00:00Z", None, assets), unsigned)
        found.append(scene.read(BANDS, grid))
        scene.close()
    assert found[0].all()
    assert np.abs(found[0].astype(int) - found[1]).max() <= 1


@pytest.mark.parametrize("reader", READERS.names())
def test_an_empty_file_is_named(tmp_path, reader):
    files = write_files(tmp_path, 32633, 15.7, 46.3)
    (tmp_path / "B03.tif").write_bytes(b"")
    with pytest.raises(WorkError, match=r"B03\.tif"):
        read(reader, files, grid_at(15.7, 46.3))


def test_an_unknown_reader_is_refused(files):
    with pytest.raises(InputError, match="gdalwarp"):
        open_scene("gdalwarp", files, unsigned)


@pytest.mark.parametrize("reader", READERS.names())
def test_no_library_prints_a_signed_address(tmp_path, reader, capfd, monkeypatch):
    """A truncated file at a signed address: every library reports it, none may print the address."""
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)
    files = write_files(tmp_path, 32633, 15.7, 46.3)
    content = (tmp_path / "B03.tif").read_bytes()
    (tmp_path / "B03.tif").write_bytes(content[: int(len(content) * 0.6)])
    with serving(tmp_path) as url:
        assets = {name: Asset(f"{url}/{name}.tif", asset.collection) for name, asset in files.assets.items()}
        scene = open_scene(
            reader,
            SceneFiles(files.id, files.datetime, files.crs, assets),
            lambda asset, renew=False: f"{asset.href}?sig=x",
        )
        with pytest.raises(WorkError) as caught:
            scene.read(BANDS, grid_at(15.7, 46.3))
        scene.close()
    output = capfd.readouterr()
    assert "sig=" not in output.out + output.err + str(caught.value)


@contextmanager
def serving(folder):
    """Serve a folder from a separate process: GDAL may block the interpreter while it waits for a reply."""
    code = (
        "import sys, uvicorn, socket\n"
        "from starlette.staticfiles import StaticFiles\n"
        "listener = socket.create_server(('127.0.0.1', 0))\n"
        "print(listener.getsockname()[1], flush=True)\n"
        "config = uvicorn.Config(StaticFiles(directory=sys.argv[1]), log_level='critical')\n"
        "uvicorn.Server(config).run(sockets=[listener])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.terminate()
        process.communicate()


def test_a_scene_that_reaches_beyond_its_projection_is_refused(tmp_path):
    files = write_files(tmp_path, 32633, 15, 46)
    wide = np.zeros((1, 8, 8), np.uint8)
    raster.write_cog(
        tmp_path / "SCL.tif", wide, transform=Affine(1e10, 0, -4e10, 0, -10, 5e6), crs="EPSG:32633", nodata=0
    )
    with pytest.raises(InputError, match="reaches beyond"):
        open_scene("rasterio", files, unsigned, threads=1).overlap(grid_at(15, 46))
