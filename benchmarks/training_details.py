"""Smaller choices of the training step, each against what it replaces."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from narravid.batches import NarratedBatch
from narravid.models.dual_encoder import S3DDualEncoder

Work = Callable[[], object]


def optimisers(model: nn.Module) -> dict[str, Work]:
    """Adam in three ways over the model's weights, and gradients that are zeroed instead of dropped."""
    works: dict[str, Work] = {}
    for name, options in {
        "Adam, foreach (default)": {"foreach": True},
        "Adam, fused (ours)": {"fused": True},
        "Adam, loop": {"foreach": False},
    }.items():
        parameters = [p for p in copy.deepcopy(model).parameters() if p.requires_grad]
        for parameter in parameters:
            parameter.grad = torch.full_like(parameter, 1e-3)
        works[name] = torch.optim.Adam(parameters, lr=1e-5, **options).step
    zeroed = copy.deepcopy(model)
    for parameter in zeroed.parameters():
        parameter.grad = torch.ones_like(parameter)
    works["gradients filled with zeros"] = lambda: zeroed.zero_grad(set_to_none=False)
    return works


def conversions(model: S3DDualEncoder, clips: torch.Tensor) -> dict[str, Work]:
    """uint8 clips to what the first convolution reads: blocks of 2×2×2 pixels as channels, in float32."""
    b, _, t, h, w = clips.shape

    def blocks(x: torch.Tensor) -> torch.Tensor:
        halves = x.reshape(b, 3, t // 2, 2, h // 2, 2, w // 2, 2)
        return halves.permute(0, 2, 4, 6, 3, 5, 7, 1).flatten(4)

    mean = torch.tensor(model.clip_spec.mean).repeat(8)
    std = torch.tensor(model.clip_spec.std).repeat(8)
    return {
        "bytes to numbers, then blocks (ours)": lambda: blocks(model._normalised(clips)),
        "blocks of bytes, then numbers": lambda: blocks(clips).float().div_(255).sub_(mean).div_(std),
        "blocks of bytes, one multiplication": lambda: torch.addcmul(
            -mean / std, blocks(clips), 1 / (255 * std)
        ),
    }


def print_details(model: S3DDualEncoder, batch: NarratedBatch, *, rounds: int) -> None:
    """The table; every round does each once."""
    works = {**optimisers(model), **conversions(model, batch.clips)}
    seconds: dict[str, list[float]] = {name: [] for name in works}
    with torch.no_grad():
        for _ in range(rounds + 1):
            for name, work in works.items():
                started = time.perf_counter()
                work()
                seconds[name].append(time.perf_counter() - started)
    table = Table(title=f"Parts of a step, clips of {batch.clips.shape[-1]}²")
    table.add_column("")
    table.add_column("ms", justify="right")
    for name, times in seconds.items():
        table.add_row(name, f"{statistics.median(times[1:]) * 1000:.1f}")
    Console(width=120).print(table)
