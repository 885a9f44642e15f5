"""The device to compute on, and one GPU for each process."""

import os
import subprocess
import sys

import pytest

from headwater.core.errors import InputError
from headwater.predict.devices import claimed_gpu, resolve_device

HOLD = """
import pathlib, sys
from headwater.predict.devices import claimed_gpu
with claimed_gpu(2, pathlib.Path(sys.argv[1])) as number:
    print(number, flush=True)
    sys.stdin.read()
"""


def test_devices():
    assert resolve_device("cpu") == "cpu"
    assert resolve_device("auto") in ("cpu", "cuda")
    with pytest.raises(InputError, match="no device"):
        resolve_device("abacus")


def test_processes_take_different_gpus_and_share_when_all_are_taken(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "0\n"
            with claimed_gpu(2, tmp_path) as second:
                assert second == 1
                with claimed_gpu(2, tmp_path) as third:
                    assert third == os.getpid() % 2
        finally:
            process.kill()
    with claimed_gpu(2, tmp_path) as freed:
        assert freed == 0
