"""How PyTorch computes while a network trains: threads, and whether the same bits come out each time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.utils import deterministic as deterministic_memory

from headwater.train.settings import LoopSettings

_FILL = "fill_uninitialized_memory"
"""Set by PyTorch through a class of modules that type checkers do not see."""


@contextmanager
def torch_as_set(settings: LoopSettings) -> Iterator[None]:
    """Compute with so many threads and, if wanted, the same bits each time; then as before."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    on_cpu = settings.device == "cpu"
    wanted = on_cpu if settings.deterministic is None else settings.deterministic
    if wanted and not on_cpu:
        # cuBLAS asks for it, and reads it when it is first used.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(settings.threads)
    torch.use_deterministic_algorithms(wanted)
    # Nothing here reads memory before it is written; filling it first takes a fifteenth of a step.
    filled = getattr(deterministic_memory, _FILL)
    setattr(deterministic_memory, _FILL, False)
    try:
        yield
    finally:
        setattr(deterministic_memory, _FILL, filled)
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)
