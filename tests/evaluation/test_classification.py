"""Accuracy over windows: whose windows are whose, what cannot be read, and the numbers by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from narravid.data.labelled import LabelledClip
from narravid.errors import NarravidError
from narravid.evaluation.classification import evaluate_accuracy
from narravid.types import ClipSpec, Span
from narravid.video.watched import WatchedDecoder
from tiny_corpus import write_colour_videos


class ColourClassifier:
    """Scores of three classes: how red, green and blue a clip is; it notes how many clips came at once."""

    clip_spec = ClipSpec(num_frames=2, fps=4.0, size_pixels=8)
    device = torch.device("cpu")

    def __init__(self) -> None:
        self.batch_sizes: list[int] = []

    def class_logits(self, clips: torch.Tensor) -> torch.Tensor:
        self.batch_sizes.append(len(clips))
        return clips.float().mean(dim=(2, 3, 4))


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    return write_colour_videos(tmp_path_factory.mktemp("videos"))


@pytest.fixture(scope="module")
def decoder():
    with WatchedDecoder() as decoder:
        yield decoder


def test_the_mean_of_the_windows_decides_and_what_cannot_be_read_is_a_miss(videos, decoder):
    clips = [
        LabelledClip(videos / "red.mp4", 0),
        LabelledClip(videos / "green.mp4", 1, Span(1.0, 2.5)),
        LabelledClip(videos / "gone.mp4", 2),
        LabelledClip(videos / "gone.mp4", 2, Span(0.0, 1.0)),
        LabelledClip(videos / "blue.mp4", 0),  # wrongly labelled
    ]
    model = ColourClassifier()
    result = evaluate_accuracy(model, clips, num_windows=3, batch_size=4, decoder=decoder)
    assert result.top1 == pytest.approx(2 / 5)
    assert result.top5 == pytest.approx(3 / 5)
    assert result.num_clips == 5
    assert [path for path, _ in result.missing] == [str(videos / "gone.mp4")] * 2
    assert model.batch_sizes == [4, 4, 1]


def test_a_clip_too_short_for_different_windows_is_seen_once(videos, decoder):
    model = ColourClassifier()
    clips = [LabelledClip(videos / "red.mp4", 0, Span(0.5, 0.9))]
    assert evaluate_accuracy(model, clips, num_windows=4, decoder=decoder).top1 == 1.0
    assert model.batch_sizes == [1]


def test_nothing_to_judge_is_refused(videos, decoder):
    gone = [LabelledClip(videos / "gone.mp4", 0)]
    with pytest.raises(NarravidError, match=r"none of 1 clips could be read; .*gone\.mp4"):
        evaluate_accuracy(ColourClassifier(), gone, num_windows=1, decoder=decoder)
    with pytest.raises(ValueError, match="at least one clip"):
        evaluate_accuracy(ColourClassifier(), [], num_windows=1, decoder=decoder)
    with pytest.raises(ValueError, match="one window"):
        evaluate_accuracy(ColourClassifier(), gone, num_windows=0, decoder=decoder)
