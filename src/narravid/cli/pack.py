"""`narravid pack ROOT --output PACK`: cut a narrated archive into shards to train from."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import joblib
import tyro

from narravid.bad_items import BAD_ITEMS_NAME, MAX_BAD_SHARE, TooManyBadItemsError
from narravid.cli.bad_item_lines import bad_item_lines
from narravid.data.corpus import find_narrated_videos
from narravid.data.pack_files import is_address
from narravid.data.pack_format import PackInfo, PackSettings
from narravid.data.pack_plan import PackPart
from narravid.data.packing import PackReport, pack_archive
from narravid.errors import ConfigError
from narravid.video.encode_segments import Preset

__all__ = ["Pack"]

SECONDS_PER_HOUR = 3600
MEGABYTE, GIGABYTE = 1e6, 1e9
SHORT_SIDE_PIXELS = 256


@dataclass(frozen=True)
class Pack:
    """Cut the videos of an archive around their captions, and store the pieces in shards.

    Training reads the pack in place of the videos, with the same options (--data.root PACK): the same clips
    with the same captions, several times as fast, from a disk or a web address. The shards are WebDataset tar
    files with an .mp4 and a .json for each piece. A run that was stopped goes on where it was when it is
    started again. Videos that do not decode are listed in PACK/bad_items.csv. Exit status: 0, also when the
    parts of other machines are still missing.

    Attributes:
        root: Folder of the videos, searched to the bottom.
        output: Folder of the pack on a disk; made when it is not there.
        captions: Folder of the transcripts, or one file with the captions of many videos; by default each
            transcript lies beside its video.
        video_list: The videos to take, in place of all below ROOT: CSV with a column video_path or path, or
            vid_to_path.json; paths start at ROOT.
        short_side: Pixels of the shorter side, aspect kept; smaller videos are not enlarged.
        crf: Quality of H.264, from 0 (best) to 51; each 6 less about double the size.
        preset: Speed of the encoder; slower ones give smaller shards.
        keyframe_seconds: Largest distance of key frames; shorter is quicker to read and larger.
        clip_seconds: Longest clip that training will draw.
        min_caption_seconds: Length to which training widens short captions, at most.
        max_segment_seconds: Neighbouring captions share a piece while it stays this short.
        videos_per_shard: Videos in one shard; what is lost when the run is stopped.
        lossless: Keep size, pixel format and every pixel, at ten to thirty times the size.
        workers: Videos that are cut at once, each in a process of its own; by default one for each core.
        part: I/N: write the I-th of N parts only; machines that share a disk can so share the work.
        max_bad_share: Share of the videos that may be bad before packing stops; 1 never stops.
    """

    root: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="ROOT")]
    output: Annotated[str, tyro.conf.arg(metavar="PACK")]
    captions: Path | None = None
    video_list: Path | None = None
    short_side: int = SHORT_SIDE_PIXELS
    crf: int = PackSettings.crf
    preset: Preset = "veryfast"
    keyframe_seconds: float = PackSettings.keyframe_seconds
    clip_seconds: float = PackSettings.clip_seconds
    min_caption_seconds: float = PackSettings.min_caption_seconds
    max_segment_seconds: float = PackSettings.max_segment_seconds
    videos_per_shard: int = PackSettings.videos_per_shard
    lossless: bool = False
    workers: int | None = None
    part: str = "1/1"
    max_bad_share: float = MAX_BAD_SHARE

    def run(self) -> int:
        """Pack, and say what was made."""
        if is_address(self.output):
            raise ConfigError(
                f"--output {self.output}: a pack is written to a folder, not to an address; write it to a"
                " disk and copy the folder there, from where training reads it",
                key="output",
            )
        output = Path(self.output)
        part = _parse_part(self.part)
        settings = self._settings()
        root = Path(os.path.abspath(self.root))
        found = find_narrated_videos(root, captions=self.captions, video_list=self.video_list)
        try:
            report = pack_archive(
                found,
                root,
                output,
                settings=settings,
                num_workers=joblib.cpu_count() if self.workers is None else self.workers,
                part=part,
                max_bad_share=self.max_bad_share,
            )
        except TooManyBadItemsError as error:
            raise TooManyBadItemsError(
                f"{error}. All are listed in {output / BAD_ITEMS_NAME}. The same command with a larger "
                "--max-bad-share goes on without them; mended ones need a new pack"
            ) from error
        except KeyboardInterrupt:
            print("narravid: finished shards are kept; the same command goes on from there", file=sys.stderr)
            raise
        for line in bad_item_lines(report.bad, "not packed", table=output / BAD_ITEMS_NAME):
            print(line)
        _print_report(report, output)
        return 0

    def _settings(self) -> PackSettings:
        if self.lossless and self.short_side != SHORT_SIDE_PIXELS:
            raise ConfigError("--lossless keeps the size; leave --short-side out", key="short_side")
        return PackSettings(
            clip_seconds=self.clip_seconds,
            min_caption_seconds=self.min_caption_seconds,
            max_segment_seconds=self.max_segment_seconds,
            short_side_pixels=None if self.lossless else self.short_side,
            lossless=self.lossless,
            crf=self.crf,
            preset=self.preset,
            keyframe_seconds=self.keyframe_seconds,
            videos_per_shard=self.videos_per_shard,
        )


def _print_report(report: PackReport, output: Path) -> None:
    missing = f"; {len(report.bad):,} are not packed, see {output / BAD_ITEMS_NAME}" if report.bad else ""
    if report.num_written or report.num_kept or report.info is None:
        kept = f", {report.num_kept:,} were done before" if report.num_kept else ""
        print(f"{report.num_written:,} videos done now{kept}{missing}")
    else:
        print(f"{output} was complete before, nothing is done{missing}")
    if report.info is None:
        print(f"shards of other parts still missing in {output}: {report.num_shards_missing:,}")
    else:
        _print_pack(output, report.info, report.archive_bytes)


def _print_pack(output: Path, info: PackInfo, archive_bytes: int) -> None:
    num_bytes = sum(info.shard_bytes)
    hours = info.video_seconds / SECONDS_PER_HOUR
    segment_hours = info.segment_seconds / SECONDS_PER_HOUR
    print(
        f"{output}: {info.num_videos - info.num_bad_videos:,} videos ({hours:,.2f} h) in"
        f" {info.num_segments:,} segments ({segment_hours:,.2f} h) and {len(info.shard_bytes):,} shards"
    )
    rate = f", {num_bytes / hours / MEGABYTE:,.0f} MB an hour of video" if hours else ""
    share = f", {num_bytes / archive_bytes:.0%} of the archive" if archive_bytes else ""
    size = f"{num_bytes / GIGABYTE:,.2f} GB" if num_bytes >= GIGABYTE else f"{num_bytes / MEGABYTE:,.2f} MB"
    print(f"{size}{rate}{share}")


def _parse_part(text: str) -> PackPart:
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None:
        raise ConfigError(f"--part must be I/N, such as 1/4, got {text!r}", key="part")
    return PackPart(int(match[1]), int(match[2]))
