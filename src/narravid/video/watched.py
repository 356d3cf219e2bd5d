"""Decoding files of strangers, in processes that are replaced when a file crashes or stalls them."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from narravid.errors import DecodeError
from narravid.types import Clip, ClipSpec, FrameRule, Span, SpreadFrames, VideoInfo
from narravid.video.decode import (
    MAX_VIDEO_BYTES,
    as_clip,
    check_starts,
    check_video_options,
    clip_shape,
    draw_squares,
)
from narravid.video.decode_check import CheckedVideo
from narravid.video.decode_chunks import ChunkShape
from narravid.video.decode_reader import RawClip
from narravid.video.encode_segments import SegmentEncoding, check_spans
from narravid.video.frame_sampling import FrameSampling
from narravid.video.segments import Segment
from narravid.video.watched_pool import DecodingProcesses
from narravid.video.watched_wire import Message, timeline_from_wire, timeline_to_wire

__all__ = ["ClipJob", "WatchedDecoder"]

ClipJob = tuple[str | Path, Sequence[float]]
"""A file and the starts of the clips wanted from it, in seconds."""

JOBS_AHEAD = 2

Job = TypeVar("Job")
Result = TypeVar("Result")


class WatchedDecoder(DecodingProcesses):
    """Decodes in child processes, so that no file can crash or hang the program. Use as a context manager.

    A process that dies or shows no progress for `stall_seconds` is replaced, and the file it was at is
    reported with a `DecodeError`. The processes start when first needed and end with the decoder, on errors,
    on Ctrl-C and with the program. They work whatever the main program is (a script without a main guard, a
    test run, `python -c`). Several threads may use one decoder; each request has a process of its own.

    Args:
        num_workers: Processes that `map` keeps busy, and that are kept for the next request; more are started
            where more requests are under way at once.
        stall_seconds: How long a process may show no progress.
        num_threads: Decoding threads of each process; 0 lets FFmpeg choose.
    """

    def __init__(self, num_workers: int = 1, *, stall_seconds: float = 10.0, num_threads: int = 1) -> None:
        super().__init__(num_workers, stall_seconds=stall_seconds)
        if num_threads < 0:
            raise ValueError(f"num_threads must be at least 0, got {num_threads}")
        self._num_threads = num_threads

    def probe(self, path: str | Path) -> VideoInfo:
        """What a file holds; see `narravid.video.decode.probe`.

        Raises:
            DecodeError: If no frame can be decoded, or the attempt crashed or stalled the process.
        """
        for message, _ in self._ask(path, {"kind": "probe"}):
            return VideoInfo(**{**message["info"], "path": str(path)})
        raise DecodeError(path, "decoder gave no answer")

    def check(self, path: str | Path, *, whole: bool = False) -> CheckedVideo:
        """Whether a file holds what it promises; see `narravid.video.decode_check.check_video`.

        Raises:
            DecodeError: If nothing decodes where something should, or it crashed or stalled the process.
        """
        for message, _ in self._ask(path, {"kind": "check", "whole": whole}):
            return CheckedVideo(**message["found"])
        raise DecodeError(path, "decoder gave no answer")

    def clips(
        self,
        path: str | Path,
        starts_seconds: Sequence[float],
        spec: ClipSpec,
        *,
        segment: Segment | None = None,
        generator: torch.Generator | None = None,
        squares: Sequence[tuple[float, float]] | None = None,
    ) -> Iterator[Clip]:
        """Clips of a file as they are decoded; see `narravid.video.decode.decode_clips`.

        The process decodes a few clips ahead while the caller works on the last one. `squares` says where the
        square of each clip lies, (across, down) in [0, 1], in place of the crop of the specification.

        Raises:
            ValueError: If a start is no time, a random crop has no generator, or there are not as many
                squares as clips.
            DecodeError: If the file does not decode, or it crashed or stalled the process.
        """
        check_starts(starts_seconds)
        if squares is None:
            squares = draw_squares(len(starts_seconds), spec, generator)
        elif len(squares) != len(starts_seconds):
            raise ValueError(f"there are {len(squares)} squares for {len(starts_seconds)} clips")
        return self._clips(path, list(starts_seconds), spec, segment=segment, squares=squares)

    def cut(
        self, path: str | Path, spans_seconds: Sequence[tuple[float, float]], encoding: SegmentEncoding
    ) -> Iterator[Segment]:
        """Stretches of a file as small files of their own; see `narravid.video.encode_segments.cut_segments`.

        The process encodes a few segments ahead while the caller stores the last one.

        Raises:
            ValueError: If a span is no span.
            DecodeError: If the file does not decode or encode, or it crashed or stalled the process.
        """
        check_spans(spans_seconds)
        return self._cut(path, list(spans_seconds), encoding)

    def _cut(
        self, path: str | Path, spans_seconds: list[tuple[float, float]], encoding: SegmentEncoding
    ) -> Iterator[Segment]:
        request = {"kind": "cut", "spans_seconds": spans_seconds, "encoding": dataclasses.asdict(encoding)}
        for message, data in self._ask(path, {**request, "num_threads": self._num_threads}):
            assert data is not None  # an answer to this request always has an array
            yield Segment(data.tobytes(), timeline_from_wire(message["timeline"]))

    def _clips(
        self,
        path: str | Path,
        starts_seconds: list[float],
        spec: ClipSpec,
        *,
        segment: Segment | None,
        squares: Sequence[tuple[float, float]] | None,
    ) -> Iterator[Clip]:
        if not starts_seconds:
            return
        request: Message = {
            "kind": "clips",
            "starts_seconds": starts_seconds,
            "shape": dataclasses.asdict(clip_shape(spec)),
            "squares": squares,
            "num_threads": self._num_threads,
        }
        data = None
        if segment is not None:
            request["timeline"] = timeline_to_wire(segment.timeline)
            data = np.frombuffer(segment.data, np.uint8)
        starts = iter(starts_seconds)
        for message, frames in self._ask(path, request, data):
            assert frames is not None  # an answer to this request always has an array
            yield as_clip(RawClip(frames, message["num_valid"]), next(starts), spec.duration_seconds)

    def video(
        self,
        path: str | Path,
        *,
        fps: float,
        short_side_pixels: int | None,
        frame_rule: FrameRule = "shown_at",
        max_bytes: int = MAX_VIDEO_BYTES,
    ) -> Clip:
        """A whole video resampled; see `narravid.video.decode.decode_video`.

        Raises:
            ValueError: If `fps` or `short_side_pixels` is not positive.
            DecodeError: If the file does not decode, is too large, or crashed or stalled the process.
        """
        check_video_options(fps, short_side_pixels)
        options = {
            "fps": fps,
            "short_side_pixels": short_side_pixels,
            "frame_rule": frame_rule,
            "max_bytes": max_bytes,
        }
        request = {"kind": "video", "options": options, "num_threads": self._num_threads}
        for message, frames in self._ask(path, request):
            assert frames is not None  # an answer to this request always has an array
            mask = torch.ones(len(frames), dtype=torch.bool)
            return Clip(torch.from_numpy(frames), mask, Span(0.0, message["end_seconds"]))
        raise DecodeError(path, "decoder gave no answer")

    def spread_frames(
        self, path: str | Path, num_frames: int, *, sampling: FrameSampling = "even"
    ) -> SpreadFrames:
        """Frames that stand for a whole video, by number; see `narravid.video.decode_frames`.

        Raises:
            ValueError: If `num_frames` is below 1.
            DecodeError: If the file does not decode, is too large for so many frames, has too few for the
                published rule, or crashed or stalled the process.
        """
        if num_frames < 1:
            raise ValueError(f"num_frames must be at least 1, got {num_frames}")
        request = {"kind": "spread", "num_frames": num_frames, "sampling": sampling}
        for message, frames in self._ask(path, {**request, "num_threads": self._num_threads}):
            assert frames is not None  # an answer to this request always has an array
            numbers = message["frame_numbers"]
            places = {number: place for place, number in enumerate(dict.fromkeys(numbers))}
            chosen = torch.from_numpy(frames)
            if len(places) < len(numbers):
                chosen = chosen[[places[number] for number in numbers]]
            times = tuple(message["times_seconds"])
            return SpreadFrames(chosen, tuple(numbers), times, message["num_video_frames"])
        raise DecodeError(path, "decoder gave no answer")

    def chunks(self, path: str | Path, shape: ChunkShape) -> Iterator[torch.Tensor]:
        """A whole video resampled, in consecutive chunks of frames; see `narravid.video.decode_chunks`.

        One pass from the beginning to the end. The process decodes a few chunks ahead while the caller works
        on the last one, and holds no more, however long the video is.

        Yields:
            (T, H, W, 3) uint8 RGB, T = `shape.num_frames`, perhaps fewer in the last chunk.

        Raises:
            DecodeError: If the file does not decode, or it crashed or stalled the process.
        """
        request = {"kind": "chunks", "shape": dataclasses.asdict(shape), "num_threads": self._num_threads}
        for _, frames in self._ask(path, request):
            assert frames is not None  # an answer to this request always has an array
            yield torch.from_numpy(frames)

    def map(
        self, jobs: Iterable[ClipJob], spec: ClipSpec
    ) -> Iterator[tuple[ClipJob, list[Clip] | DecodeError]]:
        """Clips of many files, decoded by all workers at once; results come in the order of the jobs.

        All clips of a job are held in memory, and those of a few jobs ahead: split long videos into several.

        Args:
            jobs: Files with the starts of their clips; taken as needed.
            spec: What a clip looks like; its crop must be the centre.

        Yields:
            Each job with its clips, or with the error of its file.
        """
        if spec.crop != "center":
            raise ValueError(f"map crops the centre only, got crop={spec.crop!r}")
        return self.map_jobs(jobs, lambda job: list(self.clips(*job, spec)))

    def map_jobs(
        self, jobs: Iterable[Job], run: Callable[[Job], Result]
    ) -> Generator[tuple[Job, Result | DecodeError]]:
        """Ask this decoder for many things at once and ahead; results come in the order of the jobs.

        The results of a few jobs ahead are held in memory.

        Args:
            jobs: What is to be done; taken as needed.
            run: Does one of them with this decoder, in one of as many threads as there are workers.

        Yields:
            Each job with what `run` gave, or with the `DecodeError` that it raised.
        """
        waiting: deque[tuple[Job, Future[Result | DecodeError]]] = deque()
        pool = ThreadPoolExecutor(self._num_workers, thread_name_prefix="watch")
        try:
            for job in jobs:
                waiting.append((job, pool.submit(_result_or_error, run, job)))
                if len(waiting) >= JOBS_AHEAD * self._num_workers:
                    done, future = waiting.popleft()
                    yield done, future.result()
            while waiting:
                done, future = waiting.popleft()
                yield done, future.result()
        finally:
            for _, future in waiting:
                future.cancel()
            if waiting:
                self.close()  # the threads that wait for an answer see their process die
            pool.shutdown()


def _result_or_error(run: Callable[[Job], Result], job: Job) -> Result | DecodeError:
    try:
        return run(job)
    except DecodeError as error:
        return error
