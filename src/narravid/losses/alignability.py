"""Which texts can be aligned at all: judged by their scores, and learnt by a head of the aligner."""

from __future__ import annotations

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

__all__ = ["alignability_labels", "alignability_loss", "best_scored_texts"]

ALIGNABLE_POSITIONS = (0.2, 0.8)
"""Texts in the middle of the video tend to be alignable; greetings and farewells are not."""


def best_scored_texts(
    dual_scores: torch.Tensor, joint_scores: torch.Tensor, *, valid: torch.Tensor, share: float
) -> torch.Tensor:
    """The texts that both branches together score best.

    The scores of each branch are standardised over the valid texts (sample deviation) and added; a text is
    taken if its negated sum is at most the `share`-quantile (linear interpolation) of all.

    Args:
        dual_scores: (B, N) floating point, best logit over time of each text.
        joint_scores: (B, N) likewise.
        valid: (B, N) bool, False at padded texts.
        share: In (0, 1), the share of texts to take.

    Returns:
        (B, N) bool; all False with fewer than two valid texts, of which none can be called the better.
    """
    if int(valid.sum()) < 2:
        return torch.zeros_like(valid)
    total = torch.zeros_like(dual_scores[valid])
    for scores in (dual_scores, joint_scores):
        chosen = scores[valid]
        spread = chosen.std()  # 0 for equal scores, whose mean may still be rounded away from them
        total = total - torch.where(spread > 0, (chosen - chosen.mean()) / spread, 0.0)
    taken = torch.zeros_like(valid)
    taken[valid] = total <= total.quantile(share)
    return taken


def alignability_labels(
    dual_scores: torch.Tensor,
    joint_scores: torch.Tensor,
    *,
    valid: torch.Tensor,
    text_positions: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Say of the clear cases whether they are alignable.

    A text is alignable if both branches score it strictly above the median of the valid texts, not alignable
    if both score it strictly below, and undecided otherwise. A text near the beginning or the end of its
    video (mean position below 0.2 or above 0.8) is not alignable, whatever its scores.

    Args:
        dual_scores: (B, N) floating point, best logit over time of each text.
        joint_scores: (B, N) likewise.
        valid: (B, N) bool, False at padded texts.
        text_positions: (B, N, 2) floating point in [0, 1], start and end relative to the whole video.

    Returns:
        alignable (B, N) bool and decided (B, N) bool; False where not decided.
    """
    alignable, unalignable = valid, valid
    if bool(valid.any()):
        for scores in (dual_scores, joint_scores):
            median = scores[valid].quantile(0.5)
            alignable = alignable & (scores > median)
            unalignable = unalignable & (scores < median)
    if text_positions is not None:
        middle = text_positions.mean(dim=2)
        lowest, highest = ALIGNABLE_POSITIONS
        outside = valid & ((middle < lowest) | (middle > highest))
        alignable, unalignable = alignable & ~outside, unalignable | outside
    return alignable, alignable | unalignable


def alignability_loss(
    logits: torch.Tensor, alignable: torch.Tensor, decided: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Binary cross-entropy over the decided texts, both classes of equal weight in sum.

    Args:
        logits: (B, N) floating point within ±1e4.
        alignable: (B, N) bool.
        decided: (B, N) bool, which texts count.

    Returns:
        loss (), with positives weighted by 1 / share of positives - 1; 0 with a gradient of 0 when no text is
        decided or none of them is alignable. accuracy () in [0, 1], detached: the share of decided texts
        whose logit has the right sign; NaN when no text is decided.
    """
    chosen, targets = logits[decided], alignable[decided].to(logits.dtype)
    accuracy = ((chosen.detach() > 0) == (targets > 0)).to(logits.dtype).mean()
    if not bool(targets.any()):
        return (logits * 0.0).sum(), accuracy
    weight = 1 / targets.mean() - 1
    return binary_cross_entropy_with_logits(chosen, targets, pos_weight=weight), accuracy
