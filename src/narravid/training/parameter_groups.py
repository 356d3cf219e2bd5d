"""Which parameters an optimiser moves together: by part of the model, and with or without weight decay."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from torch import nn

from narravid.errors import ConfigError
from narravid.training.optim_config import OptimConfig, ParameterGroup

__all__ = ["parameter_groups", "part_of"]

NUM_NEAR_NAMES = 5


def parameter_groups(
    config: OptimConfig, named_parameters: Iterable[tuple[str, nn.Parameter]]
) -> list[dict[str, Any]]:
    """Trainable parameters in groups of one part of the model and one decay.

    Args:
        config: The optimiser's settings; with decay "matrices" no parameter of fewer than two dimensions
            (norms, biases, scalars) decays.
        named_parameters: The parameters with their dotted names; frozen ones are left out.

    Returns:
        Groups for a `torch.optim` optimiser: first what belongs to no part, then the parts in the order of
        `config.groups`, of each what decays before what does not. "prefix" names the part, None for no part.

    Raises:
        ConfigError: If a part has no parameter, frozen or not.
        ValueError: If nothing is trainable, or nothing from the first epoch on.
    """
    named = list(named_parameters)
    for wanted in config.groups:
        if not any(wanted.takes(name) for name, _ in named):
            raise _unknown(wanted.prefix, [name for name, _ in named])
    trainable = [(name, parameter) for name, parameter in named if parameter.requires_grad]
    if not trainable:
        raise ValueError("nothing to train: every parameter is frozen")
    own_parts = [part_of(name, config.groups) for name, _ in trainable]
    if all(part is not None and part.first_epoch > 0 for part in own_parts):
        raise ValueError("nothing to train at first: every parameter belongs to a group with first_epoch > 0")
    found = []
    for part in (None, *config.groups):
        own = [p for (_, p), own_part in zip(trainable, own_parts, strict=True) if own_part == part]
        decay = config.weight_decay if part is None or part.weight_decay is None else part.weight_decay
        found += [
            {"params": parameters, "weight_decay": weight_decay, "prefix": part.prefix if part else None}
            for parameters, weight_decay in _by_decay(own, decay, which=config.decay)
        ]
    return found


def part_of(name: str, parts: Sequence[ParameterGroup]) -> ParameterGroup | None:
    """The part that a parameter of this dotted name belongs to: that of the longest prefix, or None."""
    taking = [part for part in parts if part.takes(name)]
    return max(taking, key=lambda part: len(part.prefix), default=None)


def _by_decay(
    parameters: Sequence[nn.Parameter], weight_decay: float, *, which: Literal["all", "matrices"]
) -> list[tuple[list[nn.Parameter], float]]:
    decaying = [parameter for parameter in parameters if which == "all" or parameter.ndim >= 2]
    fixed = [parameter for parameter in parameters if which != "all" and parameter.ndim < 2]
    return [(group, decay) for group, decay in ((decaying, weight_decay), (fixed, 0.0)) if group]


def _unknown(prefix: str, names: Sequence[str]) -> ConfigError:
    """Names the parts of the model that are spelt most like the unknown one, or the largest parts."""
    parts = [".".join(name.split(".")[:depth]) for name in names for depth in range(1, name.count(".") + 2)]
    parts = list(dict.fromkeys(parts))
    near = difflib.get_close_matches(prefix, parts, n=NUM_NEAR_NAMES)
    shown = near or [part for part in parts if part.count(".") <= 1][: 2 * NUM_NEAR_NAMES]
    return ConfigError(
        f"optim.groups: no parameter of the model lies under {prefix!r};"
        f" {'near names' if near else 'there are'}: {', '.join(shown)}",
        key="optim.groups",
    )
