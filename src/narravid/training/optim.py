"""Optimisers: built over groups of parameters, and given the learning rates of each step."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from narravid.training.optim_config import OptimConfig, ParameterGroup
from narravid.training.parameter_groups import parameter_groups
from narravid.training.schedules import PlateauState, learning_rate_at, num_warmup_steps

__all__ = [
    "OptimConfig",
    "ParameterGroup",
    "PlateauState",
    "apply_schedule",
    "build_optimizer",
    "freeze_until",
    "learning_rate_at",
    "num_warmup_steps",
    "parameter_groups",
]


def build_optimizer(
    config: OptimConfig, named_parameters: Iterable[tuple[str, nn.Parameter]]
) -> torch.optim.Optimizer:
    """The optimiser over the trainable ones among `named_parameters`.

    The fused kernels update all weights in one call; on a network of many small layers the plain loop
    takes several times as long.

    Args:
        config: The optimiser's settings.
        named_parameters: The parameters with their dotted names, as a module's `named_parameters()` gives
            them. Those that are frozen now are left out for good.

    Returns:
        The optimiser; "prefix" of its groups names the part of the model, None for no part.

    Raises:
        ConfigError: If a group of the settings has no parameter.
        ValueError: If nothing is trainable.
    """
    groups = parameter_groups(config, named_parameters)
    optimizer: torch.optim.Optimizer
    if config.name == "sgd":
        optimizer = torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, fused=True)
        if config.momentum:
            optimizer.register_step_pre_hook(_start_momentum)
    else:
        kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
        optimizer = kind(groups, lr=config.lr, betas=config.betas, fused=True)
    optimizer.register_step_post_hook(_count_as_written)
    return optimizer


def _start_momentum(optimizer: torch.optim.Optimizer, *_: object) -> None:
    """Let the momentum of what has its first gradient start at 0, from where the sum is the gradient itself.

    The fused kernel makes momentum only in a step in which no parameter of the group has any, and fails where
    one has its first gradient later than others.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None and optimizer.state[parameter].get("momentum_buffer") is None:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


def _count_as_written(optimizer: torch.optim.Optimizer, *_: object) -> None:
    """Tell PyTorch of the change of the weights, which a model's hash relies on; fused kernels do not."""
    for group in optimizer.param_groups:
        torch.autograd.graph.increment_version(group["params"])


def apply_schedule(
    optimizer: torch.optim.Optimizer,
    config: OptimConfig,
    *,
    step: int,
    num_steps: int,
    steps_per_epoch: int,
    num_plateaus: int = 0,
) -> float:
    """Give every group of the optimiser its learning rate of one step.

    Args:
        optimizer: What `build_optimizer` gave for the same settings.
        config: The optimiser's settings.
        step: The step, counted from 0.
        num_steps: Steps in the whole run.
        steps_per_epoch: Steps in one epoch.
        num_plateaus: Plateaus so far, as `PlateauState` counts them.

    Returns:
        The learning rate of what belongs to no group of the settings.
    """
    lr = learning_rate_at(
        config, step, num_steps=num_steps, steps_per_epoch=steps_per_epoch, num_plateaus=num_plateaus
    )
    parts = {part.prefix: part for part in config.groups}
    for group in optimizer.param_groups:
        part = parts.get(group["prefix"])
        peak = config.lr if part is None or part.lr is None else part.lr
        constant = part is not None and part.schedule == "constant"
        group["lr"] = peak if constant else lr * (peak / config.lr)
    return lr


def freeze_until(optimizer: torch.optim.Optimizer, config: OptimConfig, *, epoch: int) -> bool:
    """Freeze the parts of the model whose first epoch has not come, and let those learn whose has.

    Only what the optimiser moves and a group holds back is touched: what was frozen when it was built stays
    frozen.

    Args:
        optimizer: What `build_optimizer` gave for the same settings.
        config: The optimiser's settings.
        epoch: The epoch that begins or goes on, counted from 0.

    Returns:
        Whether this changed which parameters take a gradient, so that what was made for the old ones (a
        compiled step) must be made anew.
    """
    first_epochs = {part.prefix: part.first_epoch for part in config.groups if part.first_epoch > 0}
    changed = False
    for group in optimizer.param_groups:
        if group["prefix"] not in first_epochs:
            continue
        learns = epoch >= first_epochs[group["prefix"]]
        for parameter in group["params"]:
            changed = changed or parameter.requires_grad != learns
            parameter.requires_grad_(learns)
            if not learns:
                parameter.grad = None  # a gradient that is left would still move the weight
    return changed
