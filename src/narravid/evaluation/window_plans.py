"""Which windows of a video are to be encoded, and what encodes them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch

from narravid.types import ClipSpec, Span, VideoInfo
from narravid.video.sampling import evaluation_windows

__all__ = ["PlanRule", "WindowEncoder", "WindowItem", "WindowPlan", "spread_windows"]


SLACK_SECONDS = 1e-3
"""Twice what clocks of a millisecond round away: a frame this short before an end may lie behind it."""


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
        last_frame_seconds: When the frame is shown that fills what lies behind the end; None fills it with
            black.
        end_seconds: When the first frame begins that no window may show, because it belongs to another part
            of the video; None for the end of the video.

    Raises:
        ValueError: If the crop is random, there are not as many squares as starts, or the end is no time.
    """

    spec: ClipSpec
    starts: tuple[float, ...]
    squares: tuple[tuple[float, float], ...] | None = None
    mirrored: bool = False
    last_frame_seconds: float | None = None
    end_seconds: float | None = None

    def __post_init__(self) -> None:
        if self.spec.crop != "center":
            raise ValueError(f"windows are cropped at the centre only, got crop={self.spec.crop!r}")
        if self.squares is not None and len(self.squares) != len(self.starts):
            raise ValueError(f"there are {len(self.squares)} squares for {len(self.starts)} windows")
        if self.end_seconds is not None and not math.isfinite(self.end_seconds):
            raise ValueError(f"end_seconds must be finite, got {self.end_seconds}")

    def num_frames_before_end(self, start_seconds: float) -> int:
        """Frames of a window that lie before the end, 1 to T; as if the file were over there.

        Under `ffmpeg_fps` a frame of the file belongs to the nearest frame of the window, under `shown_at` to
        the next one; see `ClipSpec.frame_rule`.
        """
        if self.end_seconds is None:
            return self.spec.num_frames
        place = (self.end_seconds - SLACK_SECONDS - start_seconds) * self.spec.fps
        num_before = math.floor(place + 0.5) if self.spec.frame_rule == "ffmpeg_fps" else math.ceil(place)
        return min(max(1, num_before), self.spec.num_frames)


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

    @property
    def device(self) -> torch.device:
        """Where it computes."""

    def encode(self, clips: torch.Tensor) -> torch.Tensor:
        """(B, 3, T, H, W) uint8 to (B, F) float32 on the CPU."""
