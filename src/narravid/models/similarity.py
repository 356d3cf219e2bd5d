"""Comparing embeddings of clips with embeddings of sentences, for the dual encoders."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from narravid.types import Similarity

__all__ = ["compare"]


def compare(video: torch.Tensor, text: torch.Tensor, similarity: Similarity) -> torch.Tensor:
    """Similarity of every clip with every sentence.

    Args:
        video: (V, D) floating point embeddings.
        text: (N, D) floating point embeddings.
        similarity: "dot", or "cosine" for the dot product of L2-normalised vectors.

    Returns:
        (V, N) float32, under autocast too: half precision would round cosines to 0.004.
    """
    with torch.autocast(video.device.type, enabled=False):
        video, text = video.float(), text.float()
        if similarity == "cosine":
            video, text = F.normalize(video, dim=-1), F.normalize(text, dim=-1)
        return torch.matmul(video, text.T)
