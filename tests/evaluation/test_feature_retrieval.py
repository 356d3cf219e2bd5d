"""Retrieval on features: ranks by hand, shared clips, what cannot be read."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from narravid.bad_items import TooManyBadItemsError
from narravid.data.feature_clips import FeaturePair
from narravid.data.feature_files import MemoryTracks
from narravid.data.featured import FeatureTrack
from narravid.errors import NarravidError
from narravid.evaluation.feature_retrieval import embed_feature_pairs, evaluate_feature_retrieval
from narravid.types import FeatureSpec, Span

PLACES = {"first": 0, "second": 1, "third": 2}


class OneHot(nn.Module):
    """A clip is its features, a sentence the direction that its first word names."""

    similarity = "dot"
    embed_dim = 3
    feature_spec = FeatureSpec(("a",), (3,))
    weights_hash = "one-hot"
    device = torch.device("cpu")

    def encode_features(self, features: torch.Tensor) -> torch.Tensor:
        return features

    def encode_text(self, sentences: list[str]) -> torch.Tensor:
        return torch.eye(3)[[PLACES[sentence.split()[0]] for sentence in sentences]]


def track(*rows: list[float]) -> tuple[FeatureTrack]:
    return (FeatureTrack(torch.tensor(rows), 1.0),)


TRACKS = MemoryTracks(
    {
        "a": track([0.9, 0.1, 0.0], [0.0, 0.1, 0.9]),
        "b": track([0.3, 0.2, 0.1]),
    }
)
PAIRS = [
    FeaturePair("a", "first thing", Span(0.0, 0.5)),  # 0.99 of it in this clip, 0.80 in b, 0 in the other
    FeaturePair("a", "third thing", Span(1.0, 1.5)),
    FeaturePair("b", "second thing"),
    FeaturePair("b", "first again"),
]


@pytest.mark.parametrize("batch_size", [1, 100])
def test_ranks_by_hand(batch_size):
    result = evaluate_feature_retrieval(OneHot(), PAIRS, TRACKS, batch_size=batch_size)
    # "first again" belongs to b, which comes second; the other three find theirs at once.
    assert result.text_to_video["R@1"] == 0.75
    assert result.text_to_video["R@5"] == 1.0
    assert (result.gallery_size, result.num_texts) == (3, 4)
    assert result.card["features"] == {"a": 3}


class Rounded(OneHot):
    """Says in which arithmetic it was asked to compute."""

    def __init__(self):
        super().__init__()
        self.dtypes = []

    def encode_features(self, features: torch.Tensor) -> torch.Tensor:
        clips = features @ torch.eye(3)
        self.dtypes.append(clips.dtype)
        return clips

    def encode_text(self, sentences: list[str]) -> torch.Tensor:
        found = super().encode_text(sentences) @ torch.eye(3)
        self.dtypes.append(found.dtype)
        return found


def test_the_arithmetic_is_that_asked_for():
    model = Rounded()
    embedded = embed_feature_pairs(model, PAIRS, TRACKS, dtype="bfloat16")
    assert model.dtypes == [torch.bfloat16, torch.bfloat16]
    assert embedded.video.dtype == embedded.text.dtype == "float32"
    exact = embed_feature_pairs(model, PAIRS, TRACKS)
    assert model.dtypes[2:] == [torch.float32, torch.float32]
    assert 0 < abs(embedded.video - exact.video).max() < 1 / 128
    card = evaluate_feature_retrieval(model, PAIRS, TRACKS).card
    assert (card["dtype"], card["weights_hash"], card["similarity"]) == ("float32", "one-hot", "dot")


def test_what_cannot_be_read_is_left_out_and_told():
    pairs = [*PAIRS, FeaturePair("absent", "first thing")]
    result = evaluate_feature_retrieval(OneHot(), pairs, TRACKS)
    assert result.num_texts == 4
    [missing] = result.missing
    assert (missing.pair.path, missing.reason) == ("absent", "there are no features of it")
    with pytest.raises(TooManyBadItemsError):
        evaluate_feature_retrieval(OneHot(), pairs, TRACKS, max_bad_share=0.1)
    with pytest.raises(NarravidError, match="no features of 1 pairs could be read"):
        evaluate_feature_retrieval(OneHot(), pairs[-1:], TRACKS)
    with pytest.raises(ValueError, match="there are no pairs to evaluate"):
        evaluate_feature_retrieval(OneHot(), [], TRACKS)
