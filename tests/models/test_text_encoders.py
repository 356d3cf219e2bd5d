"""The sentence tower against its formula, and the part that padding plays."""

from __future__ import annotations

import pytest
import torch

from narravid.models.text_encoders import SentenceTower, SentenceTowerConfig


@pytest.fixture
def tower() -> SentenceTower:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return SentenceTower(SentenceTowerConfig(num_embeddings=9, word_dim=4, hidden_dim=7, embed_dim=3))


def test_equals_the_formula_word_by_word(tower):
    tokens = torch.tensor([[3, 1, 0], [8, 8, 2]])
    embeddings = tower(tokens)
    for row, ids in zip(embeddings, tokens, strict=True):
        hidden = torch.stack(
            [
                (tower.fc1.weight @ tower.word_embedding.weight[word] + tower.fc1.bias).clamp(min=0)
                for word in ids
            ]
        )
        expected = tower.fc2.weight @ hidden.max(dim=0).values + tower.fc2.bias
        torch.testing.assert_close(row, expected)


def test_order_and_repetition_of_words_make_no_difference(tower):
    with torch.inference_mode():
        first, second = tower(torch.tensor([[3, 1, 5, 1], [5, 5, 3, 1]]))
    assert torch.equal(first, second)


def test_the_first_padding_counts_and_further_ones_do_not(tower):
    with torch.inference_mode():
        none, one, many = (tower(torch.tensor([[3, 1] + [0] * n])) for n in (0, 1, 5))
    assert torch.equal(one, many)
    assert not torch.equal(none, one)


def test_frozen_words_get_no_gradient(tower):
    tower(torch.tensor([[1, 2]])).sum().backward()
    assert tower.word_embedding.weight.grad is None
    trained = SentenceTower(SentenceTowerConfig(num_embeddings=9, freeze_words=False))
    trained(torch.tensor([[1, 2]])).sum().backward()
    assert trained.word_embedding.weight.grad[1:3].abs().sum() > 0


@pytest.mark.parametrize(
    "tokens", [torch.zeros(3, dtype=torch.int64), torch.zeros(2, 3), torch.zeros((2, 0), dtype=torch.int64)]
)
def test_wrong_tokens_are_refused(tower, tokens):
    with pytest.raises(ValueError, match="tokens must be"):
        tower(tokens)


@pytest.mark.parametrize(
    "wrong",
    [{"num_embeddings": 1}, {"num_embeddings": 5, "word_dim": 0}, {"num_embeddings": 5, "embed_dim": 0}],
)
def test_wrong_sizes_are_refused(wrong):
    with pytest.raises(ValueError, match=list(wrong)[-1]):
        SentenceTowerConfig(**wrong)
