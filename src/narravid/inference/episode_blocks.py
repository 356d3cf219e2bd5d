"""Episodes as they are given to a reward: one block of frames, or several of equal or different lengths."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from narravid.video.frame_sampling import FrameSampling, video_frames

__all__ = ["Episodes", "FrameBlock", "as_episodes", "spread_frames"]

FrameBlock = npt.NDArray[np.uint8] | torch.Tensor
"""(T, H, W, 3) uint8 RGB frames of one episode."""

Episodes = FrameBlock | Sequence[FrameBlock]
"""One episode; N of one length as (N, T, H, W, 3); or a list of N whose lengths and sizes may differ."""


def as_episodes(frames: Episodes) -> tuple[list[FrameBlock], bool]:
    """Take apart what a reward is asked to score.

    Args:
        frames: One episode or several.

    Returns:
        (T, H, W, 3) uint8 blocks, and whether there is but one that was given by itself.

    Raises:
        ValueError: If shape or dtype is another, or there is nothing.
    """
    if isinstance(frames, np.ndarray | torch.Tensor):
        if frames.ndim == 5:
            return [_checked("", episode) for episode in _not_empty(frames)], False
        return [_checked("", frames)], True
    if not isinstance(frames, Sequence):
        raise ValueError(f"frames must be an array, a tensor or a list of them, got {type(frames).__name__}")
    return [_checked(f"episode {number}: ", block) for number, block in enumerate(_not_empty(frames))], False


def spread_frames(
    number: int, episode: FrameBlock, num_frames: int, *, sampling: FrameSampling
) -> torch.Tensor:
    """The frames of an episode that a model sees.

    Args:
        number: Which episode it is, for errors.
        episode: (T, H, W, 3) uint8, anywhere.
        num_frames: n, how many the model sees.
        sampling: Which; see `video_frames`.

    Returns:
        (n, H, W, 3) uint8 on the CPU, a copy.

    Raises:
        ValueError: If the published rule meets an episode of fewer frames.
    """
    try:
        places = video_frames(len(episode), num_frames, sampling=sampling)
    except ValueError as error:
        raise ValueError(f"episode {number}: {error}") from error
    if isinstance(episode, torch.Tensor):
        return episode[torch.tensor(places, device=episode.device)].cpu()
    return torch.from_numpy(episode[np.array(places)])


def _not_empty(frames: Episodes) -> Episodes:
    if len(frames) == 0:
        raise ValueError("there is no episode to score")
    return frames


def _checked(where: str, block: object) -> FrameBlock:
    if not isinstance(block, np.ndarray | torch.Tensor):
        raise ValueError(f"{where}frames must be a uint8 array or tensor, got {type(block).__name__}")
    shape = tuple(block.shape)
    is_bytes = block.dtype == (torch.uint8 if isinstance(block, torch.Tensor) else np.uint8)
    if is_bytes and len(shape) == 4 and shape[-1] == 3 and 0 not in shape:
        return block
    hint = ""
    if len(shape) == 3:
        hint = "; stack the single frames of an episode first"
    elif len(shape) == 4 and shape[-1] != 3 and shape[1] == 3:
        hint = "; put the channels last"
    elif len(shape) == 4 and shape[-1] == 4:
        hint = "; leave out the alpha channel"
    raise ValueError(
        f"{where}frames must be (T, H, W, 3) uint8 and not empty, or (N, T, H, W, 3) for several episodes, "
        f"got {shape} {block.dtype}{hint}"
    )
