"""The data folder: fetched once, checked, shared, and never replaced."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile

import pytest

from headwater.core.errors import DiskError, InputError, NetworkError, WorkError
from headwater.fetch import sizes, store
from headwater.fetch.settings import FetchSettings
from headwater.fetch.sources import SOURCES, remote_files
from headwater.fetch.step import fetch_source, list_sources, verify_source
from support.fetched_files import CATCHMENTS, HYDROBASINS, HYDROLAKES, REGION, STREAMS, damage, settings_of


def tdx(settings):
    return remote_files("tdx-hydro", settings, basin_ids=[REGION])


def test_sizes_are_announced_licenses_printed_once_and_nothing_is_fetched_twice(server, settings, capsys, tmp_path):
    fetch_source("tdx-hydro", settings, basin_ids=[REGION], receipt=tmp_path / "receipt.json")
    printed = capsys.readouterr()
    first, *_ = printed.err.splitlines()
    size = (server.folder / STREAMS).stat().st_size
    assert first.startswith(
        f"headwater: to fetch into {settings.path}: {STREAMS}, {size / 1000:.3g} kB; {CATCHMENTS}, "
    )
    assert re.search(r" kB to come, .* free\.$", first)
    assert printed.err.count("License: public") == 1
    for name in (STREAMS, CATCHMENTS):
        path = settings.path / "tdx-hydro" / name
        assert path.read_bytes() == (server.folder / name).read_bytes()
        assert str(path) in printed.out
        assert len(json.loads(path.with_name(f"{name}.json").read_text())["sha256"]) == 64
    assert "Carlson" in (settings.path / "tdx-hydro/LICENSE.txt").read_text()
    assert set(json.loads((tmp_path / "receipt.json").read_text())["files"]) == {STREAMS, CATCHMENTS}
    assert not [*settings.path.rglob("*.part*"), *settings.path.rglob(".*.size.json")]
    server.behave(head=504)
    fetch_source("tdx-hydro", settings, basin_ids=[REGION])
    assert not server.log()
    assert "License" not in capsys.readouterr().err


@pytest.mark.parametrize(("source", "name"), [("hydrobasins", HYDROBASINS), ("hydrolakes", HYDROLAKES)])
def test_zipped_shapefiles_are_kept_as_they_are(server, settings, source, name):
    basin_ids = [REGION] if source == "hydrobasins" else []
    fetch_source(source, settings, basin_ids=basin_ids)
    assert (settings.path / source / name).read_bytes() == (server.folder / name).read_bytes()


def test_addresses_with_fields_and_without_a_suffix(server, tmp_path):
    page = f"/php/download.php?file={REGION}"
    paths = {f"{page}-streamnet-gpkg": STREAMS, f"{page}-basins-gpkg": CATCHMENTS}
    server.behave(names=paths, busy=2, head=504)
    address = f"tdx-hydro={server.url}/php/download.php?file={{basin_id}}-{{part}}-gpkg"
    settings = settings_of(server, tmp_path, addresses=[address])
    assert all(path.is_file() for path in store.fetch(tdx(settings), settings))
    real = SOURCES["tdx-hydro"].parts[0].addresses[0]
    assert real == "https://earth-info.nga.mil/php/download.php?file={basin_id}-{part}-gpkg"


@pytest.mark.parametrize("ranges", [True, False])
def test_a_geopackage_without_a_stated_length_is_complete_when_its_header_says_so(server, settings, ranges):
    size = (server.folder / STREAMS).stat().st_size
    server.behave(length=False, cut_bytes=size // 3 if ranges else size, ranges=ranges)
    (path,) = store.fetch(tdx(settings)[:1], settings)
    assert path.read_bytes() == (server.folder / STREAMS).read_bytes()


def other_region(folder):
    import geopandas as gpd

    gpd.read_file(folder / STREAMS).to_file(folder / "other.gpkg", layer="TDX_streamnet_7020024600_01")


def foreign_columns(folder):
    import geopandas as gpd

    gpd.read_file(folder / STREAMS)[["geometry"]].to_file(folder / "other.gpkg", layer="lines")


def web_page(folder):
    (folder / "other.gpkg").write_text("<!DOCTYPE html>")


def zip_file(folder):
    (folder / "other.gpkg").write_bytes(b"PK\x03\x04" + bytes(5000))


def cut_off(folder):
    (folder / "other.gpkg").write_bytes((folder / STREAMS).read_bytes()[:-4096])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (web_page, "sends a web page or message instead of a GeoPackage"),
        (zip_file, "something else instead of a GeoPackage"),
        (cut_off, "is cut off"),
        (other_region, f"it is of region 7020024600, not of {REGION}"),
        (foreign_columns, r"no layer with LINKNO and DSLINKNO.*\(its layers: lines\)"),
    ],
)
def test_what_is_not_the_file_is_refused_and_nothing_is_left(server, settings, make, words):
    make(server.folder)
    server.behave(names={f"/{STREAMS}": "other.gpkg"}, type="application/octet-stream")
    with pytest.raises(NetworkError, match=words):
        store.fetch(tdx(settings)[:1], settings)
    left = [path.name for path in (settings.path / "tdx-hydro").iterdir() if not path.name.startswith(".")]
    assert left == ["LICENSE.txt"]
    (server.folder / "other.gpkg").unlink()


@pytest.mark.parametrize("kind", ["traversal", "bomb", "crc", "column", "two"])
def test_hostile_and_damaged_zip_files_are_refused(server, settings, kind):
    other = server.folder / "other.zip"
    words = {"traversal": "outside of its folder", "bomb": "more than any of its kind", "crc": "damaged",
             "column": "no column Hylak_id", "two": "2 shapefiles"}[kind]  # fmt: skip
    with zipfile.ZipFile(server.folder / (HYDROBASINS if kind == "column" else HYDROLAKES)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(other, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"../{name}" if kind == "traversal" else name, content)
            if kind == "two":
                archive.writestr(f"b/{name}", content)
        if kind == "bomb":
            archive.writestr("zeros", bytes(3_000_000))
    if kind == "crc":
        damage(other)
    server.behave(names={f"/{HYDROLAKES}": "other.zip"})
    with pytest.raises(NetworkError, match=words):
        store.fetch(remote_files("hydrolakes", settings), settings)
    assert not [*settings.path.rglob("*.zip"), *settings.path.rglob("*.part")]
    other.unlink()


def test_a_file_that_has_changed_is_not_used_and_not_replaced(server, settings, capsys):
    (file, _) = tdx(settings)
    (path,) = store.fetch([file], settings)
    damage(path)
    content = path.read_bytes()
    with pytest.raises(WorkError, match=r"has changed since it was fetched: its SHA-256"):
        store.fetch([file], settings)
    with pytest.raises(WorkError, match="1 of 1 files are not as they were fetched"):
        verify_source(settings, source="tdx-hydro")
    assert path.read_bytes() == content
    assert f"{path}: " in capsys.readouterr().out


def test_a_file_that_a_user_put_there_is_checked_and_used(server, settings, capsys):
    (file, _) = tdx(settings)
    path = store.path_of(file, settings)
    path.parent.mkdir(parents=True)
    path.write_bytes((server.folder / STREAMS).read_bytes()[:5000])
    with pytest.raises(InputError, match=f"{STREAMS} is not the file of tdx-hydro that its name says: .* cut off"):
        store.fetch([file], settings)
    path.write_bytes((server.folder / STREAMS).read_bytes())
    server.behave()
    assert store.fetch([file], settings) == [path]
    assert not server.log()
    assert "was not fetched by Headwater; it is used as it is" in capsys.readouterr().err


def test_a_small_disk_and_a_small_limit_are_refused_before_anything_is_fetched(server, settings, monkeypatch):
    server.behave(names={f"/{STREAMS}": "made/3000000000"})
    files = tdx(settings)
    with pytest.raises(InputError, match=r"would fetch 3 GB, more than fetch.max_gb \(1\), most of it TDX_streamnet"):
        store.fetch(files, settings, limited=True)
    monkeypatch.setattr(sizes, "free_bytes", lambda folder: 2e9)
    with pytest.raises(DiskError, match=r"takes 3 GB more, and 2 GB are free for "):
        store.fetch(files, settings)
    assert not [*settings.path.rglob("*.gpkg"), *settings.path.rglob("*.part")]


@pytest.mark.parametrize("bad", ["x", "../x", "7020038341"])
def test_unknown_sources_and_basins_are_refused(settings, bad):
    with pytest.raises(InputError, match="is not a HYBAS_ID of HydroBASINS level 2"):
        remote_files("tdx-hydro", FetchSettings(), basin_ids=[bad])
    with pytest.raises(InputError, match="There is no source"):
        remote_files(bad, settings)


def test_the_table_of_sources(server, settings, capsys):
    list_sources(settings)
    table = capsys.readouterr().out
    for name, source in SOURCES.items():
        assert re.search(rf"^{name} .*{re.escape(source.license)}.* not here$", table, re.M)
    store.fetch(tdx(settings)[:1], settings)
    list_sources(settings, source="tdx-hydro", basin_ids=[REGION])
    table = capsys.readouterr().out
    assert re.search(rf"{STREAMS}  .* kB +here$", table, re.M)
    assert re.search(rf"{CATCHMENTS}  .*  \d[\d.]* kB +not here$", table, re.M)


def command(server, settings):
    where = ["--folder", str(settings.path), "--address", server.url]
    return [sys.executable, "-m", "headwater", "fetch", "tdx-hydro", "--basin", REGION, *where]


@pytest.mark.parametrize("wait_s", [0.1, 0.8])
def test_a_process_that_is_killed_continues(server, settings, wait_s):
    size = (server.folder / STREAMS).stat().st_size
    server.behave(rate=size / 1.2)
    with subprocess.Popen(command(server, settings), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 20
        while not list(settings.path.rglob("*.part")) and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(wait_s)
        os.kill(process.pid, signal.SIGKILL)
    assert not (settings.path / "tdx-hydro" / CATCHMENTS).exists()
    server.behave()
    store.fetch(tdx(settings), settings)
    for name in (STREAMS, CATCHMENTS):
        assert (settings.path / "tdx-hydro" / name).read_bytes() == (server.folder / name).read_bytes()


def test_two_processes_fetch_a_file_once(server, settings):
    server.behave(rate=(server.folder / STREAMS).stat().st_size / 1.2)
    processes = [subprocess.Popen(command(server, settings), stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    bodies = [path for method, path, ranged in server.log() if ranged == "bytes=0-"]
    assert sorted(bodies) == sorted(set(bodies))
    assert "Another process fetches" in "".join(said)
