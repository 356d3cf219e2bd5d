from __future__ import annotations

import subprocess
import sys

import av
import numpy as np
import pytest

from narravid.video.encode import write_video


def gradient_frames(num_frames, height=48, width=64):
    """Smooth frames whose brightness tells their index."""
    row = np.linspace(0, 60, width, dtype=np.uint8)
    for index in range(num_frames):
        yield np.broadcast_to(row[None, :, None] + 8 * index, (height, width, 3)).astype(np.uint8)


def read_back(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(stream)]


def test_frames_times_and_size_come_back(tmp_path):
    path = tmp_path / "new" / "clip.mp4"
    write_video(path, gradient_frames(20), fps=10, crf=5)
    decoded = read_back(path)
    assert [time for time, _ in decoded] == pytest.approx([index / 10 for index in range(20)])
    for (_, pixels), expected in zip(decoded, gradient_frames(20), strict=True):
        # lossy coding and chroma subsampling of a grey ramp stay within a few levels at crf 5
        assert np.abs(pixels.astype(int) - expected).mean() < 3


@pytest.mark.parametrize("fps", [30000 / 1001, 12.5, 0.5])
def test_fractional_rates(tmp_path, fps):
    write_video(tmp_path / "clip.mp4", gradient_frames(5), fps=fps)
    times = [time for time, _ in read_back(tmp_path / "clip.mp4")]
    assert times == pytest.approx([index / fps for index in range(5)], abs=1e-4)


def test_same_frames_give_the_same_bytes_in_another_process(tmp_path):
    write_video(tmp_path / "a.mp4", gradient_frames(12), fps=10)
    script = (
        "import sys, numpy as np; from narravid.video.encode import write_video\n"
        "row = np.linspace(0, 60, 64, dtype=np.uint8)\n"
        "ramp = np.zeros((48, 64, 3), np.uint8) + row[None, :, None]\n"
        "frames = (ramp + np.uint8(8 * i) for i in range(12))\n"
        "write_video(sys.argv[1], frames, fps=10)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "b.mp4")], check=True, timeout=60)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_keyframe_distance(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    write_video(tmp_path / "clip.mp4", [noise] * 40, fps=10, keyframe_seconds=1.0)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        keys = [float(p.pts * p.time_base) for p in container.demux(video=0) if p.is_keyframe and p.size]
    assert keys == pytest.approx([0.0, 1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("frames", "options", "message"),
    [
        ([], {}, "no frame"),
        ([np.zeros((47, 64, 3), np.uint8)], {}, "even"),
        ([np.zeros((48, 64), np.uint8)], {}, r"frame 0 must be \(H, W, 3\) uint8"),
        ([np.zeros((48, 64, 3), np.float32)], {}, "frame 0 must be"),
        ([np.zeros((48, 64, 3), np.uint8), np.zeros((48, 32, 3), np.uint8)], {}, "frame 1 has shape"),
        ([np.zeros((48, 64, 3), np.uint8)], {"fps": 0}, "fps must be positive"),
        ([np.zeros((48, 64, 3), np.uint8)], {"fps": float("nan")}, "fps must be positive"),
        ([np.zeros((48, 64, 3), np.uint8)], {"crf": 52}, "crf must be 0 to 51"),
        ([np.zeros((48, 64, 3), np.uint8)], {"keyframe_seconds": 0}, "keyframe_seconds"),
    ],
)
def test_wrong_arguments_leave_no_file(tmp_path, frames, options, message):
    with pytest.raises(ValueError, match=message):
        write_video(tmp_path / "clip.mp4", frames, **{"fps": 10, **options})
    assert list(tmp_path.iterdir()) == []
