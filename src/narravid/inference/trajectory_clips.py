"""Frames of a trajectory to the vector that is compared with prompts: the only place where either is done."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import get_args

import torch
from torch.nn import functional as F

from narravid.errors import ConfigError
from narravid.inference.clip_encoder import ClipEncoder
from narravid.inference.trajectories import TrajectoryResize, prepare_trajectory
from narravid.types import ClipSpec
from narravid.video.frame_sampling import FrameSampling, video_frames
from narravid.video.transforms import to_channels_first, to_levels

__all__ = ["TrajectorySampling", "encode_trajectory_clips", "encode_trajectory_frames", "trajectory_clip"]

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
    """The vectors of trajectories.

    Args:
        encoder: The network, for embeddings.
        trajectories: N of (L, H, W, 3) uint8 RGB each, as for `trajectory_clip`; L, H and W may differ.
        sampling: Which frames, and of what size.
        batch_size: Clips per forward pass. Numbers may differ in the last bits between batch sizes.

    Returns:
        (N, D) float32 of length 1 on the CPU, in the order of the trajectories.

    Raises:
        ValueError: As for `trajectory_clip`, or if the model does not take clips of such a shape.
        NarravidError: If the model gives NaN, infinity or a zero vector.
    """
    clips = [trajectory_clip(frames, sampling, spec=encoder.clip_spec) for frames in trajectories]
    return encode_trajectory_clips(encoder, clips, batch_size=batch_size)


def encode_trajectory_clips(
    encoder: ClipEncoder, clips: Sequence[torch.Tensor], *, batch_size: int = 8
) -> torch.Tensor:
    """The vectors of clips; those of one shape go through the model together.

    Args:
        encoder: The network, for embeddings.
        clips: N of (3, T, H, W) each, from `trajectory_clip`.
        batch_size: Clips per forward pass.

    Returns:
        (N, D) float32 of length 1 on the CPU, in the order of the clips.

    Raises:
        ValueError: If the encoder gives no embeddings, or the model does not take clips of such a shape.
        NarravidError: If the model gives NaN or infinity.
    """
    if encoder.output != "embedding":
        raise ValueError(f"the encoder must give embeddings, this one gives a {encoder.output}")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    vectors = torch.zeros(len(clips), encoder.dim)
    same: dict[tuple[tuple[int, ...], torch.dtype], list[int]] = {}
    for number, clip in enumerate(clips):
        same.setdefault((tuple(clip.shape), clip.dtype), []).append(number)
    for numbers in same.values():
        for start in range(0, len(numbers), batch_size):
            batch = numbers[start : start + batch_size]
            vectors[batch] = encoder.encode(torch.stack([clips[number] for number in batch]))
    return F.normalize(vectors, dim=1)


def _check_frames(frames: torch.Tensor) -> None:
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != torch.uint8 or 0 in frames.shape:
        raise ValueError(
            f"frames must be (L, H, W, 3) uint8 and not empty, got {tuple(frames.shape)} {frames.dtype}"
        )
