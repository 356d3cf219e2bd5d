"""Clips read out of the shards of a pack.

A clip needs one read of the segment that holds it, from a disk or from an object store, and no more of the
shard. What is drawn from a pack is what would be drawn from the files that it was made from.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import torch

from narravid.data.pack_format import (
    VIDEOS_NAME,
    PackedSegment,
    PackedVideo,
    PackError,
    segment_name,
    shard_name,
)
from narravid.data.packs import Pack
from narravid.errors import DecodeError
from narravid.types import Clip, ClipSpec
from narravid.video.decode import decode_clips, draw_squares
from narravid.video.segments import Segment
from narravid.video.watched import WatchedDecoder

__all__ = ["PackedClips"]

TAR_HEADER_BYTES = 512
NAME_BYTES = 100
SLACK_SECONDS = 1e-6  # of sums of floating-point times; segments hold a whole frame more at both ends


class PackedClips:
    """Decodes clips out of the shards of a pack; see `narravid.data.sources.ClipSource`.

    Args:
        pack: The pack.
        decoder: Decodes in watched processes, which `close` ends; right for packs of strangers. None decodes
            in this process.
        num_threads: Decoding threads per clip, where this process decodes.
    """

    def __init__(self, pack: Pack, decoder: WatchedDecoder | None = None, *, num_threads: int = 1) -> None:
        self._pack = pack
        self._decoder = decoder
        self._num_threads = num_threads

    def read(
        self, path: Path, start_seconds: float, spec: ClipSpec, *, generator: torch.Generator | None = None
    ) -> Clip:
        """Read the segment that holds a clip and decode the clip; see `ClipSource.read`.

        Raises:
            DecodeError: If the video is a bad one of the archive, or its bytes are not those packed.
            PackError: If no segment holds the clip, as the pack was made for others.
        """
        index, row = self._row(path)
        if row.bad is not None:
            draw_squares(1, spec, generator)  # as the file would have done, for the same replacement
            raise DecodeError(path, row.bad)
        number = self._find_segment(row, start_seconds, spec.duration_seconds)
        data = self._read_segment(row, index, number)
        segment = Segment(data, row.timeline(row.segments[number]))
        if self._decoder is not None:
            clips = self._decoder.clips(path, [start_seconds], spec, segment=segment, generator=generator)
        else:
            clips = decode_clips(
                path,
                [start_seconds],
                spec,
                segment=segment,
                generator=generator,
                num_threads=self._num_threads,
            )
        [clip] = clips  # to its end, or the decoding process would be told to stop
        return clip

    def duration_seconds(self, path: Path) -> float:
        """Length of a video of the archive, from the table."""
        _, row = self._row(path)
        if row.bad is not None and row.duration_seconds <= 0:
            raise DecodeError(path, row.bad)
        return row.duration_seconds

    def close(self) -> None:
        """End the decoding processes; see `ClipSource.close`."""
        if self._decoder is not None:
            self._decoder.close()

    def _row(self, path: Path) -> tuple[int, PackedVideo]:
        index = self._pack.rows.find(path.as_posix())
        if index is None:
            raise ValueError(f"{path} is not among the {len(self._pack.rows)} videos of {self._pack.root}")
        return index, self._pack.rows.row(index, with_captions=False)

    def _find_segment(self, row: PackedVideo, start_seconds: float, clip_seconds: float) -> int:
        """Number of the smallest segment that holds a clip; no frames are needed behind the video's end."""
        end_seconds = min(start_seconds + clip_seconds, row.duration_seconds)
        holding = [
            (segment.size, number)
            for number, segment in enumerate(row.segments)
            if segment.start_seconds <= start_seconds + SLACK_SECONDS
            and end_seconds <= segment.end_seconds + SLACK_SECONDS
        ]
        if not holding:
            settings = self._pack.info.settings
            raise PackError(
                self._pack.root,
                f"no segment of {row.path} holds a clip at {start_seconds:.2f}-{end_seconds:.2f} s: the pack"
                f" is made for clips of up to {settings.clip_seconds:g} s (--clip-seconds) around captions of"
                f" at least {settings.min_caption_seconds:g} s (--min-caption-seconds); draw such ones, or"
                " pack the archive again with what you need",
            )
        return min(holding)[1]

    def _read_segment(self, row: PackedVideo, index: int, number: int) -> bytes:
        """The video file of a segment, held against what the table says of it."""
        segment = row.segments[number]
        name = shard_name(segment.shard)
        try:
            self._check_place(segment)
            content = self._pack.files.read_part(
                name, segment.offset - TAR_HEADER_BYTES, TAR_HEADER_BYTES + segment.size
            )
        except PackError as error:
            raise DecodeError(row.path, f"{name} at byte {segment.offset}: {error.reason}") from error
        data = content[TAR_HEADER_BYTES:]
        reason = None
        if len(data) != segment.size:
            reason = f"it ends at byte {segment.offset - TAR_HEADER_BYTES + len(content)}"
        elif content[:NAME_BYTES].partition(b".")[0] != segment_name(index, number).encode():
            reason = "another file lies there"
        elif zlib.crc32(data) != segment.crc32:
            reason = "its bytes are not those that were packed"
        if reason is not None:
            raise DecodeError(
                row.path,
                f"{name} at byte {segment.offset}: {reason}; the shard is cut off or changed, copy it again",
            )
        return data

    def _check_place(self, segment: PackedSegment) -> None:
        sizes = self._pack.info.shard_bytes
        if not (
            0 <= segment.shard < len(sizes)
            and segment.offset >= TAR_HEADER_BYTES
            and 0 <= segment.size <= sizes[segment.shard] - segment.offset
        ):
            raise PackError(
                self._pack.files.place(VIDEOS_NAME),
                f"the table names {segment.size} bytes that the shard cannot hold; copy the pack again",
            )
