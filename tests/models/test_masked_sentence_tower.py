"""The sentence model of the aligner: which words have a say."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from narravid.models.masked_sentence_tower import MaskedSentenceTower
from narravid.models.text_encoders import SentenceTowerConfig


@pytest.fixture
def tower() -> MaskedSentenceTower:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        return MaskedSentenceTower(
            SentenceTowerConfig(num_embeddings=9, word_dim=5, hidden_dim=12, embed_dim=7)
        )


def naive(tower: MaskedSentenceTower, ids: list[int]) -> torch.Tensor:
    """The maximum over the given ids, one after the other."""
    hidden = [F.relu(tower.fc1(tower.word_embedding.weight[word_id])) for word_id in ids]
    return tower.fc2(torch.stack(hidden).max(dim=0).values)


def test_only_real_words_take_part(tower):
    tokens = torch.tensor([[3, 0, 5, 0, 0], [8, 1, 2, 7, 7], [0, 0, 0, 0, 4]])
    expected = torch.stack([naive(tower, [word_id for word_id in row if word_id]) for row in tokens.tolist()])
    torch.testing.assert_close(tower(tokens), expected)


def test_a_sentence_without_a_real_word_takes_all_of_them(tower):
    tokens = torch.tensor([[0, 0, 0]])
    torch.testing.assert_close(tower(tokens)[0], naive(tower, [0]))
    mask = torch.zeros(1, 3, dtype=torch.bool)
    words = torch.tensor([[2, 6, 1]])
    torch.testing.assert_close(tower(words, word_mask=mask)[0], naive(tower, [2, 6, 1]))


def test_the_callers_mask_is_not_written_to(tower):
    mask = torch.tensor([[True, False], [False, False]])
    before = mask.clone()
    tower(torch.tensor([[1, 2], [3, 4]]), word_mask=mask)
    assert torch.equal(mask, before)


def test_a_mask_of_ones_lets_padding_in(tower):
    tokens = torch.tensor([[3, 0]])
    actual = tower(tokens, word_mask=torch.ones(1, 2, dtype=torch.bool))
    torch.testing.assert_close(actual[0], naive(tower, [3, 0]))


def test_word_embeddings_are_those_of_one_word_sentences(tower):
    tokens = torch.tensor([[3, 0, 5]])
    words = tower.word_embeddings(tokens)
    assert words.shape == (1, 3, 7)
    torch.testing.assert_close(words[0, 2], naive(tower, [5]))


def test_the_word_table_is_frozen_and_the_layers_are_trained(tower):
    tower(torch.tensor([[1, 2, 0]])).sum().backward()
    assert tower.word_embedding.weight.grad is None
    for name in ("fc1.weight", "fc2.weight", "fc2.bias"):
        gradient = tower.get_parameter(name).grad
        assert gradient.isfinite().all()
        assert gradient.abs().sum() > 0


@pytest.mark.parametrize(
    ("tokens", "mask", "named"),
    [
        (torch.zeros(3, dtype=torch.int64), None, r"tokens must be \(N, L\) int64"),
        (torch.zeros(2, 0, dtype=torch.int64), None, r"L >= 1, got \(2, 0\)"),
        (torch.zeros(2, 3), None, "float32"),
        (torch.zeros(2, 3, dtype=torch.int64), torch.ones(2, 2, dtype=torch.bool), r"\(2, 3\) bool"),
        (torch.zeros(2, 3, dtype=torch.int64), torch.ones(2, 3), "float32"),
    ],
)
def test_wrong_inputs_are_named(tower, tokens, mask, named):
    with pytest.raises(ValueError, match=named):
        tower(tokens, word_mask=mask)
