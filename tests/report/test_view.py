import http.client
import os
import signal
import subprocess
import sys
import urllib.request

import pytest

from headwater.core.errors import InputError
from headwater.report.view import folder_with_map
from support.browser import served


@pytest.fixture
def results(tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    page = tmp_path / "results" / "7" / "report" / "map.html"
    page.parent.mkdir(parents=True)
    page.write_text("<p>map</p>")
    (page.parent / "tiles.pmtiles").write_bytes(bytes(range(200)))
    (page.parent / "link.txt").symlink_to(tmp_path / "secret.txt")
    return tmp_path / "results"


def ask(address, path, *, method="GET", **headers):
    """Ask as no browser would: the path as it is, and any Host."""
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=20)
    connection.request(method, path, headers=headers)
    reply = connection.getresponse()
    body = reply.read()
    connection.close()
    return reply.status, reply.headers, body


def test_files_are_served_in_parts_and_nothing_outside_the_folder(results):
    with served(results / "7") as address:
        assert ask(address, "/")[1]["location"] == "/report/map.html"
        status, headers, body = ask(address, "/report/tiles.pmtiles", Range="bytes=10-19")
        assert (status, body) == (206, bytes(range(10, 20)))
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["cross-origin-resource-policy"] == "same-origin"
        outside = (
            "/../../secret.txt",
            "/..%2f..%2fsecret.txt",
            "/report/link.txt",
            "//etc/passwd",
            "/report/%00",
            "/report",
        )
        for path in outside:
            status, _, body = ask(address, path)
            assert status in (400, 404), path
            assert b"secret" not in body
        assert ask(address, "/report/map.html", method="POST")[0] == 405


def test_pages_of_other_sites_cannot_read_it(results):
    with served(results / "7") as address:
        assert ask(address, "/report/map.html", Host="evil.example")[0] == 400
        status, headers, _ = ask(address, "/report/map.html", Host="localhost:8000", Origin="http://evil.example")
        assert status == 200
        assert "access-control-allow-origin" not in headers


def test_a_folder_without_a_map_is_refused_with_what_to_do(results, tmp_path):
    assert folder_with_map(results / "7" / "report" / "map.html") == results / "7"
    assert folder_with_map(results / "7" / "report") == results / "7"
    with pytest.raises(InputError) as caught:
        folder_with_map(results)
    assert "1 basin" in caught.value.cause
    assert str(results / "7") in caught.value.remedy
    with pytest.raises(InputError, match="does not exist"):
        folder_with_map(tmp_path / "nowhere" / "at" / "all")
    (results / "7/report/map.html").unlink()
    with pytest.raises(InputError, match="no map page"):
        folder_with_map(results / "7")


def test_the_command_prints_the_address_and_ends_with_ctrl_c(results):
    code = "import sys; from headwater.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "view", str(results / "7")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    ) as run:
        address = run.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address, timeout=20) as reply:
            assert reply.read() == b"<p>map</p>"
        run.send_signal(signal.SIGINT)
        assert run.wait(20) == 0
        assert run.stderr.read() == ""
