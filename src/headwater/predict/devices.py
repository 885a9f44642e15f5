"""The device and the precision a network computes in, and one GPU for each process."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from headwater.core.errors import InputError

DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_device(device: str) -> str:
    """Return the device to compute on: "auto" is a GPU if there is one, else the CPU.

    Raises
    ------
    InputError
        The device does not exist on this machine.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"There is no device {device!r} on this machine.",
            f"Use auto or cpu; PyTorch sees {gpus()} GPU(s) here (it must be built for CUDA).",
        ) from error
    return device


def resolve_dtype(dtype: str, device: str, networks: Sequence[nn.Module] = ()) -> torch.dtype:
    """Return the type networks compute in: "auto" is 16 bits on a GPU, float32 on the CPU.

    Of the two types of 16 bits float16 is eight times finer; it is used if no network overflows in it, else bfloat16,
    if the GPU supports it. On the CPU auto is float32 even where bfloat16 would be faster: the result must not depend
    on the processor.

    Raises
    ------
    InputError
        There is no such type.
    """
    if dtype == "auto":
        if not device.startswith("cuda"):
            return torch.float32
        if networks and all(getattr(network, "keeps_within_float16", False) for network in networks):
            return torch.float16
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    if dtype not in DTYPES:
        raise InputError(f"There is no type {dtype!r} to compute in.", f"Use auto, {', '.join(DTYPES)}.")
    return DTYPES[dtype]


@contextmanager
def single_threaded() -> Iterator[None]:
    """Let PyTorch compute with one thread; restore the number of threads afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def gpus() -> int:
    """Return how many GPUs this process sees."""
    return torch.cuda.device_count()


@contextmanager
def claimed_gpu(count: int, folder: Path | None = None) -> Iterator[int]:
    """Claim a GPU that no other process of this user has claimed, until the block ends.

    Jobs that run at the same time on a machine with several GPUs so use different ones. The claim is a lock on a file,
    which ends with its process, however that ends. If all GPUs are claimed, they are shared by process id.

    Parameters
    ----------
    count : int
        Number of GPUs, at least 1.
    folder : Path, optional
        Folder of the lock files; by default one of this user in the folder for temporary files.

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
