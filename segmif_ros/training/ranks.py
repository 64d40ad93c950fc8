# SPDX-License-Identifier: Apache-2.0
"""The processes of a training: one, or those that `torchrun` started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.nn.functional import all_reduce as differentiable_all_reduce
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process and the number of processes.

    Attributes:
        rank: its number, from 0; only rank 0 writes files.
        count: how many there are.
        device: where it computes.
    """

    rank: int
    count: int
    device: torch.device

    def part(self, batch: int, accumulate: int = 1) -> slice:
        """Return this process's share of a batch.

        Args:
            batch: examples of all processes.
            accumulate: parts that each process takes its share in.

        Raises:
            ValueError: the batch does not divide into equal parts.
        """
        if batch % (self.count * accumulate):
            parts = f", which take {accumulate} parts each" if accumulate > 1 else ""
            raise ValueError(
                f"a batch of {batch} does not divide among {self.count} processes{parts}; change "
                "batch or accumulate in the recipe"
            )
        share = batch // self.count
        return slice(self.rank * share, (self.rank + 1) * share)

    def mean(self, values: Tensor) -> Tensor:
        """Average a tensor over all processes, without gradient."""
        return self.sum(values) / self.count

    def sum(self, values: Tensor) -> Tensor:
        """Add a tensor up over all processes, without gradient."""
        values = values.detach().clone()
        if self.count > 1:
            dist.all_reduce(values)
        return values

    def gather(self, values: Tensor) -> list[Tensor]:
        """Return the tensors of all ranks, of one shape, in the order of ranks, on the CPU."""
        if self.count == 1:
            return [values.cpu()]
        found = [torch.empty_like(values, device=self.device) for _ in range(self.count)]
        dist.all_gather(found, values.to(self.device))
        return [each.cpu() for each in found]

    def share(self, module: nn.Module) -> nn.Module:
        """Wrap a module so that gradients are averaged over all processes."""
        if self.count == 1:
            return module
        return DistributedDataParallel(module, broadcast_buffers=False)


@contextmanager
def joined(device: str = "auto") -> Iterator[Ranks]:
    """Join the processes that `torchrun` started, if any.

    Args:
        device: "cpu", "cuda" or "auto": a GPU where there is one.

    Raises:
        ValueError: a GPU is requested and there is none.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: PyTorch finds no NVIDIA GPU; use cpu")
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if device == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        here = torch.device("cuda", torch.cuda.current_device())
    else:
        here = torch.device(device)
    if count == 1:
        yield Ranks(0, 1, here)
        return
    dist.init_process_group("nccl" if device == "cuda" else "gloo")
    try:
        yield Ranks(dist.get_rank(), count, here)
    finally:
        dist.destroy_process_group()


class SharedBatchNorm(nn.BatchNorm2d):
    """BatchNorm whose statistics are those of the whole batch, however it is divided.

    PyTorch's SyncBatchNorm supports only GPUs; this one also runs over gloo, so that tests cover
    the computation of a GPU machine.
    """

    def forward(self, features: Tensor) -> Tensor:
        """BxCxHxW -> BxCxHxW."""
        if not self.training:
            return super().forward(features)
        values = features.float()
        mean = values.mean(dim=(0, 2, 3))
        square = (values * values).mean(dim=(0, 2, 3))
        both = differentiable_all_reduce(torch.stack([mean, square])) / dist.get_world_size()
        mean, variance = both[0], both[1] - both[0] * both[0]
        self._follow(mean.detach(), variance.detach(), values.numel() // values.shape[1])
        scale = self.weight * torch.rsqrt(variance + self.eps)
        shift = self.bias - mean * scale
        return (values * scale[:, None, None] + shift[:, None, None]).to(features.dtype)

    def _follow(self, mean: Tensor, variance: Tensor, values: int) -> None:
        """Update the running statistics; each process had `values` values per channel."""
        assert self.running_mean is not None and self.running_var is not None  # noqa: PT018
        assert self.momentum is not None
        seen = values * dist.get_world_size()
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * seen / max(1, seen - 1), self.momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)


def share_batch_norms(network: nn.Module, ranks: Ranks) -> None:
    """Make every BatchNorm of a network count over all processes, in place."""
    if ranks.count == 1:
        return
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SharedBatchNorm
