"""What benchmarks/scaling.py starts from: the archives, what was measured, and assumed prices."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CORPORA", "SECONDS_PER_HOUR", "Corpus", "Prices", "Rates"]

SECONDS_PER_HOUR = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """An archive, and a run that trains on it.

    Attributes:
        name: As papers call it.
        num_videos: Its videos.
        num_captions: Their captions.
        hours: Their length.
        num_bytes: Their files.
        held_share: Seconds that the segments hold for each second of video.
        segment_seconds: Mean length of a segment.
        num_epochs: Of the published run.
        clips_per_video: Clips of a video in an epoch of it.
    """

    name: str
    num_videos: int
    num_captions: int
    hours: float
    num_bytes: float
    held_share: float
    segment_seconds: float
    num_epochs: int
    clips_per_video: int

    @property
    def held_seconds(self) -> float:
        """Length of all segments."""
        return self.hours * SECONDS_PER_HOUR * self.held_share

    @property
    def num_segments(self) -> float:
        """Segments of the pack."""
        return self.held_seconds / self.segment_seconds

    @property
    def num_clips(self) -> int:
        """Clips that the published run reads."""
        return self.num_videos * self.clips_per_video * self.num_epochs


CORPORA = (
    Corpus(
        name="HTM-AA",
        num_videos=247_564,
        num_captions=3_300_000,
        hours=247_564 * 134_472 / 1_220_000,  # not published: as long as HowTo100M's, on average
        num_bytes=6e12,
        held_share=0.22,
        segment_seconds=8.4,
        num_epochs=40,
        clips_per_video=2,
    ),
    Corpus(
        name="HowTo100M",
        num_videos=1_220_000,
        num_captions=136_000_000,
        hours=134_472,
        num_bytes=25e12,
        held_share=1.04,
        segment_seconds=26.0,
        num_epochs=300,
        clips_per_video=1,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What was measured, for one core; see docs/scaling.md for by what.

    Attributes:
        pack_bytes_per_second: Of a pack with the default settings, for a second held.
        small_bytes_per_second: The same with --crf 23.
        core_seconds_per_second: Processor time to pack a second of video.
        file_clip_ms: Processor time of a clip out of a file.
        pack_clip_ms: Of the same clip out of a pack.
        table_bytes_per_caption: Of the table of a pack, with the share of what is there once a video.
        table_bytes_per_segment: Of the same table.
        memory_bytes_per_caption: Of a caption in the memory of the packing program.
        memory_bytes_per_video: Of the table in the memory of a training process, that others cannot share.
        videos_per_shard: As `narravid pack` has it.
    """

    pack_bytes_per_second: float = 77_000
    small_bytes_per_second: float = 54_000
    core_seconds_per_second: float = 0.16
    file_clip_ms: float = 91.0
    pack_clip_ms: float = 47.0
    table_bytes_per_caption: float = 40.0
    table_bytes_per_segment: float = 48.0
    memory_bytes_per_caption: float = 250.0
    memory_bytes_per_video: float = 31.0
    videos_per_shard: int = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Assumptions, in dollars; put in those of your provider.

    Attributes:
        price_of_a_terabyte_month: Storing 1 TB for a month in an object store.
        price_of_a_core_hour: A core of a machine by the hour.
        price_of_1000_gets: A thousand requests that read.
        price_of_1000_puts: A thousand requests that write.
        price_of_a_terabyte_out: 1 TB read from outside the provider's region; inside it nothing.
        upload_part_mb: Large files are written in parts of this size, a request each.
    """

    price_of_a_terabyte_month: float = 23.0
    price_of_a_core_hour: float = 0.04
    price_of_1000_gets: float = 0.0004
    price_of_1000_puts: float = 0.005
    price_of_a_terabyte_out: float = 90.0
    upload_part_mb: float = 8.0
