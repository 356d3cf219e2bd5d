"""Writing the shards of a pack: tar files in which WebDataset finds a video and a JSON object per segment."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO

from narravid.data.pack_cutting import CutSegment, CutVideo
from narravid.data.pack_format import PackedSegment, PackedVideo, segment_name
from narravid.files import write_atomically

__all__ = ["write_shard"]


def write_shard(
    path: Path,
    shard: int,
    videos: Iterable[tuple[int, CutVideo]],
    *,
    root: Path,
    on_video: Callable[[CutVideo], None],
) -> list[PackedVideo]:
    """Write one shard, atomically; the same videos give the same bytes.

    Args:
        path: The file to make or replace.
        shard: Its number.
        videos: (number in the corpus, what was cut from it), in order; taken one by one.
        root: The folder of the archive, to which paths are made relative.
        on_video: Called after each video; may raise to stop.

    Returns:
        The rows of the videos for the table of the pack.

    Raises:
        OSError: If the disk is full.
    """
    rows: list[PackedVideo] = []

    def write(temporary: Path) -> None:
        with tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
            for number, cut in videos:
                with cut.content:
                    rows.append(_add_video(tar, shard, number, cut=cut, root=root))
                on_video(cut)

    write_atomically(path, write)
    return rows


def _add_video(tar: tarfile.TarFile, shard: int, number: int, *, cut: CutVideo, root: Path) -> PackedVideo:
    video = cut.video
    packed: list[PackedSegment] = []
    for segment in cut.segments:
        name = segment_name(number, len(packed))
        offset = tar.offset + tarfile.BLOCKSIZE  # a name this short takes one block before the content
        _add_file(tar, f"{name}.mp4", cut.content, size=segment.size)
        about = json.dumps(_describe(cut, segment)).encode()
        _add_file(tar, f"{name}.json", io.BytesIO(about), size=len(about))
        packed.append(
            PackedSegment(
                shard=shard,
                offset=offset,
                size=segment.size,
                crc32=segment.crc32,
                start_seconds=segment.span.start_seconds,
                end_seconds=segment.span.end_seconds,
                shift_ticks=segment.timeline.shift_ticks,
            )
        )
    path = video.path.relative_to(root).as_posix()
    if not cut.segments:
        return PackedVideo(
            video.video_id,
            path,
            video.track.captions,
            bad=cut.bad,
            duration_seconds=cut.duration_seconds,
        )
    timeline = cut.segments[0].timeline
    return PackedVideo(
        video.video_id,
        path,
        video.track.captions,
        duration_seconds=cut.duration_seconds,
        time_base=timeline.time_base,
        origin_microseconds=timeline.origin_microseconds,
        frame_ticks=timeline.frame_ticks,
        segments=tuple(packed),
    )


def _add_file(tar: tarfile.TarFile, name: str, content: IO[bytes], *, size: int) -> None:
    """Add what stands next in `content`; time and owner are the same for all."""
    header = tarfile.TarInfo(name)
    header.size = size
    tar.addfile(header, content)


def _describe(cut: CutVideo, segment: CutSegment) -> dict[str, object]:
    """What the JSON file beside a segment says."""
    timeline, span = segment.timeline, segment.span
    return {
        "video_id": cut.video.video_id,
        "start_seconds": span.start_seconds,
        "end_seconds": span.end_seconds,
        "clock": {
            "time_base": [timeline.time_base.numerator, timeline.time_base.denominator],
            "origin_microseconds": timeline.origin_microseconds,
            "shift_ticks": timeline.shift_ticks,
            "frame_ticks": timeline.frame_ticks,
        },
        "captions": [
            {
                "text": caption.text,
                "start_seconds": caption.span.start_seconds,
                "end_seconds": caption.span.end_seconds,
            }
            for caption in cut.video.track
            if caption.span.start_seconds <= span.end_seconds
            and caption.span.end_seconds >= span.start_seconds
        ],
    }
