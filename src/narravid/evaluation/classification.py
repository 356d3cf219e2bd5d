"""Accuracy of a classifier on clips, its scores averaged over windows of each."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch

from narravid.data.labelled import LabelledClip
from narravid.errors import DecodeError, NarravidError
from narravid.metrics import average_clip_scores, hit_at_k
from narravid.progress import progress_bar
from narravid.types import ClipSpec, Span
from narravid.video.sampling import evaluation_windows
from narravid.video.transforms import to_channels_first
from narravid.video.watched import WatchedDecoder

__all__ = ["Accuracy", "Classifier", "evaluate_accuracy"]


class Classifier(Protocol):
    """What the evaluation needs of a model."""

    clip_spec: ClipSpec

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


@torch.no_grad()
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
    reader = _WindowReader(replace(model.clip_spec, crop="center"), num_windows, decoder)
    scores = [
        model.class_logits(torch.stack(batch).to(model.device)).float().cpu()
        for batch in _batched(reader.read(clips), batch_size)
    ]
    if not scores:
        path, reason = reader.missing[0]
        raise NarravidError(f"none of {len(clips)} clips could be read; {path}: {reason}")
    averaged = average_clip_scores(torch.cat(scores), reader.number_of_window)
    rows = dict(zip(averaged.videos, averaged.scores, strict=True))
    labels: dict[Hashable, int] = {number: clip.label for number, clip in enumerate(clips)}
    hits = hit_at_k(rows, labels, ks=(1, 5)).hits
    return Accuracy(hits["hit@1"], hits["hit@5"], len(clips), tuple(reader.missing))


class _WindowReader:
    """Reads the windows of clips and remembers which is whose."""

    def __init__(self, spec: ClipSpec, num_windows: int, decoder: WatchedDecoder) -> None:
        self._spec = spec
        self._num_windows = num_windows
        self._decoder = decoder
        self.number_of_window: list[int] = []
        self.missing: list[tuple[str, str]] = []

    def read(self, clips: Sequence[LabelledClip]) -> Iterator[torch.Tensor]:
        """The windows of all clips that can be read, (3, T, H, W) uint8, clip by clip."""
        plan = self._plan(clips)
        jobs = [(str(clips[number].path), starts) for number, starts in plan.items()]
        with progress_bar("evaluating", len(jobs), unit="clips") as bar:
            results = self._decoder.map(jobs, self._spec)
            for number, (_, result) in zip(plan, results, strict=True):
                if isinstance(result, DecodeError):
                    self.missing.append((str(clips[number].path), result.reason))
                else:
                    self.number_of_window += [number] * len(result)
                    yield from (to_channels_first(window.frames) for window in result)
                bar.advance()

    def _plan(self, clips: Sequence[LabelledClip]) -> dict[int, list[float]]:
        """Where the windows of each clip start, in seconds."""
        plan = {}
        for number, clip in enumerate(clips):
            try:
                span = clip.span or Span(0.0, self._decoder.probe(clip.path).duration_seconds)
            except DecodeError as error:
                self.missing.append((str(clip.path), error.reason))
                continue
            starts = evaluation_windows(span, self._spec.duration_seconds, self._num_windows)
            plan[number] = list(dict.fromkeys(starts))
        return plan


def _batched(windows: Iterator[torch.Tensor], size: int) -> Iterator[list[torch.Tensor]]:
    batch: list[torch.Tensor] = []
    for window in windows:
        batch.append(window)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
