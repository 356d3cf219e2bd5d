"""Frames of a trajectory to the vector that is compared with prompts: the only place where either is done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import get_args

import torch
from torch.nn import functional as F

from narravid.errors import ConfigError, NarravidError
from narravid.inference.clip_encoder import ClipEncoder
from narravid.inference.trajectories import TrajectoryResize, prepare_trajectory
from narravid.types import ClipSpec
from narravid.video.frame_sampling import FrameSampling, video_frames
from narravid.video.transforms import to_channels_first, to_levels

__all__ = [
    "DEFAULT_SAMPLING",
    "TrajectorySampling",
    "encode_trajectory_clips",
    "encode_trajectory_frames",
    "like_clips",
    "trajectory_clip",
]

PIECE_BYTES = 2**26
"""Frames are scaled so many at a time that their float32 pixels take about this much."""


@dataclass(frozen=True, slots=True)
class TrajectorySampling:
    """Which frames of a video a model sees, and of what size.

    Attributes:
        num_frames: How many stand for the whole video; None for as many as a clip of the model has.
        frames: "even" spreads them from the first to the last and repeats frames of a shorter video;
            "published" takes every floor(L / n)-th, the first n of these, and refuses a shorter video.
        resize: "center_square" keeps the aspect and cuts off the ends of the longer side; the published
            scripts halve the frames or stretch them to a square, with values held in [0, 1] or not
            ("unclamped").

    Raises:
        ConfigError: If a value is not allowed.
    """

    num_frames: int | None = None
    frames: FrameSampling = "even"
    resize: TrajectoryResize = "center_square"

    def __post_init__(self) -> None:
        if self.num_frames is not None and self.num_frames < 1:
            raise ConfigError(f"num_frames must be at least 1, got {self.num_frames}", key="num_frames")
        for name, value, allowed in (
            ("frames", self.frames, get_args(FrameSampling)),
            ("resize", self.resize, get_args(TrajectoryResize)),
        ):
            if value not in allowed:
                known = " or ".join(map(repr, allowed))
                raise ConfigError(f"{name} must be {known}, got {value!r}", key=name)

    def num_frames_for(self, spec: ClipSpec) -> int:
        """How many frames a model with this clip specification sees."""
        return spec.num_frames if self.num_frames is None else self.num_frames


DEFAULT_SAMPLING = TrajectorySampling()


def trajectory_clip(frames: torch.Tensor, sampling: TrajectorySampling, *, spec: ClipSpec) -> torch.Tensor:
    """What a model sees of a video.

    Args:
        frames: (L, H, W, 3) uint8 RGB: all frames of the video, or those that were taken of it by the same
            sampling, of which all are taken again.
        sampling: Which frames, and of what size.
        spec: The model's clip specification: how many frames if the sampling does not say, and the size. Its
            mean and deviation are left to the model.

    Returns:
        (3, T, H', W'): uint8 for "center_square", which every backend computes alike; float32, in [0, 1] but
        for the overshoot of "published_square_unclamped", for the published sizes.

    Raises:
        ValueError: As for `prepare_trajectory`.
    """
    _check_frames(frames)
    chosen = frames[video_frames(len(frames), sampling.num_frames_for(spec), sampling=sampling.frames)]
    if sampling.resize == "center_square" and chosen.shape[1:3] == (spec.size_pixels, spec.size_pixels):
        return to_channels_first(chosen)  # as a reward has scaled them before; again would change nothing
    num_at_once = max(1, PIECE_BYTES // (4 * chosen[0].numel()))
    pieces = []
    for start in range(0, len(chosen), num_at_once):
        piece = chosen[start : start + num_at_once]
        prepared = prepare_trajectory(
            piece, len(piece), resize_to=sampling.resize, size_pixels=spec.size_pixels
        )
        pieces.append(prepared.squeeze(0))
    clip = torch.cat(pieces, dim=1)
    return to_levels(clip) if sampling.resize == "center_square" else clip


def encode_trajectory_frames(
    encoder: ClipEncoder,
    trajectories: Iterable[torch.Tensor],
    *,
    sampling: TrajectorySampling = DEFAULT_SAMPLING,
    batch_size: int = 8,
) -> torch.Tensor:
    """The vectors of trajectories, which are taken as they are needed: few of them are held at once.

    Args:
        encoder: The network, for embeddings.
        trajectories: N of (L, H, W, 3) uint8 RGB each, as for `trajectory_clip`; L, H and W may differ. At
            most twice `batch_size` of their clips wait for others of their shape.
        sampling: Which frames, and of what size.
        batch_size: Clips per forward pass. Numbers may differ in the last bits between batch sizes.

    Returns:
        (N, D) float32 of length 1 on the CPU, in the order of the trajectories.

    Raises:
        ValueError: As for `trajectory_clip`, or if the model does not take clips of such a shape.
        NarravidError: If the model gives NaN, infinity or a zero vector.
    """
    clips = (trajectory_clip(frames, sampling, spec=encoder.clip_spec) for frames in trajectories)
    return encode_trajectory_clips(encoder, clips, batch_size=batch_size)


def encode_trajectory_clips(
    encoder: ClipEncoder, clips: Iterable[torch.Tensor], *, batch_size: int = 8
) -> torch.Tensor:
    """The vectors of clips; those of one shape go through the model together.

    Args:
        encoder: The network, for embeddings.
        clips: N of (3, T, H, W) each, from `trajectory_clip`; taken as for `like_clips`.
        batch_size: Clips per forward pass.

    Returns:
        (N, D) float32 of length 1 on the CPU, in the order of the clips.

    Raises:
        ValueError: If the encoder gives no embeddings, or the model does not take clips of such a shape.
        NarravidError: If the model gives NaN, infinity or a zero vector.
    """
    if encoder.output != "embedding":
        raise ValueError(f"the encoder must give embeddings, this one gives a {encoder.output}")
    rows: dict[int, torch.Tensor] = {}
    for batch in like_clips(clips, batch_size):
        vectors = F.normalize(encoder.encode(torch.stack(list(batch.values()))), dim=1)
        if bool((vectors.norm(dim=1) < 0.5).any()):  # 0, or too small to be brought to length 1
            raise NarravidError(
                "the model gives a zero vector for a clip, which fits no prompt better than another; look at "
                "its frames (all black?) and at the weights"
            )
        rows |= dict(zip(batch, vectors, strict=True))
    return torch.stack([rows[number] for number in range(len(rows))]) if rows else torch.zeros(0, encoder.dim)


def like_clips(clips: Iterable[torch.Tensor], batch_size: int) -> Iterator[dict[int, torch.Tensor]]:
    """Clips that can go through a model together, which waits for none longer than memory allows.

    Args:
        clips: Clips of any shapes and dtypes, taken as they are needed; less than twice `batch_size` wait.
        batch_size: The most that go together.

    Yields:
        Number of the clip, in the order given → clip; all of one shape and dtype, 1 to `batch_size` of them.

    Raises:
        ValueError: If `batch_size` is below 1.

    >>> long, wide = torch.zeros(3, 4, 8, 8), torch.zeros(3, 2, 8, 16)
    >>> [list(batch) for batch in like_clips([long, wide, long, long, wide], batch_size=2)]
    [[0, 2], [1, 4], [3]]
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    waiting: dict[tuple[tuple[int, ...], torch.dtype], dict[int, torch.Tensor]] = {}
    for number, clip in enumerate(clips):
        like = tuple(clip.shape), clip.dtype
        waiting.setdefault(like, {})[number] = clip
        if len(waiting[like]) == batch_size:
            yield waiting.pop(like)
        elif sum(map(len, waiting.values())) >= 2 * batch_size - 1:
            yield waiting.pop(max(waiting, key=lambda like: len(waiting[like])))
    yield from waiting.values()


def _check_frames(frames: torch.Tensor) -> None:
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != torch.uint8 or 0 in frames.shape:
        raise ValueError(
            f"frames must be (L, H, W, 3) uint8 and not empty, got {tuple(frames.shape)} {frames.dtype}"
        )
