"""Files that are broken, strange, or not videos; and what a long run leaves behind."""

from __future__ import annotations

import gc
import resource
import socket
import wave
from contextlib import suppress
from fractions import Fraction
from itertools import product
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from narravid.errors import DecodeError
from narravid.types import ClipSpec
from narravid.video import decode_opened, decode_source
from narravid.video.decode import decode_clips, decode_video, probe
from narravid.video.decode_check import check_video
from narravid.video.encode import write_video
from numbered_video import numbered_frame, numbers_of, write_timed

SPEC = ClipSpec(4, 5.0, 48, frame_rule="shown_at")


def write_numbered(path, num_frames=100, **options):
    write_video(path, (numbered_frame(n) for n in range(num_frames)), fps=25, **options)
    return path


@pytest.mark.parametrize(
    "name",
    ["with space.mp4", "colon:name.mp4", "%03d.mp4", "http:x.mp4", "naïve ☂.mp4", "#1?a=b.mp4", "-i.mp4"],
)
def test_any_file_name(tmp_path, monkeypatch, name):
    write_numbered(tmp_path / name, 30)
    monkeypatch.chdir(tmp_path)
    for path in (name, tmp_path / name):
        assert probe(path).num_frames == 30
        assert numbers_of(next(decode_clips(path, [0.0], SPEC))) == [0, 5, 10, 15]


def test_what_is_not_a_video(tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("not a video\n" * 100)
    (tmp_path / "folder.mp4").mkdir()
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(b"\0\0" * 8000)
    reasons = {
        "absent.mp4": "No such file or directory",
        "folder.mp4": "Is a directory",
        "empty.mp4": "Invalid data",
        "text.mp4": "Invalid data",
        "sound.wav": "has no video stream, only audio",
    }
    for name, reason in reasons.items():
        for attempt in (
            lambda path: probe(path),
            lambda path: list(decode_clips(path, [0.0], SPEC)),
            lambda path: decode_video(path, fps=5, short_side_pixels=None),
        ):
            with pytest.raises(DecodeError, match=reason) as caught:
                attempt(tmp_path / name)
            assert caught.value.path == str(tmp_path / name)


def test_a_cover_picture_is_not_a_video(tmp_path):
    picture = av.VideoFrame.from_ndarray(numbered_frame(1), format="rgb24")
    with av.open(str(tmp_path / "song.mp4"), "w") as container:
        sound = container.add_stream("aac", rate=8000)
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = picture.width, picture.height, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.sample_rate, silence.pts = 8000, 0
        container.mux(cover.encode(picture))
        container.mux(sound.encode(silence))
        container.mux(sound.encode(None))
    with pytest.raises(DecodeError, match="only a cover picture"):
        probe(tmp_path / "song.mp4")


@pytest.mark.parametrize("name", ["a.mp4", "a.m3u8", "a.ffconcat"])
def test_a_playlist_in_disguise_reaches_no_network(tmp_path, name):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/a.ts"
        lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:4", "#EXTINF:4,", address]
        if name == "a.ffconcat":
            lines = ["ffconcat version 1.0", f"file '{address}'"]
        (tmp_path / name).write_text("\n".join(lines) + "\n")
        reason = "Invalid data" if name == "a.mp4" else "a playlist is not followed"
        with pytest.raises(DecodeError, match=reason):
            probe(tmp_path / name)
        with pytest.raises(TimeoutError):
            server.accept()


def test_a_truncated_file_is_as_long_as_what_is_left(tmp_path):
    whole = write_numbered(tmp_path / "whole.mp4", 250, crf=5).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) * 6 // 10])
    info = probe(tmp_path / "cut.mp4")
    assert 2 < info.duration_seconds < 9
    assert info.num_frames == 250  # what the file claims
    clips = decode_clips(tmp_path / "cut.mp4", [1.0, info.duration_seconds - 0.1, 9.5], SPEC)
    assert numbers_of(next(clips)) == [25, 30, 35, 40]
    assert next(clips).num_padded >= 3
    with pytest.raises(DecodeError, match="the video ends at"):
        next(clips)
    kept = decode_video(tmp_path / "cut.mp4", fps=5, short_side_pixels=None)
    assert kept.span.end_seconds == pytest.approx(info.duration_seconds, abs=0.2)


