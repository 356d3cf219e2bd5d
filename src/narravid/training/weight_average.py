"""A running average of the weights, which is often better than the last weights of a noisy run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim.swa_utils import get_ema_multi_avg_fn

__all__ = ["WeightAverage"]


class WeightAverage:
    """Exponential moving average of a module's trainable weights.

    Step n, counted from 0, has the decay min(decay, (1 + n) / (10 + n)), so that in a short run the weights
    it started from are soon forgotten; from about step 9 / (1 - decay) on the decay is constant. The running
    statistics of batch normalisation belong to the weights and are averaged with them. Frozen weights do not
    change and are left out.

    Polyak & Juditsky, Acceleration of Stochastic Approximation by Averaging, SIAM 1992.

    Args:
        module: Its parameters that are trainable now are followed.
        decay: Share of the average that stays in a step, in (0, 1).

    Raises:
        ValueError: If the decay is out of range or nothing is trainable.
    """

    def __init__(self, module: nn.Module, *, decay: float) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"decay must lie between 0 and 1, got {decay}")
        self._decay = decay
        self._followed = _followed_tensors(module)
        if not self._followed:
            raise ValueError("nothing to average: every parameter is frozen")
        self._averages = {name: tensor.detach().clone() for name, tensor in self._followed.items()}
        self._num_updates = 0
        self._is_applied = False

    def update(self) -> None:
        """Count the weights as they are now in; call it after each step.

        Raises:
            RuntimeError: If the averaged weights are in the module now.
        """
        if self._is_applied:
            raise RuntimeError("the averaged weights are in the module now: there is nothing to average")
        decay = min(self._decay, (1 + self._num_updates) / (10 + self._num_updates))
        averaging = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        averaging(tuple(self._averages.values()), tuple(self._followed.values()), self._num_updates)
        self._num_updates += 1

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Put the averaged weights into the module while the block runs; its own come back, however it ends.

        Raises:
            RuntimeError: If they are there already.
        """
        if self._is_applied:
            raise RuntimeError("the averaged weights are in the module already")
        own = {name: tensor.detach().clone() for name, tensor in self._followed.items()}
        self._is_applied = True
        try:
            self._put(self._averages)
            yield
        finally:
            self._put(own)
            self._is_applied = False

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: tensors only."""
        return {"averages": dict(self._averages), "num_updates": torch.tensor(self._num_updates)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a kept state.

        Raises:
            ValueError: If it is of another module: names or shapes differ.
        """
        kept = state["averages"]
        differing = sorted(
            name
            for name in kept.keys() | self._averages.keys()
            if name not in kept
            or name not in self._averages
            or kept[name].shape != self._averages[name].shape
        )
        if differing:
            raise ValueError(f"the averaged weights are of another model: {', '.join(differing[:5])}")
        for name, average in self._averages.items():
            average.copy_(kept[name])
        self._num_updates = int(state["num_updates"])

    @torch.no_grad()
    def _put(self, values: Mapping[str, torch.Tensor]) -> None:
        for name, tensor in self._followed.items():
            tensor.copy_(values[name])


def _followed_tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    followed: dict[str, torch.Tensor] = {
        name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad
    }
    if not followed:
        return {}
    for path, part in module.named_modules():
        if isinstance(part, _NormBase):
            for name, buffer in part.named_buffers(recurse=False):
                if buffer.is_floating_point():
                    followed[f"{path}.{name}" if path else name] = buffer
    return followed
