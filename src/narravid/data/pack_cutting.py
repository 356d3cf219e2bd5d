"""Cutting the videos of an archive in watched processes, several at once, handed out in order."""

from __future__ import annotations

import tempfile
import threading
import zlib
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from narravid.data.corpus import NarratedVideo
from narravid.data.pack_format import PackSettings
from narravid.data.segmentation import plan_segments
from narravid.errors import DecodeError
from narravid.types import Span
from narravid.video.encode_segments import SegmentEncoding
from narravid.video.segments import Timeline
from narravid.video.watched import WatchedDecoder

__all__ = ["CutSegment", "CutVideo", "cut_videos"]

VIDEOS_AHEAD = 3
"""Videos per worker that may wait for those before them."""

MAX_BYTES_IN_MEMORY = 2**25
"""Segments of a video that take more wait in a file without a name."""


@dataclass(frozen=True, slots=True)
class CutSegment:
    """A stretch of a video, ready to be stored.

    Attributes:
        span: Which clips it holds.
        timeline: Its clock.
        size: Bytes of its file.
        crc32: `zlib.crc32` of them.
    """

    span: Span
    timeline: Timeline
    size: int
    crc32: int


@dataclass(frozen=True, slots=True)
class CutVideo:
    """What became of a video.

    Attributes:
        video: The video.
        content: The files of its segments one after the other, at the first byte; to be closed.
        segments: Its segments by start; none of a bad video.
        duration_seconds: Its length; 0 where it could not be found out.
        bad: Why it could not be cut.
    """

    video: NarratedVideo
    content: IO[bytes]
    segments: tuple[CutSegment, ...] = ()
    duration_seconds: float = 0.0
    bad: str | None = None


def cut_videos(
    videos: Iterable[NarratedVideo], settings: PackSettings, *, num_workers: int, folder: Path
) -> Generator[CutVideo]:
    """Cut videos, several at once.

    Args:
        videos: What to cut; taken as needed.
        settings: How.
        num_workers: Videos that are cut at the same time, each in a watched process of its own.
        folder: Where segments wait that are too large for the memory.

    Yields:
        Every video in order, bad ones with the reason. Close the iterator to end all processes at once.

    Raises:
        OSError: If the disk is full.
    """
    with WatchedDecoder(num_workers) as decoder:
        cutter = _Cutter(decoder, settings, folder)
        pool = ThreadPoolExecutor(num_workers, thread_name_prefix="pack")
        waiting: deque[Future[CutVideo]] = deque()
        try:
            for video in videos:
                waiting.append(pool.submit(cutter.cut, video))
                if len(waiting) >= VIDEOS_AHEAD * num_workers:
                    yield _first(waiting)
            while waiting:
                yield _first(waiting)
        finally:
            cutter.stop()
            pool.shutdown(cancel_futures=True)
            for future in waiting:
                if not future.cancelled() and future.exception() is None:
                    future.result().content.close()


def _first(waiting: deque[Future[CutVideo]]) -> CutVideo:
    """What comes first, awaited; it keeps its place until it is there, so that it is closed on Ctrl-C."""
    cut = waiting[0].result()
    waiting.popleft()
    return cut


class _Cutter:
    """Cuts one video at a time in each thread that asks."""

    def __init__(self, decoder: WatchedDecoder, settings: PackSettings, folder: Path) -> None:
        self._decoder = decoder
        self._settings = settings
        self._folder = folder
        self._is_stopped = threading.Event()
        self._encoding = SegmentEncoding(
            short_side_pixels=settings.short_side_pixels,
            crf=settings.crf,
            preset=settings.preset,
            keyframe_seconds=settings.keyframe_seconds,
            lossless=settings.lossless,
        )

    def stop(self) -> None:
        """Let no work go on: what is under way sees its process die, and the result is not wanted."""
        self._is_stopped.set()
        self._decoder.close()

    def cut(self, video: NarratedVideo) -> CutVideo:
        with ExitStack() as on_error:
            content = on_error.enter_context(
                tempfile.SpooledTemporaryFile(MAX_BYTES_IN_MEMORY, dir=str(self._folder))
            )
            duration_seconds = 0.0
            bad = None
            segments: tuple[CutSegment, ...] = ()
            try:
                self._check_stopped()
                duration_seconds = self._decoder.probe(video.path).duration_seconds
                segments = tuple(self._cut(video, duration_seconds, content))
            except DecodeError as error:
                self._check_stopped()
                bad = error.reason
            content.seek(0)
            on_error.pop_all()
        return CutVideo(video, content, segments, duration_seconds, bad)

    def _cut(self, video: NarratedVideo, duration_seconds: float, content: IO[bytes]) -> Iterator[CutSegment]:
        settings = self._settings
        spans = plan_segments(
            (caption.span for caption in video.track),
            duration_seconds,
            clip_seconds=settings.clip_seconds,
            min_caption_seconds=settings.min_caption_seconds,
            max_segment_seconds=settings.max_segment_seconds,
        )
        self._check_stopped()
        times = [(span.start_seconds, span.end_seconds) for span in spans]
        cut = self._decoder.cut(video.path, times, self._encoding)
        for span, segment in zip(spans, cut, strict=True):
            self._check_stopped()
            content.write(segment.data)
            yield CutSegment(span, segment.timeline, len(segment.data), zlib.crc32(segment.data))

    def _check_stopped(self) -> None:
        if self._is_stopped.is_set():
            raise CancelledError
