"""What a remote file or its server may not do: lead elsewhere, name other files, change, or ask for endless memory."""

import os
import subprocess
import sys

import numpy as np
import pytest
import rasterio
import rasterio.warp
from affine import Affine

from headwater import raster
from headwater.core.addresses import host_of
from headwater.core.errors import InputError, WorkError
from headwater.geo.grid import RasterGrid
from headwater.raster import opening, truncation
from headwater.raster.opening import AssetCorrupt, with_retry
from headwater.raster.placement import check_place
from headwater.raster.rasterio_scenes import RasterioScene
from headwater.raster.scenes import SceneFiles, check_band
from headwater.stac.hosts import may_get_token, may_hold_files, may_lead_to
from headwater.stac.items import Asset
from headwater.stac.signing import CatalogSigner, make_signer
from support.faulty_server import faulty_server

PLACE = {"crs": "EPSG:32633", "transform": Affine(10, 0, 500_000, 0, -10, 5_000_000), "nodata": 0}
DATA = np.random.default_rng(0).integers(1, 3000, (1, 512, 512)).astype(np.uint16)
CANARY = 54_321


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("files")
    raster.write_cog(path / "cog.tif", DATA, **PLACE)
    raster.write_cog(path / "canary.tif", np.full((1, 256, 256), CANARY, np.uint16), **PLACE)
    raster.write_cog(path / "cog.tif.new", DATA // 2, **PLACE)
    return path


@pytest.fixture(scope="module")
def servers(folder):
    with faulty_server(folder) as asked, faulty_server(folder) as attacker:
        yield asked, attacker


@pytest.fixture
def server(servers, monkeypatch):
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)
    monkeypatch.setattr(truncation, "_SUSPICIONS", {})
    for each in servers:
        each.fail("none")
    return servers[0]


@pytest.fixture
def attacker(server, servers):
    return servers[1]


def read(dataset):
    return dataset.read(1, out_shape=(64, 64)), dataset.read(1)


def leading(path, domain, **tags):
    """Write a raster whose metadata names other files, without overviews of its own."""
    # GDAL opens what a file names before it replaces the file.
    path.unlink(missing_ok=True)
    facts = {"driver": "GTiff", "width": 512, "height": 512, "count": 1, "dtype": "uint16", "tiled": True}
    with rasterio.open(path, "w", **facts, **PLACE) as dataset:
        dataset.write(DATA)
        dataset.update_tags(ns=domain, **tags)


@pytest.mark.parametrize("where", ["a local file", "another host", "GDAL's own address"])
@pytest.mark.parametrize("domain", ["OVERVIEWS", "GEOLOCATION"])
def test_metadata_leads_to_no_other_file(server, attacker, folder, domain, where):
    name = {
        "a local file": str(folder / "canary.tif"),
        "another host": f"/vsicurl/{attacker.url}/canary.tif",
        "GDAL's own address": f"vrt://{folder}/canary.tif",
    }[where]
    tags = {"OVERVIEW_FILE": name} if domain == "OVERVIEWS" else {"X_DATASET": name, "Y_DATASET": name}
    leading(folder / "leads.tif", domain, **tags)
    if domain == "OVERVIEWS" and where == "a local file":
        with rasterio.open(folder / "leads.tif") as dataset:
            assert (read(dataset)[0] == CANARY).all(), "the bait does not work"
    for href in (f"{server.url}/leads.tif", str(folder / "leads.tif")):
        with pytest.raises(InputError, match="names other files to read"):
            with_retry(Asset(href, "c"), None, read)
    assert not attacker.log()


def test_a_redirect_is_followed_to_listed_hosts_only_and_without_the_token(server, attacker):
    source = Asset(f"{server.url}/cog.tif", "c")

    def sign(asset, *, renew=False):
        return f"{asset.href}?sig=SECRET"

    server.fail(f"to {attacker.url}/cog.tif?sig=SECRET&v=1")
    with pytest.raises(WorkError, match=r"redirects to another host, http.*/cog\.tif.*catalog\.hosts") as caught:
        with_retry(source, sign, read)
    assert "SECRET" not in str(caught.value)
    assert not attacker.log()
    _, values = with_retry(source, CatalogSigner(sign, (host_of(attacker.url),)), read)
    assert (values == DATA[0]).all()
    assert attacker.log()
    assert not [path for _, path, _ in attacker.log() if "SECRET" in path]


def test_a_redirect_on_the_same_host_is_followed(server):
    server.fail(f"to {server.url}/cog.tif", last=0)
    _, values = with_retry(Asset(f"{server.url}/elsewhere.tif", "c"), None, read)
    assert (values == DATA[0]).all()


