import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rio_cogeo.cogeo import cog_validate

from headwater import raster
from headwater.core.errors import InputError, WorkError
from headwater.geo.grid import Cell, RasterGrid, cell_grid
from headwater.raster import Band, opening
from headwater.stac.items import Asset

BANDS = (Band("a"), Band("b"))
GRID = cell_grid(Cell(81, 119, 0.1)).crop(row=0, column=0, height=600, width=700)
DATA = np.random.default_rng(0).integers(1, 255, (2, 600, 700)).astype(np.uint8)


@pytest.fixture
def masked(tmp_path):
    path = tmp_path / "masked.tif"
    valid = np.ones(GRID.shape, bool)
    valid[:50] = False
    raster.write_cog(path, DATA, transform=GRID.transform, mask=valid, tags={"recipe": "x"}, bands=BANDS)
    return path, valid


def test_a_written_raster_is_read_back_and_is_a_cog(masked):
    path, valid = masked
    data, mask, grid, tags = raster.read_raster(path)
    assert np.array_equal(mask, valid)
    assert np.array_equal(data[:, valid], DATA[:, valid])
    assert grid == GRID
    assert tags["recipe"] == "x"
    good, errors, _ = cog_validate(str(path), strict=True)
    assert good, errors


def test_the_same_pixels_give_the_same_bytes(masked, tmp_path):
    path, valid = masked
    again = tmp_path / "again.tif"
    raster.write_cog(again, DATA, transform=GRID.transform, mask=valid, tags={"recipe": "x"}, bands=BANDS)
    assert again.read_bytes() == path.read_bytes()


def test_a_window_on_its_own_grid_is_unchanged_and_invalid_outside(masked):
    path, _ = masked
    window = GRID.crop(row=-10, column=-10, height=100, width=100)
    for resampling in ("nearest", "bilinear"):
        values, ok = raster.read_window(path, window, band=2, resampling=resampling)
        assert not ok[:60].any()
        assert not ok[:, :10].any()
        assert ok[60:, 10:].all()
        assert np.array_equal(values[61:, 11:], DATA[1, 51:90, 1:90])


def test_nodata_is_never_interpolated(tmp_path):
    path = tmp_path / "dn.tif"
    dn = np.full((1, 64, 64), 5000, np.uint16)
    dn[0, :, 32:] = 0
    grid = GRID.crop(row=0, column=0, height=64, width=64)
    raster.write_cog(path, dn, transform=grid.transform)
    shifted = RasterGrid(grid.west + grid.dx / 3, grid.north, grid.dx, grid.dy, 60, 60)
    values, valid = raster.read_window(path, shifted, nodata=0)
    assert set(np.unique(values[valid])) == {5000}


def test_a_scene_in_utm_is_placed_by_its_coordinates(tmp_path):
    path = tmp_path / "utm.tif"
    # A bright pixel block at a known place.
    easting, northing = rasterio.warp.transform("EPSG:4326", "EPSG:32633", [15.05], [46.05])
    transform = Affine(10, 0, easting[0] - 500, 0, -10, northing[0] + 500)
    data = np.full((1, 100, 100), 100, np.uint16)
    data[0, 49:51, 49:51] = 9000
    raster.write_cog(path, data, transform=transform, crs="EPSG:32633")
    grid = cell_grid(Cell(460, 150, 0.1)).window((15.045, 46.045, 15.055, 46.055))
    values, _ = raster.read_window(path, grid)
    row, column = np.unravel_index(np.argmax(values), values.shape)
    x, y = grid.transform @ (column + 0.5, row + 0.5)
    assert (x, y) == pytest.approx((15.05, 46.05), abs=2e-4)


def test_overviews_keep_the_extent(masked):
    values, transform, crs = raster.read_overview(masked[0], max_px=100)
    assert max(values.shape) == 100
    east, south = transform @ (values.shape[1], values.shape[0])
    assert (transform.c, transform.f, east, south) == pytest.approx(
        (GRID.bounds[0], GRID.bounds[3], GRID.bounds[2], GRID.bounds[1])
    )
    assert crs.to_epsg() == 4326


