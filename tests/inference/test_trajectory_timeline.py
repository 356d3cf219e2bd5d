"""Scores over time: which windows, the cosines of each, what happens to windows that cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from inference_doubles import FakeDecoder, LinearDualEncoder, write_fake_video
from narravid.bad_items import BadItems
from narravid.errors import ConfigError, DecodeError
from narravid.inference.clip_encoder import ClipEncoder
from narravid.inference.trajectory_baseline import Baseline
from narravid.inference.trajectory_lists import ListedPrompt, ListedTrajectory
from narravid.inference.trajectory_timeline import TimelineScorer, TimelineWindows, score_over_time
from narravid.types import ClipSpec, Similarity
from narravid.video.encode import write_video
from narravid.video.watched import WatchedDecoder

PROMPTS = (ListedPrompt("a cup"), ListedPrompt("a pan"), ListedPrompt("a lid"))


def listed(path: Path) -> ListedTrajectory:
    return ListedTrajectory(path=str(path), name=path.stem)


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def naive_vectors(decoder: FakeDecoder, path: Path, starts: list[float]) -> np.ndarray:
    """Unit vectors of the windows, one at a time, by the double's own rule."""
    model = LinearDualEncoder()
    clips = decoder.clips(str(path), starts, model.clip_spec)
    rows = [model.encode_video(clip.frames.permute(3, 0, 1, 2)[None])[0].numpy() for clip in clips]
    return unit(np.stack(rows))


def prompt_vectors() -> np.ndarray:
    return unit(LinearDualEncoder().encode_text([prompt.text for prompt in PROMPTS]).numpy())


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_fake_video(tmp_path / "video.mp4", seconds=3.3, seed=5)


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_every_window_is_compared_with_every_prompt_by_cosine(video, batch_size):
    scorer = TimelineScorer(ClipEncoder(LinearDualEncoder()), PROMPTS, batch_size=batch_size)
    timeline = scorer.score(listed(video), FakeDecoder())
    # Clips of 4 frames at 4 fps: windows of a second, half a second apart, the last moved to the end.
    assert timeline.starts_seconds.tolist() == pytest.approx([0, 0.5, 1, 1.5, 2, 2.3])
    assert timeline.ends_seconds.tolist() == pytest.approx([1, 1.5, 2, 2.5, 3, 3.3])
    assert (timeline.scores.shape, timeline.scores.dtype) == ((6, 3), np.float32)
    assert timeline.reason is None
    vectors = naive_vectors(FakeDecoder(), video, timeline.starts_seconds.tolist())
    np.testing.assert_allclose(timeline.scores, vectors @ prompt_vectors().T, atol=1e-5)
    assert timeline.trajectory.name == "video"
    assert timeline.prompts == PROMPTS


def test_a_baseline_regularises_every_window(video):
    baseline = Baseline("a table", alpha=0.25)
    scorer = TimelineScorer(ClipEncoder(LinearDualEncoder()), PROMPTS, baseline=baseline)
    timeline = scorer.score(listed(video), FakeDecoder())
    vectors = naive_vectors(FakeDecoder(), video, timeline.starts_seconds.tolist())
    prompts = prompt_vectors()
    start = unit(LinearDualEncoder().encode_text(["a table"]).numpy())
    expected = 0.75 * vectors @ prompts.T + 0.25 * vectors @ unit(prompts - start).T
    np.testing.assert_allclose(timeline.scores, expected, atol=1e-5)


def test_a_video_shorter_than_a_window_is_one_window(tmp_path):
    video = write_fake_video(tmp_path / "short.mp4", seconds=0.4)
    scorer = TimelineScorer(ClipEncoder(LinearDualEncoder()), PROMPTS)
    timeline = scorer.score(listed(video), FakeDecoder())
    assert (timeline.starts_seconds.tolist(), timeline.ends_seconds.tolist()) == ([0.0], [0.4])


