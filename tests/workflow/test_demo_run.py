"""`headwater demo run`, which `make demo` calls: in its own folder, on two tiny planets."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import geopandas as gpd
import pytest
import rasterio
import yaml

from headwater.cli import main
from support.places import ROOT

pytestmark = pytest.mark.e2e


@pytest.fixture
def clone(tmp_path, monkeypatch):
    for name in ("Snakefile", "workflow", "profiles"):
        (tmp_path / name).symlink_to(ROOT / name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = yaml.safe_load((ROOT / "config/demo.yaml").read_text())
    config["grid"] = {"cell_degrees": 0.05}
    config["catalog"] |= {
        "url": f"http://127.0.0.1:{port}/stac",
        "token_url": f"http://127.0.0.1:{port}/api/sas/v1/token",
    }
    (tmp_path / "demo.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.chdir(tmp_path)
    return tmp_path, port


def arguments(port, *seeds):
    return [
        "demo", "run", "--config", "demo.yaml", "--port", str(port), "--seeds", *map(str, seeds),
        "--size-degrees", "0.05", "0.05", "--cell-degrees", "0.05", "--dates", "2", "--cores", "2",
    ]  # fmt: skip


def test_two_planets_in_one_run_after_a_kill_and_then_nothing_to_do(clone):
    folder, port = clone
    command = [sys.executable, "-m", "headwater", *arguments(port, 5, 6)]
    process = subprocess.Popen(
        command, cwd=folder, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    # Killed once Snakemake holds its lock, which the next run must clear.
    deadline = time.monotonic() + 120
    while not list(folder.glob(".snakemake/locks/*")) and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert list(folder.glob(".snakemake/locks/*"))
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for seed in (5, 6):
        basin = json.loads((folder / f"demo/planet-{seed}/planet.json").read_text())["basin_id"]
        for word in ("waterways.parquet", "report/map.html", "report/index.html"):
            assert f"results/{basin}/{word}" in done.stderr
            assert (folder / "results" / basin / word).is_file()
        assert set(gpd.read_parquet(folder / "results" / basin / "waterways.parquet")["basin_id"]) == {basin}
        for path in (folder / "results" / basin).rglob("probability.tif"):
            with rasterio.open(path) as dataset:
                # The two networks that ship.
                assert [len(each) for each in dataset.tags()["checkpoint_sha256"].split(", ")] == [64, 64]
    again = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert again.returncode == 0
    assert "Nothing to be done" in again.stdout + again.stderr


def test_a_port_in_use_is_an_error(clone, capsys):
    _, port = clone
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        assert main(arguments(port, 5)) == 1
    assert str(port) in capsys.readouterr().err
    assert not Path("results").exists()


def test_a_bad_configuration_is_reported_before_anything_is_built(clone, capsys):
    folder, port = clone
    config = yaml.safe_load((folder / "demo.yaml").read_text())
    (folder / "demo.yaml").write_text(yaml.safe_dump(config | {"colour": 1}))
    assert main(arguments(port, 5)) == 2
    assert "colour" in capsys.readouterr().err
    assert not (folder / "demo").exists()


def test_another_folder_is_an_error(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "config/demo.yaml", tmp_path)
    assert main(["demo", "run"]) == 2
    assert "repository" in capsys.readouterr().err
