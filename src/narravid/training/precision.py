"""Which types of number a device computes in by itself."""

from __future__ import annotations

import torch

from narravid.training.config import Precision

__all__ = ["is_imitated"]


def is_imitated(dtype: Precision, device: torch.device) -> bool:
    """Whether a device has no instructions for a type and makes do with others, several times slower.

    Args:
        dtype: Type of the forward pass.
        device: Where it runs; only of processors, and of those that oneDNN serves, it is known.

    >>> is_imitated("float32", torch.device("cpu"))
    False
    """
    if device.type != "cpu" or dtype == "float32" or not torch._C._has_mkldnn:
        return False
    instructions = torch.ops.mkldnn
    if dtype == "bfloat16":
        return not instructions._is_mkldnn_bf16_supported()
    return not instructions._is_mkldnn_fp16_supported()
