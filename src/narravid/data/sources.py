"""Where the clips of a dataset come from: decoded from the file each time, or held in memory.

Several threads may read from one source at once. What a source starts to do so, such as watched decoding
processes, is its own to end.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Protocol

import torch

from narravid.errors import DecodeError
from narravid.progress import progress_bar
from narravid.types import Clip, ClipSpec, Span
from narravid.video.decode import decode_clips, decode_video, probe
from narravid.video.watched import WatchedDecoder

__all__ = ["ClipSource", "FileClips", "MemoryClips"]

GIBIBYTE = 1024**3


class ClipSource(Protocol):
    """Gives the clips of video files, to several threads at once."""

    def read(
        self, path: Path, start_seconds: float, spec: ClipSpec, *, generator: torch.Generator | None = None
    ) -> Clip:
        """One clip of `spec.num_frames` frames.

        Args:
            path: The video.
            start_seconds: Where the clip starts.
            spec: Frames, rate, size, crop.
            generator: Needed by a random crop.

        Returns:
            frames (T, size, size, 3) uint8; not to be written to, as a source may keep them.

        Raises:
            DecodeError: If the file or the span cannot be decoded.
        """

    def duration_seconds(self, path: Path) -> float:
        """Length of a video.

        Raises:
            DecodeError: If the file cannot be decoded.
        """

    def close(self) -> None:
        """End what was started to read; a read that is under way in another thread fails with `DecodeError`.

        The source may be used again.
        """


class FileClips:
    """Opens and decodes the file for every clip; right for corpora that do not fit into memory.

    Args:
        decoder: Decodes in watched processes, which `close` ends; right for files of strangers. None decodes
            in this process, which a file may then crash or stall.
        num_threads: Decoding threads per clip, where this process decodes.
    """

    def __init__(self, decoder: WatchedDecoder | None = None, *, num_threads: int = 1) -> None:
        self._decoder = decoder
        self._num_threads = num_threads
        self._durations_seconds: dict[Path, float] = {}

    def read(
        self, path: Path, start_seconds: float, spec: ClipSpec, *, generator: torch.Generator | None = None
    ) -> Clip:
        """Decode one clip; see `ClipSource.read`."""
        if self._decoder is not None:
            clips = self._decoder.clips(path, [start_seconds], spec, generator=generator)
        else:
            clips = decode_clips(
                path, [start_seconds], spec, generator=generator, num_threads=self._num_threads
            )
        [clip] = clips  # to its end, or the decoding process would be told to stop
        return clip

    def duration_seconds(self, path: Path) -> float:
        """Length of a video, measured once; two threads that ask at the same time may both measure it."""
        if path not in self._durations_seconds:
            probing = probe if self._decoder is None else self._decoder.probe
            self._durations_seconds[path] = probing(path).duration_seconds
        return self._durations_seconds[path]

    def close(self) -> None:
        """End the decoding processes; see `ClipSource.close`."""
        if self._decoder is not None:
            self._decoder.close()


class MemoryClips:
    """Decodes every video once and keeps its frames; reading a clip is then a slice.

    Frames are kept at the rate of `spec`, scaled so that the short side is `spec.size_pixels`. A clip starts
    at the kept frame nearest to the start that is asked for, so it is off by at most half a frame.

    Args:
        paths: The videos.
        spec: What clips will be asked for; its crop and number of frames may differ later.
        max_bytes: Refuse to hold more than this.
        num_threads: Videos decoded at the same time.
        decoder: Decodes in watched processes, which are ended when all videos are held; right for files of
            strangers. None decodes in this process, which a file may then crash or stall.

    Attributes:
        failures: Reason by path of the videos that cannot be decoded, or need more than `max_bytes` each by
            itself; reading them raises it again.
        num_bytes: Memory held.

    Raises:
        ValueError: If the videos together need more than `max_bytes`.
    """

    def __init__(
        self,
        paths: Iterable[Path],
        spec: ClipSpec,
        *,
        max_bytes: int = 2 * GIBIBYTE,
        num_threads: int = 1,
        decoder: WatchedDecoder | None = None,
    ) -> None:
        self._spec = spec
        self._max_bytes = max_bytes
        self._decode_video = decode_video if decoder is None else decoder.video
        self._frames: dict[Path, torch.Tensor] = {}
        self.failures: dict[Path, str] = {}
        self.num_bytes = 0
        wanted = list(dict.fromkeys(paths))
        with (
            ThreadPoolExecutor(max_workers=num_threads) as pool,
            decoder or nullcontext(),  # ended first: the threads may wait for its answer
            progress_bar("decoding into memory", len(wanted), unit="videos") as bar,
        ):
            for path, frames in self._decode_all(pool, wanted, num_at_once=4 * num_threads):
                self._keep(path, frames, num_videos=len(wanted))
                bar.advance(note=f"{self.num_bytes / 1e6:.0f} MB, {len(self.failures)} bad")

    def _decode_all(
        self, pool: ThreadPoolExecutor, paths: list[Path], *, num_at_once: int
    ) -> Iterator[tuple[Path, torch.Tensor | DecodeError]]:
        """Videos in order; only `num_at_once` of them may be ahead of the check of the memory limit."""
        for first in range(0, len(paths), num_at_once):
            some = paths[first : first + num_at_once]
            yield from zip(some, pool.map(self._decode, some), strict=True)

    def _decode(self, path: Path) -> torch.Tensor | DecodeError:
        spec = self._spec
        try:
            video = self._decode_video(
                path,
                fps=spec.fps,
                short_side_pixels=spec.size_pixels,
                frame_rule=spec.frame_rule,
                max_bytes=self._max_bytes,
            )
        except DecodeError as error:
            return error
        return video.frames

    def _keep(self, path: Path, frames: torch.Tensor | DecodeError, *, num_videos: int) -> None:
        if isinstance(frames, DecodeError):
            self.failures[path] = frames.reason
            return
        self._frames[path] = frames
        self.num_bytes += frames.nbytes
        if self.num_bytes > self._max_bytes:
            raise ValueError(
                f"the first {len(self._frames)} of {num_videos} videos need {self.num_bytes / GIBIBYTE:.2f} "
                f"GiB, more than max_bytes={self._max_bytes / GIBIBYTE:.2f} GiB; raise it, lower size or "
                "rate of the clips, or read them from the files"
            )

    def read(
        self, path: Path, start_seconds: float, spec: ClipSpec, *, generator: torch.Generator | None = None
    ) -> Clip:
        """Cut one clip out of the kept frames; see `ClipSource.read`.

        Raises:
            DecodeError: If the video could not be decoded, or the clip starts at or past its end.
            ValueError: If the video is not held, or `spec` asks for another rate, size or frame rule.
        """
        frames = self._held(path)
        self._check_spec(spec)
        span = Span(start_seconds, start_seconds + spec.duration_seconds)
        num_held = frames.shape[0]
        if start_seconds < 0:
            raise ValueError(f"start_seconds must not be negative, got {start_seconds}")
        if start_seconds * spec.fps >= num_held:
            reason = f"the clip starts at or past the end of the video ({num_held / spec.fps:.2f} s)"
            raise DecodeError(path, reason, (span.start_seconds, span.end_seconds))
        first = min(math.floor(start_seconds * spec.fps + 0.5), num_held - 1)
        cut = self._crop(frames[first : first + spec.num_frames], spec, generator)
        mask = torch.ones(spec.num_frames, dtype=torch.bool)
        if cut.shape[0] < spec.num_frames:
            mask[cut.shape[0] :] = False
            cut = torch.cat([cut, cut.new_zeros((spec.num_frames - cut.shape[0], *cut.shape[1:]))])
        return Clip(cut, mask, span)

    def duration_seconds(self, path: Path) -> float:
        """Length of a video, to one kept frame."""
        return self._held(path).shape[0] / self._spec.fps

    def close(self) -> None:
        """Nothing is left to end once the videos are held; see `ClipSource.close`."""

    def _held(self, path: Path) -> torch.Tensor:
        if path in self.failures:
            raise DecodeError(path, self.failures[path])
        if path not in self._frames:
            raise ValueError(f"{path} is not among the {len(self._frames)} videos held in memory")
        return self._frames[path]

    def _check_spec(self, spec: ClipSpec) -> None:
        for name in ("fps", "size_pixels", "frame_rule"):
            held, wanted = getattr(self._spec, name), getattr(spec, name)
            if held != wanted:
                raise ValueError(
                    f"the videos are held with {name}={held}, a clip with {wanted} was asked for"
                )

    @staticmethod
    def _crop(frames: torch.Tensor, spec: ClipSpec, generator: torch.Generator | None) -> torch.Tensor:
        """The square of `spec`, (T, size, size, 3): one side already fits, the other is cut."""
        size = spec.size_pixels
        slack = [side - size for side in frames.shape[1:3]]
        if spec.crop == "center":
            top, left = (room // 2 for room in slack)
        elif generator is None:
            raise ValueError("a random crop needs a generator")
        else:
            top, left = (int(torch.randint(room + 1, (), generator=generator)) for room in slack)
        return frames[:, top : top + size, left : left + size]
