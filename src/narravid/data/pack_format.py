"""What a pack is on disk: a narrated archive cut into shards of short segments that training reads.

A pack is a folder, or the same below an address:

    pack.json          what it is and how it was made; written last, so its presence says that it is complete
    videos.arrow       one row for each video of the corpus in its order, bad ones too (`data.pack_table`)
    shard-000000.tar   WebDataset: `VVVVVVVV_SSSS.mp4` and `.json` for segment S of video V
    bad_items.csv      what could not be packed, and why

A bad video keeps its row, so that indexes, the order of an epoch and the replacements drawn from a pack are
those of the files that it was made from.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any

from narravid.config import from_dict, to_dict
from narravid.errors import ConfigError, NarravidError
from narravid.files import write_json
from narravid.text.captions import Caption
from narravid.video.segments import Timeline

__all__ = [
    "FORMAT_VERSION",
    "INFO_NAME",
    "PLAN_PLACE",
    "VIDEOS_NAME",
    "PackError",
    "PackInfo",
    "PackSettings",
    "PackedSegment",
    "PackedVideo",
    "parse_info",
    "parse_plan",
    "rows_place",
    "segment_name",
    "shard_name",
    "write_info",
]

FORMAT_VERSION = 1
INFO_NAME = "pack.json"
VIDEOS_NAME = "videos.arrow"
PLAN_PLACE = "parts/plan.json"
"""Where a pack in the making says what it will hold."""


class PackError(NarravidError):
    """A pack, or a file of it, cannot be used.

    Args:
        path: The file, or its address.
        reason: What is wrong and what to do, in one sentence.
    """

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = str(path)
        self.reason = reason

    def __reduce__(self) -> tuple[type[PackError], tuple[object, ...]]:
        return type(self), (self.path, self.reason)


def shard_name(shard: int) -> str:
    """File name of a shard."""
    return f"shard-{shard:06d}.tar"


def rows_place(shard: int) -> str:
    """Where the rows of a shard's videos lie while the pack is made; there once the shard is done."""
    return str(PurePosixPath(PLAN_PLACE).with_name(f"shard-{shard:06d}.arrow"))


def segment_name(video: int, segment: int) -> str:
    """Name of a segment inside its shard, without suffix; WebDataset groups its files by it."""
    return f"{video:08d}_{segment:04d}"


