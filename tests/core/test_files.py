import os
import socket
import sqlite3
import subprocess

import pytest

from headwater.core.errors import InputError
from headwater.core.files import SIDECARS, atomic_path, read_json, remove_leftovers, write_if_changed, write_json


def test_an_output_appears_complete_or_not_at_all(tmp_path):
    target = tmp_path / "deep" / "file.txt"
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert list(target.parent.iterdir()) == []
    with atomic_path(target) as temporary:
        assert temporary.suffix == ".txt"
        temporary.write_text("complete")
        assert not target.exists()
    assert target.read_text() == "complete"
    assert [path.name for path in target.parent.iterdir()] == ["file.txt"]


def test_a_failed_rewrite_keeps_the_old_content(tmp_path):
    target = tmp_path / "file.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("new")
        raise RuntimeError
    assert target.read_text() == "old"


def test_what_viewers_left_next_to_an_older_file_does_not_touch_the_new_one(tmp_path):
    """A viewer has the older GeoPackage open: its changes are in the file -wal, not in the GeoPackage yet."""
    target = tmp_path / "map.gpkg"
    viewer = sqlite3.connect(target)
    viewer.execute("PRAGMA journal_mode=WAL")
    viewer.execute("CREATE TABLE old (id)")
    viewer.commit()
    assert len(list(tmp_path.iterdir())) == 3
    for end in SIDECARS:
        (tmp_path / f"map.gpkg{end}").touch()
    (tmp_path / "map.gpkg.zip").touch()
    with atomic_path(target) as temporary:
        writer = sqlite3.connect(temporary)
        writer.executescript("CREATE TABLE new (id); INSERT INTO new VALUES (7)")
        writer.close()
    assert {path.name for path in tmp_path.iterdir()} == {"map.gpkg", "map.gpkg.zip"}
    viewer.close()
    reader = sqlite3.connect(target)
    assert reader.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert reader.execute("SELECT name FROM sqlite_master").fetchall() == [("new",)]
    reader.close()


def test_the_same_content_leaves_the_file_untouched(tmp_path):
    target = tmp_path / "file.json"
    assert write_json(target, {"b": 1, "a": [1.5]})
    os.utime(target, (1, 1))
    assert not write_json(target, {"a": [1.5], "b": 1})
    assert target.stat().st_mtime == 1
    assert write_if_changed(target, b"other")
    assert target.read_bytes() == b"other"


def test_missing_or_broken_json_is_reported(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_json(tmp_path / "none.json")
    (tmp_path / "half.json").write_text('{"a": ')
    with pytest.raises(InputError, match="not readable JSON"):
        read_json(tmp_path / "half.json")


def test_leftovers_of_killed_processes_are_removed_but_not_files_of_living_ones(tmp_path):
    target = tmp_path / "file.txt"
    dead = subprocess.Popen(["true"])
    dead.wait()
    host = socket.gethostname()
    gone = tmp_path / f".file.{host}-{dead.pid}-0a1b2c3d.part.txt"
    kept = [
        tmp_path / f".file.{host}-{os.getpid()}-0a1b2c3d.part.txt",
        tmp_path / ".file.elsewhere-1-0a1b2c3d.part.txt",
    ]
    sidecar = tmp_path / f"{gone.name}.ovr.tmp"
    for path in (gone, sidecar, *kept):
        path.touch()
    write_if_changed(target, b"x")
    assert not gone.exists()
    assert not sidecar.exists()
    assert all(path.exists() for path in kept)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 100_000 + "]" * 100_000, "not readable JSON"),
        ("[" * 60 + "]" * 60, "deeper than 50 levels"),
        ('{"a": NaN}', "NaN is not a number"),
        ('{"a": [-Infinity]}', "not a number of JSON"),
        ("1e400", "1e400 is too large"),
        ("1" * 5000, "not readable JSON"),
        ("\ud800".encode("utf-8", "surrogatepass"), "not readable JSON"),
        ("", "not readable JSON"),
    ],
)
def test_json_that_no_step_writes_is_refused(text, words, tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=words):
        read_json(path)


def test_json_is_not_read_where_it_is_too_large(tmp_path):
    path = tmp_path / "x.json"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(InputError, match="larger than 32 MiB"):
        read_json(path)
    path.write_text("[" * 50 + "1e5" + "]" * 50)
    read_json(path)


def test_only_names_that_we_give_are_removed_as_leftovers(tmp_path):
    with atomic_path(tmp_path / "a.b.tif") as temporary:
        name = temporary.name
        temporary.touch()
    ours = [name.replace(str(os.getpid()), "1", 1).replace(socket.gethostname(), "gone"), ".x.y-z-7-0a1b2c3d.part"]
    theirs = [
        ".my.particles", ".notes.part1.txt", ".a.part.tif", ".a.host-1-xyz.part.tif", ".a.host-x-0a1b2c3d.part.tif",
        ".a.host-1-0a1b2c3d.partial", "a.host-1-0a1b2c3d.part.tif", ".part.zip",
    ]  # fmt: skip
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/kept").touch()
    link = tmp_path / ".link.host-1-0a1b2c3d.part"
    link.symlink_to(tmp_path / "elsewhere")
    for each in (*ours, *theirs):
        (tmp_path / each).touch()
    (tmp_path / f"{ours[1]}.d").mkdir()
    remove_leftovers(tmp_path)
    assert not any((tmp_path / each).exists() for each in ours)
    assert all((tmp_path / each).exists() for each in theirs)
    assert not link.is_symlink()
    assert (tmp_path / "elsewhere/kept").exists()
