"""Two processes on the CPU train like one process with twice the batches."""

import os
import subprocess
import sys

import torch

from headwater.cli import main


def test_two_processes_train_as_one_with_twice_the_batch(tmp_path, configure):
    def stages(accumulate):
        return [
            {"chip_px": 24, "batch_size": 2, "steps": 4, "learning_rate": 0.01, "accumulate": accumulate},
            {"chip_px": 64, "batch_size": 1, "steps": 2, "learning_rate": 0.01, "accumulate": accumulate},
        ]

    two_processes = configure("two", optimizer="sgd", stages=stages(1), validate_every=3)
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "headwater", "train"]
    done = subprocess.run(
        [sys.executable, *command, str(two_processes)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("step 3, validation") == 1
    assert main(["train", str(configure("one", optimizer="sgd", stages=stages(2), validate_every=3))]) == 0
    one, two = (torch.load(tmp_path / name / "work" / "state.pt", weights_only=True) for name in ("one", "two"))
    assert one["progress"]["step"] == two["progress"]["step"] == 6
    for part in ("model", "average"):
        for name, tensor in one[part].items():
            torch.testing.assert_close(two[part][name], tensor, rtol=1e-4, atol=1e-5, msg=name)
