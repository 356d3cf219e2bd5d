"""The small frozen types that travel between Narravid's layers.

A *span* is [start_seconds, end_seconds) of a video, a *clip* the frames of one span. Shapes use B batch,
T frames, H and W pixels, D embedding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch

__all__ = [
    "Clip",
    "ClipSpec",
    "Crop",
    "FeatureSpec",
    "FrameRule",
    "Hit",
    "Similarity",
    "Span",
    "SpreadFrames",
    "VideoAlignment",
    "VideoInfo",
]

Similarity = Literal["dot", "cosine"]
"""How a model compares embeddings: plain dot product, or the dot product of L2-normalised vectors."""

FrameRule = Literal["ffmpeg_fps", "shown_at"]
"""Which frame stands for time t: `ffmpeg_fps` resamples as FFmpeg's fps filter does (the published loaders),
`shown_at` takes the frame that a player shows at t."""

Crop = Literal["center", "random"]
"""How the square is taken from a frame: the largest one, at the centre or at a random place."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a video, [start_seconds, end_seconds).

    Raises:
        ValueError: If a time is not finite or the end lies before the start.
    """

    start_seconds: float
    end_seconds: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start_seconds) and math.isfinite(self.end_seconds)):
            raise ValueError(f"span times must be finite, got {self.start_seconds}, {self.end_seconds}")
        if self.end_seconds < self.start_seconds:
            raise ValueError(f"span ends ({self.end_seconds}) before it starts ({self.start_seconds})")

    @property
    def duration_seconds(self) -> float:
        """Length in seconds."""
        return self.end_seconds - self.start_seconds

    @property
    def center_seconds(self) -> float:
        """Middle of the span in seconds."""
        return (self.start_seconds + self.end_seconds) / 2

    def overlap_seconds(self, other: Span) -> float:
        """Seconds that both spans cover; 0 when they do not meet."""
        return max(
            0.0,
            min(self.end_seconds, other.end_seconds) - max(self.start_seconds, other.start_seconds),
        )


@dataclass(frozen=True, slots=True)
class ClipSpec:
    """What a model wants to see: the frames, rate, size and normalisation of one clip.

    Attributes:
        num_frames: Frames per clip, T.
        fps: Frames per second at which they are taken.
        size_pixels: Height and width after cropping and scaling.
        crop: How the square is taken from the frame.
        mean: Per-channel mean subtracted from values in [0, 1].
        std: Per-channel divisor after the mean.
        frame_rule: Which frame stands for a time.
    """

    num_frames: int
    fps: float
    size_pixels: int
    crop: Crop = "center"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    frame_rule: FrameRule = "ffmpeg_fps"

    def __post_init__(self) -> None:
        if self.num_frames < 1 or self.size_pixels < 1:
            raise ValueError(
                f"num_frames and size_pixels must be at least 1, got {self.num_frames} and {self.size_pixels}"
            )
        if not (math.isfinite(self.fps) and self.fps > 0):
            raise ValueError(f"fps must be positive, got {self.fps}")
        if min(self.std) <= 0:
            raise ValueError(f"std must be positive, got {self.std}")

    @property
    def duration_seconds(self) -> float:
        """Seconds that one clip covers: num_frames / fps."""
        return self.num_frames / self.fps


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """What a model that works on features wants to see: whose features, side by side in this order.

    Attributes:
        extractors: Names of the extractors, as `narravid.load` knows them.
        dims: Size of each one's feature vector.

    Raises:
        ValueError: If the two differ in length, are empty, or a size is below 1.
    """

    extractors: tuple[str, ...]
    dims: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.extractors or len(self.extractors) != len(self.dims) or min(self.dims) < 1:
            raise ValueError(
                f"extractors and dims must be of one length >= 1, got {self.extractors} and {self.dims}"
            )

    @property
    def feature_dim(self) -> int:
        """Size of the whole feature vector."""
        return sum(self.dims)


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a file says of its first video stream, checked by decoding one frame.

    Attributes:
        path: The file.
        duration_seconds: Length; measured from the packets when the container does not say.
        fps: Average frame rate.
        width: Pixels, upright (after rotation).
        height: Pixels, upright.
        num_frames: Number of frames when the container says so, else None.
        codec: Name of the decoder, such as "h264".
        rotation_degrees: Clockwise rotation that makes the stored frames upright: 0, 90, 180 or 270.
        first_frame_seconds: When the first frame is shown; files of delayed pictures begin a little before.
    """

    path: str
    duration_seconds: float
    fps: float
    width: int
    height: int
    num_frames: int | None
    codec: str
    rotation_degrees: int = 0
    first_frame_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Clip:
    """The decoded frames of one span.

    Attributes:
        frames: (T, H, W, 3) uint8, RGB.
        mask: (T,) bool, False where a frame was padded because the span passes the end of the video.
        span: The span that was asked for.

    Raises:
        ValueError: If the shapes or dtypes do not fit.
    """

    frames: torch.Tensor
    mask: torch.Tensor
    span: Span

    def __post_init__(self) -> None:
        if self.frames.ndim != 4 or self.frames.shape[-1] != 3 or self.frames.dtype != torch.uint8:
            raise ValueError(
                f"frames must be (T, H, W, 3) uint8, got {tuple(self.frames.shape)} {self.frames.dtype}"
            )
        if self.mask.shape != self.frames.shape[:1] or self.mask.dtype != torch.bool:
            raise ValueError(
                f"mask must be ({self.frames.shape[0]},) bool, got {tuple(self.mask.shape)} {self.mask.dtype}"
            )

    @property
    def num_padded(self) -> int:
        """How many frames are padding."""
        return int((~self.mask).sum())


