"""What the pictures of a clip look like: upright, in their colours, cropped where asked."""

from __future__ import annotations

import struct
from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from narravid.errors import DecodeError
from narravid.types import ClipSpec
from narravid.video.decode import decode_clips, decode_video, probe
from narravid.video.decode_scale import PictureScaler, ShortSide, Square
from narravid.video.encode import write_video
from numbered_video import numbers_of, write_timed


def marked_frame():
    """Grey with a red corner (top left) and a blue one (top right)."""
    frame = np.full((48, 64, 3), 128, dtype=np.uint8)
    frame[:16, :16] = (200, 30, 30)
    frame[:16, -16:] = (30, 30, 200)
    return frame


# Display rotation as FFmpeg counts it (counter-clockwise), the clockwise turn that makes the picture upright,
# and where the red and the blue corner are then: (row, column) of the corners, 0 or -1.
ROTATIONS = [
    (0, 0, (0, 0), (0, -1)),
    (-90, 90, (0, -1), (-1, -1)),
    (180, 180, (-1, -1), (-1, 0)),
    (90, 270, (-1, 0), (0, 0)),
]


@pytest.mark.parametrize(("display", "clockwise", "red", "blue"), ROTATIONS)
def test_rotated_files_come_upright(tmp_path, monkeypatch, display, clockwise, red, blue):
    monkeypatch.setattr("numbered_video.numbered_frame", lambda *_: marked_frame())
    write_timed(tmp_path / "a.mp4", range(0, 400, 40), rotation=display)
    info = probe(tmp_path / "a.mp4")
    assert info.rotation_degrees == clockwise
    assert (info.width, info.height) == ((64, 48) if clockwise in (0, 180) else (48, 64))
    frames = decode_video(tmp_path / "a.mp4", fps=5, short_side_pixels=None).frames.float()
    assert tuple(frames.shape[1:]) == (info.height, info.width, 3)
    inner = frames[:, 4:-4, 4:-4]
    assert (inner[:, red[0], red[1], 0] - inner[:, red[0], red[1], 2] > 100).all()
    assert (inner[:, blue[0], blue[1], 2] - inner[:, blue[0], blue[1], 0] > 100).all()
    clip = next(decode_clips(tmp_path / "a.mp4", [0.0], ClipSpec(1, 5, 32)))
    assert clip.frames.shape == (1, 32, 32, 3)


UNIT = 1 << 16  # display matrices are in 16.16 fixed point


def with_matrix(path, a, b, c, d):
    """Write the display matrix into the header of the (one) track."""
    data = path.read_bytes()
    assert data.count(b"tkhd") == 1
    place = data.index(b"tkhd") + 44
    assert struct.unpack_from(">9i", data, place)[:5] == (UNIT, 0, 0, 0, UNIT)
    matrix = struct.pack(">9i", a * UNIT, b * UNIT, 0, c * UNIT, d * UNIT, 0, 0, 0, 1 << 30)
    path.write_bytes(data[:place] + matrix + data[place + 36 :])


MATRICES = [
    *((1, 0, 0, 1), (-1, 0, 0, -1), (-1, 0, 0, 1), (1, 0, 0, -1)),
    *((0, 1, -1, 0), (0, -1, 1, 0), (0, 1, 1, 0), (0, -1, -1, 0)),
]


@pytest.mark.parametrize("matrix", MATRICES)
def test_turned_and_mirrored_files_come_upright(tmp_path, matrix):
    path = tmp_path / "a.mp4"
    write_video(path, [marked_frame()] * 5, fps=25, crf=1)
    with_matrix(path, *matrix)
    a, b, c, d = matrix
    rows, columns = np.mgrid[0:48, 0:64]
    across, down = a * columns + c * rows, b * columns + d * rows  # where the matrix puts each pixel
    across, down = across - across.min(), down - down.min()
    expected = np.empty((down.max() + 1, across.max() + 1, 3), np.int16)
    expected[down, across] = marked_frame()
    frames = decode_video(path, fps=5, short_side_pixels=None).frames.numpy()
    assert frames[0].shape == expected.shape
    assert np.abs(frames[0] - expected).mean() < 4


