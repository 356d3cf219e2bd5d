"""The sentence model of the temporal aligner: word vectors whose padding has no say."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from narravid.models.text_encoders import SentenceTower
from narravid.text.words import PADDING_ID

__all__ = ["MaskedSentenceTower"]


class MaskedSentenceTower(SentenceTower):
    """The sentence tower of S3D, with the maximum over real words only.

    Han et al., Temporal Alignment Networks for Long-term Video, CVPR 2022, arXiv 2204.02968.
    Ids that are padding, unknown words among them, are left out of the maximum; a sentence of nothing else
    takes the maximum over all its ids, so that it has an embedding.
    """

    def forward(self, tokens: torch.Tensor, *, word_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Sentence embeddings.

        Args:
            tokens: (N, L) int64 word ids, 0 = padding.
            word_mask: (N, L) bool, True for the words that count; by default those that are not padding. It
                is not written to.

        Returns:
            (N, D), not L2-normalised.

        Raises:
            ValueError: If a shape or dtype does not fit.
        """
        if tokens.ndim != 2 or tokens.shape[1] == 0 or tokens.dtype != torch.int64:
            raise ValueError(
                f"tokens must be (N, L) int64 with L >= 1, got {tuple(tokens.shape)} {tokens.dtype}"
            )
        mask = tokens != PADDING_ID if word_mask is None else word_mask
        if mask.shape != tokens.shape or mask.dtype != torch.bool:
            raise ValueError(
                f"word_mask must be {tuple(tokens.shape)} bool, got {tuple(mask.shape)} {mask.dtype}"
            )
        mask = mask | ~mask.any(dim=1, keepdim=True)
        hidden = self._hidden(tokens).masked_fill(~mask.unsqueeze(2), -torch.inf)
        embeddings: torch.Tensor = self.fc2(hidden.amax(dim=1))
        return embeddings

    def word_embeddings(self, tokens: torch.Tensor) -> torch.Tensor:
        """What the sentence embedding would be of each word alone: (N, L) ids to (N, L, D)."""
        embeddings: torch.Tensor = self.fc2(self._hidden(tokens))
        return embeddings

    def _hidden(self, tokens: torch.Tensor) -> torch.Tensor:
        return F.relu(self.fc1(self.word_embedding(tokens)))
