"""Several processes that train one network together, as torchrun starts them; one alone needs none of it."""

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

_PATIENCE = timedelta(hours=12)
"""How long the others wait while the first prepares data or validates."""


@dataclass(frozen=True)
class Processes:
    """This process among those that train together."""

    rank: int = 0
    """Its number."""
    size: int = 1
    """How many there are."""

    @property
    def first(self) -> bool:
        """Whether it is the one that writes and speaks."""
        return self.rank == 0

    def share(self, module: nn.Module, *, all_used: bool) -> nn.Module:
        """Return a module whose gradients are the mean of all processes; `all_used` if each parameter has one."""
        return module if self.size == 1 else DistributedDataParallel(module, find_unused_parameters=not all_used)

    def value_of_first(self, value: float, device: str) -> float:
        """Return the first process's value in all."""
        if self.size == 1:
            return value
        held = torch.tensor(value, dtype=torch.float64, device=device)
        dist.broadcast(held, src=0)
        return float(held)

    @contextmanager
    def first_goes_before(self) -> Iterator[None]:
        """Run a block in the first process, then in all others."""
        if self.size > 1 and not self.first:
            dist.barrier()
        yield
        if self.size > 1 and self.first:
            dist.barrier()


def without_sharing(module: nn.Module) -> AbstractContextManager[None]:
    """Return a context in which gradients add up in each process alone."""
    context: AbstractContextManager[None] = (
        module.no_sync() if isinstance(module, DistributedDataParallel) else nullcontext()
    )
    return context


@contextmanager
def processes(device: str) -> Iterator[Processes]:
    """Join the processes torchrun started, by gloo on the CPU and NCCL on GPUs; alone where it started none."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Processes()
        return
    if device.startswith("cuda"):
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo", timeout=_PATIENCE)
    try:
        yield Processes(rank=dist.get_rank(), size=size)
    finally:
        dist.destroy_process_group()


def own_device(device: str) -> str:
    """Return the GPU of this process where there are several processes."""
    local = os.environ.get("LOCAL_RANK")
    return f"cuda:{local}" if device == "cuda" and local is not None else device
