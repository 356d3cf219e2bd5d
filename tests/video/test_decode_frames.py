"""Frames that stand for a whole video, by number, whatever the container."""

from __future__ import annotations

import tracemalloc
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from narravid.errors import DecodeError
from narravid.types import SpreadFrames
from narravid.video.decode_frames import read_spread
from narravid.video.decode_source import VideoSource
from narravid.video.frame_sampling import video_frames
from narravid.video.watched import WatchedDecoder
from numbered_video import number_of, numbered_frame, write_timed

WRITERS = {
    "gif": {"codec": "gif", "pix_fmt": "gray", "time_base": Fraction(1, 100)},
    "mp4": {"codec": "libx264", "options": {"preset": "ultrafast", "bf": "2"}},
    "avi": {"codec": "ffv1", "time_base": Fraction(1, 25)},
    "mkv": {"codec": "ffv1", "pix_fmt": "bgr0"},
    "webm": {"codec": "libvpx", "options": {"deadline": "realtime"}},
}


def spread(path, num_frames, **settings):
    with VideoSource(path) as source:
        return read_spread(source, num_frames, **{"sampling": "even"} | settings)


def numbers(frames):
    return [number_of(frame) for frame in frames]


@pytest.mark.parametrize("suffix", WRITERS)
def test_frames_are_counted_as_they_decode(suffix, tmp_path):
    path = tmp_path / f"video.{suffix}"
    writer = WRITERS[suffix]
    step = Fraction(4, 100) / writer.get("time_base", Fraction(1, 1000))
    write_timed(path, [int(step * number) for number in range(23)], **writer)
    result = spread(path, 5)
    assert result.frame_numbers == numbers(result.frames) == [0, 6, 11, 17, 22]  # 22 · k / 4, nearest
    assert result.num_video_frames == 23
    assert result.times_seconds == pytest.approx([0.04 * number for number in result.frame_numbers])
    published = spread(path, 5, sampling="published")
    assert published.frame_numbers == numbers(published.frames) == [0, 4, 8, 12, 16]


LOSSLESS = {
    "mp4": ("libx264rgb", "rgb24", {"qp": "0", "preset": "ultrafast"}),
    "avi": ("rawvideo", "bgr24", {}),
    "mkv": ("ffv1", "bgr0", {}),
    "mov": ("png", "rgb24", {}),
}


