"""Accuracy of a classifier on clips, its scores averaged over windows of each."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from narravid.data.labelled import LabelledClip
from narravid.errors import NarravidError
from narravid.evaluation.windows import WindowItem, encode_windows, spread_windows
from narravid.metrics import average_clip_scores, hit_at_k
from narravid.types import ClipSpec
from narravid.video.watched import WatchedDecoder

__all__ = ["Accuracy", "Classifier", "evaluate_accuracy"]


class Classifier(Protocol):
    """What the evaluation needs of a model."""

    clip_spec: ClipSpec

    @property
    def weights_hash(self) -> str:
        """Of the weights."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""

    def class_logits(self, clips: torch.Tensor) -> torch.Tensor:
        """(B, 3, T, H, W) uint8 to (B, C) scores."""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """What a model gets right.

    Attributes:
        top1: Share in [0, 1] of clips whose best-scored class is their own; those that cannot be read are
            misses.
        top5: Of those whose class is among the five of highest score; 1 where there are five or fewer, but
            for what cannot be read.
        num_clips: Clips judged.
        missing: (path, reason) of those that cannot be read.
    """

    top1: float
    top5: float
    num_clips: int
    missing: tuple[tuple[str, str], ...]


def evaluate_accuracy(
    model: Classifier,
    clips: Sequence[LabelledClip],
    *,
    num_windows: int,
    batch_size: int = 8,
    decoder: WatchedDecoder,
) -> Accuracy:
    """Classify clips by the mean of the scores of windows, spread evenly over each; centre crops.

    The test of CPD (Li & Wang 2020, arXiv 2001.05691) takes ten windows and three crops of each.

    Args:
        model: The classifier, in evaluation mode.
        clips: What to classify.
        num_windows: Windows per clip; fewer are decoded where a clip is too short to hold different ones.
        batch_size: Windows per forward pass.
        decoder: Reads the videos.

    Returns:
        The shares, and what could not be read.

    Raises:
        NarravidError: If no video at all could be read.
        ValueError: If there is no clip, or a number is out of range.
    """
    if not clips or min(num_windows, batch_size) < 1:
        raise ValueError("there must be at least one clip, one window and one window per forward pass")
    items = [WindowItem(str(clip.path), clip.span) for clip in clips]
    rule = spread_windows(model.clip_spec, num_windows)
    encoded = encode_windows(_Scores(model), items, rule, decoder=decoder, batch_size=batch_size)
    missing = tuple((items[number].path, reason) for number, reason in sorted(encoded.reasons.items()))
    if len(missing) == len(clips):
        path, reason = missing[0]
        raise NarravidError(f"none of {len(clips)} clips could be read; {path}: {reason}")
    read = {number: scores for number, scores in enumerate(encoded.vectors) if scores is not None}
    number_of_window = [number for number, scores in read.items() for _ in scores]
    averaged = average_clip_scores(torch.from_numpy(np.concatenate(list(read.values()))), number_of_window)
    rows = dict(zip(averaged.videos, averaged.scores, strict=True))
    labels: dict[Hashable, int] = {number: clip.label for number, clip in enumerate(clips)}
    hits = hit_at_k(rows, labels, ks=(1, 5)).hits
    return Accuracy(hits["hit@1"], hits["hit@5"], len(clips), missing)


class _Scores:
    """The scores of a classifier as vectors of windows."""

    output = "logits"
    dtype = "float32"
    backend = "torch"

    def __init__(self, model: Classifier) -> None:
        self._model = model

    @property
    def weights_hash(self) -> str:
        """That of the classifier."""
        return self._model.weights_hash

    @property
    def device(self) -> torch.device:
        """That of the classifier."""
        return self._model.device

    @torch.no_grad()
    def encode(self, clips: torch.Tensor) -> torch.Tensor:
        """(B, 3, T, H, W) uint8 to (B, C) float32 on the CPU."""
        return self._model.class_logits(clips.to(self._model.device)).float().cpu()
