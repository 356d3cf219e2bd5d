"""Max-margin ranking: a clip's own caption must beat the others by a margin."""

from __future__ import annotations

import math

import torch
from torch import nn

from narravid.losses.logits import check_logits

__all__ = ["MaxMarginRankingLoss"]


class MaxMarginRankingLoss(nn.Module):
    """Bidirectional hinge ranking with negatives from the same video and from others.

    Miech et al., HowTo100M, ICCV 2019, arXiv 1906.03327, section 4. With the similarity x of n clips and n
    captions, the pair (i, i) belonging together,

        loss = mean over i, j of  w(i, j) * ( max(0, m + x(i, j) - x(i, i)) + max(0, m + x(i, j) - x(j, j)) )

    The diagonal takes part and adds a constant, as published. With several clips per video, w makes clips of
    the same video (hard negatives) a share `hard_negative_rate` of the total weight and those of the other
    videos the rest: with v videos in the batch, v * rate within a video and v * (1 - rate) / (v - 1)
    between videos. The weights follow the batch that is given; a batch of one video has hard negatives only,
    and their weight is `hard_negative_rate`.

    Args:
        margin: m >= 0, by how much the right pair must win.
        clips_per_video: Consecutive rows (and columns) of the similarity that come from one video.
        hard_negative_rate: Share in [0, 1] of the weight on pairs within a video; matters only with several
            clips per video.
        weight_negatives: Whether to weight at all, as the published training program does by default;
            without, every entry weighs 1. No difference with one clip per video.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        *,
        margin: float = 0.1,
        clips_per_video: int = 1,
        hard_negative_rate: float = 0.5,
        weight_negatives: bool = True,
    ) -> None:
        super().__init__()
        if not (math.isfinite(margin) and margin >= 0):
            raise ValueError(f"margin must be a number of at least 0, got {margin}")
        if clips_per_video < 1:
            raise ValueError(f"clips_per_video must be at least 1, got {clips_per_video}")
        if not 0 <= hard_negative_rate <= 1:
            raise ValueError(f"hard_negative_rate must lie in [0, 1], got {hard_negative_rate}")
        self.margin = margin
        self.clips_per_video = clips_per_video
        self.hard_negative_rate = hard_negative_rate
        self.weight_negatives = weight_negatives

    def forward(self, similarity: torch.Tensor) -> torch.Tensor:
        """The loss of one batch.

        Args:
            similarity: (n, n) floating point, every caption (row) against every clip (column), or the other
                way round; entry (i, i) is the pair that belongs together.

        Returns:
            () float32, also for half-precision input and under autocast; float64 for float64 input.

        Raises:
            ValueError: If the matrix is empty, not square, not made of whole videos, or has an entry that is
                NaN or beyond ±1e4.
        """
        if similarity.ndim != 2 or similarity.shape[0] != similarity.shape[1] or len(similarity) == 0:
            raise ValueError(f"similarity must be (n, n) with n >= 1, got {tuple(similarity.shape)}")
        if len(similarity) % self.clips_per_video:
            raise ValueError(
                f"a batch of {len(similarity)} clips does not consist of whole videos of "
                f"clips_per_video={self.clips_per_video}"
            )
        check_logits("similarity", similarity)
        with torch.autocast(similarity.device.type, enabled=False):
            scores = similarity.to(torch.promote_types(similarity.dtype, torch.float32))
            own = scores.diagonal()
            hinges = (self.margin + scores - own[:, None]).relu() + (self.margin + scores - own).relu()
            if self.weight_negatives and self.clips_per_video > 1:
                num_videos = len(scores) // self.clips_per_video
                weights = self.video_weights(num_videos).to(hinges)
                blocks = hinges.view(num_videos, self.clips_per_video, num_videos, self.clips_per_video)
                hinges = blocks * weights[:, None, :, None]
            return hinges.mean()

    def video_weights(self, num_videos: int) -> torch.Tensor:
        """(v, v) float64, the weight w of a clip of one video against a clip of another, v = `num_videos`."""
        between = num_videos * (1 - self.hard_negative_rate) / max(num_videos - 1, 1)
        weights = torch.full((num_videos, num_videos), between, dtype=torch.float64)
        return weights.fill_diagonal_(num_videos * self.hard_negative_rate)