def test_damage_in_the_middle_costs_only_the_frames_there(tmp_path):
    path = write_numbered(tmp_path / "a.mp4", 200, keyframe_seconds=1.0)
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
    for packet in packets[80:95]:
        data[packet.pos : packet.pos + packet.size] = b"\xff" * packet.size
    path.write_bytes(data)
    before, after = decode_clips(path, [1.0, 6.0], SPEC)
    assert numbers_of(before) == [25, 30, 35, 40]
    assert numbers_of(after) == [150, 155, 160, 165]
    assert probe(path).duration_seconds == 8.0


def test_random_damage_never_escapes_as_another_error(tmp_path):
    whole = write_numbered(tmp_path / "whole.mp4", 60).read_bytes()
    generator = np.random.default_rng(11)
    outcomes = set()
    for _ in range(40):
        data = np.frombuffer(whole, np.uint8).copy()
        places = generator.integers(0, len(data), generator.integers(1, 60))
        data[places] = generator.integers(0, 256, len(places))
        (tmp_path / "a.mp4").write_bytes(data.tobytes())
        try:
            probe(tmp_path / "a.mp4")
            outcomes |= {clip.frames.shape for clip in decode_clips(tmp_path / "a.mp4", [0.0, 1.0], SPEC)}
        except DecodeError as error:
            outcomes.add(type(error))
    assert outcomes == {(4, 48, 48, 3), DecodeError}


def test_a_stream_of_changing_size(tmp_path):
    small = write_numbered(tmp_path / "small.ts.mp4", 25)
    large = tmp_path / "large.mp4"
    write_video(large, (numbered_frame(n, 96, 128) for n in range(25)), fps=25)
    for path in (small, large):
        with av.open(str(path)) as source, av.open(str(path.with_suffix(".h264")), "w") as bare:
            stream = bare.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(video=0):
                if packet.dts is not None:
                    packet.stream = stream
                    bare.mux(packet)
    joined = tmp_path / "joined.h264"
    joined.write_bytes(small.with_suffix(".h264").read_bytes() + large.with_suffix(".h264").read_bytes())
    clip = decode_video(joined, fps=5, short_side_pixels=48)
    assert clip.frames.shape == (10, 48, 64, 3)
    assert numbers_of(clip) == [0, 5, 10, 15, 20] * 2


def test_a_picture_of_one_pixel(tmp_path):
    for name, codec, pixels in (("a.gif", "gif", "rgb8"), ("a.mkv", "libx264", "yuv420p")):
        size = (1, 1) if codec == "gif" else (2, 2)
        write_timed(
            tmp_path / name, [0, 10, 20], time_base=Fraction(1, 100), codec=codec, size=size, pix_fmt=pixels
        )
        assert probe(tmp_path / name).width == size[1]
        clip = next(decode_clips(tmp_path / name, [0.0], ClipSpec(1, 5.0, 32)))
        assert clip.frames.shape == (1, 32, 32, 3)


def test_a_claim_of_a_monstrous_picture_is_refused(tmp_path, monkeypatch):
    write_numbered(tmp_path / "a.mp4", 10)
    monkeypatch.setattr(decode_opened, "MAX_PIXELS", 1000)
    with pytest.raises(DecodeError, match="no frame could be decoded"):
        probe(tmp_path / "a.mp4")


def test_leaving_out_frames_changes_nothing(tmp_path, monkeypatch):
    path = write_numbered(tmp_path / "a.mp4", 300, preset="medium", keyframe_seconds=4.0)
    starts = [0.5, 1.31, 3.97, 5.0, 5.04, 9.99]
    skipping = [clip.frames for clip in decode_clips(path, starts, SPEC)]
    monkeypatch.setattr(decode_source, "SKIPPABLE_CODECS", frozenset())
    for start, frames in zip(starts, skipping, strict=True):
        assert torch.equal(frames, next(decode_clips(path, [start], SPEC)).frames)


def test_leaving_out_frames_never_loses_the_one_on_screen(tmp_path):
    # After 2 s frames come seconds apart: the one on screen at 9.5 s is a B-frame long before the margin.
    ticks = [*range(0, 2000, 40), 4000, 6000, 8000, 10_000, 12_000, 12_040]
    write_timed(
        tmp_path / "a.mp4", ticks, gop_size=1000, options={"bf": "3", "b-adapt": "0"}, rate=Fraction(25)
    )
    expected = {3.0: 49, 5.0: 50, 7.0: 51, 9.5: 52, 11.0: 53}
    clips = decode_clips(tmp_path / "a.mp4", list(expected), ClipSpec(1, 5.0, 48, frame_rule="shown_at"))
    assert {clip.span.start_seconds: numbers_of(clip)[0] for clip in clips} == expected
    for start, number in expected.items():
        alone = decode_clips(tmp_path / "a.mp4", [start], ClipSpec(1, 5.0, 48, frame_rule="shown_at"))
        assert numbers_of(next(alone)) == [number]
        # a pass that comes from the first frame without a seek has to go back as well
        both = decode_clips(tmp_path / "a.mp4", [0.0, start], ClipSpec(1, 5.0, 48, frame_rule="shown_at"))
        assert [numbers_of(clip) for clip in both] == [[0], [number]]