def test_a_mosaic_contains_each_cell_and_its_mask(tmp_path):
    paths = []
    for number, row in enumerate((81, 80)):
        grid = cell_grid(Cell(row, 119, 0.1)).coarsen(10)
        data = np.full((1, *grid.shape), 10 * (number + 1), np.uint8)
        paths.append(tmp_path / f"{number}.tif")
        valid = np.ones(grid.shape, bool)
        valid[:, : number * 20] = False
        raster.write_cog(paths[-1], data, transform=grid.transform, mask=valid)
    text = raster.mosaic_vrt(paths, relative_to=tmp_path)
    assert str(tmp_path) not in text
    (tmp_path / "mosaic.vrt").write_text(text)
    with rasterio.open(tmp_path / "mosaic.vrt") as dataset:
        assert dataset.bounds == pytest.approx((11.9, 8.0, 12.0, 8.2), abs=dataset.res[0])
        values, mask = dataset.read(1), dataset.dataset_mask() > 0
    half = values.shape[0] // 2
    assert set(np.unique(values[:half][mask[:half]])) == {10}
    assert set(np.unique(values[half:][mask[half:]])) == {20}
    assert mask[:half].all()
    assert not mask[half:, :19].any()
    values, ok = raster.read_window(raster.mosaic_vrt(paths), cell_grid(Cell(80, 119, 0.1)).coarsen(10))
    assert set(np.unique(values[ok])) == {20}


def test_a_mosaic_of_rasters_without_mask_is_valid_inside_them_only(tmp_path):
    paths = []
    for row, column in ((81, 119), (80, 120)):
        grid = cell_grid(Cell(row, column, 0.1)).coarsen(10)
        paths.append(tmp_path / f"{row}.tif")
        raster.write_cog(paths[-1], np.full((1, *grid.shape), -5, np.float32), transform=grid.transform)
    window = RasterGrid(west=11.9, north=8.2, dx=0.01, dy=0.01, width=20, height=20)
    values, valid = raster.read_window(raster.mosaic_vrt(paths), window, resampling="nearest")
    assert valid[:10, :10].all()
    assert valid[10:, 10:].all()
    assert not valid[:10, 11:].any()
    assert not valid[10:, :9].any()
    assert (values[valid] == -5).all()


def test_rasters_of_two_kinds_are_refused_in_a_mosaic(tmp_path):
    raster.write_cog(tmp_path / "a.tif", DATA, transform=GRID.transform)
    raster.write_cog(tmp_path / "b.tif", DATA[:1], transform=GRID.transform)
    with pytest.raises(InputError, match="differ"):
        raster.mosaic_vrt([tmp_path / "a.tif", tmp_path / "b.tif"])


