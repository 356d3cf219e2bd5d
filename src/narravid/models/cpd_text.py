"""The text tower of CPD: DistilBERT, through the `transformers` library (the extra `text`).

Li and Wang, arXiv 2001.05691; DistilBERT: Sanh et al., arXiv 1910.01108.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from narravid.extras import import_extra

__all__ = ["DistilBERTTower", "DistilBERTTowerConfig"]

PADDING_ID = 0

ATTENTION = "sdpa"
"""PyTorch's own attention, named so that no release of the library chooses another."""


@dataclass(frozen=True)
class DistilBERTTowerConfig:
    """Shape of a `DistilBERTTower`; the defaults are the published one's.

    Attributes:
        num_pieces: Rows of the table of word pieces.
        max_positions: Longest row of ids.
        hidden_dim: Size of a token's hidden state.
        feedforward_dim: Size of the middle layer of a transformer block.
        num_layers: Transformer blocks.
        num_heads: Attention heads; must divide `hidden_dim`.
        head_dim: Size of the middle layer of the head.
        embed_dim: Size of the embedding, D.
        attention_mask: Whether padding is hidden from attention. The published weights were trained with
            padding attended, so that an embedding depends on the length that its sentence is filled up to.

    Raises:
        ValueError: If a size is below 1 or the heads do not divide.
    """

    num_pieces: int = 30522
    max_positions: int = 512
    hidden_dim: int = 768
    feedforward_dim: int = 3072
    num_layers: int = 6
    num_heads: int = 12
    head_dim: int = 512
    embed_dim: int = 256
    attention_mask: bool = False

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1 and name != "attention_mask":
                raise ValueError(f"{name} must be at least 1, got {value}")
        if self.hidden_dim % self.num_heads:
            raise ValueError(f"num_heads ({self.num_heads}) must divide hidden_dim ({self.hidden_dim})")


class DistilBERTTower(nn.Module):
    """Hidden states of DistilBERT, their mean over the tokens of a sentence, a head of two linear layers.

    Args:
        config: The tower's shape.

    Raises:
        MissingExtraError: If `transformers` is not installed.
    """

    def __init__(self, config: DistilBERTTowerConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = _encoder(config)
        self.head = nn.Sequential(
            nn.Linear(config.hidden_dim, config.head_dim),
            nn.BatchNorm1d(config.head_dim),
            nn.ReLU(),
            nn.Linear(config.head_dim, config.embed_dim),
        )

    def hidden_states(self, tokens: torch.Tensor) -> torch.Tensor:
        """States of the last layer.

        Args:
            tokens: (N, L) int64 ids of word pieces, 0 = padding, L up to `max_positions`.

        Returns:
            (N, L, hidden_dim), padding included.

        Raises:
            ValueError: If the shape or dtype does not fit.
        """
        limit = self.config.max_positions
        if tokens.ndim != 2 or not 1 <= tokens.shape[1] <= limit or tokens.dtype != torch.int64:
            raise ValueError(
                f"tokens must be (N, L) int64 with L from 1 to {limit}, "
                f"got {tuple(tokens.shape)} {tokens.dtype}"
            )
        if tokens.shape[0] == 0:  # the library cannot tell the size of a head of no sentences
            weight = next(self.head.parameters())
            return weight.new_zeros((*tokens.shape, self.config.hidden_dim))
        mask = _counted(tokens).long() if self.config.attention_mask else None
        states: torch.Tensor = self.encoder(input_ids=tokens, attention_mask=mask).last_hidden_state
        return states

    def pooled(self, tokens: torch.Tensor) -> torch.Tensor:
        """Mean state of the tokens that are no padding, (N, L) int64 to (N, hidden_dim).

        A row of nothing but padding takes the state of its first place, where a mean over none of them has
        no value.
        """
        states = self.hidden_states(tokens)
        weights = _counted(tokens).unsqueeze(-1)
        return torch.sum(states * weights, dim=1) / weights.sum(dim=1)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Embeddings of length 1.

        Args:
            tokens: (N, L) int64 ids of word pieces, 0 = padding.

        Returns:
            (N, D) float32, or float64 for float64 weights, L2-normalised.

        Raises:
            ValueError: As `hidden_states`.
        """
        embeddings = self.head(self.pooled(tokens))
        return F.normalize(embeddings.to(torch.promote_types(embeddings.dtype, torch.float32)), dim=-1)


def _counted(tokens: torch.Tensor) -> torch.Tensor:
    """(N, L) bool: no padding; of a row of padding alone the first place."""
    counted = tokens != PADDING_ID
    empty = ~counted.any(dim=1, keepdim=True)
    first = torch.arange(tokens.shape[1], device=tokens.device) == 0
    return counted | (empty & first)


def _encoder(config: DistilBERTTowerConfig) -> nn.Module:
    library = import_extra("transformers", extra="text", feature="the text tower of CPD")
    encoder: nn.Module = library.DistilBertModel(
        library.DistilBertConfig(
            vocab_size=config.num_pieces,
            max_position_embeddings=config.max_positions,
            dim=config.hidden_dim,
            hidden_dim=config.feedforward_dim,
            n_layers=config.num_layers,
            n_heads=config.num_heads,
            pad_token_id=PADDING_ID,
            attn_implementation=ATTENTION,
        )
    )
    # Not part of the weights, so on the meta device nothing would ever fill it in.
    embeddings = encoder.get_submodule("embeddings")
    if embeddings.get_buffer("position_ids").is_meta:
        positions = torch.arange(config.max_positions, device="cpu").unsqueeze(0)
        embeddings.register_buffer("position_ids", positions, persistent=False)
    return encoder
