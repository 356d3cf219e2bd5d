"""The frames of a running episode: exact while they fit, else near the even ones, in bounded room."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from narravid.inference.episode_frames import KEPT_PER_FRAME, EpisodeFrames
from narravid.video.frame_sampling import video_frames
from reward_doubles import frame_of, frames_of


def filled(num_frames: int, count: int, window_frames: int | None = None) -> EpisodeFrames:
    """A store that was shown `count` frames, of which frame i has the level i % 256."""
    frames = EpisodeFrames(num_frames, window_frames=window_frames)
    for number in range(count):
        frames.add(frame_of(number % 256, 1, 1))
    return frames


@given(num_frames=st.integers(2, 9), count=st.integers(1, 36))
def test_an_episode_that_fits_is_sampled_as_a_video_is(num_frames, count):
    if count > KEPT_PER_FRAME * num_frames:
        count = KEPT_PER_FRAME * num_frames
    frames = filled(num_frames, count)
    assert frames.numbers() == video_frames(count, num_frames)
    np.testing.assert_array_equal(frames.frames(), frames_of(frames.numbers(), 1, 1))


@given(num_frames=st.integers(2, 9), count=st.integers(1, 900))
def test_of_a_longer_one_frames_are_off_by_a_quarter_of_their_distance_at_most(num_frames, count):
    frames = filled(num_frames, count)
    wanted = video_frames(count, num_frames)
    off = np.abs(np.subtract(frames.numbers(), wanted))
    assert off.max() <= (count - 1) / (num_frames - 1) / 4
    assert frames.numbers()[0] == 0
    assert frames.numbers()[-1] == count - 1
    assert frames.numbers() == sorted(frames.numbers())
    levels = [number % 256 for number in frames.numbers()]
    np.testing.assert_array_equal(frames.frames(), frames_of(levels, 1, 1))


@given(num_frames=st.integers(2, 6), window=st.integers(1, 12), count=st.integers(1, 40))
def test_a_window_is_the_last_frames(num_frames, window, count):
    frames = filled(num_frames, count, window)
    size = min(window, count)
    assert frames.numbers() == [count - size + place for place in video_frames(size, num_frames)]


@pytest.mark.parametrize("window", [None, 1, 3])
@pytest.mark.parametrize("count", [1, 2, 7, 100])
def test_a_model_of_one_frame_sees_the_last(count, window):
    frames = filled(1, count, window)
    assert frames.numbers() == [count - 1]
    np.testing.assert_array_equal(frames.frames(), frames_of([count - 1], 1, 1))


def test_memory_does_not_grow_with_the_episode():
    frames = EpisodeFrames(4)
    most = 0
    for number in range(5000):
        frames.add(frame_of(number % 256, 1, 1))
        most = max(most, len(frames._kept))
    assert most == 16
    assert len(frames) == 5000


def test_frames_that_would_not_be_kept_need_not_be_drawn():
    drawn, skipping = filled(3, 0), filled(3, 0)
    num_drawn = 0
    for number in range(200):
        drawn.add(frame_of(number, 1, 1))
        if skipping.wants_next or number == 199:
            skipping.add(frame_of(number, 1, 1))
            num_drawn += 1
        else:
            skipping.skip()
    assert skipping.numbers() == drawn.numbers()
    np.testing.assert_array_equal(skipping.frames(), drawn.frames())
    assert num_drawn < 50


def test_a_frame_is_copied():
    frames = EpisodeFrames(1)
    picture = frame_of(5)
    frames.add(picture)
    picture[:] = 9
    np.testing.assert_array_equal(frames.frames(), frames_of([5]))


def test_an_episode_can_be_forgotten():
    frames = filled(2, 100)
    frames.clear()
    assert len(frames) == 0
    frames.add(frame_of(3, 2, 2))
    assert frames.numbers() == [0, 0]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (None, "got NoneType"),
        ([frame_of(1)], "got list"),
        (frame_of(1).astype(np.float32), r"\(6, 6, 3\) float32"),
        (np.zeros((6, 6), np.uint8), r"\(6, 6\) uint8"),
        (np.zeros((6, 0, 3), np.uint8), r"\(6, 0, 3\)"),
    ],
)
def test_what_is_no_frame_is_refused(frame, message):
    with pytest.raises(ValueError, match=message):
        EpisodeFrames(2).add(frame)


def test_misuse_is_refused():
    with pytest.raises(ValueError, match="num_frames must be at least 1"):
        EpisodeFrames(0)
    with pytest.raises(ValueError, match="window_frames must be at least 1"):
        EpisodeFrames(2, window_frames=0)
    with pytest.raises(ValueError, match="no frame yet"):
        EpisodeFrames(2).frames()
    with pytest.raises(ValueError, match="frame 0 of the episode is wanted"):
        EpisodeFrames(2).skip()
    frames = filled(2, 1)
    with pytest.raises(ValueError, match="must have one size"):
        frames.add(frame_of(1, 2, 2))
