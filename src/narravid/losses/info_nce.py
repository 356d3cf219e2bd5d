"""InfoNCE: each clip picks its text out of the batch, and each text its clip."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from narravid.losses.logits import check_logits
from narravid.losses.unit_vectors import unit_vectors

__all__ = ["InfoNCELoss", "InfoNCEParts"]

COSINE_TEMPERATURE = 0.07


@dataclass(frozen=True, slots=True)
class InfoNCEParts:
    """The loss and what it is made of.

    The published program calls the clip-to-text direction "per text" and the other one "per video"; here a
    name says who picks from what.

    Attributes:
        loss: () the objective, the sum of the two directions.
        video_to_text: () cross-entropy of the texts for each clip.
        text_to_video: () cross-entropy of the clips for each text.
        top1_video_to_text: () in [0, 1], detached: share of clips whose own text scores highest; a tie of t
            texts counts 1 / t.
        top1_text_to_video: () in [0, 1], detached: the same for texts.
    """

    loss: torch.Tensor
    video_to_text: torch.Tensor
    text_to_video: torch.Tensor
    top1_video_to_text: torch.Tensor
    top1_text_to_video: torch.Tensor


class InfoNCELoss(nn.Module):
    """Symmetric cross-entropy over the similarities of a batch.

    Han et al., Temporal Alignment Networks for Long-term Video, CVPR 2022, arXiv 2204.02968, end-to-end
    training on auto-aligned text; after van den Oord et al., 2018, arXiv 1807.03748. With the similarities
    s(i, j) of clip i and text j,

        loss = mean over i of -log softmax_j(s(i, j) / temperature) at j = i,  plus the same over clips

    Args:
        temperature: Divides the similarities, > 0. None takes the published one: 0.07 for cosines, none (1)
            for dot products.
        cosine: Whether embeddings are normalised to length 1; otherwise plain dot products. The cosine of a
            zero vector is 0 and gives it no gradient.

    Raises:
        ValueError: If the temperature is not a positive number.
    """

    def __init__(self, *, temperature: float | None = None, cosine: bool = True) -> None:
        super().__init__()
        if temperature is None:
            temperature = COSINE_TEMPERATURE if cosine else 1.0
        if not (math.isfinite(temperature) and temperature > 0):
            raise ValueError(f"temperature must be positive, got {temperature}")
        self.temperature = temperature
        self.cosine = cosine

    def forward(self, video: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """The loss of one (global) batch.

        Args:
            video: (B, D) floating point, clip embeddings.
            text: (B, D) floating point; text i belongs to clip i.

        Returns:
            () float32, also for half-precision inputs and under autocast; float64 for float64 inputs.

        Raises:
            ValueError: If the shapes do not fit, or a similarity over the temperature is NaN or beyond ±1e4.
        """
        return self.parts(video, text).loss

    def parts(self, video: torch.Tensor, text: torch.Tensor) -> InfoNCEParts:
        """The same with both directions and their top-1 accuracies, for logging.

        Args:
            video: As in `forward`.
            text: As in `forward`.

        Returns:
            All of it; `.loss` is what `forward` returns.

        Raises:
            ValueError: As in `forward`.
        """
        if video.ndim != 2 or video.shape != text.shape or len(video) == 0:
            raise ValueError(
                "video and text must both be (B, D) with B >= 1, "
                f"got {tuple(video.shape)} and {tuple(text.shape)}"
            )
        dtype = torch.promote_types(torch.promote_types(video.dtype, text.dtype), torch.float32)
        with torch.autocast(video.device.type, enabled=False):
            video, text = video.to(dtype), text.to(dtype)
            if self.cosine:
                video, text = unit_vectors(video), unit_vectors(text)
            logits = video @ text.T / self.temperature
            check_logits("similarities of clips and texts over the temperature", logits)
            own = torch.arange(len(logits), device=logits.device)
            video_to_text = functional.cross_entropy(logits, own)
            text_to_video = functional.cross_entropy(logits.T, own)
        return InfoNCEParts(
            video_to_text + text_to_video, video_to_text, text_to_video, _top1(logits), _top1(logits.T)
        )


@torch.no_grad()
def _top1(logits: torch.Tensor) -> torch.Tensor:
    """Expected share of rows whose diagonal entry is the largest, ties broken at random."""
    own = logits.diagonal()[:, None]
    beaten = (logits > own).any(dim=1)
    num_tied = (logits == own).sum(dim=1)
    return torch.where(beaten, 0.0, 1.0 / num_tied).mean()
