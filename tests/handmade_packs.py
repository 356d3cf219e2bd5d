"""Packs written by hand, without loss and without the packing program: what the reader is tested on."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zlib
from fractions import Fraction
from pathlib import Path

import av

from narravid.data.corpus import find_narrated_videos
from narravid.data.fingerprint import CorpusFingerprint
from narravid.data.pack_format import (
    VIDEOS_NAME,
    PackedSegment,
    PackedVideo,
    PackInfo,
    PackSettings,
    segment_name,
    shard_name,
    write_info,
)
from narravid.data.pack_table import write_videos
from narravid.errors import DecodeError
from narravid.video.decode import probe

SEGMENT_SECONDS, STEP_SECONDS = 3.0, 1.0


def make_pack(root: Path, pack: Path, *, videos_per_shard: int = 2, clip_seconds: float = 2.0) -> PackInfo:
    """Cut every video below a folder into stretches of 3 s every second."""
    pack.mkdir(parents=True, exist_ok=True)
    videos = find_narrated_videos(root).videos
    fingerprint = CorpusFingerprint()
    rows: list[PackedVideo] = []
    shard_bytes: list[int] = []
    for first in range(0, len(videos), videos_per_shard):
        shard = len(shard_bytes)
        target = pack / shard_name(shard)
        with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as tar:
            for index in range(first, min(first + videos_per_shard, len(videos))):
                video = videos[index]
                fingerprint.add(video.video_id, video.track)
                where = video.path.relative_to(root).as_posix()
                try:
                    rows.append(_pack_video(tar, shard, index, video=video, where=where))
                except DecodeError as error:
                    rows.append(PackedVideo(video.video_id, where, video.track.captions, error.reason))
        shard_bytes.append(target.stat().st_size)
    write_videos(pack / VIDEOS_NAME, rows)
    segments = [segment for row in rows for segment in row.segments]
    info = PackInfo(
        settings=PackSettings(
            lossless=True,
            short_side_pixels=None,
            clip_seconds=clip_seconds,
            videos_per_shard=videos_per_shard,
        ),
        corpus_sha256=fingerprint.sha256,
        videos_sha256=hashlib.sha256((pack / VIDEOS_NAME).read_bytes()).hexdigest(),
        videos_bytes=(pack / VIDEOS_NAME).stat().st_size,
        num_videos=len(rows),
        num_bad_videos=sum(row.bad is not None for row in rows),
        num_captions=fingerprint.num_captions,
        num_segments=len(segments),
        shard_bytes=tuple(shard_bytes),
        video_seconds=sum(row.duration_seconds for row in rows),
        segment_seconds=sum(segment.end_seconds - segment.start_seconds for segment in segments),
    )
    write_info(pack, info)
    return info


def _pack_video(tar, shard, index, *, video, where):
    duration = probe(video.path).duration_seconds
    frames, base, origin, rate = _frames(video.path)
    frame_ticks = max(1, round(1 / (rate * base)))
    segments = []
    start = 0.0
    while not segments or segments[-1].end_seconds < duration:
        end = min(start + SEGMENT_SECONDS, duration)
        data, shift = _cut(frames, base, origin, rate=rate, start=start, end=end)
        header = tarfile.TarInfo(f"{segment_name(index, len(segments))}.mp4")
        header.size = len(data)
        offset = tar.offset + tarfile.BLOCKSIZE
        tar.addfile(header, io.BytesIO(data))
        segments.append(PackedSegment(shard, offset, len(data), zlib.crc32(data), start, end, shift))
        start += STEP_SECONDS
    captions = video.track.captions
    return PackedVideo(
        video.video_id,
        where,
        captions,
        duration_seconds=duration,
        time_base=base,
        origin_microseconds=origin,
        frame_ticks=frame_ticks,
        segments=tuple(segments),
    )


def _frames(path):
    with av.open(str(path)) as source:
        stream = source.streams.video[0]
        frames = list(source.decode(stream))
        return frames, Fraction(stream.time_base), source.start_time or 0, stream.average_rate


def _cut(frames, base, origin, *, rate, start, end):
    """The frames from before `start` to after `end` as a file of its own, and the tick at which it starts."""
    seconds = [float(frame.pts * base) - origin / av.time_base for frame in frames]
    first = max([n for n, second in enumerate(seconds) if second <= start], default=0)
    last = min([n for n, second in enumerate(seconds) if second > end], default=len(frames) - 1)
    first, last = max(0, first - 1), min(len(frames) - 1, last + 1)
    shift = frames[first].pts
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as target:
        out = target.add_stream("libx264", rate=rate, options={"qp": "0", "preset": "ultrafast", "bf": "0"})
        out.width, out.height, out.pix_fmt = frames[0].width, frames[0].height, frames[0].format.name
        out.time_base = out.codec_context.time_base = base
        out.thread_count = 1
        for frame in frames[first : last + 1]:
            copy = frame.reformat(format=frame.format.name)
            copy.pts, copy.time_base, copy.pict_type = frame.pts - shift, base, 0
            copy.duration = frame.duration
            target.mux(out.encode(copy))
        target.mux(out.encode(None))
    return buffer.getvalue(), shift