def test_damage_is_concealed_as_if_no_frame_had_been_left_out(tmp_path, monkeypatch):
    # What stands in for a damaged picture comes from those before it, whether or not another refers to them.
    noise = np.random.default_rng(3).integers(0, 256, (48, 400, 3), dtype=np.uint8)
    path = tmp_path / "a.mp4"
    frames = (noise[:, 3 * n % 300 : 3 * n % 300 + 64] for n in range(150))
    write_video(path, frames, fps=25, preset="medium", keyframe_seconds=6.0)
    whole = path.read_bytes()
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    codecs = decode_source.SKIPPABLE_CODECS
    starts = [0.0, 2.0, 2.8, 3.4, 5.0]
    for number, skipped in ((68, 0), (74, 30), (80, 80), (95, 80)):
        position, size = packets[number]
        first, last = position + skipped, position + min(size, skipped + 300)
        path.write_bytes(whole[:first] + bytes(255 - value for value in whole[first:last]) + whole[last:])
        monkeypatch.setattr(decode_source, "SKIPPABLE_CODECS", frozenset())
        expected = [next(decode_clips(path, [start], SPEC)).frames for start in starts]
        monkeypatch.setattr(decode_source, "SKIPPABLE_CODECS", codecs)
        for start, frames in zip(starts, expected, strict=True):
            assert torch.equal(next(decode_clips(path, [start], SPEC)).frames, frames), (number, start)
        for clip, frames in zip(decode_clips(path, starts, SPEC), expected, strict=True):
            assert torch.equal(clip.frames, frames), number


STATUS = Path("/proc/self/statm")


def resident_mebibytes():
    return int(STATUS.read_text().split()[1]) * resource.getpagesize() / 2**20


@pytest.fixture
def quiet_collector():
    """No collection but those that are asked for, and those see only what is made from now on."""
    gc.collect()
    gc.freeze()
    gc.disable()
    yield
    gc.enable()
    gc.unfreeze()


@pytest.mark.usefixtures("quiet_collector")
def test_no_picture_waits_for_the_garbage_collector(tmp_path):
    whole, damaged = (write_numbered(tmp_path / name, preset="medium") for name in ("a.mp4", "b.mp4"))
    cut, text = tmp_path / "cut.mp4", tmp_path / "text.mp4"
    cut.write_bytes(whole.read_bytes()[:-2000])
    text.write_text("not a video\n" * 100)
    data = np.fromfile(damaged, np.uint8)
    data[len(data) // 2 :: 997] ^= 255
    data.tofile(damaged)
    gc.collect()
    for path, attempt in product(
        (whole, damaged, cut, text),
        (
            lambda path: list(decode_clips(path, [0.0, 1.0], SPEC)),
            lambda path: next(decode_clips(path, [0.0, 1.0], SPEC)),
            lambda path: list(decode_clips(path, [1.0, 99.0], SPEC)),
            lambda path: decode_video(path, fps=5, short_side_pixels=None),
            lambda path: check_video(path, whole=True, on_progress=lambda: None),
            probe,
        ),
    ):
        with suppress(DecodeError):
            attempt(path)
        assert gc.collect() == 0, path.name


@pytest.mark.skipif(not STATUS.exists(), reason="reads the memory in use from /proc")
def test_memory_does_not_grow(tmp_path):
    path = tmp_path / "a.mp4"
    write_video(path, (numbered_frame(n, 240, 320) for n in range(150)), fps=25)
    starts = [0.4 * number for number in range(12)]

    def decode():
        for _ in decode_clips(path, starts, ClipSpec(8, 5.0, 112)):
            pass
        probe(path)

    for _ in range(5):
        decode()
    gc.collect()
    before = resident_mebibytes()
    for _ in range(25):
        decode()
    # 25 passes decode 3,750 frames of 113 KiB and 300 clips of 294 KiB: any leak of them is far larger
    assert resident_mebibytes() - before < 20
