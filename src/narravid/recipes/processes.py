"""One run in one process or in several that `torchrun` started."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from narravid import distributed
from narravid.training.run import CONFIG_NAME

__all__ = ["joined_run"]


@contextmanager
def joined_run(device: torch.device, run: Path, *, resume: bool) -> Iterator[bool]:
    """Be one of the processes of a run while the block runs.

    When `torchrun` starts its processes again because one of them died, each gets the same command as at
    first. A run that had begun by then is gone on with instead of begun again.

    Args:
        device: Where this process trains.
        run: The run folder.
        resume: Whether the command says to go on with the run.

    Yields:
        Whether to go on with the run; the same on every process.
    """
    with distributed.process_group(device):
        begun = distributed.restart_count() > 0 and (run / CONFIG_NAME).is_file()
        yield distributed.from_first(resume or begun)
