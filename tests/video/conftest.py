"""Videos that several test files read."""

from __future__ import annotations

from fractions import Fraction

import pytest

from narravid.video.encode import write_video
from numbered_video import numbered_frame, write_timed


@pytest.fixture(scope="session")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("watched") / "numbered.mp4"
    write_video(path, (numbered_frame(n, 120, 160) for n in range(1000)), fps=25, preset="ultrafast")
    return path


@pytest.fixture(scope="session")
def numbered(tmp_path_factory):
    """300 frames at 25 fps, key frames every 2 s, B-frames."""
    path = tmp_path_factory.mktemp("numbered") / "numbered.mp4"
    write_video(path, (numbered_frame(n) for n in range(300)), fps=25, preset="medium", keyframe_seconds=2)
    return path


@pytest.fixture
def twice(tmp_path):
    """Two recordings in one file, as by `cat`: 100 frames, whose times start again in the middle, at 2 s."""
    write_timed(tmp_path / "one.ts", [3600 * n for n in range(50)], time_base=Fraction(1, 90_000))
    data = (tmp_path / "one.ts").read_bytes()
    (tmp_path / "twice.ts").write_bytes(data + data)
    return tmp_path / "twice.ts"
