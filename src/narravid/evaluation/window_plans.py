"""Which windows of a video are to be encoded, and what encodes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch

from narravid.types import ClipSpec, Span, VideoInfo
from narravid.video.sampling import evaluation_windows

__all__ = ["PlanRule", "WindowEncoder", "WindowItem", "WindowPlan", "spread_windows"]


@dataclass(frozen=True, slots=True)
class WindowItem:
    """A video, or a part of one.

    Attributes:
        path: The video file.
        span: The part; None for the whole video.
    """

    path: str
    span: Span | None = None


@dataclass(frozen=True, slots=True)
class WindowPlan:
    """The windows of one item.

    Attributes:
        spec: What each window looks like; the crop must be the centre.
        starts: Where each starts, in seconds; none for an item of which nothing is wanted.
        squares: Where the square of each window lies, (across, down) in [0, 1]; None for the centre.
        mirrored: Whether left and right change places.
        last_frame_seconds: When the frame is shown that fills what lies behind the end of the video; None
            fills it with black.

    Raises:
        ValueError: If the crop is random, or there are not as many squares as starts.
    """

    spec: ClipSpec
    starts: tuple[float, ...]
    squares: tuple[tuple[float, float], ...] | None = None
    mirrored: bool = False
    last_frame_seconds: float | None = None

    def __post_init__(self) -> None:
        if self.spec.crop != "center":
            raise ValueError(f"windows are cropped at the centre only, got crop={self.spec.crop!r}")
        if self.squares is not None and len(self.squares) != len(self.starts):
            raise ValueError(f"there are {len(self.squares)} squares for {len(self.starts)} windows")


PlanRule = Callable[[VideoInfo, Span | None], WindowPlan]
"""Where the windows of an item lie, given its video and its part; a `DecodeError` leaves it out."""


def spread_windows(spec: ClipSpec, num_windows: int) -> PlanRule:
    """The windows over which retrieval averages: equally spaced in [start, end - clip - 0.4 s], centre crops.

    Windows that would be the same, in an item too short for different ones, are taken once: the mean stays.

    Args:
        spec: What a window looks like; a random crop becomes that of the centre.
        num_windows: Windows per item, S.

    Raises:
        ValueError: If `num_windows` is not positive.
    """
    if num_windows < 1:
        raise ValueError(f"num_windows must be at least 1, got {num_windows}")
    centred = replace(spec, crop="center")

    def plan(info: VideoInfo, span: Span | None) -> WindowPlan:
        covered = span or Span(0.0, info.duration_seconds)
        starts = evaluation_windows(covered, centred.duration_seconds, num_windows)
        return WindowPlan(centred, tuple(dict.fromkeys(starts)))

    return plan


class WindowEncoder(Protocol):
    """What turns windows into vectors; `inference.clip_encoder.ClipEncoder` is the one for models.

    What its vectors depend on is asked for only where they are cached.
    """

    @property
    def weights_hash(self) -> str:
        """Of the network's weights."""

    @property
    def output(self) -> str:
        """What of the network is taken."""

    @property
    def dtype(self) -> str:
        """Arithmetic of the network."""

    @property
    def backend(self) -> str:
        """What computes the network."""

    def encode(self, clips: torch.Tensor) -> torch.Tensor:
        """(B, 3, T, H, W) uint8 to (B, F) float32 on the CPU."""
