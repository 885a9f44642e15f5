"""One GPU for each process: jobs that run side by side on a machine with several take different ones."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def claimed_gpu(count: int, folder: Path | None = None) -> Iterator[int]:
    """Claim a GPU that no other process of this user has claimed, until the block ends.

    A lock on a file tells the processes of one another; it ends with its process, however that ends. Where all are
    claimed, they are shared: by process id.

    Parameters
    ----------
    count : int
        How many there are, at least 1.
    folder : Path, optional
        Where the files lie; by default one of this user in the folder for temporary files.

    Yields
    ------
    int
        Number of the GPU, from 0.
    """
    # Numbers are those within CUDA_VISIBLE_DEVICES: processes that see other GPUs have other files.
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "all").replace("/", "_")[:100]
    folder = folder or Path(tempfile.gettempdir()) / f"headwater-gpu-{os.getuid()}"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        with (folder / f"{visible}.{number}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield number
            return
    yield os.getpid() % count
