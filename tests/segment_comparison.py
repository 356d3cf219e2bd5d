"""Segments held against the file that they were cut from: clips of both must be padded and look alike."""

from __future__ import annotations

import itertools

import numpy as np

from narravid.types import ClipSpec
from narravid.video.decode import decode_clips, probe
from narravid.video.decode_source import VideoSource
from narravid.video.encode_segments import SegmentEncoding, cut_segments

LOSSLESS = SegmentEncoding(lossless=True)
RULES = ("ffmpeg_fps", "shown_at")


def cut(path, spans, encoding=LOSSLESS):
    with VideoSource(path) as source:
        return list(cut_segments(source, spans, encoding))


def worst_difference(path, spans, segments, *, num_starts=2, size=48, specs=((8, 10), (16, 5))):
    """Largest mean difference of a clip of a segment from that of the file, which must be padded alike."""
    rng = np.random.default_rng(7)
    duration = probe(path).duration_seconds
    worst = 0.0
    for (start, end), segment in zip(spans, segments, strict=True):
        for rule, (num_frames, fps) in itertools.product(RULES, specs):
            spec = ClipSpec(num_frames, fps, size, frame_rule=rule)
            last = end - 0.02 if end >= duration else end - spec.duration_seconds
            if last < start:
                continue
            starts = [start, last, *rng.uniform(start, last, num_starts).tolist()]
            clips = [decode_clips(path, starts, spec, segment=part) for part in (None, segment)]
            for expected, found in zip(*clips, strict=True):
                assert found.num_padded == expected.num_padded, (path.name, expected.span, rule)
                difference = expected.frames.numpy().astype(np.float32) - found.frames.numpy()
                worst = max(worst, float(np.abs(difference).mean()))
    return worst


def spans_of(path, *, seconds=4.0):
    """A stretch somewhere, one that overlaps it, and the end."""
    duration = probe(path).duration_seconds
    rng = np.random.default_rng(3)
    first = float(rng.uniform(0, max(0.0, duration - seconds)))
    starts = sorted({first, max(0.0, first - seconds / 2), max(0.0, duration - seconds)})
    return [(start, min(start + seconds, duration)) for start in starts]
