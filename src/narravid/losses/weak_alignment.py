"""S2DTW: weak alignment of clips and sentences that may have no counterpart."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from narravid.losses.logits import MAX_LOGIT, check_logits
from narravid.losses.soft_dtw import (
    Backend,
    check_gamma,
    choose_backend,
    padding_lengths,
    refuse_second_derivative,
    unchecked_soft_dtw,
)
from narravid.losses.temporal_augmentation import TemporalAugmentation

__all__ = ["S2DTWLoss", "interleave", "local_cost", "pair_costs"]


class S2DTWLoss(nn.Module):
    """Contrast of videos and narrations by how well they align in order.

    Ko et al., Video-Text Representation Learning via Differentiable Weak Temporal Alignment (VT-TWINS), CVPR
    2022, arXiv 2203.16784: for each narration, InfoNCE of the negated S2DTW costs over the videos of the
    batch, in this one direction, as published:

        loss = mean over a of  log( sum_b exp(-cost(a, b)) ) + cost(a, a)

    with the costs of `pair_costs`. The embeddings are taken as they are: the paper's are L2-normalised, and
    whoever wants that does it beforehand. Everything stays in log space.

    Args:
        gamma: Smoothing of the local costs and of soft-DTW.
        skip_cost: What a step costs that passes a clip or a sentence by without matching it.
        augmentation: Temporal data augmentation of both sides in training mode; the paper has it, the
            published program does not, hence None.
        backend: As for `soft_dtw`.

    Raises:
        ValueError: If gamma is not positive, or skip_cost / gamma beyond ±1e4.
    """

    def __init__(
        self,
        *,
        gamma: float = 0.1,
        skip_cost: float = 0.5,
        augmentation: TemporalAugmentation | None = None,
        backend: Backend = "auto",
    ) -> None:
        super().__init__()
        _check_costs(gamma, skip_cost)
        self.gamma = gamma
        self.skip_cost = skip_cost
        self.augmentation = augmentation
        self.backend: Backend = backend

    def forward(
        self,
        video: torch.Tensor,
        text: torch.Tensor,
        *,
        video_mask: torch.Tensor | None = None,
        text_mask: torch.Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> torch.Tensor:
        """The loss of one (global) batch.

        Args:
            video: (B, N, D) floating point, embeddings of the N clips of each video, in order.
            text: (B, M, D) floating point, embeddings of its M sentences; M may differ from N.
            video_mask: (B, N) bool, False in the padding at the end; None when all clips are real.
            text_mask: (B, M) bool, likewise.
            generator: Draws the permutations of the augmentation; needed with one, in training mode.

        Returns:
            () float32, also for half-precision inputs and under autocast; float64 for float64 inputs.

        Raises:
            ValueError: If the shapes do not fit, similarity / gamma lies beyond ±1e4, or the augmentation
                lacks its generator or meets padding.
        """
        if len(video) != len(text) or len(video) == 0:
            raise ValueError(
                "video and text must agree in B, and B be at least 1, "
                f"got {tuple(video.shape)} and {tuple(text.shape)}"
            )
        if self.augmentation is not None and self.training:
            if generator is None or video_mask is not None or text_mask is not None:
                raise ValueError("temporal augmentation needs a generator, and sequences without padding")
            video = self.augmentation(video, generator=generator)
            text = self.augmentation(text, generator=generator)
        cost = pair_costs(
            video,
            text,
            gamma=self.gamma,
            skip_cost=self.skip_cost,
            video_mask=video_mask,
            text_mask=text_mask,
            backend=self.backend,
        )
        return (torch.logsumexp(-cost, dim=1) + cost.diagonal()).mean()


def local_cost(similarity: torch.Tensor, *, gamma: float) -> torch.Tensor:
    """The locally smoothed cost of matching a clip and a sentence.

    -s(i, j) - gamma · log of the sum of exp(s' / gamma) over the predecessors s' = s(i-1, j), s(i, j-1),
    s(i-1, j-1) that exist; cell (0, 0) counts as having three predecessors of similarity 0.

    Args:
        similarity: (..., N, M) floating point, clips by sentences.
        gamma: Smoothing, positive.

    Returns:
        (..., N, M) like `similarity`.
    """
    scaled = similarity / gamma
    before = F.pad(scaled, (1, 0, 1, 0), value=-torch.inf)
    before[..., 0, 0] = math.log(3.0)
    predecessors = torch.stack([before[..., 1:, :-1], before[..., :-1, 1:], before[..., :-1, :-1]])
    return -gamma * (scaled + torch.logsumexp(predecessors, dim=0))


def interleave(cost: torch.Tensor, *, skip_cost: float) -> torch.Tensor:
    """Weak alignment: a way around every match.

    Args:
        cost: (..., N, M) floating point.
        skip_cost: What every other cell costs.

    Returns:
        (..., 2N+1, 2M+1) like `cost`: entry (2i+1, 2j+1) is cost(i, j), the rest skip_cost.
    """
    shape = (*cost.shape[:-2], 2 * cost.shape[-2] + 1, 2 * cost.shape[-1] + 1)
    interleaved = cost.new_full(shape, skip_cost)
    interleaved[..., 1::2, 1::2] = cost
    return interleaved


def pair_costs(
    video: torch.Tensor,
    text: torch.Tensor,
    *,
    gamma: float = 0.1,
    skip_cost: float = 0.5,
    video_mask: torch.Tensor | None = None,
    text_mask: torch.Tensor | None = None,
    backend: Backend = "auto",
) -> torch.Tensor:
    """S2DTW of every narration with every video: soft-DTW of the interleaved local costs.

    Args:
        video: (B, N, D) floating point, clips in order; not normalised here.
        text: (A, M, D) floating point, sentences in order.
        gamma: Smoothing, positive; similarity / gamma must lie within ±1e4, padding included.
        skip_cost: What a step costs that matches nothing.
        video_mask: (B, N) bool, False in the padding at the end; None when all clips are real.
        text_mask: (A, M) bool, likewise.
        backend: As for `soft_dtw`.

    Returns:
        (A, B), entry (a, b) the cost of text a and video b, lower for a better alignment; may be negative.
        float32, or float64 if an input is. Can be differentiated once.

    Raises:
        ValueError: If the shapes do not fit, or a number is out of range.
    """
    _check_shapes(video, text)
    _check_costs(gamma, skip_cost)
    lengths = _pair_lengths(
        padding_lengths("video_mask", video_mask, shape=video.shape[:2], device=video.device),
        padding_lengths("text_mask", text_mask, shape=text.shape[:2], device=video.device),
    )
    dtype = torch.promote_types(torch.promote_types(video.dtype, text.dtype), torch.float32)
    with torch.autocast(video.device.type, enabled=False):
        # One matrix product for all pairs, with the pairs innermost afterwards.
        clips, sentences = (side.to(dtype).transpose(0, 1).flatten(0, 1) for side in (video, text))
        product = (sentences @ clips.T).view(text.shape[1], text.shape[0], video.shape[1], video.shape[0])
        similarity = product.permute(2, 0, 1, 3).flatten(2) / gamma
        check_logits("similarities divided by gamma", similarity)
        if choose_backend(backend, video.device) == "numba":
            cost: torch.Tensor = _PairCosts.apply(  # type: ignore[no-untyped-call]
                similarity, lengths, skip_cost / gamma
            )
        else:
            local = local_cost(similarity.permute(2, 0, 1), gamma=1.0)
            matrices = interleave(local, skip_cost=skip_cost / gamma)
            cost = unchecked_soft_dtw(
                matrices, 2 * lengths + 1, gamma=1.0, band=max(matrices.shape[1:]), backend=backend
            )
        return gamma * cost.view(len(text), len(video))


class _PairCosts(torch.autograd.Function):
    """All of the recursion in one compiled pass; the derivatives come with the value."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - autograd's own context
        similarity: torch.Tensor,
        lengths: torch.Tensor,
        skip_cost: float,
    ) -> torch.Tensor:
        from narravid.losses.weak_alignment_numba import numba_pair_costs

        value, gradient = numba_pair_costs(
            similarity.contiguous(), lengths, skip_cost, with_gradient=ctx.needs_input_grad[0]
        )
        if gradient is not None:
            ctx.save_for_backward(gradient)
        return value

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401 - autograd's own context
        grad_value: torch.Tensor,
    ) -> tuple[torch.Tensor, None, None]:
        refuse_second_derivative()
        (gradient,) = ctx.saved_tensors
        return grad_value * gradient, None, None


def _pair_lengths(num_clips: torch.Tensor, num_sentences: torch.Tensor) -> torch.Tensor:
    """(A · B, 2): the lengths of video b and text a in the order (a, b)."""
    return torch.stack(
        [num_clips.repeat(len(num_sentences)), num_sentences.repeat_interleave(len(num_clips))], dim=1
    )


def _check_costs(gamma: float, skip_cost: float) -> None:
    check_gamma(gamma)
    if not abs(skip_cost / gamma) <= MAX_LOGIT:  # false for NaN as well
        raise ValueError(f"skip_cost / gamma must lie within ±{MAX_LOGIT:g}, got {skip_cost} / {gamma}")


def _check_shapes(video: torch.Tensor, text: torch.Tensor) -> None:
    fits = video.ndim == text.ndim == 3 and video.shape[2] == text.shape[2]
    if not fits or 0 in (*video.shape[:2], *text.shape[:2]):
        raise ValueError(
            "video must be (B, N, D) and text (A, M, D), nothing of them empty, "
            f"got {tuple(video.shape)} and {tuple(text.shape)}"
        )
