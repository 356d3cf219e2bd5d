"""The contrastive task on features: what it feeds the loss, by hand, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from narravid.batches import FeatureBatch
from narravid.losses import MaxMarginRankingLoss, MILNCELoss
from narravid.tasks.contrastive import FeatureContrastiveTask
from narravid.tasks.objectives import MaxMarginObjective


class SumModel(nn.Module):
    """A clip is its features times a weight, a sentence the one-hot vector of its first word."""

    def __init__(self, similarity: str = "dot") -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(1.0))
        self.similarity = similarity

    def encode_features(self, features: torch.Tensor) -> torch.Tensor:
        return features * self.weight

    def encode_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        return torch.eye(3)[tokens[..., 0]]


def batch_of(features: list[list[float]], words: list[list[int]]) -> FeatureBatch:
    return FeatureBatch(torch.tensor(features), torch.tensor(words)[..., None], tuple(map(str, words)))


def test_ranking_compares_each_sentence_with_each_clip():
    batch = batch_of([[0.5, 0.2, 0.0], [0.9, 0.1, 0.0]], [[0], [1]])
    values = FeatureContrastiveTask(SumModel(), MaxMarginObjective(MaxMarginRankingLoss())).training_step(
        batch
    )
    # Similarities of sentence and clip: [[0.5, 0.9], [0.2, 0.1]]; hinges of margin 0.1 by row, by column.
    assert values["loss"].item() == pytest.approx((0.1 + 0.5 + 0.2 + 0.1 + 0.1 + 0.9 + 0.0 + 0.1) / 4)
    assert values["positive_share"].item() == 0.5
    values["loss"].backward()


def test_a_cosine_model_is_compared_by_unit_vectors():
    batch = batch_of([[3.0, 0.0, 4.0], [0.0, 2.0, 0.0]], [[0], [1]])
    video, text = FeatureContrastiveTask(SumModel("cosine"), MILNCELoss()).embed(batch)
    torch.testing.assert_close(video, torch.tensor([[0.6, 0.0, 0.8], [0.0, 1.0, 0.0]]))
    assert text.shape == (2, 1, 3)


def test_several_candidates_go_to_losses_that_take_them():
    batch = batch_of([[5.0, 0.0, 0.0], [0.0, 5.0, 0.0]], [[0, 2], [1, 1]])
    values = FeatureContrastiveTask(SumModel(), MILNCELoss()).training_step(batch)
    assert values["positive_share"].item() == 1.0
    with pytest.raises(ValueError, match="takes one caption per clip, got 2 candidates"):
        FeatureContrastiveTask(SumModel(), MaxMarginObjective(MaxMarginRankingLoss())).training_step(batch)


def test_a_model_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="encode_features"):
        FeatureContrastiveTask(nn.Linear(2, 2), MILNCELoss())
