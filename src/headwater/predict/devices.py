"""Where and in which precision a network computes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from headwater.core.errors import InputError

THREADS = 1
"""Tiles computed side by side on the CPU, one thread each. The order of the sums within a network, and so the last bits
of a probability, would depend on the threads it has: one thread a tile gives the same bytes whatever this number."""
DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_device(device: str) -> str:
    """Return the device to compute on: "auto" is the first GPU where there is one, else the CPU.

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

    Of the two types float16 is eight times finer, and taken where no network overflows in it; else bfloat16, where the
    GPU has it. On the CPU auto is float32 even where bfloat16 would be faster: the result must not depend on the
    processor at hand.

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
    """Compute with one thread each, then with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def gpus() -> int:
    """Return how many GPUs this process sees."""
    return torch.cuda.device_count()
