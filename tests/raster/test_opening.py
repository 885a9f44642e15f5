"""Opening over the network, with a server that fails in every known way (tests/support/faulty_server.py)."""

import logging
import time

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import Resampling

from headwater import raster
from headwater.core.errors import InputError, NetworkError, WorkError
from headwater.raster import opening, truncation
from headwater.raster.opening import AssetCorrupt, AssetGone, with_retry
from headwater.stac.items import Asset
from support.faulty_server import faulty_server

PLACE = {"crs": "EPSG:32633", "transform": Affine(10, 0, 500_000, 0, -10, 5_000_000), "nodata": 0}
DATA = np.random.default_rng(0).integers(1, 3000, (1, 1024, 1024)).astype(np.uint16)


def write(path, data, **options):
    count, height, width = data.shape
    facts = {"driver": "GTiff", "width": width, "height": height, "count": count, "dtype": data.dtype}
    with rasterio.open(path, "w", **(facts | PLACE | options)) as dataset:
        dataset.write(data)


def write_sparse(path, width, height, count=1, **options):
    """Write a file of any size that takes no space."""
    facts = {"driver": "GTiff", "width": width, "height": height, "count": count, "dtype": "uint16"}
    with rasterio.open(path, "w", **(facts | PLACE | {"SPARSE_OK": "TRUE"} | options)):
        pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A COG, and a GeoTIFF with a scattered header, which can be read partially."""
    path = tmp_path_factory.mktemp("files")
    raster.write_cog(path / "cog.tif", DATA, **PLACE)
    tiles = {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "deflate"}
    write(path / "scattered.tif", DATA, **tiles)
    with rasterio.open(path / "scattered.tif", "r+") as dataset:
        dataset.build_overviews([2, 4, 8], Resampling.average)
    return path


@pytest.fixture(scope="module")
def running(folder):
    with faulty_server(folder) as server:
        yield server


@pytest.fixture
def server(running, monkeypatch):
    """The server without failures, and a reader without waits."""
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)
    for name, value in {"GDAL_HTTP_MAX_RETRY": "1", "GDAL_HTTP_RETRY_DELAY": "0.01"}.items():
        monkeypatch.setitem(opening.GDAL_HTTP_OPTIONS, name, value)
    monkeypatch.setattr(truncation, "_SUSPICIONS", {})
    running.fail("none")
    running.token("")
    return running


def asset(server, name):
    return Asset(f"{server.url}/{name}", "c")


def everything(dataset):
    window = ((480, 580), (490, 560))
    return (str(dataset.crs), tuple(dataset.transform), dataset.nodata, dataset.read(1, window=window).tobytes())


def read_all(server, name, signer=None):
    source = asset(server, name)
    overview, transform, _ = raster.read_overview(source, max_px=128, signer=signer)
    return (*with_retry(source, signer, everything), overview.tobytes(), tuple(transform))


class Signer:
    """Tokens numbered from 0."""

    def __init__(self):
        self.renewals = []

    def __call__(self, asset, *, renew=False):
        self.renewals.append(renew)
        return f"{asset.href}?sig=token{sum(self.renewals)}-"


@pytest.mark.parametrize("status", [404, 410])
def test_a_withdrawn_file_is_reported_at_once(server, status):
    server.fail(status)
    signer = Signer()
    with pytest.raises(AssetGone, match=r"cog\.tif is no longer there.*snakemake refresh") as caught:
        with_retry(asset(server, "cog.tif"), signer, everything)
    assert signer.renewals == [False]
    assert "sig=" not in str(caught.value)
    with pytest.raises(AssetGone):
        with_retry(asset(server, "never.tif"), None, everything)


def test_a_missing_asset_on_disk_is_reported_as_gone(tmp_path):
    with pytest.raises(AssetGone, match=r"never\.tif is no longer there"):
        with_retry(Asset(str(tmp_path / "never.tif"), "c"), None, everything)
    (tmp_path / "empty.tif").touch()
    with pytest.raises(WorkError, match=r"empty\.tif could not be read: it is empty"):
        with_retry(Asset(str(tmp_path / "empty.tif"), "c"), None, everything)


def test_only_a_refusal_renews_the_token(server):
    signer = Signer()
    server.fail(503, last=5)
    calm = with_retry(asset(server, "cog.tif"), signer, everything)
    assert len(signer.renewals) > 1
    assert not any(signer.renewals)
    server.fail("none")
    server.token("token2")
    signer = Signer()
    assert with_retry(asset(server, "cog.tif"), signer, everything) == calm
    assert signer.renewals == [False, True, True]


def test_a_token_that_expires_between_two_requests_is_renewed(server):
    signer = Signer()

    def read(dataset):
        server.token("token1")
        return everything(dataset)

    assert with_retry(asset(server, "cog.tif"), signer, read)
    # GDAL does not report the status of a failed read; the next opening fails with it again.
    assert signer.renewals == [False, False, True]


def test_reading_ends_if_the_server_refuses_every_token(server):
    signer = Signer()
    server.token("none of these")
    with pytest.raises(WorkError, match=r"cog\.tif could not be read: the server refuses it"):
        with_retry(asset(server, "cog.tif"), signer, everything)
    assert signer.renewals == [False, True, True, True, True]


@pytest.mark.parametrize(
    ("status", "remedy"), [(409, "catalog.signing"), (403, "catalog.signing"), (400, "Check the address")]
)
def test_a_refusal_without_a_signature_is_final_and_names_the_remedy(server, status, remedy):
    """Azure answers 409 (PublicAccessNotPermitted) where an asset of the Planetary Computer is not signed."""
    server.fail(status)
    with pytest.raises(WorkError, match=rf"refuses.*\(HTTP {status}\)\. .*{remedy}"):
        with_retry(asset(server, "cog.tif"), None, everything)
    assert len(server.log()) <= 3


def test_a_conflict_with_a_signature_renews_the_token(server):
    server.fail(409)
    signer = Signer()
    with pytest.raises(WorkError, match=r"with new tokens too"):
        with_retry(asset(server, "cog.tif"), signer, everything)
    assert signer.renewals == [False, True, True, True, True]


def test_files_next_to_a_local_raster_count(tmp_path):
    """A mask, a nodata value and a georeference beside the file, in a catalog and as a path."""
    path = tmp_path / "plain.tif"
    options = {"driver": "GTiff", "width": 8, "height": 8, "count": 1, "dtype": "uint16"}
    with rasterio.open(path, "w", **options) as dataset:
        dataset.write(np.arange(64, dtype=np.uint16).reshape(1, 8, 8))
    (tmp_path / "plain.tfw").write_text("10\n0\n0\n-10\n500005\n4999995\n")
    (tmp_path / "plain.tif.aux.xml").write_text(
        '<PAMDataset><SRS>EPSG:32633</SRS><PAMRasterBand band="1"><NoDataValue>7</NoDataValue></PAMRasterBand>'
        "</PAMDataset>"
    )
    for source in (path, Asset(str(path), "c")):
        facts = with_retry(source, None, lambda dataset: (dataset.crs.to_epsg(), dataset.transform, dataset.nodata))
        assert facts == (32633, PLACE["transform"], 7)


def test_a_failure_is_not_cached(server):
    """GDAL caches missing files and truncated replies: the second attempt must send its requests again."""
    calm = with_retry(asset(server, "cog.tif"), None, everything)
    for kind in (500, "cut", "short", "end"):
        signer = Signer()
        server.fail(kind, last=3, left=0.01)
        assert with_retry(asset(server, "cog.tif"), signer, everything) == calm
        # One for each request that fails, at most.
        assert len(signer.renewals) <= 5, kind


@pytest.mark.parametrize("name", ["cog.tif", "scattered.tif"])
def test_no_value_changes_if_a_fifth_of_all_replies_fail(server, name):
    calm = read_all(server, name)
    server.fail("mixed", fraction=0.2)
    for _ in range(10):
        assert read_all(server, name) == calm


@pytest.mark.parametrize("kind", ["cut", "short", "end"])
@pytest.mark.parametrize("name", ["cog.tif", "scattered.tif"])
def test_a_truncated_reply_is_never_taken_for_a_complete_one(server, name, kind):
    """Each reply that describes the file is truncated at several places, alone and with those after it."""
    calm = read_all(server, name)
    for first in range(2, 7):
        for last in (first, first + 2):
            for left in (0.0, 0.01, 0.4):
                server.fail(kind, first=first, last=last, left=left)
                assert read_all(server, name) == calm, (first, last, left)


def test_gdal_alone_does_not_notice_the_truncated_header(server):
    """The test above can fail: without our checks, GDAL treats the blocks of a truncated header as empty."""
    server.fail("cut", first=2, last=2, left=0.01)
    with rasterio.Env(**opening.GDAL_HTTP_OPTIONS), rasterio.open(f"{server.url}/scattered.tif") as dataset:
        assert not dataset.read(1, window=((0, 64), (0, 64))).any()


def test_missing_blocks_and_overviews_are_accepted_after_repeated_attempts(server, folder):
    write_sparse(folder / "sparse.tif", 600, 500, tiled=True)
    values, _, _ = raster.read_overview(asset(server, "sparse.tif"), max_px=100)
    assert values.shape == (83, 100)
    assert not values.any()
    server.fail("none")
    raster.read_overview(asset(server, "sparse.tif"), max_px=100)
    again = len(server.log())
    server.fail("none")
    raster.read_overview(asset(server, "sparse.tif"), max_px=100)
    assert len(server.log()) == again, "an accepted finding was rejected again"
    assert again < 8


def test_a_stalled_server_is_abandoned_in_bounded_time(server, monkeypatch):
    monkeypatch.setattr(opening, "READ_ATTEMPTS", 2)
    monkeypatch.setitem(opening.GDAL_HTTP_OPTIONS, "GDAL_HTTP_LOW_SPEED_TIME", "1")
    start = time.monotonic()
    server.fail("stall", left=0.0)
    # The file may be sound: its scene must not be left out.
    with pytest.raises(NetworkError, match=r"cog\.tif could not be read after 2 tries"):
        with_retry(asset(server, "cog.tif"), None, everything)
    assert time.monotonic() - start < 15


def test_no_attempt_begins_after_the_time_limit(server, monkeypatch):
    monkeypatch.setattr(opening, "READ_GIVE_UP_AFTER_S", 0.0)
    server.fail(500)
    with pytest.raises(WorkError, match=r"cog\.tif could not be read: HTTP response code: 500"):
        with_retry(asset(server, "cog.tif"), None, everything)


def test_a_dead_server_is_reported_without_the_signature(server, caplog):
    caplog.set_level(logging.DEBUG)
    server.fail(503)
    with pytest.raises(NetworkError) as caught:
        with_retry(asset(server, "cog.tif"), Signer(), everything)
    assert f"cog.tif could not be read after {opening.READ_ATTEMPTS} tries: HTTP response code: 503" in str(
        caught.value
    )
    assert "sig=" not in str(caught.value)
    assert "sig=" not in caplog.text


def test_no_sidecar_file_is_requested(server, folder):
    for sidecar in ("cog.tif.aux.xml", "cog.tif.ovr", "cog.tif.msk", "cog.tfw", "cog.TIF.MSK"):
        (folder / sidecar).write_bytes((folder / "scattered.tif").read_bytes())
    read_all(server, "cog.tif", Signer())
    assert {path.split("?")[0] for _, path, _ in server.log()} == {"/cog.tif"}


VRT = """<VRTDataset rasterXSize="64" rasterYSize="64"><VRTRasterBand dataType="UInt16" band="1"><SimpleSource>
<SourceFilename relativeToVRT="0">{path}</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>
</VRTDataset>"""


def test_a_remote_file_opens_no_file_on_this_machine(server, folder):
    text = VRT.format(path=folder / "cog.tif")
    with rasterio.open(text) as dataset:
        assert dataset.read(1).any(), "the bait does not work"
    for name in ("bait.vrt", "bait.tif"):
        (folder / name).write_text(text)
    local = Asset(str(folder / "bait.vrt"), "c")
    for source in (asset(server, "bait.vrt"), asset(server, "bait.tif"), local):
        with pytest.raises(WorkError, match="could not be read"):
            with_retry(source, None, everything)
    server.fail("none")
    bait = f"{server.url}/bait.vrt"
    for href in (text, f"/vsicurl/{bait}", f"/vsicurl?header_file=/etc/passwd&url={bait}", f"vrt://{folder}/cog.tif",
                 f"GTIFF_DIR:1:{folder}/cog.tif", f"http://me:pass@{server.url[7:]}/cog.tif"):  # fmt: skip
        with pytest.raises(InputError, match="is not opened: it is not a plain http") as caught:
            with_retry(Asset(href, "c"), None, everything)
        assert "pass@" not in str(caught.value)
    assert not server.log()


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("wide", {"width": 70_000, "height": 16}),
        ("high", {"width": 16, "height": 70_000}),
        ("banded", {"width": 16, "height": 16, "count": 17}),
        ("one block", {"width": 8192, "height": 8208, "blockysize": 8208, "compress": "deflate"}),
        (
            "blocks of all bands",
            {"width": 8192, "height": 4096, "count": 9, "blockysize": 4096, "interleave": "pixel", "compress": "zstd"},
        ),
    ],
)
def test_remote_rasters_of_unreasonable_size_are_refused(server, folder, name, facts):
    write_sparse(folder / f"{name[:3]}.tif", **facts)
    with pytest.raises(InputError, match="is not accepted from the network"):
        with_retry(asset(server, f"{name[:3]}.tif"), None, everything)


def test_an_empty_file_and_a_web_page_are_reported(server, folder):
    (folder / "empty.tif").touch()
    (folder / "page.tif").write_text("<html><body>Please log in.</body></html>")
    with pytest.raises(WorkError, match=r"empty\.tif could not be read: it is empty \(0 bytes\)"):
        with_retry(asset(server, "empty.tif"), Signer(), everything)
    with pytest.raises(AssetCorrupt, match=r"page\.tif could not be read after .* not recognized"):
        with_retry(asset(server, "page.tif"), Signer(), everything)


def test_a_block_that_stays_damaged_is_no_failure_of_the_network(server, folder):
    content = (folder / "cog.tif").read_bytes()
    middle = len(content) // 2
    (folder / "damaged.tif").write_bytes(content[:middle] + b"\xa5" * (len(content) - middle))
    with pytest.raises(AssetCorrupt, match=r"damaged\.tif could not be read after .* tries"):
        with_retry(asset(server, "damaged.tif"), Signer(), everything)


def test_jpeg_2000_is_recognized_by_its_suffix(server, folder):
    with rasterio.open(folder / "cog.tif") as dataset:
        data = dataset.read()
    write(folder / "scene.jp2", data, driver="JP2OpenJPEG", quality=100, reversible=True)
    assert with_retry(asset(server, "scene.jp2"), Signer(), everything)[3] == read_all(server, "cog.tif")[3]
