"""Windows of many videos through one network: decoded ahead, encoded in batches, handed out item by item."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch

from narravid.bad_items import BadItems
from narravid.errors import DecodeError
from narravid.evaluation.window_plans import WindowEncoder, WindowItem, WindowPlan
from narravid.types import Clip
from narravid.video.transforms import to_channels_first
from narravid.video.watched import WatchedDecoder

__all__ = ["ItemJudge", "WindowStream"]

WINDOWS_PER_JOB = 16
"""Windows that are decoded and held at once: a long video goes through in several jobs."""

FloatArray = npt.NDArray[np.float32]


class ItemJudge:
    """Remembers which items are bad, and stops when they are too many.

    All items are opened first, then decoded. Either sweep is stopped by what it finds itself, so that those
    which cannot be opened, all met before the first is decoded, do not weigh more than they are.

    Args:
        num_expected: Items in all.
        max_bad_share: Share of them that may be bad; 1 never stops.

    Attributes:
        num_good: Items met so far in this sweep that are good.
        reasons: What is wrong with each bad one, of all sweeps.
    """

    def __init__(self, *, num_expected: int, max_bad_share: float) -> None:
        self._num_expected = num_expected
        self._max_bad_share = max_bad_share
        self._bad = BadItems()
        self._bad_of_sweep = BadItems()
        self.num_good = 0
        self.reasons: dict[WindowItem, str] = {}

    def begin_sweep(self) -> None:
        """Go through the items once more: those that are good so far are to be met again."""
        self._bad_of_sweep = BadItems()
        self.num_good = 0

    def add(self, item: WindowItem, reason: str) -> None:
        """Note a bad one.

        Raises:
            TooManyBadItemsError: If it is one too many.
        """
        self.reasons[item] = reason
        for bad in (self._bad_of_sweep, self._bad):
            bad.add(item.path, reason)
        num_met = self.num_good + self._bad_of_sweep.num_met
        expected, share = self._num_expected, self._max_bad_share
        self._bad_of_sweep.check_share(num_met, num_expected=expected, max_share=share)
        self._bad.check_share(expected, num_expected=expected, max_share=share)


@dataclass(frozen=True, slots=True)
class _Job:
    """Some windows of an item; `is_last` is true of the last ones."""

    item: WindowItem
    plan: WindowPlan
    is_last: bool


@dataclass(slots=True)
class _Progress:
    """How far an item is: how many windows are decoded and encoded, whether all are decoded."""

    num_decoded: int = 0
    is_complete: bool = False
    vectors: list[torch.Tensor] = field(default_factory=list)


class WindowStream:
    """Decodes windows ahead of the network and encodes them, item by item.

    Args:
        encoder: The network.
        plans: The windows of each item.
        decoder: Reads the videos.
        judge: Is told of what cannot be read.
    """

    def __init__(
        self,
        encoder: WindowEncoder,
        plans: dict[WindowItem, WindowPlan],
        *,
        decoder: WatchedDecoder,
        judge: ItemJudge,
    ) -> None:
        self._encoder = encoder
        self._plans = plans
        self._decoder = decoder
        self._judge = judge
        self._waiting: list[tuple[_Progress, torch.Tensor]] = []

    def encoded(self, batch_size: int) -> Generator[tuple[WindowItem, FloatArray | None]]:
        """Each item with its vectors as soon as all of them are there, or with None if it cannot be read.

        Args:
            batch_size: Windows per forward pass, of one item or of several.

        Raises:
            TooManyBadItemsError: If too many items cannot be read.
            NarravidError: If the network gives NaN or infinity.
        """
        progress: dict[WindowItem, _Progress] = {}
        with closing(self._decoder.map_jobs(self._jobs(), self._decode)) as results:
            for job, windows in results:
                if job.item in self._judge.reasons:
                    continue  # the rest of an item of which a part was bad
                if isinstance(windows, DecodeError):
                    progress.pop(job.item, None)
                    self._judge.add(job.item, windows.reason)
                    yield job.item, None
                    continue
                current = progress.setdefault(job.item, _Progress())
                current.num_decoded += len(windows)
                current.is_complete = job.is_last
                self._judge.num_good += job.is_last
                for window in windows:
                    self._add(current, window, batch_size)
                yield from self._finished(progress)
        self._encode()
        yield from self._finished(progress)

    def _jobs(self) -> Iterator[_Job]:
        for item, plan in self._plans.items():
            num_windows = len(plan.starts)
            for start in range(0, max(1, num_windows), WINDOWS_PER_JOB):
                part = slice(start, start + WINDOWS_PER_JOB)
                squares = None if plan.squares is None else plan.squares[part]
                is_last = start + WINDOWS_PER_JOB >= num_windows
                yield _Job(item, replace(plan, starts=plan.starts[part], squares=squares), is_last)

    def _decode(self, job: _Job) -> list[Clip]:
        plan = job.plan
        found = self._decoder.clips(job.item.path, plan.starts, plan.spec, squares=plan.squares)
        clips = [_up_to_end(clip, plan, start) for clip, start in zip(found, plan.starts, strict=True)]
        if plan.last_frame_seconds is not None:
            clips = self._filled_up(job, clips, last_frame_seconds=plan.last_frame_seconds)
        return [replace(clip, frames=clip.frames.flip(2)) for clip in clips] if plan.mirrored else clips

    def _filled_up(self, job: _Job, clips: list[Clip], *, last_frame_seconds: float) -> list[Clip]:
        """The clips with the last frame of the item, cropped as they are, behind its end."""
        padded = [number for number, clip in enumerate(clips) if clip.num_padded]
        squares = job.plan.squares
        last_frames = self._decoder.clips(
            job.item.path,
            [last_frame_seconds] * len(padded),
            replace(job.plan.spec, num_frames=1),
            squares=None if squares is None else [squares[number] for number in padded],
        )
        for number, last in zip(padded, last_frames, strict=True):
            clip = clips[number]
            frames = torch.where(clip.mask[:, None, None, None], clip.frames, last.frames)
            clips[number] = replace(clip, frames=frames)
        return clips

    def _add(self, progress: _Progress, window: Clip, batch_size: int) -> None:
        frames = to_channels_first(window.frames)
        if self._waiting and self._waiting[0][1].shape != frames.shape:
            self._encode()
        self._waiting.append((progress, frames))
        if len(self._waiting) == batch_size:
            self._encode()

    def _encode(self) -> None:
        if not self._waiting:
            return
        vectors = self._encoder.encode(torch.stack([frames for _, frames in self._waiting]))
        for (progress, _), vector in zip(self._waiting, vectors.unbind(), strict=True):
            progress.vectors.append(vector)
        self._waiting.clear()

    def _finished(self, progress: dict[WindowItem, _Progress]) -> Iterator[tuple[WindowItem, FloatArray]]:
        """Take out the items of which everything is encoded."""
        for item, current in list(progress.items()):
            if current.is_complete and len(current.vectors) == current.num_decoded:
                del progress[item]
                stacked = torch.stack(current.vectors) if current.vectors else torch.zeros(0, 0)
                yield item, stacked.numpy().astype(np.float32)


def _up_to_end(clip: Clip, plan: WindowPlan, start_seconds: float) -> Clip:
    """The clip with padding, black as that of the decoder, for frames behind the end of the plan."""
    num_frames = plan.num_frames_before_end(start_seconds)
    if num_frames >= len(clip.frames):
        return clip
    frames, mask = clip.frames.clone(), clip.mask.clone()
    frames[num_frames:], mask[num_frames:] = 0, False
    return replace(clip, frames=frames, mask=mask)