@pytest.mark.parametrize("size", [(24, 32), (37, 45)])
@pytest.mark.parametrize("suffix", LOSSLESS)
def test_copies_without_loss_give_the_same_pixels(suffix, size, tmp_path):
    path = tmp_path / f"copy.{suffix}"
    codec, pixels, options = LOSSLESS[suffix]
    noise = np.random.default_rng(4).integers(0, 256, (10, *size, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.height, stream.width = size
        stream.pix_fmt = pixels
        for picture in noise:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    result = spread(path, 4)
    assert result.frame_numbers == [0, 3, 6, 9]
    assert np.array_equal(result.frames, noise[[0, 3, 6, 9]])


def test_times_are_those_of_the_file_and_do_not_decide_what_is_taken(tmp_path):
    path = tmp_path / "slow_end.mkv"
    write_timed(path, [0, 10, 20, 30, 40, 1040, 9040], codec="ffv1")
    result = spread(path, 3)
    assert result.frame_numbers == [0, 3, 6]
    assert result.times_seconds == pytest.approx([0.0, 0.03, 9.04])


def test_a_longer_video_with_frames_that_lean_on_later_ones(numbered):
    result = spread(numbered, 32)
    assert result.frame_numbers == numbers(result.frames) == video_frames(300, 32)


def test_a_short_video_repeats_frames_that_are_stored_once(tmp_path):
    path = tmp_path / "short.mkv"
    write_timed(path, [0, 40, 80], codec="ffv1")
    result = spread(path, 8)
    assert len(result.frames) == 3
    assert result.frame_numbers == video_frames(3, 8) == [0, 0, 1, 1, 1, 1, 2, 2]
    assert len(result.times_seconds) == 8
    with WatchedDecoder() as decoder:
        watched = decoder.spread_frames(path, 8)
    assert numbers(watched.frames) == list(watched.frame_numbers) == [0, 0, 1, 1, 1, 1, 2, 2]
    assert watched.num_repeated == 5


def test_the_published_rule_refuses_a_short_video(tmp_path):
    path = tmp_path / "short.mkv"
    write_timed(path, [0, 40, 80], codec="ffv1")
    with pytest.raises(
        DecodeError, match="has 3 frames, of which the published rule cannot take 4; .* 'even'"
    ):
        spread(path, 4, sampling="published")
    assert spread(path, 3, sampling="published").frame_numbers == [0, 1, 2]


def test_pictures_that_do_not_decode_do_not_count(tmp_path):
    path = tmp_path / "damaged.mov"
    write_timed(path, [40 * number for number in range(60)], codec="png", pix_fmt="rgb24")
    data = bytearray(path.read_bytes())
    starts = [at for at in range(len(data)) if data[at : at + 4] == b"\x89PNG"]
    assert len(starts) == 60
    damaged = {0, 7, 30, 31, 59}
    for number in damaged:
        data[starts[number] : starts[number] + 4] = b"none"
    path.write_bytes(data)
    whole = [number for number in range(60) if number not in damaged]
    result = spread(path, 4)
    assert result.num_video_frames == 55
    assert result.frame_numbers == [0, 18, 36, 54]
    assert numbers(result.frames) == [whole[number] for number in result.frame_numbers]
    assert result.times_seconds == pytest.approx([0.04 * number for number in numbers(result.frames)])
    with pytest.raises(DecodeError, match="has 55 frames"):
        spread(path, 56, sampling="published")


def test_of_a_torn_file_what_decodes_counts(tmp_path, numbered):
    path = tmp_path / "torn.mkv"
    write_timed(path, [40 * number for number in range(40)], codec="ffv1")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    result = spread(path, 3)
    assert 15 < result.num_video_frames < 40
    assert result.frame_numbers == numbers(result.frames) == video_frames(result.num_video_frames, 3)


def test_a_file_without_frames_says_so(tmp_path):
    path = tmp_path / "words.mp4"
    path.write_text("no video at all")
    with pytest.raises(DecodeError, match="cannot be opened as a video"):
        spread(path, 3)
    with WatchedDecoder() as decoder, pytest.raises(DecodeError, match="cannot be opened as a video"):
        decoder.spread_frames(path, 3)


def test_frames_that_take_too_much_memory_are_refused_before_they_take_it(numbered):
    frame_bytes = 48 * 64 * 3
    assert len(spread(numbered, 10, max_bytes=10 * frame_bytes).frames) == 10
    with pytest.raises(
        DecodeError, match="11 frames of 64 x 48 pixels need 0 MiB, more than 0 MiB; take fewer"
    ):
        spread(numbered, 11, max_bytes=10 * frame_bytes)


def test_frames_that_are_repeated_count_as_often_as_they_are_asked_for(tmp_path):
    path = tmp_path / "short.mkv"
    write_timed(path, [0, 40, 80], codec="ffv1")
    frame_bytes = 48 * 64 * 3
    assert len(spread(path, 300, max_bytes=300 * frame_bytes).frames) == 3
    with pytest.raises(DecodeError, match="301 frames of 64 x 48 pixels need 3 MiB, more than 3 MiB; take"):
        spread(path, 301, max_bytes=300 * frame_bytes)


def test_memory_is_for_the_frames_taken_alone(video):
    tracemalloc.start()
    result = spread(video, 4)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert result.num_video_frames == 1000
    assert peak < 12 * 120 * 160 * 3  # four frames, what the scaler holds, and numbers


def test_pictures_come_upright(tmp_path):
    path = tmp_path / "turned.mp4"
    write_timed(path, [0, 40, 80], rotation=90)
    upright = tmp_path / "upright.mp4"
    write_timed(upright, [0, 40, 80])
    turned, plain = spread(path, 2).frames, spread(upright, 2).frames
    assert turned.shape == (2, 64, 48, 3)
    assert np.array_equal(turned, np.rot90(plain, axes=(1, 2)))


def test_times_that_start_again_go_on(twice):
    result = spread(twice, 3)
    assert result.num_video_frames == 100
    assert result.frame_numbers == [0, 50, 99]
    assert result.times_seconds == sorted(result.times_seconds)


def test_the_watched_decoder_gives_the_same(numbered):
    expected = spread(numbered, 6, sampling="published")
    with WatchedDecoder() as decoder:
        given = decoder.spread_frames(numbered, 6, sampling="published")
    assert isinstance(given, SpreadFrames)
    assert torch.equal(given.frames, torch.from_numpy(expected.frames))
    assert given.frame_numbers == tuple(expected.frame_numbers)
    assert given.times_seconds == pytest.approx(expected.times_seconds)
    assert given.num_video_frames == 300
    assert given.num_repeated == 0


def test_no_frames_cannot_be_asked_for():
    with WatchedDecoder() as decoder, pytest.raises(ValueError, match="num_frames must be at least 1, got 0"):
        decoder.spread_frames("video.mp4", 0)


# ---------------------------------------------------------------- gif


def composed(path):
    """All frames as another reader composes them, what is transparent in white."""
    frames = []
    with Image.open(path) as image:
        for frame in ImageSequence.Iterator(image):
            white = Image.new("RGBA", frame.size, "white")
            frames.append(np.array(Image.alpha_composite(white, frame.convert("RGBA")).convert("RGB")))
    return np.stack(frames)


@pytest.mark.parametrize("disposal", [0, 1, 2, 3])
def test_pictures_of_a_gif_that_hold_what_changes_are_composed(disposal, tmp_path):
    """Each picture is a small square somewhere; what stays of those before depends on the disposal."""
    path = tmp_path / "partial.gif"
    pictures = []
    for number in range(5):
        picture = np.zeros((24, 32, 4), dtype=np.uint8)
        picture[2 + 3 * number : 8 + 3 * number, 4 * number : 4 * number + 7] = (
            250 - 40 * number,
            30,
            90,
            255,
        )
        pictures.append(Image.fromarray(picture, "RGBA"))
    pictures[0].paste((20, 60, 200, 255), (0, 0, 32, 24))
    pictures[0].save(
        path, save_all=True, append_images=pictures[1:], duration=50, disposal=disposal, optimize=False
    )
    expected = composed(path)
    result = spread(path, len(expected))
    assert result.num_video_frames == len(expected) == 5
    assert np.array_equal(result.frames, expected)


def test_a_real_gif_has_the_frames_that_another_reader_sees(shared_data):
    path = shared_data / "trajectories" / "button-human.gif"
    expected = composed(path)
    result = spread(path, len(expected))
    assert result.num_video_frames == len(expected)
    assert np.array_equal(result.frames, expected)


@pytest.mark.slow
def test_all_real_gifs(shared_data):
    for path in sorted((shared_data / "trajectories").glob("*.gif")):
        expected = composed(path)
        chosen = video_frames(len(expected), 32)
        result = spread(path, 32)
        assert result.num_video_frames == len(expected), path.name
        assert np.array_equal(result.frames, expected[sorted(set(chosen))]), path.name


def test_numbers_of_a_gif_written_frame_by_frame_are_those_of_its_pictures(tmp_path):
    path = tmp_path / "numbers.gif"
    pictures = [Image.fromarray(numbered_frame(number)) for number in range(12)]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=100)
    result = spread(path, 4)
    assert result.frame_numbers == numbers(result.frames) == [0, 4, 7, 11]
    assert result.times_seconds == pytest.approx([0.0, 0.4, 0.7, 1.1])
