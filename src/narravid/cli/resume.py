"""`narravid resume RUN`: go on with a training run that was interrupted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from narravid.cli.train import report_result
from narravid.recipes.registry import resume_run

__all__ = ["Resume"]


@dataclass(frozen=True)
class Resume:
    """Go on with an interrupted training run from its newest checkpoint.

    Everything else is read from the run's folder; the weights end up as if nothing had happened.

    Attributes:
        folder: Folder of the run.
        device: Device to train on, such as cpu or cuda:0, when it should differ from the run's own.
        workers: Decoding processes, when they should differ from the run's own.
    """

    folder: Annotated[Path, tyro.conf.Positional]
    device: str | None = None
    workers: int | None = None

    def run(self) -> int:
        """Train to the end and say what came of it."""
        result = resume_run(self.folder, device=self.device, workers=self.workers)
        report_result(result, self.folder)
        return 0
