"""What the pictures of a clip look like: upright, in their colours, cropped where asked."""

from __future__ import annotations

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
from numbered_video import write_timed


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
