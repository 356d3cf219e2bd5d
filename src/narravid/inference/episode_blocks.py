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
        raise ValueError(
            "frames must be an array, a tensor or a list of them (make one of what is iterated over), got "
            f"{type(frames).__name__}"
        )
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
        raise ValueError("there is no episode to score; give at least one")
    return frames


def _checked(where: str, block: object) -> FrameBlock:
    if not isinstance(block, np.ndarray | torch.Tensor):
        hint = "; make an array of it with np.stack" if isinstance(block, list | tuple) else ""
        raise ValueError(f"{where}frames must be a uint8 array or tensor, got {type(block).__name__}{hint}")
    shape = tuple(block.shape)
    is_bytes = block.dtype == (torch.uint8 if isinstance(block, torch.Tensor) else np.uint8)
    if is_bytes and len(shape) == 4 and shape[-1] == 3 and 0 not in shape:
        return block
    hints = [*_hints_of_shape(shape), *([] if is_bytes else [_hint_of_dtype(block)])]
    raise ValueError(
        f"{where}frames must be (T, H, W, 3) uint8 and not empty, or (N, T, H, W, 3) for several episodes, "
        f"got {'; '.join([f'{shape} {block.dtype}', *hints])}"
    )


def _hints_of_shape(shape: tuple[int, ...]) -> list[str]:
    if 0 in shape:
        return ["leave out episodes without frames"]
    if len(shape) == 3:
        return ["stack the single frames of an episode first"]
    if len(shape) == 4 and shape[-1] != 3 and shape[1] == 3:
        return ["put the channels last"]
    if len(shape) == 4 and shape[-1] == 4:
        return ["leave out the alpha channel"]
    if len(shape) == 4 and shape[-1] == 1:
        return ["repeat the grey channel three times"]
    return []


def _hint_of_dtype(block: FrameBlock) -> str:
    is_real = block.is_floating_point() if isinstance(block, torch.Tensor) else block.dtype.kind == "f"
    if is_real:
        return "bring the levels to 0..255 (those in [0, 1] times 255), round them and convert them to uint8"
    return "convert levels of 0..255 to uint8"
