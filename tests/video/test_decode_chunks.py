"""A whole file in consecutive chunks: the frames of the published extraction programs, in one pass."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from ffmpeg_program import SQUARE, Output, needs_program, run_program
from narravid.errors import DecodeError
from narravid.types import ClipSpec
from narravid.video.decode import decode_clips, decode_video, probe
from narravid.video.decode_chunks import ChunkShape, read_chunks
from narravid.video.decode_source import LeftOutError, VideoSource
from narravid.video.encode import write_video
from narravid.video.resize import short_side_size
from narravid.video.watched import WatchedDecoder
from numbered_video import number_of, numbered_frame, write_timed

MOST_DIFFERENCE = 2.0  # of 255, mean over a frame: the program has its own release of FFmpeg


def chunks_of(path, shape):
    with VideoSource(path) as source:
        return list(read_chunks(source, shape))


def test_frames_are_those_of_the_fps_filter_from_the_beginning(numbered):
    chunks = chunks_of(numbered, ChunkShape(16, 5.0, 48))
    assert [len(chunk) for chunk in chunks] == [16, 16, 16, 12]
    numbers = [number_of(frame) for chunk in chunks for frame in chunk]
    assert numbers == list(range(2, 300, 5))  # 25 to 5 per second: the last that is nearest to each sample


def test_a_higher_rate_than_the_files_repeats_frames(numbered):
    numbers = [number_of(frame) for chunk in chunks_of(numbered, ChunkShape(7, 50.0, 48)) for frame in chunk]
    assert numbers == [number for number in range(300) for _ in range(2)]


def test_chunks_are_consecutive_clips(numbered):
    """Where clips start at key frames, those of a seek are the same."""
    shape, spec = ChunkShape(10, 5.0, 32), ClipSpec(10, 5.0, 32)
    clips = decode_clips(numbered, [2.0 * number for number in range(6)], spec)
    for chunk, clip in zip(chunks_of(numbered, shape), clips, strict=True):
        assert np.array_equal(chunk, clip.frames.numpy())


def test_chunks_do_not_share_memory(numbered):
    first, second, *_ = chunks_of(numbered, ChunkShape(4, 5.0, 32))
    before = second.copy()
    first[:] = 0
    assert np.array_equal(second, before)


@pytest.mark.parametrize("rule", ["ffmpeg_fps", "shown_at"])
def test_a_whole_frame_is_that_of_a_whole_video(numbered, rule):
    """64x48 scaled to 24 has no fraction to round."""
    chunks = chunks_of(numbered, ChunkShape(8, 3.0, 24, "whole", frame_rule=rule))
    whole = decode_video(numbered, fps=3.0, short_side_pixels=24, frame_rule=rule)
    assert np.array_equal(np.concatenate(chunks), whole.frames.numpy())


@pytest.mark.parametrize("size", [(48, 85), (85, 48), (50, 50), (37, 91)])
def test_sizes_are_the_published_ones(tmp_path, size):
    path = tmp_path / "odd.mkv"
    write_timed(path, [0, 100, 200, 300], size=size, pix_fmt="yuv444p")
    whole, *_ = chunks_of(path, ChunkShape(3, 10.0, 20, "whole"))
    assert whole.shape == (3, *short_side_size(*size, size_pixels=20), 3)
    for framing in ("square", "scaled_square"):
        square, *_ = chunks_of(path, ChunkShape(3, 10.0, 20, framing))
        assert square.shape == (3, 20, 20, 3)


def test_frames_left_out_wrongly_are_decoded_from_the_beginning(numbered, monkeypatch):
    expected = chunks_of(numbered, ChunkShape(16, 5.0, 32))
    seen = []

    class Torn(VideoSource):
        def frames(self, wants=None):
            for number, timed in enumerate(super().frames(wants)):
                if self.may_leave_out and number == 100:
                    raise LeftOutError
                seen.append(timed.ticks)
                yield timed

    with Torn(numbered) as source:
        chunks = list(read_chunks(source, ChunkShape(16, 5.0, 32)))
    assert len(seen) == 100 + 300  # with nothing left out the second time
    for chunk, other in zip(chunks, expected, strict=True):
        assert np.array_equal(chunk, other)


def test_unwanted_frames_are_left_out(numbered):
    with VideoSource(numbered) as source:
        decoded = []
        source._on_progress = lambda: decoded.append(1)
        list(read_chunks(source, ChunkShape(1, 1.0, 32)))
    assert len(decoded) < 200  # of 300, most of which are B-frames that no second wants


def test_a_file_whose_times_jump_without_end_is_refused(tmp_path):
    path = tmp_path / "jump.mkv"
    write_timed(path, [0, 40, 80, 300 * 3600 * 1000], time_base=Fraction(1, 1000))
    with VideoSource(path) as source, pytest.raises(DecodeError, match="more than 200 hours"):
        for _ in read_chunks(source, ChunkShape(4096, 0.05, 8)):
            pass


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_frames": 0}, "at least 1"),
        ({"size_pixels": 0}, "at least 1"),
        ({"fps": 0.0}, "fps must be positive"),
        ({"fps": float("nan")}, "fps must be positive"),
        ({"framing": "half"}, "framing must be one of square, whole, scaled_square"),
    ],
)
def test_shapes_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ChunkShape(**{"num_frames": 4, "fps": 5.0, "size_pixels": 8, **settings})


# ---------------------------------------------------------------- in a process of its own


def test_the_process_gives_the_same_chunks(numbered):
    shape = ChunkShape(16, 24.0, 28, "scaled_square")
    with WatchedDecoder() as decoder:
        theirs = list(decoder.chunks(numbered, shape))
    for ours, other in zip(chunks_of(numbered, shape), theirs, strict=True):
        assert np.array_equal(ours, other.numpy())


def test_a_caller_may_stop_early_and_ask_for_something_else(numbered):
    with WatchedDecoder() as decoder:
        for _ in range(3):
            chunks = decoder.chunks(numbered, ChunkShape(2, 25.0, 48))
            assert [number_of(frame) for frame in next(chunks)] == [0, 1]
            chunks.close()
        assert len(decoder.worker_pids) == 1


def test_a_broken_file_is_an_error(tmp_path):
    path = tmp_path / "broken.mp4"
    path.write_bytes(b"no video")
    with WatchedDecoder() as decoder, pytest.raises(DecodeError, match="cannot be opened"):
        next(decoder.chunks(path, ChunkShape(2, 25.0, 48)))


def resident_bytes(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096


@pytest.mark.slow
def test_memory_does_not_grow_with_the_video(tmp_path):
    path = tmp_path / "long.mp4"
    frame = numbered_frame(5, 120, 160)
    write_video(path, (frame for _ in range(25 * 300)), fps=25, preset="ultrafast")
    with WatchedDecoder() as decoder:
        sizes = []
        for chunk in decoder.chunks(path, ChunkShape(16, 24.0, 224)):  # 1.1 GB of frames
            assert len(chunk) == 16
            sizes.append(resident_bytes(decoder.worker_pids[0]))
    assert len(sizes) == 450
    assert max(sizes) < min(sizes) + 2**27


# ---------------------------------------------------------------- against the program


def program_frames(path, folder, shape, height, width):
    """What the published programs run: fps, then scale to whole numbers, then perhaps a crop."""
    scaled = short_side_size(height, width, size_pixels=shape.size_pixels)
    filters, size = f"scale={scaled[1]}:{scaled[0]}", scaled
    if shape.framing == "scaled_square":
        x, y = ((length - shape.size_pixels) // 2 for length in (scaled[1], scaled[0]))
        filters += f",crop={shape.size_pixels}:{shape.size_pixels}:{x}:{y}"
        size = (shape.size_pixels,) * 2
    elif shape.framing == "square":
        filters, size = f"{SQUARE},scale={shape.size_pixels}:{shape.size_pixels}", (shape.size_pixels,) * 2
    (frames,), _ = run_program(path, [Output(filters, *size, fps=shape.fps)], folder)
    return frames


PUBLISHED = {
    "resnet-152": ChunkShape(16, 1.0, 224, "whole"),
    "resnext-101": ChunkShape(16, 24.0, 112, "scaled_square"),
    "s3d": ChunkShape(16, 16.0, 224),
}


@needs_program
@pytest.mark.shared
@pytest.mark.parametrize("extractor", PUBLISHED)
@pytest.mark.parametrize(
    "name",
    [
        "hmdb51_RATRACE_wave_f_nm_np1_fr_goo_37.avi",
        pytest.param("msrvtt_video7500.mp4", marks=pytest.mark.slow),
        pytest.param("ucf101_v_ApplyEyeMakeup_g01_c01.avi", marks=pytest.mark.slow),
    ],
)
def test_frames_are_the_programs(shared_data, tmp_path, extractor, name):
    path, shape = shared_data / "videos" / name, PUBLISHED[extractor]
    info = probe(path)
    height, width = info.height, info.width
    ours = np.concatenate(chunks_of(path, shape))
    theirs = program_frames(path, tmp_path, shape, height, width)
    assert abs(len(ours) - len(theirs)) <= 1  # releases differ in how long the last frame is shown
    count = min(len(ours), len(theirs))
    assert ours.shape[1:] == theirs.shape[1:]
    differences = np.abs(ours[:count].astype(np.int16) - theirs[:count]).mean(axis=(1, 2, 3))
    assert differences.max() <= MOST_DIFFERENCE
