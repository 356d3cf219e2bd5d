"""Whether a file holds what it promises: a few samples of it, or every packet.

FFmpeg goes on over damage as long as it can, and conceals what is missing. That is right for training and
wrong for whoever wants to know the state of an archive: here it is asked what it met on the way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import av.logging

from narravid.errors import DecodeError
from narravid.video.decode_measure import measure
from narravid.video.decode_open import explain
from narravid.video.decode_reader import ClipShape, read_clips
from narravid.video.decode_source import VideoSource

__all__ = ["CheckedVideo", "check_video"]

SAMPLE = ClipShape(num_frames=8, fps=8.0, size_pixels=32, frame_rule="shown_at")
TAG_OF_LENGTH = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")
MIN_RESTART_SECONDS = 1.0
MIN_MISSING_SECONDS = 1.0
MIN_MISSING_SHARE = 0.02
MIN_MISSING_SHARE_OF_CONTAINER = 0.1
"""The length of a whole container is that of its longest stream, and the sound may well go on for longer."""


@dataclass(frozen=True, slots=True)
class CheckedVideo:
    """What was found in a file of which at least one frame decodes.

    Attributes:
        duration_seconds: Where the last packet of the video ends.
        stated_seconds: Where it ends by the file's own word, if the file says.
        is_cut_short: Whether so much less is there than stated that something is missing.
        num_frames: Frames decoded, if all were.
        num_damaged: Packets that do not decode, and frames and packets that are marked as damaged.
        num_complaints: What else the decoder complained of; it conceals such damage.
        first_complaint: The first of these complaints.
        read_error: Why reading broke off before the end.
        restart_seconds: Where times go back to earlier ones, as in recordings that were joined byte by byte.
    """

    duration_seconds: float
    stated_seconds: float | None
    is_cut_short: bool
    num_frames: int | None = None
    num_damaged: int = 0
    num_complaints: int = 0
    first_complaint: str | None = None
    read_error: str | None = None
    restart_seconds: float | None = None

    @property
    def fault(self) -> str | None:
        """What is wrong, in one sentence; None if nothing is."""
        if self.read_error is not None:
            return f"cannot be read beyond {self.duration_seconds:.1f} s: {self.read_error}"
        if self.restart_seconds is not None:
            said = f"times start again after {self.restart_seconds:.1f} s"
            return f"{said}: what follows is out of reach; convert the file"
        if self.is_cut_short:
            return f"cut short: ends at {self.duration_seconds:.1f} s, states {self.stated_seconds:.1f} s"
        if self.num_damaged:
            return f"damaged packets or frames: {self.num_damaged} of {self.num_frames}"
        if self.num_complaints:
            return f"concealed faults: {self.num_complaints}, the first: {self.first_complaint}"
        return None


def check_video(path: str | Path, *, whole: bool, on_progress: Callable[[], None]) -> CheckedVideo:
    """Look for damage in a file.

    Args:
        path: The file.
        whole: Decode every packet; otherwise the first frame and a second each in the middle and at the end.
        on_progress: Called while decoding; may raise to stop.

    Returns:
        What was found.

    Raises:
        DecodeError: If the file cannot be opened, or no frame of it, of its middle or of its end decodes.
    """
    with VideoSource(path, on_progress=on_progress) as source:
        duration_seconds = measure(source)["duration_seconds"]
        stated_seconds, missing_share = _stated(source)
        last_start = max(0.0, duration_seconds - SAMPLE.num_frames / SAMPLE.fps)
        source.restart()
        for _ in read_clips(source, [last_start / 2, last_start], SAMPLE):
            pass
        missing = max(MIN_MISSING_SECONDS, missing_share * (stated_seconds or 0.0))
        is_cut_short = stated_seconds is not None and stated_seconds - duration_seconds > missing
        if not whole:
            return CheckedVideo(duration_seconds, stated_seconds, is_cut_short)
        source.restart()
        found = _Findings()
        found.gather(source)
        return CheckedVideo(
            duration_seconds,
            stated_seconds,
            is_cut_short,
            num_frames=found.num_frames,
            num_damaged=found.num_damaged,
            num_complaints=found.num_complaints,
            first_complaint=found.first_complaint,
            read_error=found.read_error,
            restart_seconds=found.restart_seconds,
        )


def _stated(source: VideoSource) -> tuple[float | None, float]:
    """The length that the file states, and the share of it by which the video may be shorter."""
    if source.stream.duration:
        return float(source.stream.duration * source.time_base), MIN_MISSING_SHARE
    tag = TAG_OF_LENGTH.match(source.stream.metadata.get("DURATION", ""))  # as in Matroska files
    if tag is not None:
        hours, minutes, seconds = map(float, tag.groups())
        return 3600 * hours + 60 * minutes + seconds, MIN_MISSING_SHARE
    return source.container_seconds, MIN_MISSING_SHARE_OF_CONTAINER


class _Findings:
    """Counts what goes wrong while a whole file is decoded."""

    def __init__(self) -> None:
        self.num_frames = 0
        self.num_damaged = 0
        self.num_complaints = 0
        self.first_complaint: str | None = None
        self.read_error: str | None = None
        self.restart_seconds: float | None = None
        self._latest_ticks: int | None = None

    def gather(self, source: VideoSource) -> None:
        """Decode everything from the present position on."""
        source.last_fault = None
        with _complaints() as complaints:
            for packet in source.packets():
                self.num_damaged += bool(packet.is_corrupt)
                self._follow(source, packet.dts)
                try:
                    for frame in source.stream.codec_context.decode(packet):
                        self.num_frames += 1
                        self.num_damaged += bool(frame.is_corrupt)
                except MemoryError as error:
                    raise DecodeError(source.path, f"cannot be decoded: {explain(error)}") from error
                except (av.FFmpegError, OSError, ValueError):
                    self.num_damaged += 1
                self._note(complaints)
        self.read_error = source.last_fault

    def _follow(self, source: VideoSource, decode_ticks: int | None) -> None:
        """Notice where time jumps back."""
        if decode_ticks is None:
            return
        latest = decode_ticks if self._latest_ticks is None else self._latest_ticks
        if self.restart_seconds is None and latest - decode_ticks > source.ticks(MIN_RESTART_SECONDS):
            self.restart_seconds = float((latest - source.origin_ticks) * source.time_base)
        self._latest_ticks = max(latest, decode_ticks)

    def _note(self, complaints: list[tuple[int, str, str]]) -> None:
        """Count them and let them go: a damaged file can give millions."""
        self.num_complaints += len(complaints)
        if complaints and self.first_complaint is None:
            self.first_complaint = complaints[0][2].strip()
        complaints.clear()


@contextmanager
def _complaints() -> Iterator[list[tuple[int, str, str]]]:
    """What FFmpeg complains of in this thread while the block runs: (level, part of FFmpeg, text)."""
    level, skips = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)  # it would also skip what the file before this one ended with
    try:
        with av.logging.Capture(local=True) as complaints:
            yield complaints
    finally:
        av.logging.set_level(level)
        av.logging.set_skip_repeated(skips)
