"""MIL-NCE: contrastive learning from several uncertain captions per clip."""

from __future__ import annotations

import torch
from torch import nn

from narravid.losses.logits import check_logits

__all__ = ["MILNCELoss"]


class MILNCELoss(nn.Module):
    """Multiple-instance noise-contrastive estimation of clips and their candidate captions.

    Miech et al., End-to-End Learning of Visual Representations from Uncurated Instructional Videos, CVPR
    2020, arXiv 1912.06430, equation 1. With the scores s(i, j, p) of clip i and candidate p of clip j,

        loss = mean over i of  log( sum_jp exp s(i, j, p) + sum_jp exp s(j, i, p) ) - log sum_p exp s(i, i, p)

    The denominator holds the row of clip i (every candidate of every clip) and its column (every clip against
    the candidates of clip i); the positives stand in both and are counted twice, as published. Scores are
    plain dot products: whoever wants cosine similarity or a temperature scales the embeddings beforehand.
    Everything stays in log space, so large scores neither overflow nor underflow.
    """

    def forward(
        self, video: torch.Tensor, text: torch.Tensor, *, candidate_mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The loss of one (global) batch.

        Args:
            video: (B, D) floating point, clip embeddings.
            text: (B, P, D) floating point, embeddings of the P candidates of each clip.
            candidate_mask: (B, P) bool, False where a candidate is padding and must not count anywhere; None
                when all are real.

        Returns:
            () float32, also for half-precision inputs and under autocast; float64 for float64 inputs.

        Raises:
            ValueError: If the shapes do not fit, a clip has no candidate, or a score is NaN or beyond ±1e4.
        """
        _check_shapes(video, text, candidate_mask)
        dtype = torch.promote_types(torch.promote_types(video.dtype, text.dtype), torch.float32)
        num_clips, num_candidates, _ = text.shape
        with torch.autocast(video.device.type, enabled=False):
            scores = video.to(dtype) @ text.to(dtype).flatten(0, 1).T
            check_logits("scores of clips and captions", scores)
            scores = scores.view(num_clips, num_clips, num_candidates)
            if candidate_mask is not None:
                scores = scores.masked_fill(~candidate_mask, -torch.inf)
            row = scores.logsumexp(dim=(1, 2))
            column = scores.logsumexp(dim=(0, 2))
            positives = scores.diagonal().logsumexp(dim=0)  # the diagonal is (P, B)
            return (torch.logaddexp(row, column) - positives).mean()


def _check_shapes(video: torch.Tensor, text: torch.Tensor, candidate_mask: torch.Tensor | None) -> None:
    if video.ndim != 2 or text.ndim != 3:
        raise ValueError(
            f"video must be (B, D) and text (B, P, D), got {tuple(video.shape)} and {tuple(text.shape)}"
        )
    if video.shape[0] != text.shape[0] or video.shape[1] != text.shape[2]:
        raise ValueError(
            f"video and text must agree in B and D, got {tuple(video.shape)} and {tuple(text.shape)}"
        )
    if text.shape[0] == 0 or text.shape[1] == 0:
        raise ValueError(f"the batch needs clips and candidates, got text of shape {tuple(text.shape)}")
    if candidate_mask is None:
        return
    if candidate_mask.shape != text.shape[:2] or candidate_mask.dtype != torch.bool:
        raise ValueError(
            f"candidate_mask must be {tuple(text.shape[:2])} bool, "
            f"got {tuple(candidate_mask.shape)} {candidate_mask.dtype}"
        )
    without = (~candidate_mask.any(dim=1)).nonzero()
    if len(without):
        raise ValueError(f"clip {int(without[0])} of the batch has no candidate: candidate_mask is all False")
