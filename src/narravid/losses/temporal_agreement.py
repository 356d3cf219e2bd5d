"""Where two branches of the aligner agree that a sentence belongs: corrected targets for its training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

__all__ = [
    "AgreementTarget",
    "AgreementType",
    "agreement_target",
    "circulant",
    "pad_windows",
    "window_mask",
]

AgreementType = Literal["keep", "keep-joint", "intersection", "union"]
PADDED_LOGIT = -6e4
"""Stands at padded seconds and texts: below every logit that a loss takes, and finite."""
MIN_IOU = 0.5
CONFIDENCE_QUANTILE = 0.3


@dataclass(frozen=True, slots=True)
class AgreementTarget:
    """Corrected positives of a batch.

    Attributes:
        positives: (B, N, T) bool, the seconds of each text.
        confident: (B, N) bool, texts on whose window both branches agree with good scores.
        iou: (B, N) in [0, 1], intersection over union of the two best windows, in seconds.
    """

    positives: torch.Tensor
    confident: torch.Tensor
    iou: torch.Tensor


def circulant(row: torch.Tensor) -> torch.Tensor:
    """All rotations of the last axis.

    Args:
        row: (..., S).

    Returns:
        (..., S, S) of the same dtype; rotation k holds at j what `row` holds at (j - k) mod S.
    """
    size = row.shape[-1]
    steps = torch.arange(size, device=row.device)
    return row[..., (steps - steps[:, None]) % size]


def pad_windows(
    starts: Sequence[Sequence[float]], ends: Sequence[Sequence[float]], *, num_seconds: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Tensors from lists of different lengths; padded texts get a window that no second is in.

    Args:
        starts: Start of each text of each video, in seconds.
        ends: The ends, of the same lengths.
        num_seconds: T, seconds of a video.

    Returns:
        start_seconds (B, N) float32, end_seconds (B, N) float32, text_mask (B, N) bool, False at padding;
        N is the largest number of texts.

    Raises:
        ValueError: If the lists do not match.
    """
    counts = [len(texts) for texts in starts]
    if counts != [len(texts) for texts in ends]:
        raise ValueError(
            f"starts and ends must have the same lengths, got {counts} and {[len(texts) for texts in ends]}"
        )
    shape = (len(counts), max(counts, default=0))
    start_seconds = torch.full(shape, num_seconds + 100.0)
    end_seconds = torch.full(shape, -100.0)
    text_mask = torch.zeros(shape, dtype=torch.bool)
    for video, count in enumerate(counts):
        start_seconds[video, :count] = torch.tensor(starts[video])
        end_seconds[video, :count] = torch.tensor(ends[video])
        text_mask[video, :count] = True
    return start_seconds, end_seconds, text_mask


def window_mask(start_seconds: torch.Tensor, end_seconds: torch.Tensor, *, num_seconds: int) -> torch.Tensor:
    """The whole seconds t with start <= t < end.

    Args:
        start_seconds: (B, N) floating point.
        end_seconds: (B, N) floating point.
        num_seconds: T.

    Returns:
        (B, N, T) bool.
    """
    seconds = torch.arange(num_seconds, device=start_seconds.device)
    return (start_seconds[..., None] <= seconds) & (seconds < end_seconds[..., None])


