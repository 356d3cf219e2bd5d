"""Several processes as one: the only module that uses torch.distributed.

Without a process group everything here is the identity, so that one code path serves both. The losses of
Narravid see the gathered global batch on every process, and `average_gradients` follows each backward pass:
together they give exactly the gradient that one process would compute for the same global batch.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist

__all__ = [
    "average_gradients",
    "barrier",
    "gather_with_gradient",
    "init_from_torchrun",
    "is_initialised",
    "rank",
    "shutdown",
    "world_size",
]


def is_initialised() -> bool:
    """Whether this process belongs to a process group."""
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """Number of this process, 0 for the first or only one."""
    return dist.get_rank() if is_initialised() else 0


def world_size() -> int:
    """How many processes work together; 1 without a process group."""
    return dist.get_world_size() if is_initialised() else 1


def barrier() -> None:
    """Wait until every process is here."""
    if is_initialised():
        dist.barrier()


def init_from_torchrun(device: torch.device | str) -> bool:
    """Join the process group that `torchrun` describes in the environment.

    Args:
        device: Where the tensors of this process live: NCCL serves CUDA devices, gloo all others.

    Returns:
        False, and nothing is done, when the program was started without `torchrun`.

    Raises:
        ValueError: If this process is in a group already.
    """
    if "WORLD_SIZE" not in os.environ:
        return False
    if is_initialised():
        raise ValueError("this process has joined a process group already: call init_from_torchrun once")
    dist.init_process_group("nccl" if torch.device(device).type == "cuda" else "gloo")
    return True


def shutdown() -> None:
    """Leave the process group; nothing without one."""
    if is_initialised():
        dist.destroy_process_group()


def gather_with_gradient(tensor: torch.Tensor) -> torch.Tensor:
    """The tensors of all processes, joined along the first axis in the order of their ranks.

    The gradient that arrives at the result is summed over the processes, and each one gets its own part:
    if every process computes the same loss of the gathered tensor, a process receives `world_size` times the
    gradient of that loss, which `average_gradients` divides out again.

    Args:
        tensor: (B, ...), of equal shape and dtype on every process.

    Returns:
        (world_size * B, ...); `tensor` itself without a process group.

    Raises:
        ValueError: On every process, if the shapes differ.
    """
    if world_size() == 1:
        return tensor
    _check_equal_shapes(tensor)
    gathered: torch.Tensor = _Gather.apply(tensor.contiguous())  # type: ignore[no-untyped-call]
    return gathered


def average_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Replace each gradient by its mean over all processes; call it between backward and the optimizer step.

    Args:
        parameters: The same parameters in the same order on every process. One that takes gradients but
            received none on this process counts as zero, so that no process waits for another in vain.
    """
    if world_size() == 1:
        return
    for parameter in parameters:
        if not parameter.requires_grad:
            continue
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        dist.all_reduce(parameter.grad)
        parameter.grad /= world_size()


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 - autograd's own context
        ctx.num_rows = len(tensor)
        parts = [torch.empty_like(tensor) for _ in range(world_size())]
        dist.all_gather(parts, tensor)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 - autograd's own context
        # A copy, since the incoming gradient may be shared with other branches of the graph.
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        start = rank() * ctx.num_rows
        return total[start : start + ctx.num_rows]


def _check_equal_shapes(tensor: torch.Tensor) -> None:
    shapes: list[tuple[int, ...] | None] = [None] * world_size()
    dist.all_gather_object(shapes, tuple(tensor.shape))
    if len(set(shapes)) > 1:
        raise ValueError(f"every process must bring a tensor of one shape, got {shapes} by rank")
