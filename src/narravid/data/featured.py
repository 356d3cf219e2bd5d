"""Features extracted beforehand, and the one vector that stands for a clip of a video.

HowTo100M trains on the 2D and 3D features of a clip: the largest values over its time, each kind
L2-normalised, side by side (Miech et al. 2019, arXiv 1906.03327, section 4). Temporal alignment networks take
the features of a long window one by one (Han et al. 2022, arXiv 2204.02968).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F

from narravid.types import Span

__all__ = [
    "ClipFeatures",
    "FeatureTrack",
    "FeatureWindow",
    "OutsideFeatures",
    "clip_features",
    "feature_window",
]

OutsideFeatures = Literal["nearest", "zeros"]
"""What a span without any step of a track gives: the step nearest to it, or zeros (as published)."""


@dataclass(frozen=True, slots=True)
class FeatureTrack:
    """The features of one extractor along a video.

    Attributes:
        steps: (N, F) floating, N >= 1; step n stands for the time from n / rate on.
        steps_per_second: The rate; 1 for the 2D features of HowTo100M, 1.5 for its 3D ones.

    Raises:
        ValueError: If the shape, dtype or rate do not fit.
    """

    steps: torch.Tensor
    steps_per_second: float

    def __post_init__(self) -> None:
        if self.steps.ndim != 2 or 0 in self.steps.shape or not self.steps.is_floating_point():
            raise ValueError(
                "steps must be (N, F) floating and not empty, "
                f"got {tuple(self.steps.shape)} {self.steps.dtype}"
            )
        if not (math.isfinite(self.steps_per_second) and self.steps_per_second > 0):
            raise ValueError(f"steps_per_second must be positive, got {self.steps_per_second}")

    def steps_of(self, span: Span) -> range:
        """The steps that a span touches, the one in which it ends included; empty outside the track."""
        first = math.floor(span.start_seconds * self.steps_per_second)
        last = math.floor(span.end_seconds * self.steps_per_second)
        return range(max(0, first), max(0, min(last + 1, len(self.steps))))


@dataclass(frozen=True, slots=True)
class ClipFeatures:
    """The features of some clips of one video.

    Attributes:
        features: (S, F) float32, F the widths of all tracks together.
        num_outside: How many pairs of clip and track met no step, out of S times the number of tracks.
            Many of them mean that captions and features are not of the same video.
    """

    features: torch.Tensor
    num_outside: int


def clip_features(
    tracks: Sequence[FeatureTrack], spans: Sequence[Span], *, when_outside: OutsideFeatures = "nearest"
) -> ClipFeatures:
    """One vector per clip: each track's largest values over the clip, L2-normalised, side by side.

    Args:
        tracks: The features of one video, in the order in which the model wants them.
        spans: S clips.
        when_outside: What a clip beyond the end of a track gives.

    Returns:
        The vectors and how often a clip lay outside a track.

    Raises:
        ValueError: If there is no track or no span, or `when_outside` is unknown.
    """
    if not tracks or not spans:
        raise ValueError(f"tracks and spans must not be empty, got {len(tracks)} and {len(spans)}")
    if when_outside not in ("nearest", "zeros"):
        raise ValueError(f"when_outside must be 'nearest' or 'zeros', got {when_outside!r}")
    num_outside = 0
    columns = []
    for track in tracks:
        pooled = []
        for span in spans:
            touched = track.steps_of(span)
            num_outside += len(touched) == 0
            pooled.append(_pool(track.steps, touched, zeros=when_outside == "zeros"))
        columns.append(F.normalize(torch.stack(pooled), dim=1))
    return ClipFeatures(torch.cat(columns, dim=1), num_outside)


@dataclass(frozen=True, slots=True)
class FeatureWindow:
    """The features of a long window, step by step.

    Attributes:
        steps: (T, F) float32.
        mask: (T,) bool, False for steps past the end of the video, which repeat the last one.
    """

    steps: torch.Tensor
    mask: torch.Tensor


def feature_window(track: FeatureTrack, start_seconds: float, *, num_steps: int) -> FeatureWindow:
    """The steps of a window of a video, padded with its last step where the video ends before.

    Args:
        track: The features.
        start_seconds: Where the window starts, at least 0; the step that holds it is the first.
        num_steps: T, at least 1.

    Returns:
        The steps, and which of them are real.

    Raises:
        ValueError: If a number is out of range, or the window starts at or past the end of the track.
    """
    if not (math.isfinite(start_seconds) and start_seconds >= 0):
        raise ValueError(f"start_seconds must be at least 0, got {start_seconds}")
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, got {num_steps}")
    first = math.floor(start_seconds * track.steps_per_second)
    if first >= len(track.steps):
        raise ValueError(
            f"a window at {start_seconds} s starts past the features, which end at "
            f"{len(track.steps) / track.steps_per_second} s; are they of the same video?"
        )
    places = torch.arange(first, first + num_steps, device=track.steps.device)
    last = len(track.steps) - 1
    return FeatureWindow(track.steps[places.clamp(max=last)].float(), places <= last)


def _pool(steps: torch.Tensor, touched: range, *, zeros: bool) -> torch.Tensor:
    if len(touched) > 0:
        return steps[touched.start : touched.stop].amax(dim=0).float()
    if zeros:
        return steps.new_zeros(steps.shape[1], dtype=torch.float32)
    return steps[min(touched.start, len(steps) - 1)].float()
