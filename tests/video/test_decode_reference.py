"""Pixels against FFmpeg's own filter graph, and against the ffmpeg program where it is installed."""

from __future__ import annotations

from fractions import Fraction

import av
import av.filter
import numpy as np
import pytest

from ffmpeg_program import SQUARE, Output, needs_program, run_program
from narravid.types import ClipSpec
from narravid.video.decode import decode_clips, decode_video
from narravid.video.encode import write_video
from numbered_video import numbered_frame

SIZE, FPS, NUM_FRAMES = 56, 5, 16
SPEC = ClipSpec(NUM_FRAMES, FPS, SIZE)


def filtered(path, start, filters):
    """All frames of a file, decoded from its beginning and sent through the filters from `start` on."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        origin = Fraction(container.start_time or 0, av.time_base)
        first = int((Fraction(str(start)) + origin) / stream.time_base + Fraction(1, 2))
        graph = av.filter.Graph()
        steps = [("trim", f"start_pts={first}"), ("setpts", f"PTS-{first}"), *filters, ("format", "rgb24")]
        nodes = [graph.add_buffer(template=stream, time_base=stream.time_base)]
        nodes += [graph.add(name, options) for name, options in steps]
        graph.link_nodes(*nodes, graph.add("buffersink")).configure()
        frames = []
        for frame in [*container.decode(stream), None]:
            graph.vpush(frame)
            while True:
                try:
                    frames.append(graph.vpull().to_ndarray())
                except (av.BlockingIOError, av.EOFError):
                    break
    return np.stack(frames)


def graph_clip(path, start):
    square = SQUARE.partition("=")[2]
    steps = [("fps", f"{FPS}"), ("crop", square), ("scale", f"{SIZE}:{SIZE}:flags=bicubic")]
    return filtered(path, start, steps)[:NUM_FRAMES]


def program_clip(path, start):
    output = Output(
        f"{SQUARE},scale={SIZE}:{SIZE}", SIZE, SIZE, fps=FPS, start_seconds=start, num_frames=NUM_FRAMES
    )
    (frames,), _ = run_program(path, [output], path.parent)
    return frames


def assert_same(path, starts, reference):
    for start, clip in zip(starts, decode_clips(path, starts, SPEC), strict=True):
        expected = reference(path, start)
        real = clip.frames[clip.mask].numpy()
        assert real.shape == expected.shape, start
        assert np.array_equal(real, expected), start


@pytest.fixture(scope="module")
def textured(tmp_path_factory):
    """Numbers over moving noise, 12 s at 24000/1001 fps, B-frames that refer to B-frames."""
    path = tmp_path_factory.mktemp("textured") / "textured.mp4"
    noise = np.random.default_rng(5).integers(0, 120, (90, 400, 3), dtype=np.uint8)
    frames = (numbered_frame(n, 90, 160) // 2 + noise[:, 2 * n % 240 : 2 * n % 240 + 160] for n in range(288))
    write_video(path, frames, fps=24000 / 1001, preset="medium", keyframe_seconds=3)
    return path


STARTS = [0.0, 0.3, 2.97, 3.003, 5.5, 7.1, 9.5, 11.4]


def test_pixels_are_those_of_the_filter_graph(textured):
    assert_same(textured, STARTS, graph_clip)


def test_whole_video_is_that_of_the_filter_graph(textured):
    clip = decode_video(textured, fps=FPS, short_side_pixels=45, frame_rule="ffmpeg_fps")
    expected = filtered(textured, 0, [("fps", f"{FPS}"), ("scale", "80:45:flags=bicubic")])
    assert np.array_equal(clip.frames.numpy(), expected)


@needs_program
def test_pixels_are_those_of_the_program(textured):
    assert_same(textured, STARTS, program_clip)
