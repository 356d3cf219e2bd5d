"""What the temporal aligner makes of a batch: unit vectors of seconds and sentences, and their comparison."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

__all__ = ["AlignerEmbeddings", "AlignerOutput", "cosines", "own_cosines", "unit"]


@dataclass(frozen=True, slots=True)
class AlignerEmbeddings:
    """What the aligner makes of each video and its sentences, before videos are compared with each other.

    Shapes: B videos, T seconds, N sentences, S layers, D `embed_dim`. Vectors have length 1; values at
    padding are computed like any other and mean nothing.

    Attributes:
        dual_video: (B, dual S, T, D) float32, seconds that saw each other.
        dual_text: (B, N, D) float32, projected sentences; they have no layers.
        joint_video: (B, joint S, T, D) float32, seconds that saw the sentences.
        joint_text: (B, joint S, N, D) float32, sentences that saw the video.
        alignability_dual: (B, N) float32 logits from the sentence alone; None without the head.
        alignability_joint: (B, joint S, N) float32 logits of sentences that saw their video; None likewise.
    """

    dual_video: torch.Tensor
    dual_text: torch.Tensor
    joint_video: torch.Tensor
    joint_text: torch.Tensor
    alignability_dual: torch.Tensor | None = None
    alignability_joint: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class AlignerOutput:
    """What training sees: every second of every video against every sentence of every video, by layer.

    Shapes: B videos, T seconds, N sentences, S layers, D `embed_dim`. Values at padding are computed like any
    other and mean nothing.

    Attributes:
        dual: (B, dual S, T, B, N) float32 cosine similarities in [-1, 1], of seconds and sentences encoded
            apart.
        joint: (B, joint S, T, B, N) float32, the same of seconds and sentences that saw each other.
        dual_video: (B, dual S, T, D) float32, the L2-normalised seconds behind `dual`.
        dual_text: (B, N, D) float32, the L2-normalised sentences behind `dual`; they have no layers.
        alignability_dual: (B, N) float32 logits from the sentence alone; None without the head.
        alignability_joint: (B, joint S, N) float32 logits of sentences that saw their video; None likewise.
    """

    dual: torch.Tensor
    joint: torch.Tensor
    dual_video: torch.Tensor
    dual_text: torch.Tensor
    alignability_dual: torch.Tensor | None = None
    alignability_joint: torch.Tensor | None = None


def unit(embeddings: torch.Tensor) -> torch.Tensor:
    """(..., D) floating point to the same of length 1, at least float32."""
    return F.normalize(embeddings.to(torch.promote_types(embeddings.dtype, torch.float32)), dim=-1)


def cosines(video: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """Every second of every video against every sentence of every video.

    Args:
        video: (B, S, T, D) unit vectors.
        text: (B, N, D) unit vectors, or (B, S, N, D) of the same layers.

    Returns:
        (B, S, T, B, N), the videos of the seconds on the first axis, those of the sentences on the fourth.
    """
    return _products("astc,bnc->astbn" if text.ndim == 3 else "astc,bsnc->astbn", video, text)


def own_cosines(video: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """The seconds of each video against its own sentences: arguments as for `cosines`, to (B, S, T, N)."""
    return _products("bstc,bnc->bstn" if text.ndim == 3 else "bstc,bsnc->bstn", video, text)


def _products(equation: str, video: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    with torch.autocast(video.device.type, enabled=False):  # half precision would round cosines to 0.004
        return torch.einsum(equation, video, text)