def test_pictures_that_change_their_size_within_a_stream(tmp_path):
    sizes = [(48, 64), (96, 64), (48, 64)]
    parts = []
    for number, size in enumerate(sizes):
        path = tmp_path / f"{number}.h264"
        write_timed(path, range(25), time_base=Fraction(1, 25), size=size, format="h264")
        parts.append(path.read_bytes())
    path = tmp_path / "a.h264"
    path.write_bytes(b"".join(parts))
    whole = decode_video(path, fps=5, short_side_pixels=24)
    assert whole.frames.shape == (15, 24, 32, 3)  # what the first picture makes it
    clip = next(decode_clips(path, [0.6], ClipSpec(6, 5, 48, frame_rule="shown_at")))
    assert numbers_of(clip) == [15, 20, 0, 5, 10, 15]


@pytest.mark.parametrize("side", [1, 2])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p"])
def test_thin_pictures(tmp_path, side, pix_fmt):
    path = tmp_path / "a.mkv"
    write_timed(path, [0, 40], codec="ffv1", size=(side, 50), pix_fmt=pix_fmt)
    assert next(decode_clips(path, [0.0], ClipSpec(1, 5, 16))).frames.shape == (1, 16, 16, 3)
    assert decode_video(path, fps=5, short_side_pixels=2).frames.shape[1] == 2


def test_a_rotation_that_changes_within_a_stream(tmp_path, monkeypatch):
    monkeypatch.setattr("numbered_video.numbered_frame", lambda *_: marked_frame())
    scaler = PictureScaler("a.mp4", Square(32))
    corners = []
    for display in (0, 180, 0):
        write_timed(tmp_path / "a.mp4", [0, 40], rotation=display)
        with av.open(str(tmp_path / "a.mp4")) as container:
            red, _, blue = scaler(next(container.decode(video=0)))[4, 2].astype(int)
        corners.append("red" if red - blue > 100 else "other")
    assert corners == ["red", "other", "red"]


def test_a_picture_that_cannot_be_converted_is_a_fault_of_its_file():
    frame = av.VideoFrame(64, 48, "bgr4")  # FFmpeg writes this format only
    frame.time_base = Fraction(1, 25)
    for region in (Square(32), ShortSide(None)):
        with pytest.raises(DecodeError, match=r"64x48 bgr4\) cannot be converted: ") as caught:
            PictureScaler("a.mp4", region)(frame)
        assert caught.value.path == "a.mp4"


def test_colours_survive(tmp_path):
    colours = [(255, 255, 255), (0, 0, 0), (200, 30, 30), (30, 200, 30), (30, 30, 200)]
    frames = [np.full((64, 64, 3), colour, np.uint8) for colour in colours for _ in range(5)]
    write_video(tmp_path / "a.mp4", frames, fps=25, crf=1)
    clip = decode_video(tmp_path / "a.mp4", fps=5, short_side_pixels=None)
    means = clip.frames.float().mean(dim=(1, 2))
    # 8-bit YUV in limited range keeps colours to about two levels; crf 1 adds little
    assert torch.allclose(means, torch.tensor(colours, dtype=torch.float32), atol=4)


def test_random_squares(tmp_path):
    ramp = np.broadcast_to(np.linspace(0, 250, 160).astype(np.uint8)[None, :, None], (32, 160, 3))
    write_video(tmp_path / "a.mp4", [ramp] * 50, fps=25)
    random = ClipSpec(2, 5.0, 48, crop="random")
    starts = [0.0] * 40

    def decode(seed):
        generator = torch.Generator().manual_seed(seed)
        return list(decode_clips(tmp_path / "a.mp4", starts, random, generator=generator))

    first, again, other = decode(1), decode(1), decode(2)
    left_levels = [float(clip.frames[0, :, :8].float().mean()) for clip in first]
    assert min(left_levels) < 40
    assert max(left_levels) > 160
    for clip, same in zip(first, again, strict=True):
        assert torch.equal(clip.frames, same.frames)
        # one place for the whole clip; the picture stands still, so only coding noise is left
        assert (clip.frames[0].float() - clip.frames[1].float()).abs().mean() < 2
    assert any(not torch.equal(a.frames, b.frames) for a, b in zip(first, other, strict=True))
    with pytest.raises(ValueError, match="needs a generator"):
        decode_clips(tmp_path / "a.mp4", starts, random)