def test_redirects_in_a_circle_end(server, monkeypatch):
    monkeypatch.setattr(opening, "READ_ATTEMPTS", 2)
    server.fail(f"to {server.url}/cog.tif")
    with pytest.raises(WorkError, match="could not be read"):
        with_retry(Asset(f"{server.url}/cog.tif", "c"), None, read)


@pytest.mark.parametrize("first", [3, 4, 5])
def test_a_file_that_changes_while_it_is_read_is_read_again(server, first):
    """Whichever request gets the new file first, all pixels are of one version."""
    server.fail("swap", first=first)
    _, values = with_retry(Asset(f"{server.url}/cog.tif", "c"), None, read)
    assert (values == DATA[0]).all() or (values == DATA[0] // 2).all()


def test_a_scene_whose_file_changes_is_refused(server):
    server.fail("swap", first=100)
    files = SceneFiles("s", "2023-06-01T00:00:00Z", None, {"B08": Asset(f"{server.url}/cog.tif", "c")})
    scene = RasterioScene(files, make_signer("none"), threads=1)
    grid = RasterGrid(west=15.0, north=45.15, dx=0.001, dy=0.001, width=8, height=8)
    scene.read(["B08"], grid)
    scene.check_unchanged()
    server.fail("swap")
    with pytest.raises(AssetCorrupt, match="changed while it was read"):
        scene.check_unchanged()
    scene.close()


def test_hosts():
    assert host_of("https://a.org:443/x") == "a.org"
    assert host_of("http://a.org:8080/x") == "a.org:8080"
    assert host_of("file:///etc/passwd") == host_of("http://a.org:99999/") == ""
    assert may_lead_to("http://a.org/x", "https://a.org/y")
    assert not may_lead_to("https://a.org/x", "http://a.org/y"), "not from an encrypted connection to a plain one"
    assert not may_lead_to("http://a.org/x", "http://a.org:81/y")
    assert may_lead_to("http://a.org/x", "http://b.org:81/y", ["b.org:81"])
    planetary = "https://planetarycomputer.microsoft.com/api/sas/v1/token"
    assert may_get_token(planetary, "https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/x.tif")
    assert not may_get_token(planetary, "https://another.blob.core.windows.net/x.tif")
    assert may_get_token("http://127.0.0.1:8321/token", "http://127.0.0.1:8321/x.tif")
    assert not may_get_token("http://127.0.0.1:8321/token", "http://127.0.0.1:8322/x.tif")


@pytest.mark.parametrize(
    ("catalog", "address", "allowed"),
    [
        ("https://a.org/stac", "https://b.org/x.tif", True),
        ("https://a.org/stac", "http://192.168.1.1/x.tif", False),
        ("https://a.org/stac", "http://169.254.169.254/latest", False),
        ("https://a.org/stac", "http://localhost:8000/x.tif", False),
        ("https://a.org/stac", "http://127.1/x.tif", False),
        ("https://a.org/stac", "http://0x7f000001/x.tif", False),
        ("https://a.org/stac", "http://2130706433/x.tif", False),
        ("https://a.org/stac", "http://[::1]/x.tif", False),
        ("https://a.org/stac", "http://metadata.internal/x.tif", False),
        ("https://a.org/stac", "http://10.0.0.6:80/x.tif", True),
        ("http://127.0.0.1:8321/stac", "http://127.0.0.1:9000/x.tif", True),
        ("http://127.0.0.1:8321/stac", "http://localhost:9000/x.tif", True),
        ("http://127.0.0.1:8321/stac", "http://127.0.0.2:9000/x.tif", False),
        ("http://10.0.0.5/stac", "http://10.0.0.5:81/x.tif", True),
    ],
)
def test_a_catalog_leads_into_no_private_network_but_its_own_machine(catalog, address, allowed):
    assert may_hold_files(catalog, address, ["10.0.0.6"]) is allowed


def corners_of(path):
    """Return the points of a raster's footprint."""
    facts = raster.raster_facts(path)
    west, south, east, north = 500_000, 4_994_880, 505_120, 5_000_000
    lons, lats = rasterio.warp.transform(
        facts["crs"], "EPSG:4326", [west, east, east, west], [north, north, south, south]
    )
    return list(zip(lons, lats, strict=True))


@pytest.mark.parametrize(
    ("shift_m", "cut", "far"),
    [
        (0, 0, None),
        (20, 0, None),
        (0, 0.3, None),
        (0, -3, None),
        (2000, 0, "2.0 km"),
        (300_000, 0, "300"),
        (-400, 0, "0.4 km"),
        (2000, -3, None),
        (300_000, -3, "30"),
    ],
)
def test_a_scene_is_where_its_item_says(folder, shift_m, cut, far):
    """Its footprint may be smaller or larger than its files, but not next to them."""
    crs = rasterio.crs.CRS.from_epsg(32633)
    points = np.array(corners_of(folder / "cog.tif"))
    points = (points - points.mean(axis=0)) * (1 - cut) + points.mean(axis=0)
    moved = folder / "moved.tif"
    raster.write_cog(moved, DATA, **PLACE | {"transform": Affine(10, 0, 500_000 + shift_m, 0, -10, 5_000_000)})
    with rasterio.open(moved) as dataset:
        if far is None:
            check_place(dataset, crs, points.tolist(), "Band SCL of s")
        else:
            with pytest.raises(InputError, match=rf"Band SCL of s is elsewhere than its item says.*{far}"):
                check_place(dataset, crs, points.tolist(), "Band SCL of s")


def test_a_place_beyond_the_projection_is_refused(folder):
    with rasterio.open(folder / "cog.tif") as dataset, pytest.raises(InputError, match="elsewhere"):
        check_place(dataset, dataset.crs, [(-165.0, 0.0), (-164.0, 0.0), (-164.0, 1.0)], "Band SCL of s")


@pytest.mark.parametrize(
    "transform",
    [
        Affine(10, 10, 5e5, 10, 10, 5e6),
        Affine(10, 0, float("nan"), 0, -10, 5e6),
        Affine(10, 0, 1e300, 0, float("inf"), 0),
    ],
)
def test_a_transform_that_places_nothing_is_refused(server, folder, transform):
    facts = {"driver": "GTiff", "width": 16, "height": 16, "count": 1, "dtype": "uint16", "crs": "EPSG:32633"}
    (folder / "placed.tif").unlink(missing_ok=True)
    with rasterio.open(folder / "placed.tif", "w", **facts, transform=transform) as dataset:
        dataset.write(DATA[:, :16, :16])
    for href in (f"{server.url}/placed.tif", str(folder / "placed.tif")):
        with pytest.raises(InputError, match="places none of its pixels"):
            with_retry(Asset(href, "c"), None, read)


def test_a_rotated_band_is_refused(folder):
    facts = {"driver": "GTiff", "width": 16, "height": 16, "count": 1, "dtype": "uint16", "crs": "EPSG:32633"}
    with rasterio.open(folder / "rotated.tif", "w", **facts, transform=Affine(0, 10, 5e5, -10, 0, 5e6)) as dataset:
        dataset.write(DATA[:, :16, :16])
    with rasterio.open(folder / "rotated.tif") as dataset, pytest.raises(InputError, match="is rotated"):
        check_band(dataset, "B08", "s")


def sparse(path, side, **options):
    """Write a raster of any size that takes no space."""
    facts = {"driver": "GTiff", "width": side, "height": side, "count": 1, "dtype": "uint16", "SPARSE_OK": "TRUE"}
    with rasterio.open(path, "w", **facts | PLACE | {"tiled": True} | options):
        pass


def test_a_million_blocks_are_refused_before_they_are_counted(server, folder):
    sparse(folder / "blocks.tif", 16_384, blockxsize=16, blockysize=16)
    with pytest.raises(InputError, match="1048576 blocks of 256 pixels"):
        with_retry(Asset(f"{server.url}/blocks.tif", "c"), None, read)


def test_a_read_that_needs_gigabytes_is_refused(folder):
    """32,768 pixels a side where the grid has a few: all of them would be needed at once."""
    fine = Affine(0.1, 0, 500_000, 0, -0.1, 5_000_000)
    sparse(folder / "fine.tif", 32_768, blockxsize=512, blockysize=512, transform=fine)
    grid = RasterGrid(west=15.0, north=45.15, dx=0.001, dy=0.001, width=64, height=64)
    files = SceneFiles("s", "2023-06-01T00:00:00Z", None, {"B08": Asset(str(folder / "fine.tif"), "c")})
    scene = RasterioScene(files, make_signer("none"), threads=1)
    try:
        with pytest.raises(InputError, match="million pixels for a part that is read at once"):
            scene.read(["B08"], grid)
    finally:
        scene.close()


def test_debugging_shows_no_signature(server):
    """CPL_DEBUG and CPL_CURL_VERBOSE print addresses and headers to stderr, and Python's debug logging does."""
    code = """
import logging, sys
logging.basicConfig(level=logging.DEBUG)
from headwater.raster.opening import with_retry
from headwater.stac.items import Asset
def sign(asset, *, renew=False):
    return asset.href + "?sig=HIDDEN"
print(with_retry(Asset(sys.argv[1], "c"), sign, lambda dataset: dataset.shape))
"""
    command = [sys.executable, "-c", code, f"{server.url}/cog.tif"]
    loud = {"CPL_DEBUG": "ON", "CPL_CURL_VERBOSE": "YES"}
    done = subprocess.run(command, env=os.environ | loud, capture_output=True, text=True, timeout=60, check=True)
    assert "(512, 512)" in done.stdout
    assert "HIDDEN" not in done.stdout + done.stderr