@dataclass(frozen=True, slots=True, eq=False)
class SpreadFrames:
    """Frames that stand for a whole video, taken by their number.

    Attributes:
        frames: (n, H, W, 3) uint8, RGB, upright, of full size.
        frame_numbers: n numbers of frames, counted from 0 as they are decoded, ascending; one frame may be
            there several times.
        times_seconds: When each of them is shown, from the start of the file.
        num_video_frames: How many frames the video has.

    Raises:
        ValueError: If the shapes or lengths do not fit.
    """

    frames: torch.Tensor
    frame_numbers: tuple[int, ...]
    times_seconds: tuple[float, ...]
    num_video_frames: int

    def __post_init__(self) -> None:
        if self.frames.ndim != 4 or self.frames.shape[-1] != 3 or self.frames.dtype != torch.uint8:
            raise ValueError(
                f"frames must be (n, H, W, 3) uint8, got {tuple(self.frames.shape)} {self.frames.dtype}"
            )
        if not len(self.frames) == len(self.frame_numbers) == len(self.times_seconds):
            raise ValueError(
                f"{len(self.frames)} frames need as many numbers and times, got {len(self.frame_numbers)} "
                f"and {len(self.times_seconds)}"
            )

    @property
    def num_repeated(self) -> int:
        """How many of the frames are there already: those of a video with fewer than were asked for."""
        return len(self.frame_numbers) - len(set(self.frame_numbers))


@dataclass(frozen=True, slots=True)
class Hit:
    """One moment found by a search.

    Attributes:
        path: The video file.
        span: The moment, in seconds.
        score: Similarity of query and moment; higher is better.
    """

    path: str
    span: Span
    score: float


@dataclass(frozen=True, slots=True)
class VideoAlignment:
    """How well every second of a video fits every sentence, layer by layer, as an aligner sees it.

    Shapes: B videos, T seconds, N sentences; the last layer is the one to use.

    Attributes:
        dual: (B, dual layers, T, N) float32, cosine similarity of seconds and sentences encoded apart.
        joint: (B, joint layers, T, N) float32, the same of seconds and sentences that saw each other.
        alignability_dual: (B, N) float32, logits of whether the video shows a sentence at all, read from the
            sentence alone; None for an aligner without such a head.
        alignability_joint: (B, joint layers, N) float32, the same of sentences that saw the video.

    Raises:
        ValueError: If the shapes do not fit each other.
    """

    dual: torch.Tensor
    joint: torch.Tensor
    alignability_dual: torch.Tensor | None = None
    alignability_joint: torch.Tensor | None = None

    def __post_init__(self) -> None:
        if self.dual.ndim != 4 or self.joint.ndim != 4:
            raise ValueError(
                f"dual and joint must be (B, layers, T, N), got {tuple(self.dual.shape)} and "
                f"{tuple(self.joint.shape)}"
            )
        batch, num_layers, _, num_sentences = self.joint.shape
        if (self.dual.shape[0], *self.dual.shape[2:]) != (batch, *self.joint.shape[2:]):
            raise ValueError(
                f"dual and joint must agree in B, T and N, got {tuple(self.dual.shape)} and "
                f"{tuple(self.joint.shape)}"
            )
        heads = (self.alignability_dual, self.alignability_joint)
        shapes = [None if head is None else tuple(head.shape) for head in heads]
        expected = [(batch, num_sentences), (batch, num_layers, num_sentences)]
        if shapes not in ([None, None], expected):
            raise ValueError(f"alignability must be {expected} or absent, got {shapes}")
