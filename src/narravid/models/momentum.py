"""A slow copy of a network: the teacher of training methods that learn from their own past."""

from __future__ import annotations

import copy
from typing import Any, Generic, TypeVar

import torch
from torch import nn

__all__ = ["MomentumTwin"]

ModuleT = TypeVar("ModuleT", bound=nn.Module)


class MomentumTwin(nn.Module, Generic[ModuleT]):
    """A network that is trained, `online`, and the moving average of its weights, `target`.

    After every optimiser step, target = momentum · target + (1 − momentum) · online. Tarvainen and Valpola,
    NeurIPS 2017, arXiv 1703.01780; He et al., CVPR 2020, arXiv 1911.05722, equation 2. Parameters are
    averaged, buffers are copied (the published aligner has none that change). A parameter that is never
    trained, such as a frozen table, stays bit for bit the same.

    The state dict holds both networks, as `online.*` and `target.*`, so a resumed run goes on as if it had
    not stopped. Calling the twin runs `online`.

    Args:
        online: The network to train. The target starts as its copy, so load its weights first.
        momentum: In [0, 1]; 0.999 as published by Han et al., CVPR 2022, arXiv 2204.02968.

    Attributes:
        online: As given.
        target: Its moving average; takes no gradient.
        momentum: As given.

    Raises:
        ValueError: If the momentum is out of range.
    """

    def __init__(self, online: ModuleT, *, momentum: float = 0.999) -> None:
        super().__init__()
        if not 0 <= momentum <= 1:
            raise ValueError(f"momentum must be in [0, 1], got {momentum}")
        self.momentum = momentum
        self.online = online
        self.target = copy.deepcopy(online).requires_grad_(False)

    def forward(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - whatever the network takes and gives
        """What `online` makes of the inputs."""
        return self.online(*args, **kwargs)

    @torch.no_grad()
    def forward_target(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as for forward
        """What `target` makes of the inputs, without a graph."""
        return self.target(*args, **kwargs)

    @torch.no_grad()
    def update(self) -> None:
        """Move the target towards the online network; to be called after each optimiser step."""
        averaged = zip(self.target.parameters(), self.online.parameters(), strict=True)
        for slow, fast in averaged:
            slow.lerp_(fast, 1 - self.momentum)
        copied = zip(self.target.buffers(), self.online.buffers(), strict=True)
        for slow_buffer, fast_buffer in copied:
            slow_buffer.copy_(fast_buffer)
