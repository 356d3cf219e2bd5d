"""Where the windows of action recognition lie: rules that count frames, as the published programs do.

A video too short for different windows has the same one several times. It is decoded and encoded once, and
the rule remembers how often it counts.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from narravid.errors import DecodeError
from narravid.evaluation.windows import WindowItem, WindowPlan
from narravid.types import ClipSpec, Span, VideoInfo
from narravid.video.frame_sampling import crop_start_frame, crop_views, window_start_frames
from narravid.video.sampling import evaluation_windows

__all__ = ["ActionRule", "NativeRateWindows", "SpreadWindows", "TemporalCrops", "frames_of"]

Square = tuple[float, float]

SQUARES: tuple[Square, Square, Square] = ((0.0, 0.0), (0.5, 0.5), (1.0, 1.0))
"""At the left or upper edge, in the middle, at the right or lower edge; as `uniform_crop_offset`."""

CENTRE = SQUARES[1]
SAME_FRAME = 1e-3
"""Frame numbers that were computed from seconds are this close to a whole one."""


@dataclass(frozen=True, slots=True)
class FileFrames:
    """The frames of an item, on the clock of its file.

    Attributes:
        num_frames: How many there are.
        first_seconds: When the first one is shown.
        fps: Frames per second.
    """

    num_frames: int
    first_seconds: float
    fps: float

    def seconds(self, frame: float) -> float:
        """When a frame, counted from the first one of the item, is shown."""
        return self.first_seconds + frame / self.fps

    @property
    def end_seconds(self) -> float:
        """When the first frame behind the item is shown."""
        return self.seconds(self.num_frames)


def frames_of(info: VideoInfo, span: Span | None) -> FileFrames:
    """The frames of a video, or those that begin in a part of it.

    Raises:
        DecodeError: If the part lies behind the end of the video.
    """
    first, fps = info.first_frame_seconds, info.fps
    num_frames = max(1, round((info.duration_seconds - first) * fps))
    if span is None:
        return FileFrames(num_frames, first, fps)
    start = max(0, math.ceil((span.start_seconds - first) * fps - SAME_FRAME))
    stop = min(num_frames, math.ceil((span.end_seconds - first) * fps - SAME_FRAME))
    if start >= num_frames:
        reason = f"no frame there, the video ends at {info.duration_seconds:.2f} s"
        raise DecodeError(info.path, reason, span=(span.start_seconds, span.end_seconds))
    return FileFrames(max(1, stop - start), first + start / fps, fps)


class ActionRule:
    """A rule of windows that may be the same several times; a `PlanRule`."""

    def __init__(self) -> None:
        self._counts: dict[WindowItem, tuple[int, ...]] = {}

    def __call__(self, info: VideoInfo, span: Span | None) -> WindowPlan:
        """The different windows of an item."""
        plan = self.planned(info, span)
        squares = plan.squares or (CENTRE,) * len(plan.starts)
        counts = Counter(zip(plan.starts, squares, strict=True))
        self._counts[WindowItem(info.path, span)] = tuple(counts.values())
        return replace(
            plan,
            starts=tuple(start for start, _ in counts),
            squares=None if plan.squares is None else tuple(square for _, square in counts),
        )

    def planned(self, info: VideoInfo, span: Span | None) -> WindowPlan:
        """All windows of an item, the same one as often as it counts."""
        raise NotImplementedError

    def describe(self) -> dict[str, object]:
        """The rule, for the protocol card."""
        raise NotImplementedError

    def counts(self, item: WindowItem) -> npt.NDArray[np.int64]:
        """How often each different window of a planned item counts, (S,)."""
        return np.array(self._counts[item], dtype=np.int64)


class NativeRateWindows(ActionRule):
    """Windows at the video's own frame rate, equally spaced over all its frames.

    The linear probe's rule (Miech et al. 2020, arXiv 1912.06430, released evaluation on UCF101 and HMDB51). A
    video or part shorter than a window has one window, filled up with black frames.

    Args:
        spec: Gives size and normalisation of a window.
        num_frames: Frames of a window, published 32.
        num_windows: Windows per video, published 10.
        mirrored: Whether the windows are seen in a mirror.
    """

    def __init__(
        self, spec: ClipSpec, *, num_frames: int = 32, num_windows: int = 10, mirrored: bool = False
    ) -> None:
        super().__init__()
        self._spec = replace(spec, num_frames=num_frames, crop="center", frame_rule="ffmpeg_fps")
        self._num_windows = num_windows
        self._mirrored = mirrored

    def planned(self, info: VideoInfo, span: Span | None) -> WindowPlan:
        """See `ActionRule.planned`."""
        frames = frames_of(info, span)
        first_frames = window_start_frames(frames.num_frames, self._spec.num_frames, self._num_windows)
        starts = tuple(frames.seconds(frame) for frame in first_frames)
        return WindowPlan(
            replace(self._spec, fps=info.fps),
            starts,
            mirrored=self._mirrored,
            end_seconds=None if span is None else frames.end_seconds,
        )

    def describe(self) -> dict[str, object]:
        """See `ActionRule.describe`."""
        return {
            "windows": self._num_windows,
            "window_rule": "equally spaced over the frames, from the first to the last place that fits",
            "frames": self._spec.num_frames,
            "fps": "that of each video",
            "crop": "largest square at the centre",
            "size_pixels": self._spec.size_pixels,
            "frame_rule": self._spec.frame_rule,
            "short_videos": "one window, filled up with black frames, counted as often as there are windows",
        }


class SpreadWindows(ActionRule):
    """Windows as a model wants to see clips, spread as in retrieval; see `spread_windows`.

    Other than there, no window shows a frame behind the end of a part, which may be another action; a video
    or part without room for different windows has one, filled up with black frames.

    Args:
        spec: What a window looks like.
        num_windows: Windows per video.
        mirrored: Whether the windows are seen in a mirror.

    Raises:
        ValueError: If `num_windows` is not positive.
    """

    def __init__(self, spec: ClipSpec, *, num_windows: int = 10, mirrored: bool = False) -> None:
        super().__init__()
        if num_windows < 1:
            raise ValueError(f"num_windows must be at least 1, got {num_windows}")
        self._spec = replace(spec, crop="center")
        self._num_windows = num_windows
        self._mirrored = mirrored

    def planned(self, info: VideoInfo, span: Span | None) -> WindowPlan:
        """See `ActionRule.planned`."""
        covered, end_seconds = Span(0.0, info.duration_seconds), None
        if span is not None:
            # From frame to frame: FFmpeg begins a clip at the nearest frame that the clock of a file knows.
            frames = frames_of(info, span)
            covered, end_seconds = Span(frames.first_seconds, frames.end_seconds), frames.end_seconds
        starts = evaluation_windows(covered, self._spec.duration_seconds, self._num_windows)
        return WindowPlan(self._spec, tuple(starts), mirrored=self._mirrored, end_seconds=end_seconds)

    def describe(self) -> dict[str, object]:
        """See `ActionRule.describe`."""
        return {
            "windows": self._num_windows,
            "window_rule": "equally spaced in [start, end - clip - 0.4 s]",
            "frames": self._spec.num_frames,
            "fps": self._spec.fps,
            "crop": "largest square at the centre",
            "size_pixels": self._spec.size_pixels,
            "frame_rule": self._spec.frame_rule,
            "short_videos": "one window, filled up with black frames, counted as often as there are windows",
        }


class TemporalCrops(ActionRule):
    """Ten crops in time, three in space, as CPD's classifiers are tested.

    Li & Wang 2020, arXiv 2001.05691, released test: crop i of n starts at i / n of the room that a clip has
    to move in, so that the last one stays short of the end; its frames are equally spaced from the first to
    the last that the clip covers. A video or part shorter than a clip repeats its last frame.

    Args:
        spec: What a clip looks like.
        num_crops: Crops in time, published 10.
        num_positions: Squares of each: 3 (published), or 1 for the centre alone.

    Raises:
        ValueError: If there are 2 squares or more than 3.
    """

    def __init__(self, spec: ClipSpec, *, num_crops: int = 10, num_positions: int = 3) -> None:
        super().__init__()
        if num_positions not in (1, 3):
            raise ValueError(f"num_positions must be 1 or 3, got {num_positions}")
        self._spec = replace(spec, crop="center", frame_rule="shown_at")
        self._num_crops = num_crops
        self._squares: Sequence[Square] = SQUARES if num_positions == len(SQUARES) else (CENTRE,)

    def planned(self, info: VideoInfo, span: Span | None) -> WindowPlan:
        """See `ActionRule.planned`."""
        frames = frames_of(info, span)
        clip_frames = max(1.0, self._spec.duration_seconds * info.fps)
        views = crop_views(self._num_crops, len(self._squares))
        # Frames are equally spaced from the first to the last one that the clip covers, rounded down: what is
        # on screen at a rate a little below that of training.
        gaps = max(1, self._spec.num_frames - 1)
        fps = self._spec.fps if clip_frames <= 1 else gaps * info.fps / (clip_frames - 1)
        starts = []
        for number, _ in views:
            start = crop_start_frame(
                frames.num_frames, clip_frames, crop_number=number, num_crops=self._num_crops
            )
            starts.append(frames.seconds(min(math.ceil(start - SAME_FRAME), frames.num_frames - 1)))
        squares = tuple(self._square(info, position) for _, position in views)
        return WindowPlan(
            replace(self._spec, fps=fps),
            tuple(starts),
            squares,
            last_frame_seconds=frames.seconds(frames.num_frames - 1),
            end_seconds=None if span is None else frames.end_seconds,
        )

    def _square(self, info: VideoInfo, position: int) -> Square:
        """The same one for all positions where the picture is a square itself."""
        return CENTRE if info.width == info.height else self._squares[position]

    def describe(self) -> dict[str, object]:
        """See `ActionRule.describe`."""
        return {
            "temporal_crops": self._num_crops,
            "spatial_crops": len(self._squares),
            "window_rule": "crop i of n starts at i / n of the room, so the last one does not reach the end",
            "frames": self._spec.num_frames,
            "fps": f"{self._spec.fps:g}, equally spaced from the first to the last frame of the clip",
            "crop": "largest square at both ends and the middle of the longer side"
            if len(self._squares) > 1
            else "largest square at the centre",
            "size_pixels": self._spec.size_pixels,
            "frame_rule": self._spec.frame_rule,
            "short_videos": "the last frame is repeated",
        }