def test_bad_rasters_are_reported_by_name(masked, tmp_path):
    with pytest.raises(InputError, match=r"none\.tif does not exist"):
        raster.read_window(tmp_path / "none.tif", GRID)
    whole = masked[0].read_bytes()
    (tmp_path / "cut.tif").write_bytes(whole[: len(whole) // 3])
    with pytest.raises(WorkError, match=r"cut\.tif is damaged"):
        raster.read_window(tmp_path / "cut.tif", GRID)
    with pytest.raises(InputError, match="band 7"):
        raster.read_window(masked[0], GRID, band=7)
    (tmp_path / "plain.tif").touch()
    with pytest.raises(WorkError, match=r"plain\.tif"):
        raster.read_raster(tmp_path / "plain.tif")


class _Flaky(BaseHTTPRequestHandler):
    """Serves one file with ranges; the first requests fail, and only a renewed token is accepted."""

    content = b""
    failures = 0
    needs = ""

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        cls = type(self)
        if cls.failures > 0:
            cls.failures -= 1
            self.send_error(503)
            return
        if cls.needs and cls.needs not in self.path:
            self.send_error(403)
            return
        start, end = 0, len(cls.content) - 1
        if "Range" in self.headers:
            first, last = self.headers["Range"].removeprefix("bytes=").split("-")
            start, end = int(first), min(int(last), end) if last else end
        self.send_response(206 if "Range" in self.headers else 200)
        self.send_header("Content-Length", str(end - start + 1))
        self.send_header("Content-Range", f"bytes {start}-{end}/{len(cls.content)}")
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(cls.content[start : end + 1])

    def log_message(self, *_):
        pass


@pytest.fixture
def flaky(masked):
    _Flaky.content, _Flaky.failures, _Flaky.needs = masked[0].read_bytes(), 0, ""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Flaky)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_read_over_http_survives_failures_and_an_expired_token(flaky, monkeypatch):
    monkeypatch.setitem(opening.GDAL_HTTP_OPTIONS, "GDAL_HTTP_MAX_RETRY", "0")
    _Flaky.failures, _Flaky.needs = 2, "sig=fresh"
    renewals = []

    def signer(asset, *, renew=False):
        renewals.append(renew)
        return f"{asset.href}?sig={'fresh' if renew else 'old'}"

    values, valid = raster.read_window(Asset(f"{flaky}/a.tif", "c"), GRID, signer=signer, resampling="nearest")
    assert renewals[0] is False
    assert True in renewals
    assert np.array_equal(values[valid], DATA[0][valid])


def test_a_dead_asset_is_reported_without_its_signature(flaky, monkeypatch):
    monkeypatch.setattr(opening, "READ_ATTEMPTS", 2)
    monkeypatch.setitem(opening.GDAL_HTTP_OPTIONS, "GDAL_HTTP_MAX_RETRY", "0")
    _Flaky.failures = 1000
    with pytest.raises(WorkError) as caught:
        raster.read_window(Asset(f"{flaky}/b.tif", "c"), GRID, signer=lambda a, renew=False: a.href + "?sig=secret")
    assert "b.tif could not be read after 2 tries" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_cells_are_read_onto_one_coarse_grid_from_their_overviews(tmp_path):
    paths = []
    for number, column in enumerate((119, 120)):
        grid = cell_grid(Cell(81, column, 0.1))
        data = np.full((1, *grid.shape), 50 * (number + 1), np.uint8)
        valid = np.ones(grid.shape, bool)
        valid[: grid.height // 2, : grid.width // 2] = number == 1
        paths.append(tmp_path / f"{number}.tif")
        raster.write_cog(paths[-1], data, transform=grid.transform, mask=valid)
    coarse = RasterGrid(west=11.85, north=8.25, dx=0.005, dy=0.005, width=60, height=40)
    # A raster outside the grid is ignored.
    elsewhere = tmp_path / "elsewhere.tif"
    raster.write_cog(elsewhere, np.ones((1, 4, 4), np.uint8), transform=Affine(0.1, 0, 100, 0, -0.1, 50))
    values, valid = raster.read_cells([elsewhere, *paths], coarse, resampling="average")
    assert set(np.unique(values[valid])) == {50, 100}
    assert (values[10:30, 30:50] == 100).all()
    assert valid[21:30, 10:50].all()
    assert not valid[10:19, 10:19].any()
    assert not valid[:, :10].any()
    assert not valid[:10].any()


def test_sampled_pixels_are_those_in_which_the_centers_of_a_grid_are(masked, tmp_path):
    path, valid = masked
    # Shifted by a third of a pixel, 1.3 times as coarse, and beyond the raster's edges.
    dx, dy = GRID.dx * 1.3, GRID.dy * 1.3
    grid = RasterGrid(GRID.west - 10.3 * dx, GRID.north + 5.3 * dy, dx, dy, 600, 500)
    values, known = raster.sample_cells([path], grid, bands=(2, 1))
    columns = np.floor((grid.west + (np.arange(600) + 0.5) * dx - GRID.west) / GRID.dx).astype(int)
    rows = np.floor((GRID.north - grid.north + (np.arange(500) + 0.5) * dy) / GRID.dy).astype(int)
    inside = ((rows >= 0) & (rows < 600))[:, None] & ((columns >= 0) & (columns < 700))
    at = np.ix_(rows.clip(0, 599), columns.clip(0, 699))
    # The part of a grid that a raster is on is snapped to pixels: those whose center is outside have no value.
    assert np.array_equal(known, inside & valid[at])
    for band, data in zip(values, DATA[::-1], strict=True):
        assert np.array_equal(band[known], data[at][known])
        assert not band[~known].any()
    with pytest.raises(InputError, match="no raster"):
        raster.sample_cells([path], RasterGrid(0, 0, 0.1, 0.1, 4, 4), bands=(1,))


def test_a_failed_write_is_reported(tmp_path):
    with pytest.raises(WorkError, match="could not be written"):
        raster.write_cog(Path("/proc/q.tif"), np.zeros((1, 8, 8), np.uint8), transform=Affine(1, 0, 5, 0, -1, 9))