@dataclass(frozen=True)
class PackSettings:
    """How an archive is cut and encoded.

    Attributes:
        clip_seconds: Longest clip that can be drawn from the pack.
        min_caption_seconds: Captions shorter than this were widened around their centre, as in training.
        max_segment_seconds: Neighbouring captions share a segment while it stays this short.
        short_side_pixels: Length of the shorter side, never enlarged; None keeps the size.
        lossless: Whether the decoded pixels are those of the original.
        crf: Constant rate factor of x264, 0 to 51; without effect when lossless.
        preset: Speed preset of x264.
        keyframe_seconds: Largest distance between key frames.
        videos_per_shard: Consecutive videos in one shard.
    """

    clip_seconds: float = 3.2
    min_caption_seconds: float = 5.0
    max_segment_seconds: float = 30.0
    short_side_pixels: int | None = 256
    lossless: bool = False
    crf: int = 20
    preset: str = "veryfast"
    keyframe_seconds: float = 1.0
    videos_per_shard: int = 64

    def __post_init__(self) -> None:
        for name in ("clip_seconds", "max_segment_seconds", "keyframe_seconds"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be positive, got {value}")
        if not (math.isfinite(self.min_caption_seconds) and self.min_caption_seconds >= 0):
            raise ValueError(f"min_caption_seconds must not be negative, got {self.min_caption_seconds}")
        if self.short_side_pixels is not None and self.short_side_pixels < 2:
            raise ValueError(f"short_side_pixels must be at least 2 or None, got {self.short_side_pixels}")
        if not 0 <= self.crf <= 51:
            raise ValueError(f"crf must be 0 to 51, got {self.crf}")
        if self.videos_per_shard < 1:
            raise ValueError(f"videos_per_shard must be at least 1, got {self.videos_per_shard}")


@dataclass(frozen=True, kw_only=True)
class PackInfo:
    """What a pack holds: the content of `pack.json`.

    Attributes:
        settings: How it was made.
        corpus_sha256: Fingerprint of the ids and captions of its videos (`data.fingerprint`).
        videos_sha256: Of the content of `videos.arrow`.
        videos_bytes: Size of `videos.arrow`.
        num_videos: Videos of the corpus, bad ones included.
        num_bad_videos: Videos without segments, as they could not be decoded.
        num_captions: Captions of all videos.
        num_segments: Segments in the shards.
        shard_bytes: Size of each shard, by number.
        video_seconds: Length of all good videos together.
        segment_seconds: Length of all segments together.
        format_version: Version of the layout.
    """

    settings: PackSettings
    corpus_sha256: str
    videos_sha256: str
    videos_bytes: int
    num_videos: int
    num_bad_videos: int
    num_captions: int
    num_segments: int
    shard_bytes: tuple[int, ...]
    video_seconds: float
    segment_seconds: float
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        for name in ("corpus_sha256", "videos_sha256"):
            if not re.fullmatch(
                "[0-9a-f]{64}", getattr(self, name)
            ):  # one of them names a folder of the cache
                raise ValueError(f"{name} must be 64 hexadecimal digits, got {getattr(self, name)!r}")


@dataclass(frozen=True, slots=True)
class PackedSegment:
    """Where a stretch of a video lies in the shards.

    Attributes:
        shard: Number of its shard.
        offset: First byte of its video file in the shard, behind the file's tar header.
        size: Bytes of its video file.
        crc32: `zlib.crc32` of these bytes.
        start_seconds: Clips of the video from here on can be read, the frame on screen before included.
        end_seconds: Clips of the video up to here can be read; the frame after is included, or the video
            ends here.
        shift_ticks: Time in the video of what is time 0 in the segment, in ticks of the video.
    """

    shard: int
    offset: int
    size: int
    crc32: int
    start_seconds: float
    end_seconds: float
    shift_ticks: int


@dataclass(frozen=True, slots=True)
class PackedVideo:
    """One row of the table of a pack.

    Attributes:
        video_id: Name of the video.
        path: The file that it was made from, below the root of the archive, with forward slashes.
        captions: What is said in it, in order.
        bad: Why nothing of it is packed; None for a good video.
        duration_seconds: Its length as `probe` gives it; 0 for a file that does not decode at all.
        time_base: Seconds per tick of its clock.
        origin_microseconds: Timestamp at which it starts.
        frame_ticks: Ticks per frame at its average rate.
        segments: Its stretches, by start; none of a bad video.
    """

    video_id: str
    path: str
    captions: tuple[Caption, ...]
    bad: str | None = None
    duration_seconds: float = 0.0
    time_base: Fraction = Fraction(1)
    origin_microseconds: int = 0
    frame_ticks: int = 1
    segments: tuple[PackedSegment, ...] = ()

    def timeline(self, segment: PackedSegment) -> Timeline:
        """The clock of the video, as seen from one of its segments."""
        return Timeline(self.time_base, self.origin_microseconds, segment.shift_ticks, self.frame_ticks)


def write_info(folder: Path, info: PackInfo) -> None:
    """Write `pack.json`, which says that the pack is complete: call it last."""
    write_json(folder / INFO_NAME, to_dict(info))


def parse_info(content: bytes, where: str) -> PackInfo:
    """Read what `pack.json` holds.

    Args:
        content: The bytes of the file.
        where: The file or its address; named in errors.

    Raises:
        PackError: If it is damaged, of something else, or of another version; says what to do.
    """
    said = _parse_description(content, where)
    try:
        return from_dict(PackInfo, said, source=where)
    except ConfigError as error:
        raise PackError(where, f"does not fit the format ({error}); pack the archive again") from error


def parse_plan(content: bytes, where: str) -> tuple[PackSettings, int]:
    """Read what a pack in the making says of itself: the content of `PLAN_PLACE`.

    Args:
        content: The bytes of the file.
        where: The file or its address; named in errors.

    Returns:
        How it is made, and how many videos it will hold.

    Raises:
        PackError: If it is damaged, of something else, or of another version; says what to do.
    """
    said = _parse_description(content, where)
    num_videos = said.get("num_videos")
    if type(num_videos) is not int or num_videos < 1:
        raise PackError(where, f"field 'num_videos': {num_videos!r} is no number of videos; pack again")
    try:
        return from_dict(PackSettings, said.get("settings", {}), source=where), num_videos
    except ConfigError as error:
        raise PackError(where, f"does not fit the format ({error}); pack the archive again") from error


def _parse_description(content: bytes, where: str) -> dict[str, Any]:
    """The JSON object of a pack of this version."""
    try:
        said = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise PackError(where, f"is not valid JSON ({error}); copy the pack again") from error
    version = said.get("format_version") if isinstance(said, dict) else None
    if version is None:
        raise PackError(where, "is not the description of a pack; name a folder that `narravid pack` made")
    if version != FORMAT_VERSION:
        raise PackError(
            where,
            f"field 'format_version': the pack is of version {version!r}, this Narravid reads version"
            f" {FORMAT_VERSION}; pack the archive again, or use the Narravid that made it",
        )
    description: dict[str, Any] = said
    return description
