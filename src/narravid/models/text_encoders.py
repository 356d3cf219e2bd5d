"""Towers that turn word ids into embeddings."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["SentenceTower", "SentenceTowerConfig"]


@dataclass(frozen=True)
class SentenceTowerConfig:
    """Shape of a `SentenceTower`; the defaults are the published one's.

    Attributes:
        num_embeddings: Rows of the word table: number of words + 1, row 0 is padding.
        word_dim: Size of a word vector.
        hidden_dim: Size of the layer whose maximum over words is taken.
        embed_dim: Size of the sentence embedding.
        freeze_words: Whether the word table stays as it is in training (published: word2vec, frozen).

    Raises:
        ValueError: If a size is too small.
    """

    num_embeddings: int
    word_dim: int = 300
    hidden_dim: int = 2048
    embed_dim: int = 512
    freeze_words: bool = True

    def __post_init__(self) -> None:
        if self.num_embeddings < 2:
            raise ValueError(
                f"num_embeddings must be at least 2 (padding and a word), got {self.num_embeddings}"
            )
        if min(self.word_dim, self.hidden_dim, self.embed_dim) < 1:
            raise ValueError(
                "word_dim, hidden_dim and embed_dim must be at least 1, "
                f"got {self.word_dim}, {self.hidden_dim} and {self.embed_dim}"
            )


class SentenceTower(nn.Module):
    """Word vectors, a linear layer with ReLU on each, the maximum over words, a linear layer.

    Miech et al., CVPR 2020, arXiv 1912.06430, section 4.1. Padding (id 0) takes part in the maximum with its
    own row of the table, as in the published weights: how many padding ids there are makes no difference,
    whether there is one does.

    Args:
        config: The tower's shape.
    """

    def __init__(self, config: SentenceTowerConfig) -> None:
        super().__init__()
        self.config = config
        self.word_embedding = nn.Embedding(config.num_embeddings, config.word_dim)
        self.word_embedding.weight.requires_grad_(not config.freeze_words)
        self.fc1 = nn.Linear(config.word_dim, config.hidden_dim)
        self.fc2 = nn.Linear(config.hidden_dim, config.embed_dim)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Sentence embeddings.

        Args:
            tokens: (N, L) int64 word ids, 0 = padding.

        Returns:
            (N, D), not L2-normalised.

        Raises:
            ValueError: If the shape or dtype does not fit.
        """
        if tokens.ndim != 2 or tokens.shape[1] == 0 or tokens.dtype != torch.int64:
            raise ValueError(
                f"tokens must be (N, L) int64 with L >= 1, got {tuple(tokens.shape)} {tokens.dtype}"
            )
        hidden = F.relu(self.fc1(self.word_embedding(tokens)))
        embeddings: torch.Tensor = self.fc2(hidden.amax(dim=1))
        return embeddings
