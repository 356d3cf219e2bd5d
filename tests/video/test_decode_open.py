"""Which stream of a file is its video."""

from __future__ import annotations

import av
import pytest

from narravid.types import ClipSpec
from narravid.video.decode import decode_clips
from numbered_video import numbered_frame, numbers_of

DEFAULT = av.stream.Disposition.default
COVER = av.stream.Disposition.attached_pic
SPEC = ClipSpec(4, 5.0, 48, frame_rule="shown_at")


def write_streams(path, streams):
    """A file with several video streams of 50 frames, given as (height, disposition, first number)."""
    with av.open(str(path), "w") as container:
        encoders = []
        for height, disposition, _ in streams:
            encoder = container.add_stream("mjpeg" if disposition == COVER else "libx264", rate=25)
            encoder.height, encoder.width = height, 64
            encoder.pix_fmt = "yuvj420p" if disposition == COVER else "yuv420p"
            encoder.disposition = disposition
            encoders.append(encoder)
        for number in range(50):
            for encoder, (height, disposition, first) in zip(encoders, streams, strict=True):
                if disposition == COVER and number:
                    continue
                picture = numbered_frame(first + number, height, 64)
                container.mux(encoder.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        for encoder in encoders:
            container.mux(encoder.encode(None))


@pytest.mark.parametrize(
    ("suffix", "streams", "first"),
    [
        (".ts", [(32, 0, 100), (48, 0, 200)], 200),  # no stream is marked in this container
        (".ts", [(48, 0, 100), (48, 0, 200)], 100),
        (".mkv", [(32, DEFAULT, 100), (48, DEFAULT, 200)], 100),
        (".mkv", [(32, DEFAULT, 100), (48, 0, 200)], 100),  # the one that the file puts first itself
        (".mkv", [(48, 0, 100), (32, DEFAULT, 200)], 200),
        (".mp4", [(80, COVER, 100), (48, 0, 200)], 200),
    ],
    ids=["larger", "first", "first default", "default", "default comes last", "no cover"],
)
def test_the_video_among_several(tmp_path, suffix, streams, first):
    path = tmp_path / f"several{suffix}"
    write_streams(path, streams)
    assert numbers_of(next(decode_clips(path, [0.0], SPEC))) == [first, first + 5, first + 10, first + 15]


def test_a_file_whose_words_are_no_unicode(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width = 48, 64
        container.metadata["title"] = "QQQQQQ"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(numbered_frame(7), format="rgb24")))
        container.mux(stream.encode(None))
    data = path.read_bytes()
    assert data.count(b"QQQQQQ") == 1
    path.write_bytes(data.replace(b"QQQQQQ", b"\xff\xfe\xc3\x28\xa0\xa1"))
    assert numbers_of(next(decode_clips(path, [0.0], SPEC))) == [7]
