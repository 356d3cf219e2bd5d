"""The batches that travel from data to tasks.

Each can go to a device, knows how many items it has, and can be cut into smaller ones of consecutive items.
Shapes use B items, T frames, H and W pixels, P caption candidates, L tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

__all__ = ["NarratedBatch"]


@dataclass(frozen=True, slots=True)
class NarratedBatch:
    """Clips with their caption candidates, ready for a contrastive task.

    Attributes:
        clips: (B, 3, T, H, W) uint8 in [0, 255].
        tokens: (B, P, L) int64 word ids, 0 = padding.
        video_ids: B names, one per clip; clips of one video share theirs.
        start_seconds: (B,) float64, where each clip starts in its video.

    Raises:
        ValueError: If the shapes or dtypes do not fit.
    """

    clips: torch.Tensor
    tokens: torch.Tensor
    video_ids: tuple[str, ...]
    start_seconds: torch.Tensor

    def __post_init__(self) -> None:
        batch = self.clips.shape[0]
        if self.clips.ndim != 5 or self.clips.shape[1] != 3 or self.clips.dtype != torch.uint8:
            raise ValueError(
                f"clips must be (B, 3, T, H, W) uint8, got {tuple(self.clips.shape)} {self.clips.dtype}"
            )
        if self.tokens.ndim != 3 or self.tokens.shape[0] != batch or self.tokens.dtype != torch.int64:
            raise ValueError(
                f"tokens must be ({batch}, P, L) int64, got {tuple(self.tokens.shape)} {self.tokens.dtype}"
            )
        if len(self.video_ids) != batch or self.start_seconds.shape != (batch,):
            raise ValueError(f"video_ids and start_seconds must have {batch} entries")

    def to(self, device: torch.device | str) -> NarratedBatch:
        """The same batch with its tensors on `device`."""
        return NarratedBatch(
            self.clips.to(device, non_blocking=True),
            self.tokens.to(device, non_blocking=True),
            self.video_ids,
            self.start_seconds,
        )

    def __len__(self) -> int:
        """B, the clips."""
        return len(self.clips)

    def split(self, size: int) -> list[NarratedBatch]:
        """The same clips in batches of `size`, the last one perhaps smaller."""
        return [
            NarratedBatch(
                self.clips[start : start + size],
                self.tokens[start : start + size],
                self.video_ids[start : start + size],
                self.start_seconds[start : start + size],
            )
            for start in range(0, len(self), size)
        ]
