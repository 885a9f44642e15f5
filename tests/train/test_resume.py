"""A training that is interrupted, meets a full disk, or is restarted with another configuration."""

import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
import torch

from headwater.cli import main
from headwater.core.errors import WorkError
from headwater.models.channels import PAPER
from headwater.models.checkpoint import load_checkpoint, save_checkpoint
from headwater.models.registry import build_network
from headwater.train.state import Progress, load_state, save_state

SIZES = {"base_channels": 2, "encoders": 2, "decoders": 1}


@contextmanager
def full_disk(limit_bytes):
    """No file may grow beyond this size, as if the disk were full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def network(seed=0):
    torch.manual_seed(seed)
    return build_network("waternet", SIZES)


def test_killed_at_any_moment_it_ends_with_the_same_bits(tmp_path, configure):
    grow = {"batch_growth_patience": 1, "optimizer": "sgd", "num_workers": 1}
    assert main(["train", str(configure("whole", **grow))]) == 0
    config = configure("killed", **grow)
    state = tmp_path / "killed" / "work" / "state.pt"
    training = subprocess.Popen(
        [sys.executable, "-m", "headwater", "train", str(config)],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    while training.poll() is None and not state.is_file():
        time.sleep(0.001)
    time.sleep(0.25)
    training.send_signal(signal.SIGKILL)
    assert training.wait() == -signal.SIGKILL
    done = torch.load(state, weights_only=True)["progress"]["step"]
    assert 0 < done < 46

    assert main(["train", str(config)]) == 0
    for name in ("net.safetensors", "work/best.safetensors"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    whole, killed = (
        torch.load(tmp_path / name / "work" / "state.pt", weights_only=True) for name in ("whole", "killed")
    )
    assert whole["progress"] == killed["progress"]
    for part in ("model", "average"):
        for name, tensor in whole[part].items():
            assert torch.equal(tensor, killed[part][name]), name


@pytest.mark.parametrize(
    "change", [{"seed": 2}, {"batch_growth_patience": 3}, {"losses": {"elevation": 0.1}}, {"validate_every": 5}]
)
def test_another_configuration_is_refused(configure, capsys, change):
    stages = [{"chip_px": 24, "batch_size": 1, "steps": 3, "learning_rate": 0.01}]
    assert main(["train", str(configure(stages=stages))]) == 0
    assert main(["train", str(configure(**{"stages": stages, **change}))]) == 2
    assert "another network, recipe, data or settings" in capsys.readouterr().err


def test_a_full_disk_leaves_the_last_state(tmp_path):
    path = tmp_path / "state.pt"
    first, second = network(0), network(1)
    optimizer = torch.optim.SGD(first.parameters(), lr=0.1)
    save_state(path, first, first, optimizer, Progress(step=3, best=0.5), "x")
    before = path.read_bytes()
    with full_disk(len(before) // 2), pytest.raises(WorkError, match="Make room on the disk"):
        save_state(path, second, second, optimizer, Progress(step=4), "x")
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.pt"]
    assert load_state(path, second, second, optimizer, "x") == Progress(step=3, best=0.5)
    assert torch.equal(next(second.parameters()), next(first.parameters()))


@pytest.mark.parametrize("room", [10, 6000])
def test_a_full_disk_leaves_the_last_checkpoint(tmp_path, room):
    path = tmp_path / "best.safetensors"
    save_checkpoint(path, network(0), recipe=PAPER, license="Apache-2.0")
    before = [path.read_bytes(), path.with_suffix(".json").read_bytes()]
    assert len(before[1]) < 6000 < len(before[0])
    with full_disk(room), pytest.raises(OSError, match="too large"):
        save_checkpoint(path, network(1), recipe=PAPER, license="Apache-2.0")
    assert [path.read_bytes(), path.with_suffix(".json").read_bytes()] == before
    assert len(list(tmp_path.iterdir())) == 2
    load_checkpoint(path)


def test_a_file_that_is_not_a_state_is_refused(configure, tmp_path, capsys):
    (tmp_path / "a" / "work").mkdir(parents=True)
    (tmp_path / "a" / "work" / "state.pt").write_bytes(b"not a state")
    assert main(["train", str(configure())]) == 2
    assert "is not the state of a training" in capsys.readouterr().err
