"""One training run over several processes, as torchrun starts them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor, distributed, nn

from driv3r.errors import ConfigError


@dataclass(frozen=True)
class ProcessGroup:
    """Which of how many processes this is; alone it is the first of one."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process reports, checks and saves."""
        return self.rank == 0

    def average_gradients(self, network: nn.Module) -> None:
        """Every process's gradients become their mean; one that has none counts as zero."""
        if self.size == 1:
            return
        parameters = [p for p in network.parameters() if p.requires_grad]
        flat = torch.cat(
            [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters]
        )
        distributed.all_reduce(flat)
        flat /= self.size
        for p, part in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
            p.grad = part.view_as(p).clone(memory_format=torch.preserve_format)

    def any(self, flag: Bool[Tensor, ""]) -> bool:
        """Whether it is so in any process; all of them have to ask."""
        if self.size > 1:
            votes = flag.int()
            distributed.all_reduce(votes, distributed.ReduceOp.MAX)
            flag = votes > 0
        return bool(flag)

    def gather(self, values: list[int]) -> list[int]:
        """The values of all processes, which all have to give theirs."""
        if self.size == 1:
            return values
        parts: list[list[int]] = [[] for _ in range(self.size)]
        distributed.all_gather_object(parts, values)
        return [value for part in parts for value in part]

    def barrier(self) -> None:
        """Wait until all processes are here."""
        if self.size > 1:
            distributed.barrier()


def choose_local_device(device: str) -> str:
    """`cuda` as the GPU of this process on its machine."""
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if device == "cuda" else device


@contextmanager
def init_distributed(device: str) -> Iterator[ProcessGroup]:
    """The processes of a torchrun, by NCCL on GPUs and gloo elsewhere; alone without one.

    `device` is this process's own. ConfigError where the others can not be reached.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ProcessGroup()
        return
    try:
        if device.startswith("cuda"):
            torch.cuda.set_device(device)  # or NCCL would guess it by the rank among all machines
            distributed.init_process_group("nccl", device_id=torch.device(device))
        else:
            distributed.init_process_group("gloo")
    except (RuntimeError, ValueError) as error:
        raise ConfigError(
            f"WORLD_SIZE is {size}, but no group of processes forms ({error}); start training "
            "with torchrun, or unset WORLD_SIZE"
        ) from error
    try:
        yield ProcessGroup(distributed.get_rank(), size)
    finally:
        distributed.destroy_process_group()
