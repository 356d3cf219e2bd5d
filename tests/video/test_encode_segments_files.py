"""Segments of every real file: without loss its very frames, otherwise near them."""

from __future__ import annotations

import pytest

from narravid.errors import DecodeError
from narravid.video.decode import probe
from narravid.video.encode_segments import SegmentEncoding
from segment_comparison import LOSSLESS, cut, spans_of, worst_difference

COARSE = {"newtonscradle.gif": 10.0}
"""Mean differences where colours change from pixel to pixel, which yuv420p does not keep: a dithered gif."""


def decodable(folder):
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix.lower() in (
            ".mp4",
            ".avi",
            ".mkv",
            ".webm",
            ".mov",
            ".mpg",
            ".gif",
            ".3gp",
        ):
            try:
                probe(path)
            except DecodeError:
                continue
            yield path


@pytest.mark.shared
@pytest.mark.parametrize("encoding", [LOSSLESS, SegmentEncoding()], ids=["lossless", "lossy"])
@pytest.mark.parametrize(
    "name", ["odd/realshort.mp4", "odd/no_duration.webm", "odd/video_90.mov", "trajectories/button-human.gif"]
)
def test_real_files(shared_data, name, encoding):
    path = shared_data / name
    spans = [(0.0, min(2.0, probe(path).duration_seconds))]
    limit = 0 if encoding.lossless else 4
    assert worst_difference(path, spans, cut(path, spans, encoding), num_starts=1, size=224) <= limit


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("encoding", [LOSSLESS, SegmentEncoding()], ids=["lossless", "lossy"])
@pytest.mark.parametrize("folder", ["videos", "narrated", "odd", "trajectories"])
def test_all_real_files(shared_data, folder, encoding):
    worst = {}
    for path in decodable(shared_data / folder):
        spans = spans_of(path)
        worst[path.name] = worst_difference(path, spans, cut(path, spans, encoding), size=224)
    assert len(worst) >= 10
    too_much = {
        name: found
        for name, found in worst.items()
        if found > (0 if encoding.lossless else COARSE.get(name, 4.0))
    }
    assert not too_much
