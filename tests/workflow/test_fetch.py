"""A run that fetches the stream network that it lacks."""

import json

import pytest

from support.faulty_server import faulty_server
from support.small_run import configure, jobs_in, run

pytestmark = pytest.mark.e2e


@pytest.fixture
def lacking(tmp_path, planet, served):
    """Function that writes a configuration without TDX-Hydro; yields the server that has it."""
    with faulty_server(planet) as server:
        server.behave(head=504, busy=1, cut_bytes=100_000)

        def write(**changes):
            # Coasts need the elevation of all cells.
            own = {"kind": "auto", "streams": None, "catchments": None, "coasts": False}
            fetch = {"enabled": True, "addresses": [f"tdx-hydro={server.url}/{{file}}"]}
            return configure(tmp_path / "run", planet, served, backbone=own, fetch=fetch | changes)

        yield server, write, tmp_path / "run"


def test_a_run_announces_and_fetches_its_stream_network_once(lacking, planet):
    server, write, folder = lacking
    basin = write()
    target = f"results/{basin}/reaches.parquet"
    code, text = run(folder, "-n", target)
    assert code == 0, text
    assert not server.log()
    assert "backbone of basin" in text
    assert "dem, because to fetch TDX-Hydro is about 7.59 GB" in text
    code, text = run(folder, target)
    assert code == 0, text
    names = [f"TDX_{kind}_{basin}_01.gpkg" for kind in ("streamnet", "streamreach_basins")]
    assert text.index(f"to fetch into data: {names[0]}, ") < text.index("tdx, because TDX-Hydro is fetched")
    assert {rule for rule, _, _ in jobs_in(text)} == {"plan", "backbone"}
    assert "rule fetch:" in text
    for name in names:
        assert (folder / "data/tdx-hydro" / name).read_bytes() == (planet / name).read_bytes()
    receipt = json.loads((folder / f"results/{basin}/fetched/tdx-hydro.json").read_text())
    assert set(receipt["files"]) == set(names)
    server.behave(head=504)
    code, text = run(folder, target)
    assert code == 0, text
    assert "Nothing to be done" in text
    assert "tdx, because as the basin's backbone was made" in text
    assert not server.log()
    # A deleted backbone is made again from what is in the data folder.
    (folder / target).unlink()
    write(enabled=False)
    code, text = run(folder, target)
    assert code == 0, text
    assert {rule for rule, _, _ in jobs_in(text)} == {"backbone"}
    assert "rule fetch:" not in text
    assert not server.log()
