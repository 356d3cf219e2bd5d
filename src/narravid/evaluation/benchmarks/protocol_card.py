"""What every number of a benchmark depends on, in words and figures that its result repeats."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from narravid.evaluation.cards import RULES, clip_card
from narravid.evaluation.session import EvaluationSession
from narravid.files import file_sha256

__all__ = ["clip_card", "protocol_card"]


def protocol_card(
    session: EvaluationSession, benchmark: str, *, files: Mapping[str, Path], **particulars: object
) -> dict[str, Any]:
    """The card of a benchmark's result, as JSON values.

    Args:
        session: The run.
        benchmark: Its name.
        files: The annotation files by what they are, such as `annotations`; each is hashed.
        particulars: What else this benchmark's numbers depend on, in the order in which it is to be read.

    Returns:
        Benchmark, files with their SHA-256, model, its hash, the particulars, arithmetic, the rule for ties,
        and that no test-time trick is on. Device, dtype and backend are those of the network on clips.
    """
    return {
        "benchmark": benchmark,
        "files": {
            name: {"path": str(path), "sha256": file_sha256(path) if path.is_file() else None}
            for name, path in files.items()
        },
        "model": session.model_name,
        "model_class": type(session.model).__name__,
        "weights_hash": session.model.weights_hash,
        **particulars,
        "device": torch.device(session.device).type,
        "dtype": session.dtype,
        "backend": session.backend,
        "batch_size": session.batch_size,
        **RULES,
    }
