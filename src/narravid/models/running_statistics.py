"""Forward passes that train but leave the running statistics of batch normalisation as they are.

A clip that is embedded twice in one step, once for the loss and once more for the gradient, would otherwise
count twice in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["running_statistics_kept"]


@contextmanager
def running_statistics_kept(module: nn.Module) -> Iterator[None]:
    """Keep running means, variances and counts of batches inside the `with` block, whatever runs there.

    Batch normalisation computes what it would without: in training mode from the statistics of the batch, in
    evaluation mode and where it is frozen from the running ones. Blocks may be nested.

    Args:
        module: A network with any number of batch normalisations, synchronised ones included.
    """
    # In training mode PyTorch's batch normalisations update only what they track; in evaluation mode they use
    # the running statistics whether they track them or not.
    norms = [norm for norm in module.modules() if isinstance(norm, _BatchNorm) and norm.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