@torch.no_grad()
def agreement_target(
    logits: tuple[torch.Tensor, torch.Tensor],
    positives: torch.Tensor,
    *,
    video_mask: torch.Tensor,
    text_mask: torch.Tensor,
    agreement: AgreementType,
    temperature: float,
) -> AgreementTarget:
    """Move each text to the best window of its own duration where dual and joint branch agree on it.

    Han et al., Temporal Alignment Networks for Long-term Video, CVPR 2022, arXiv 2204.02968, section 3.3. For
    each branch, the chance that a text belongs to a second is the softmax of the logits over the texts,
    divided by the temperature, softmax over time; the best window of the text's duration has the highest mean
    of it, the earliest where several do, and never the first or last second of the video. Windows agree from
    an intersection over union of 0.5 on; such a text is confident if its mean logit over the best window
    reaches the 0.3-quantile of all texts in both branches.

    - `keep`: texts whose windows agree get the union of both, others keep theirs;
    - `keep-joint`: the same with the joint branch's window;
    - `intersection`, `union`: of both windows for confident texts, nothing for others.

    Afterwards a second belongs to the first text (lowest index) that claims it only, and a text that is left
    without any second gets its original ones back.

    Args:
        logits: Of the dual and joint branch's last layer within each video, both (B, T, N) floating point.
        positives: (B, N, T) bool, the original seconds of each text.
        video_mask: (B, T) bool, False at padded seconds.
        text_mask: (B, N) bool, False at padded texts.
        agreement: The rule above.
        temperature: Of the second softmax.

    Returns:
        The target; padded texts have none. Videos of one or two seconds offer no window: the original stays.
    """
    originals = positives & text_mask[..., None]
    if originals.shape[2] <= 2 or not bool(text_mask.any()):
        unsure = torch.zeros_like(text_mask)
        return AgreementTarget(originals, unsure, unsure.to(logits[0].dtype))
    durations = originals.sum(dim=2).clamp_min(1) * text_mask
    real = video_mask[:, :, None] & text_mask[:, None, :]
    windows, confident = [], text_mask
    for branch in logits:
        masked = branch.masked_fill(~real, PADDED_LOGIT)
        window = _best_window((masked.softmax(dim=2) / temperature).softmax(dim=1), durations)
        windows.append(window)
        confident = confident & _scored_well(masked, window, text_mask)
    dual, joint = windows
    shared, either = dual & joint, dual | joint
    iou = shared.sum(dim=2) / either.sum(dim=2).clamp_min(1)
    agree = (iou >= MIN_IOU) & text_mask
    confident = confident & agree
    moved = {
        "keep": torch.where(agree[..., None], either, originals),
        "keep-joint": torch.where(agree[..., None], joint, originals),
        "intersection": shared & confident[..., None],
        "union": either & confident[..., None],
    }[agreement]
    return AgreementTarget(_settle_claims(moved, originals), confident, iou)


def _best_window(chances: torch.Tensor, durations: torch.Tensor) -> torch.Tensor:
    """(B, N, T) bool: for each text, the placement of its duration with the highest mean chance.

    Sums run in float64, so that windows of equal chances are equal and the earliest of them wins.
    """
    num_seconds = chances.shape[1]
    steps = torch.arange(num_seconds, device=chances.device)
    placements = circulant(steps < durations[..., None])
    placements[..., [0, -1]] = False
    length = placements.sum(dim=3)
    total = (placements.double() @ chances.double().mT[..., None]).squeeze(3)
    fits = (steps <= num_seconds - durations[..., None]) & (length > 0)
    best = torch.where(fits, total / length.clamp_min(1), -1.0).argmax(dim=2)
    return placements.gather(2, best[..., None, None].expand(-1, -1, 1, num_seconds)).squeeze(2)


def _scored_well(logits: torch.Tensor, window: torch.Tensor, text_mask: torch.Tensor) -> torch.Tensor:
    """(B, N) bool: texts whose mean logit over their window is not among the lowest."""
    mean_logit = torch.where(window, logits.mT, 0.0).sum(dim=2) / window.sum(dim=2).clamp_min(1)
    return mean_logit >= mean_logit[text_mask].quantile(CONFIDENCE_QUANTILE)


def _settle_claims(moved: torch.Tensor, originals: torch.Tensor) -> torch.Tensor:
    """(B, N, T) bool: each second for the first text that claims it, the original for a text without any."""
    first = moved & (moved.cumsum(dim=1) == 1)
    return torch.where(first.any(dim=2, keepdim=True), first, originals)
