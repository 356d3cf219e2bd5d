"""Several processes as one: the only module that uses torch.distributed.

Without a process group everything here is the identity, so that one code path serves both. The losses of
Narravid see the gathered global batch on every process, and `average_gradients` follows each backward pass:
together they give exactly the gradient that one process would compute for the same global batch.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

__all__ = [
    "average_gradients",
    "barrier",
    "from_first",
    "gather",
    "gather_objects",
    "gather_with_gradient",
    "init_from_torchrun",
    "is_initialised",
    "largest",
    "local_rank",
    "process_group",
    "rank",
    "restart_count",
    "shutdown",
    "speaks_for_all",
    "world_size",
]

BUCKET_BYTES = 25 * 2**20
"""Gradients sent in one message, as much as PyTorch's own data parallelism sends."""

PATIENCE = timedelta(hours=4)
"""How long a process waits for another: while the first one evaluates, all others do. One that dies is
noticed by `torchrun` at once, which ends the others."""

ObjectT = TypeVar("ObjectT")


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


def local_rank() -> int:
    """Number of this process on its machine, by which it takes its GPU; 0 without `torchrun`."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def speaks_for_all() -> bool:
    """Whether this process is the one to say what came of a run, also after its group was left."""
    return os.environ.get("RANK", "0") == "0"


def restart_count() -> int:
    """How often `torchrun` has started the processes of this run again after one of them died."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


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
    backend = "gloo"
    if torch.device(device).type == "cuda":
        backend = "cpu:gloo,cuda:nccl"
        torch.cuda.set_device(torch.device("cuda", local_rank()))
    store, rank_, world_size_ = next(rendezvous("env://", timeout=PATIENCE))
    # torchrun keeps one store over all restarts, where a process that was started again would find the
    # address of the one that died.
    store = PrefixStore(f"narravid/start_{restart_count()}", store)
    dist.init_process_group(backend, store=store, rank=rank_, world_size=world_size_, timeout=PATIENCE)
    return True


@contextmanager
def process_group(device: torch.device | str) -> Iterator[None]:
    """Be one of the processes that `torchrun` started while the block runs; nothing without `torchrun`.

    Args:
        device: As for `init_from_torchrun`.
    """
    if not init_from_torchrun(device):
        yield
        return
    try:
        yield
    finally:
        shutdown()


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
        tensor: (B, ...), on every process of the same dtype and, but for B, of the same shape.

    Returns:
        (sum of all B, ...); `tensor` itself without a process group.

    Raises:
        ValueError: On every process, if the shapes differ in more than B.
    """
    if world_size() == 1:
        return tensor
    gathered: torch.Tensor = _Gather.apply(tensor.contiguous())  # type: ignore[no-untyped-call]
    return gathered


def gather(tensor: torch.Tensor) -> torch.Tensor:
    """As `gather_with_gradient` for tensors of any dtype, without a gradient.

    Args:
        tensor: (B, ...), on every process of the same dtype and, but for B, of the same shape.

    Returns:
        (sum of all B, ...); `tensor` itself without a process group.

    Raises:
        ValueError: On every process, if the shapes differ in more than B.
    """
    if world_size() == 1:
        return tensor
    return _join(tensor.detach().contiguous(), _sizes(tensor))


def gather_objects(value: ObjectT) -> list[ObjectT]:
    """The values of all processes, by rank; plain values and small tensors only, since they are pickled."""
    if world_size() == 1:
        return [value]
    values: list[ObjectT | None] = [None] * world_size()
    dist.all_gather_object(values, value)
    return cast(list[ObjectT], values)


def from_first(value: ObjectT | None) -> ObjectT:
    """What the first process gives, on every process; those of the others are not looked at."""
    if world_size() > 1:
        holder = [value]
        dist.broadcast_object_list(holder, src=0)
        value = holder[0]
    return cast(ObjectT, value)


def largest(number: int) -> int:
    """The largest of the numbers of all processes."""
    return max(gather_objects(number))


def average_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Replace each gradient by its mean over all processes; call it between backward and the optimizer step.

    Args:
        parameters: The same parameters in the same order on every process. One that received no gradient on
            this process, but did on another, counts as zero; one that received none anywhere keeps none, so
            that an optimiser leaves it alone as it would in one process.
    """
    if world_size() == 1:
        return
    learning = [parameter for parameter in parameters if parameter.requires_grad]
    received = torch.tensor([parameter.grad is not None for parameter in learning], dtype=torch.uint8)
    dist.all_reduce(received, dist.ReduceOp.MAX)
    gradients = []
    for parameter, anywhere in zip(learning, received.tolist(), strict=True):
        if anywhere:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
    for bucket in _buckets(gradients):
        # One message for many small tensors: sent one by one, their latencies add up.
        flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
        dist.all_reduce(flat)
        flat /= world_size()
        means = torch.split(flat, [gradient.numel() for gradient in bucket])
        for gradient, mean in zip(bucket, means, strict=True):
            gradient.copy_(mean.view_as(gradient))


def _buckets(tensors: Iterable[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """Neighbours of one dtype and device, together of about BUCKET_BYTES."""
    bucket: list[torch.Tensor] = []
    num_bytes = 0
    for tensor in tensors:
        fits = not bucket or (bucket[0].dtype, bucket[0].device) == (tensor.dtype, tensor.device)
        if bucket and (not fits or num_bytes + tensor.nbytes > BUCKET_BYTES):
            yield bucket
            bucket, num_bytes = [], 0
        bucket.append(tensor)
        num_bytes += tensor.nbytes
    if bucket:
        yield bucket


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 - autograd's own context
        sizes = _sizes(tensor)
        ctx.num_rows, ctx.start = len(tensor), sum(sizes[: rank()])
        return _join(tensor, sizes)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 - autograd's own context
        # A copy, since the incoming gradient may be shared with other branches of the graph.
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total[ctx.start : ctx.start + ctx.num_rows]


def _sizes(tensor: torch.Tensor) -> list[int]:
    """First sizes of a tensor on all processes, by rank, once it is certain that the other ones agree."""
    shapes = gather_objects(tuple(tensor.shape))
    if any(len(shape) == 0 or shape[1:] != shapes[0][1:] for shape in shapes):
        raise ValueError(f"every process must bring a tensor of one shape after the first axis, got {shapes}")
    return [shape[0] for shape in shapes]


def _join(tensor: torch.Tensor, sizes: list[int]) -> torch.Tensor:
    longest = max(sizes)
    if len(tensor) < longest:  # all_gather takes equal shapes only
        tensor = torch.cat([tensor, tensor.new_zeros(longest - len(tensor), *tensor.shape[1:])])
    parts = [torch.empty_like(tensor) for _ in sizes]
    dist.all_gather(parts, tensor)
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])
