"""Alignment of whole videos: R@1 by hand, windows against the whole video, what cannot be read."""

from __future__ import annotations

import math

import pytest
import torch

from models.small_aligners import FEATURE_DIM, small_aligner
from narravid.data.annotations.htm_align import AlignedSentence, HtmAlignVideo
from narravid.data.feature_files import MemoryTracks
from narravid.data.featured import FeatureTrack
from narravid.errors import NarravidError
from narravid.evaluation.alignment import AlignmentProtocol, evaluate_alignment
from narravid.types import FeatureSpec, Span, VideoAlignment

GLOBAL = AlignmentProtocol(view="global")


class Pointing:
    """Sentence "at N" fits second N best, counted by the features; remembers what it is shown."""

    embed_dim = 1
    max_positions = 50
    alignability_layer = 0
    feature_spec = FeatureSpec(("a",), (1,))
    weights_hash = "pointing"
    device = torch.device("cpu")

    def __init__(self) -> None:
        self.shown: list[tuple[int, int, int | None]] = []

    def encode_text(self, sentences: list[str]) -> torch.Tensor:
        return torch.tensor([[float(sentence.split()[1])] for sentence in sentences])

    def align(
        self, features: torch.Tensor, text: torch.Tensor, *, interpolate_from: int | None = None
    ) -> VideoAlignment:
        self.shown.append((features.shape[1], text.shape[1], interpolate_from))
        layer = -(features[0] - text[0].T).abs()[None, None]
        return VideoAlignment(dual=torch.cat([-layer, layer], dim=1), joint=layer)


def seconds(num_seconds: int) -> tuple[FeatureTrack]:
    return (FeatureTrack(torch.arange(float(num_seconds))[:, None], 1.0),)


def sentence(text: str, start: float, end: float, *, shown: bool = True) -> AlignedSentence:
    return AlignedSentence(shown, Span(start, end), text)


def test_the_best_second_of_the_last_layers_counts():
    video = HtmAlignVideo(
        "v",
        (
            sentence("at 3", 3.2, 3.9),  # second 3 lies in [3, 4]
            sentence("at 5", 3.2, 3.9),  # second 5 does not
            sentence("at 4", 3.2, 3.9),  # its end, 3.9 s, rounds up to second 4
            sentence("at 99", 0.0, 9.0, shown=False),  # fits nothing
        ),
    )
    model = Pointing()
    result = evaluate_alignment(model, [video], MemoryTracks({"v": seconds(10)}), protocol=GLOBAL)
    assert result.metrics.recall == pytest.approx(2 / 3)
    assert result.to_dict() == {"R@1": result.metrics.recall, "ROC-AUC": 1.0}
    assert model.shown == [(10, 4, None)]


def test_features_at_another_rate_are_not_taken_for_seconds():
    videos = [HtmAlignVideo(name, (sentence("at 3", 3.0, 4.0),)) for name in ("v", "fast")]
    tracks = {"v": seconds(10), "fast": (FeatureTrack(torch.arange(20.0)[:, None] / 2, 2.0),)}
    result = evaluate_alignment(Pointing(), videos, MemoryTracks(tracks), protocol=GLOBAL)
    assert result.metrics.recall == 1.0
    [(path, reason)] = result.missing
    assert path == "fast"
    assert "holds 2 features per second" in reason


def test_windows_move_over_a_long_video():
    spoken = [sentence(f"at {start}", start, start + 2, shown=start % 20 == 0) for start in range(5, 95, 5)]
    video = HtmAlignVideo("v", tuple(spoken))
    model = Pointing()
    tracks = MemoryTracks({"v": seconds(100)})
    protocol = AlignmentProtocol(window_seconds=32, step_seconds=16)
    result = evaluate_alignment(model, [video], tracks, protocol=protocol)
    assert {shown[0] for shown in model.shown} <= {32, 20, 36}
    assert len(model.shown) > 3
    assert result.metrics.recall == 1.0
    whole = Pointing()
    evaluate_alignment(whole, [video], tracks, protocol=GLOBAL)
    assert whole.shown == [(100, 18, 50)]  # longer than its positions, which are stretched


def test_an_aligner_and_its_head_are_read():
    video = HtmAlignVideo("v", (sentence("add oil", 0, 2), sentence("cut tomato", 3, 5, shown=False)))
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(9, FEATURE_DIM, generator=generator)
    tracks = MemoryTracks({"v": (FeatureTrack(features.half(), 1.0),)})
    aligner = small_aligner()
    result = evaluate_alignment(aligner, [video], tracks, protocol=GLOBAL)
    aligned = aligner.align(
        features.half().float()[None], aligner.encode_text(["add oil", "cut tomato"])[None]
    )
    first, second = aligned.alignability_joint[0, aligner.alignability_layer].tolist()
    assert result.metrics.roc_auc.value == float(first > second)
    mean = aligned.dual[0, -1] + aligned.joint[0, -1]
    assert result.metrics.recall == float(int(mean[:, 0].argmax()) in (0, 1, 2))


def test_what_cannot_be_read_is_told():
    video = HtmAlignVideo("v", (sentence("at 1", 1, 2),))
    absent = HtmAlignVideo("absent", (sentence("at 1", 1, 2),))
    empty = HtmAlignVideo("empty", ())
    tracks = MemoryTracks({"v": seconds(4)})
    result = evaluate_alignment(Pointing(), [empty, absent, video], tracks, protocol=GLOBAL)
    assert result.missing == (("absent", "there are no features of it"),)
    assert result.metrics.num_videos == 1
    assert math.isnan(result.to_dict()["ROC-AUC"])
    with pytest.raises(NarravidError, match="none of 1 videos to align could be read"):
        evaluate_alignment(Pointing(), [absent], tracks)


def test_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match="view must be"):
        AlignmentProtocol(view="none")
    with pytest.raises(ValueError, match="step_seconds must be at least 1"):
        AlignmentProtocol(step_seconds=0)
