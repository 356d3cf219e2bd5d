"""Choosing where a run computes."""

from __future__ import annotations

import torch

from narravid.distributed import local_rank
from narravid.errors import ConfigError

__all__ = ["pick_device"]


def pick_device(name: str) -> torch.device:
    """The device of a name.

    Under `torchrun` each process of a machine takes its own GPU where a name leaves open which one.

    Args:
        name: "cpu", "cuda", "cuda:1" and so on, or "auto" for a GPU when there is one.

    Raises:
        ConfigError: If there is no such device on this machine.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(f"cuda:{local_rank()}" if name == "cuda" else name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n")[0]
        raise ConfigError(f"device {name!r} cannot be used: {reason}", key="device") from error
    return device
