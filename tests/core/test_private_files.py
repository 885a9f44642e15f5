"""Files in folders that others can write to."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from headwater.core.private_files import (
    entered,
    is_own_file,
    keep_code_cache_private,
    open_lock,
    private_folder,
    read_private,
    write_private,
)
from headwater.predict.devices import claimed_gpu


@pytest.fixture
def shared(tmp_path, monkeypatch):
    """A folder like /tmp, in which private folders are made."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    return folder


def another_users(monkeypatch, path):
    """Let a file seem to be another person's, as the tests cannot make one."""
    numbers = os.lstat(path).st_ino
    real = {name: getattr(os, name) for name in ("lstat", "fstat", "stat")}

    def changed(name):
        def facts(target, *args, **options):
            found = real[name](target, *args, **options)
            return os.stat_result((*found[:4], 12345, *found[5:])) if found.st_ino == numbers else found

        return facts

    for name in real:
        monkeypatch.setattr(os, name, changed(name))


def test_a_private_file_is_written_and_read(shared):
    folder = private_folder("x")
    assert folder.parent == shared
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    with entered(folder) as inside:
        write_private(inside, "a", b"content")
        assert read_private(inside, "a", max_bytes=3) == b"con"
        assert read_private(inside, "b", max_bytes=3) is None
    assert stat.S_IMODE((folder / "a").stat().st_mode) == 0o600


def test_a_folder_of_another_person_or_a_link_is_not_used(shared, tmp_path, monkeypatch):
    folder = private_folder("x")
    folder.chmod(0o770)
    assert private_folder("x") is None
    folder.rmdir()
    (tmp_path / "aside").mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "aside")
    assert private_folder("x") is None
    with pytest.raises(OSError), entered(folder):
        pass
    folder.unlink()
    folder.mkdir(mode=0o700)
    another_users(monkeypatch, folder)
    assert private_folder("x") is None


def test_a_link_or_a_file_that_others_may_read_is_not_read(shared, tmp_path, monkeypatch):
    (tmp_path / "secret").write_text("secret")
    folder = private_folder("x")
    (folder / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(folder / "pipe", 0o600)
    (folder / "open").write_text("x")
    (folder / "open").chmod(0o644)
    with entered(folder) as inside:
        assert [read_private(inside, name, max_bytes=9) for name in ("link", "pipe", "open")] == [None] * 3
        write_private(inside, "link", b"new")
        assert read_private(inside, "link", max_bytes=9) == b"new"
        another_users(monkeypatch, folder / "link")
        assert read_private(inside, "link", max_bytes=9) is None
    assert (tmp_path / "secret").read_text() == "secret"


def test_a_lock_is_no_link_and_nothing_in_it_is_lost(tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "lock").symlink_to(tmp_path / "mine")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("lock", "folder", "pipe"):
        with pytest.raises(OSError):
            open_lock(tmp_path / name)
    os.close(open_lock(tmp_path / "mine"))
    assert (tmp_path / "mine").read_text() == "mine"


def test_gpus_are_claimed_without_following_a_link(tmp_path, monkeypatch):
    (tmp_path / "mine").write_text("mine")
    folder = tmp_path / "locks"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "../x\n")
    with claimed_gpu(1, folder) as number:
        assert number == 0
        (lock,) = folder.iterdir()
    lock.unlink()
    lock.symlink_to(tmp_path / "mine")
    with claimed_gpu(3, folder) as number:
        assert number == os.getpid() % 3
    assert (tmp_path / "mine").read_text() == "mine"
    folder.chmod(0o777)
    with claimed_gpu(3, folder) as number:
        assert number == os.getpid() % 3


def test_a_cached_file_of_somebody_else_or_a_link_is_not_ours(tmp_path, monkeypatch):
    path = tmp_path / "x.npz"
    assert not is_own_file(path)
    path.touch()
    assert is_own_file(path)
    (tmp_path / "link").symlink_to(path)
    assert not is_own_file(tmp_path / "link")
    path.chmod(0o666)
    assert not is_own_file(path)
    path.chmod(0o664)
    another_users(monkeypatch, path)
    assert not is_own_file(path)


def test_compiled_functions_are_not_loaded_from_where_others_write(tmp_path, monkeypatch, capsys, shared):
    folder = tmp_path / "numba"
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(folder))
    keep_code_cache_private()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert os.environ["NUMBA_CACHE_DIR"] == str(folder)
    folder.chmod(0o777)
    keep_code_cache_private()
    private = Path(os.environ["NUMBA_CACHE_DIR"])
    assert private.parent == shared
    assert "others can replace" in capsys.readouterr().err
    folder.chmod(0o700)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(folder))
    another_users(monkeypatch, folder)
    keep_code_cache_private()
    assert os.environ["NUMBA_CACHE_DIR"] == str(private)


def test_the_package_looks_at_the_cache_before_numba_does(tmp_path):
    folder = tmp_path / "numba"
    folder.mkdir()
    folder.chmod(0o777)
    code = "import headwater, numba; print(numba.config.CACHE_DIR)"
    environment = dict(os.environ, NUMBA_CACHE_DIR=str(folder), XDG_RUNTIME_DIR="")
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() != str(folder)