class RecordingDecoder(FakeDecoder):
    """Keeps what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.specs: list[ClipSpec] = []

    def clips(self, path, starts, spec):
        self.specs.append(spec)
        return super().clips(path, starts, spec)


def test_frames_are_spread_over_the_window(video):
    decoder = RecordingDecoder()
    windows = TimelineWindows(window_seconds=2.0, stride_seconds=1.0)
    TimelineScorer(ClipEncoder(LinearDualEncoder()), PROMPTS, windows=windows).score(listed(video), decoder)
    (spec,) = decoder.specs  # one request, so that the video is decoded once
    assert (spec.num_frames, spec.fps, spec.duration_seconds) == (4, 2.0, 2.0)
    model = LinearDualEncoder(clip_spec=ClipSpec(num_frames=6, fps=4.0, size_pixels=8))
    windows = TimelineWindows(window_seconds=0.5, num_frames=6)
    TimelineScorer(ClipEncoder(model), PROMPTS, windows=windows).score(listed(video), decoder)
    assert (decoder.specs[1].num_frames, decoder.specs[1].fps) == (6, 12.0)


def test_windows_that_cannot_be_read_are_left_out_and_said(tmp_path):
    video = write_fake_video(tmp_path / "torn.mp4", seconds=3.3, seed=5, bad_windows=[0.5, 2.0])
    timeline = TimelineScorer(ClipEncoder(LinearDualEncoder()), PROMPTS).score(listed(video), FakeDecoder())
    assert timeline.starts_seconds.tolist() == pytest.approx([0, 1, 1.5, 2.3])
    assert timeline.reason == "2 of 6 windows could not be read: a torn window"
    vectors = naive_vectors(FakeDecoder(), video, timeline.starts_seconds.tolist())
    np.testing.assert_allclose(timeline.scores, vectors @ prompt_vectors().T, atol=1e-5)


def test_a_video_without_a_readable_window_is_bad_and_the_others_are_scored(tmp_path, video):
    torn = write_fake_video(tmp_path / "torn.mp4", seconds=1.0, bad_windows=[0.0])
    (tmp_path / "no.mp4").write_text("no video")
    bad = BadItems()
    timelines = score_over_time(
        [listed(torn), listed(video), listed(tmp_path / "no.mp4")],
        TimelineScorer(ClipEncoder(LinearDualEncoder()), PROMPTS),
        decoder=FakeDecoder(),
        bad=bad,
    )
    assert [timeline.trajectory.name for timeline in timelines] == ["video"]
    assert bad.reasons == {str(torn): "a torn window", str(tmp_path / "no.mp4"): "not a video"}


def test_more_windows_than_can_be_meant_are_refused(tmp_path):
    video = write_fake_video(tmp_path / "long.mp4", seconds=101.0)
    windows = TimelineWindows(stride_seconds=0.001)
    scorer = TimelineScorer(ClipEncoder(LinearDualEncoder()), PROMPTS, windows=windows)
    with pytest.raises(DecodeError, match="windows every 0.001 seconds are 101,000, more than 100,000; give"):
        scorer.score(listed(video), FakeDecoder())


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_a_video_without_length_is_refused(tmp_path, seconds):
    video = write_fake_video(tmp_path / "empty.mp4", seconds=seconds)
    scorer = TimelineScorer(ClipEncoder(LinearDualEncoder()), PROMPTS)
    with pytest.raises(DecodeError, match="its length is said to be"):
        scorer.score(listed(video), FakeDecoder())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window_seconds": 0.0}, "window_seconds must be a positive number of seconds, got 0.0"),
        ({"stride_seconds": float("nan")}, "stride_seconds must be a positive number of seconds, got nan"),
        ({"window_seconds": float("inf")}, "got inf"),
        ({"num_frames": 0}, "num_frames must be at least 1, got 0"),
        ({"window_seconds": 1.0, "stride_seconds": 1.5}, "stride_seconds is 1.5 and a window has 1 seconds"),
    ],
)
def test_windows_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        TimelineWindows(**settings)


def test_a_stride_longer_than_the_clips_of_the_model_is_refused():
    windows = TimelineWindows(stride_seconds=1.5)
    with pytest.raises(ConfigError, match=r"1\.5 and a window has 1 seconds.*give at most 1"):
        TimelineScorer(ClipEncoder(LinearDualEncoder()), PROMPTS, windows=windows)


def test_a_baseline_that_says_what_a_prompt_says_is_refused():
    with pytest.raises(ConfigError, match="the same as the prompt 'a pan'"):
        TimelineScorer(ClipEncoder(LinearDualEncoder()), PROMPTS, baseline=Baseline("a pan"))


def test_no_prompt_and_no_batch_are_refused():
    with pytest.raises(ValueError, match="at least one prompt"):
        TimelineScorer(ClipEncoder(LinearDualEncoder()), ())
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        TimelineScorer(ClipEncoder(LinearDualEncoder()), PROMPTS, batch_size=0)


class ColourDualEncoder(nn.Module):
    """Sees the mean colour of a clip, and knows the names of three colours."""

    def __init__(self) -> None:
        super().__init__()
        self.colours = nn.Parameter(torch.eye(3), requires_grad=False)
        self.clip_spec = ClipSpec(num_frames=4, fps=4.0, size_pixels=8)
        self.similarity: Similarity = "dot"
        self.embed_dim = 3

    @property
    def weights_hash(self) -> str:
        return "colours"

    @property
    def device(self) -> torch.device:
        return self.colours.device

    def video_features(self, clips: torch.Tensor) -> torch.Tensor:
        return clips.float().mean(dim=(2, 3, 4))

    def encode_video(self, clips: torch.Tensor) -> torch.Tensor:
        return self.video_features(clips) @ self.colours

    def encode_text(self, sentences) -> torch.Tensor:
        return torch.stack([self.colours[["red", "green", "blue"].index(text)] for text in sentences])


def colour_frames() -> Iterator[np.ndarray]:
    """Two seconds of red, one of green, two of blue, at 10 fps, an odd aspect."""
    for colour, seconds in (((255, 0, 0), 2), ((0, 255, 0), 1), ((0, 0, 255), 2)):
        for _ in range(10 * seconds):
            yield np.full((26, 34, 3), colour, dtype=np.uint8)


def test_a_real_video_says_when(tmp_path):
    write_video(tmp_path / "colours.mp4", colour_frames(), fps=10.0)
    prompts = [ListedPrompt("red"), ListedPrompt("green"), ListedPrompt("blue")]
    windows = TimelineWindows(window_seconds=1.0, stride_seconds=0.25)
    scorer = TimelineScorer(ClipEncoder(ColourDualEncoder()), prompts, windows=windows)
    with WatchedDecoder() as decoder:
        timeline = scorer.score(listed(tmp_path / "colours.mp4"), decoder)
    assert len(timeline.starts_seconds) == 17
    for start, row in zip(timeline.starts_seconds, timeline.scores, strict=True):
        covered = [_overlap(start, low, high) for low, high in ((0, 2), (2, 3), (3, 5))]
        if max(covered) == 1.0:
            assert row[int(np.argmax(covered))] > 0.97
        assert int(np.argmax(row)) in {
            place for place, share in enumerate(covered) if share > max(covered) - 0.26
        }
    assert timeline.starts_seconds[timeline.scores[:, 1].argmax()] == 2.0


def _overlap(start: float, low: float, high: float) -> float:
    return max(0.0, min(start + 1, high) - max(start, low))
