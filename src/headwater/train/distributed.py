"""Several processes that train one network, as torchrun starts them; a single process needs none of this."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

_TIMEOUT = timedelta(hours=12)
"""How long the other processes wait while the main one prepares data or validates."""


@dataclass(frozen=True)
class Distributed:
    """This process among those that train one network."""

    rank: int = 0
    """Number of this process."""
    size: int = 1
    """Number of processes."""

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and messages."""
        return self.rank == 0

    def wrap(self, module: nn.Module, *, all_used: bool) -> nn.Module:
        """Return a module whose gradients are the mean over processes; `all_used` if every parameter has a gradient."""
        return module if self.size == 1 else DistributedDataParallel(module, find_unused_parameters=not all_used)

    def broadcast(self, value: float, device: str) -> float:
        """Return the main process's value in all processes."""
        if self.size == 1:
            return value
        held = torch.tensor(value, dtype=torch.float64, device=device)
        dist.broadcast(held, src=0)
        return float(held)

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Run a block in the main process, then in all others."""
        if self.size > 1 and not self.is_main:
            dist.barrier()
        yield
        if self.size > 1 and self.is_main:
            dist.barrier()


def without_gradient_sync(module: nn.Module) -> AbstractContextManager[None]:
    """Return a context in which gradients accumulate in each process alone."""
    context: AbstractContextManager[None] = (
        module.no_sync() if isinstance(module, DistributedDataParallel) else nullcontext()
    )
    return context


@contextmanager
def join_processes(device: str) -> Iterator[Distributed]:
    """Join the processes that torchrun started, by gloo on the CPU and NCCL on GPUs; without torchrun, run alone."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Distributed()
        return
    if device.startswith("cuda"):
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo", timeout=_TIMEOUT)
    try:
        yield Distributed(rank=dist.get_rank(), size=size)
    finally:
        dist.destroy_process_group()


def local_device(device: str) -> str:
    """Return the GPU of this process if there are several processes."""
    local = os.environ.get("LOCAL_RANK")
    return f"cuda:{local}" if device == "cuda" and local is not None else device
