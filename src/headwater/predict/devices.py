"""The device and the precision a network computes in, and one GPU for each process."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from headwater.core.errors import InputError
from headwater.core.private_files import entered, open_lock, private_folder

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
        Folder of the lock files, which only this user may enter; by default one in memory or in the folder for
        temporary files. Where there is no such folder nothing is claimed.

    Yields
    ------
    int
        Number of the GPU, from 0.
    """
    # Numbers are those within CUDA_VISIBLE_DEVICES: processes that see other GPUs have other files.
    visible = re.sub(r"[^A-Za-z0-9,.-]", "_", os.environ.get("CUDA_VISIBLE_DEVICES", "all"))[:100]
    # Not in the folder of a session: jobs of a scheduler have none, and must see the same claims.
    folder = folder or private_folder("headwater-gpu", of_session=False)
    for number in range(count):
        try:
            with entered(folder) as inside:
                lock = open_lock(f"{visible}.{number}.lock", folder=inside)
        except OSError:
            break  # no safe place for claims
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            # Claimed; or a file system without locks.
            os.close(lock)
            continue
        try:
            yield number
        finally:
            os.close(lock)
        return
    yield os.getpid() % count
