"""What a network is shown of a whole video: the frames, rate and size of each window, and how far apart.

Published extractors, each with its windows:

- ResNet-152 (Miech et al. 2019, arXiv 1906.03327): one frame per second, the whole picture with a shorter
  side of 224, features L2-normalised.
- ResNeXt-101 (the same): 16 frames at 24 per second, the centre square of a picture with a shorter side of
  112, windows end to end, features L2-normalised.
- S3D (Han et al. 2022, arXiv 2204.02968): 16 frames at 16 per second, windows end to end.
- Any other model: what its clip specification says, windows end to end.

The last window is filled with black frames where the video ends within it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch

from narravid.errors import ConfigError
from narravid.models.dual_encoder import S3DDualEncoder
from narravid.models.resnet2d import ResNet2DExtractor
from narravid.models.s3d_classifier import S3DClassifier
from narravid.models.viclip import ViCLIP
from narravid.models.video_classifier import ResNeXtExtractor
from narravid.protocols import FeatureExtractor, PixelDualEncoder
from narravid.types import FrameRule
from narravid.video.decode_chunks import ChunkShape, Framing

__all__ = ["ExtractionPlan", "Layer", "as_published", "check_window", "windows_of"]

Layer = Literal["feature", "embedding"]
"""What is kept: the trunk's feature (S3D's mixed_5c), or the vector that is compared with sentences."""

S3D_FRAMES, S3D_FPS = 16, 16.0
FRAMES_PER_CHUNK = 16
"""Frames that the decoder hands over at once, however far apart windows lie."""

SAME_NUMBER = 1e-6


@dataclass(frozen=True)
class ExtractionPlan:
    """The windows of a video and what is kept of each.

    Attributes:
        num_frames: Frames of a window, T.
        fps: Frames per second.
        stride_frames: From the start of one window to the next.
        size_pixels: Side of the square, or length of the shorter side.
        framing: What of the picture is taken; see `video.decode_chunks`.
        frame_rule: Which frame stands for a time.
        layer: What is kept.
        is_normalised: Whether the vectors are L2-normalised.

    Raises:
        ValueError: If a number is out of range.
    """

    num_frames: int
    fps: float
    stride_frames: int
    size_pixels: int
    framing: Framing = "square"
    frame_rule: FrameRule = "ffmpeg_fps"
    layer: Layer = "feature"
    is_normalised: bool = False

    def __post_init__(self) -> None:
        if self.num_frames < 1 or self.stride_frames < 1:
            raise ValueError(
                f"num_frames and stride_frames must be at least 1, got {self.num_frames} and "
                f"{self.stride_frames}"
            )
        if not (math.isfinite(self.fps) and self.fps > 0):
            raise ValueError(f"fps must be positive, got {self.fps}")

    @property
    def stride_seconds(self) -> float:
        """From the start of one window to the next."""
        return self.stride_frames / self.fps

    @property
    def features_per_second(self) -> float:
        """The rate of the features."""
        return self.fps / self.stride_frames

    @property
    def chunk_shape(self) -> ChunkShape:
        """What the decoder gives: always as many frames, so that memory does not grow with the stride."""
        return ChunkShape(FRAMES_PER_CHUNK, self.fps, self.size_pixels, self.framing, self.frame_rule)

    def start_seconds(self, number: int) -> float:
        """Where a window starts."""
        return number * self.stride_frames / self.fps

    def to_dict(self) -> dict[str, Any]:
        """The windows as JSON values, as they are kept beside the features."""
        return {key: value for key, value in asdict(self).items() if key not in ("layer", "is_normalised")}


def as_published(
    model: PixelDualEncoder | FeatureExtractor,
    *,
    layer: Layer | None = None,
    num_frames: int | None = None,
    fps: float | None = None,
    stride_seconds: float | None = None,
) -> ExtractionPlan:
    """The windows of the published extractor of a model's kind, or others.

    Args:
        model: The network.
        layer: What is kept; None is the feature for extractors and S3D, the embedding for other models that
            compare clips with sentences.
        num_frames: Frames of a window; None as published.
        fps: Frames per second; None as published.
        stride_seconds: From the start of one window to the next; None puts them end to end.

    Returns:
        The plan.

    Raises:
        ConfigError: If a number is not positive, a stride is no whole number of frames, or a network cannot
            take so many frames.
    """
    check_window(model, num_frames=num_frames, fps=fps)
    spec = model.clip_spec
    base = ExtractionPlan(
        spec.num_frames, spec.fps, spec.num_frames, spec.size_pixels, frame_rule=spec.frame_rule
    )
    if isinstance(model, ResNet2DExtractor):
        base = replace(base, framing="whole", is_normalised=True)
    elif isinstance(model, ResNeXtExtractor):
        base = replace(base, framing="scaled_square", is_normalised=True)
    elif isinstance(model, S3DDualEncoder | S3DClassifier):
        base = replace(base, num_frames=S3D_FRAMES, fps=S3D_FPS)
    elif isinstance(model, PixelDualEncoder):
        base = replace(base, layer="embedding")
    plan = replace(
        base,
        num_frames=base.num_frames if num_frames is None else num_frames,
        fps=base.fps if fps is None else fps,
    )
    return replace(
        plan,
        layer=layer or base.layer,
        stride_frames=plan.num_frames if stride_seconds is None else _stride(stride_seconds, plan.fps),
    )


def check_window(
    model: PixelDualEncoder | FeatureExtractor, *, num_frames: int | None, fps: float | None = None
) -> None:
    """Refuse what the network would refuse at the first window.

    Args:
        model: The network.
        num_frames: Frames per window; None for its own number.
        fps: Frames per second; None for its own rate.

    Raises:
        ConfigError: If a number is not positive, or the network cannot take so many frames.
    """
    if fps is not None and not (math.isfinite(fps) and fps > 0):
        raise ConfigError(f"must be a positive number of frames per second, got {fps}", key="fps")
    if num_frames is None:
        return
    if num_frames < 1:
        raise ConfigError(f"must be at least 1, got {num_frames}", key="num_frames")
    if isinstance(model, ResNet2DExtractor) and num_frames != 1:
        raise ConfigError(f"this network sees one frame at a time, not {num_frames}", key="num_frames")
    if isinstance(model, ViCLIP) and num_frames not in (1, model.clip_spec.num_frames):
        expected = model.clip_spec.num_frames
        raise ConfigError(f"this network takes {expected} frames or 1, not {num_frames}", key="num_frames")
    has_pairs = (
        isinstance(model, S3DDualEncoder | S3DClassifier) and model.config.video.stem == "space_to_depth"
    )
    if has_pairs and num_frames % 2:
        raise ConfigError(
            f"this S3D takes frames in pairs (its stem is space_to_depth), so their number must be even, got "
            f"{num_frames}",
            key="num_frames",
        )


def _stride(stride_seconds: float, fps: float) -> int:
    frames = stride_seconds * fps
    if not (math.isfinite(frames) and frames > 0):
        raise ConfigError(f"must be a positive number of seconds, got {stride_seconds}", key="stride_seconds")
    whole = max(1, round(frames))
    if abs(frames - whole) > SAME_NUMBER * whole:
        raise ConfigError(
            f"windows must start with a frame, of which there are {fps:g} a second: {stride_seconds:g} s is "
            f"no whole number of them, {whole / fps:.6g} s would be (or choose another --fps)",
            key="stride_seconds",
        )
    return whole


def windows_of(chunks: Iterable[torch.Tensor], plan: ExtractionPlan) -> Iterator[torch.Tensor]:
    """Cut a stream of frames into windows.

    Args:
        chunks: (N, H, W, 3) uint8 each, of any length, one after the other.
        plan: Where windows start and how long they are.

    Yields:
        (T, H, W, 3) uint8, one for every start within the video, filled up with black at its end.
    """
    held: deque[torch.Tensor] = deque()  # the frames from the start of the next window on
    to_skip = 0
    for chunk in chunks:
        num_skipped = min(to_skip, len(chunk))
        to_skip -= num_skipped
        if num_skipped < len(chunk):
            held.append(chunk[num_skipped:])
        while sum(map(len, held)) >= plan.num_frames:
            yield _window(held, plan.num_frames)
            to_skip = _drop(held, plan.stride_frames)
    while held:
        yield _window(held, plan.num_frames)
        _drop(held, plan.stride_frames)


def _drop(held: deque[torch.Tensor], num_frames: int) -> int:
    """Drop so many frames from the front; how many of them are still to come."""
    while held and num_frames:
        dropped = min(num_frames, len(held[0]))
        num_frames -= dropped
        if dropped == len(held[0]):
            held.popleft()
        else:
            held[0] = held[0][dropped:]
    return num_frames


def _window(held: deque[torch.Tensor], num_frames: int) -> torch.Tensor:
    frames = held[0] if len(held) == 1 else torch.cat(tuple(held))
    if len(frames) < num_frames:
        missing = num_frames - len(frames)
        frames = torch.cat([frames, frames.new_zeros((missing, *frames.shape[1:]))])
    return frames[:num_frames]
