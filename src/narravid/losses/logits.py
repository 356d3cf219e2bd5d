"""The range of logits that every loss here promises to be finite on, and the error beyond it."""

from __future__ import annotations

import torch

from narravid.errors import LogitRangeError

__all__ = ["MAX_LOGIT", "check_logits"]

MAX_LOGIT = 1e4
"""Largest absolute logit taken. Sensible ones are a thousand times smaller; float32 could not tell larger
ones apart well enough for a gradient to mean anything."""


def check_logits(name: str, logits: torch.Tensor) -> None:
    """Refuse logits that are NaN, infinite or beyond `MAX_LOGIT`.

    Args:
        name: What they are, for the error: "scores of clips and captions".
        logits: Any shape, floating point; before any entry is masked. May be empty.

    Raises:
        LogitRangeError: A ValueError, naming the worst value and what usually helps.
    """
    if logits.numel() == 0:
        return
    lowest, highest = (float(extreme) for extreme in torch.aminmax(logits.detach()))
    if lowest >= -MAX_LOGIT and highest <= MAX_LOGIT:  # false for NaN as well
        return
    worst = lowest if -lowest > highest else highest
    raise LogitRangeError(
        f"{name} must lie within ±{MAX_LOGIT:g}, got {worst:g}; normalise the embeddings, or lower the "
        "learning rate if they have grown in training"
    )
