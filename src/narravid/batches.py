"""The batches that travel from data to tasks.

Each can go to a device, knows how many items it has, and can be cut into smaller ones of consecutive items.
Shapes use B items, T frames or seconds, H and W pixels, P caption candidates, L tokens, N sentences and
features of size F.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TypeVar

import torch

__all__ = ["CaptionedBatch", "FeatureBatch", "LabelledBatch", "NarratedBatch", "WindowBatch"]


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
        _check_clips(self.clips)
        batch = len(self.clips)
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
        return _consecutive(self, size)


@dataclass(frozen=True, slots=True)
class FeatureBatch:
    """Clips as extracted features, with their captions, ready for a contrastive task.

    Attributes:
        features: (B, F) float32, one vector per clip.
        tokens: (B, P, L) int64 word ids, 0 = padding.
        video_ids: B names, one per clip; clips of one video share theirs and stand side by side.

    Raises:
        ValueError: If the shapes or dtypes do not fit.
    """

    features: torch.Tensor
    tokens: torch.Tensor
    video_ids: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or self.features.dtype != torch.float32:
            raise ValueError(
                f"features must be (B, F) float32, got {tuple(self.features.shape)} {self.features.dtype}"
            )
        batch = len(self.features)
        if self.tokens.ndim != 3 or len(self.tokens) != batch or self.tokens.dtype != torch.int64:
            raise ValueError(
                f"tokens must be ({batch}, P, L) int64, got {tuple(self.tokens.shape)} {self.tokens.dtype}"
            )
        if len(self.video_ids) != batch:
            raise ValueError(f"video_ids must have {batch} entries, got {len(self.video_ids)}")

    def to(self, device: torch.device | str) -> FeatureBatch:
        """The same batch with its tensors on `device`."""
        return FeatureBatch(
            self.features.to(device, non_blocking=True),
            self.tokens.to(device, non_blocking=True),
            self.video_ids,
        )

    def __len__(self) -> int:
        """B, the clips."""
        return len(self.features)

    def split(self, size: int) -> list[FeatureBatch]:
        """The same clips in batches of `size`, the last one perhaps smaller."""
        return _consecutive(self, size)


@dataclass(frozen=True, slots=True)
class WindowBatch:
    """Long windows of videos as features, with the sentences spoken in them, ready for an aligner.

    Attributes:
        features: (B, T, F) float32, one vector per second.
        feature_mask: (B, T) bool, False for seconds past the end of a video.
        tokens: (B, N, L) int64 word ids, 0 = padding or an unknown word.
        text_mask: (B, N) bool, False where a window has fewer sentences than others.
        positives: (B, N, T) bool, the seconds in which a sentence is spoken.
        text_positions: (B, N, 2) float32 in [0, 1], start and end of a sentence as shares of the whole video.
        video_ids: B names.

    Raises:
        ValueError: If the shapes or dtypes do not fit, or there is no place for a sentence.
    """

    features: torch.Tensor
    feature_mask: torch.Tensor
    tokens: torch.Tensor
    text_mask: torch.Tensor
    positives: torch.Tensor
    text_positions: torch.Tensor
    video_ids: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.features.ndim != 3 or self.tokens.ndim != 3 or 0 in self.tokens.shape:
            raise ValueError(
                "features must be (B, T, F) and tokens (B, N, L), not empty, "
                f"got {tuple(self.features.shape)} and {tuple(self.tokens.shape)}"
            )
        (batch, num_seconds, _), (_, num_sentences, num_tokens) = self.features.shape, self.tokens.shape
        for name, shape, dtype in (
            ("features", self.features.shape, torch.float32),
            ("feature_mask", (batch, num_seconds), torch.bool),
            ("tokens", (batch, num_sentences, num_tokens), torch.int64),
            ("text_mask", (batch, num_sentences), torch.bool),
            ("positives", (batch, num_sentences, num_seconds), torch.bool),
            ("text_positions", (batch, num_sentences, 2), torch.float32),
        ):
            tensor = getattr(self, name)
            if tensor.shape != shape or tensor.dtype != dtype:
                raise ValueError(
                    f"{name} must be {tuple(shape)} {dtype}, got {tuple(tensor.shape)} {tensor.dtype}"
                )
        if len(self.video_ids) != batch:
            raise ValueError(f"video_ids must have {batch} entries, got {len(self.video_ids)}")

    def to(self, device: torch.device | str) -> WindowBatch:
        """The same batch with its tensors on `device`."""
        names = [field.name for field in fields(self) if field.name != "video_ids"]
        return replace(self, **{name: getattr(self, name).to(device, non_blocking=True) for name in names})

    def __len__(self) -> int:
        """B, the windows."""
        return len(self.features)

    def split(self, size: int) -> list[WindowBatch]:
        """The same windows in batches of `size`, the last one perhaps smaller; all keep N."""
        return _consecutive(self, size)


@dataclass(frozen=True, slots=True)
class CaptionedBatch:
    """Clips with one caption each, ready for the discrimination of single samples.

    Attributes:
        clips: (B, 3, T, H, W) uint8 in [0, 255].
        tokens: (B, L) int64 ids of words or word pieces, 0 = padding.
        indices: (B,) int64, which sample of the training set each one is.
        video_ids: B names, one per clip.
        start_seconds: (B,) float64, where each clip starts in its video.

    Raises:
        ValueError: If the shapes or dtypes do not fit.
    """

    clips: torch.Tensor
    tokens: torch.Tensor
    indices: torch.Tensor
    video_ids: tuple[str, ...]
    start_seconds: torch.Tensor

    def __post_init__(self) -> None:
        _check_clips(self.clips)
        batch = len(self.clips)
        if self.tokens.ndim != 2 or len(self.tokens) != batch or self.tokens.dtype != torch.int64:
            raise ValueError(
                f"tokens must be ({batch}, L) int64, got {tuple(self.tokens.shape)} {self.tokens.dtype}"
            )
        _check_numbers("indices", self.indices, batch)
        if len(self.video_ids) != batch or self.start_seconds.shape != (batch,):
            raise ValueError(f"video_ids and start_seconds must have {batch} entries")

    def to(self, device: torch.device | str) -> CaptionedBatch:
        """The same batch with its tensors on `device`."""
        return replace(
            self,
            clips=self.clips.to(device, non_blocking=True),
            tokens=self.tokens.to(device, non_blocking=True),
            indices=self.indices.to(device, non_blocking=True),
        )

    def __len__(self) -> int:
        """B, the clips."""
        return len(self.clips)

    def split(self, size: int) -> list[CaptionedBatch]:
        """The same clips in batches of `size`, the last one perhaps smaller."""
        return _consecutive(self, size)


@dataclass(frozen=True, slots=True)
class LabelledBatch:
    """Clips with the class that each shows, ready for classification.

    Attributes:
        clips: (B, 3, T, H, W) uint8 in [0, 255].
        labels: (B,) int64, numbers of classes from 0.
        video_ids: B names, one per clip.
        start_seconds: (B,) float64, where each clip starts in its video.

    Raises:
        ValueError: If the shapes or dtypes do not fit.
    """

    clips: torch.Tensor
    labels: torch.Tensor
    video_ids: tuple[str, ...]
    start_seconds: torch.Tensor

    def __post_init__(self) -> None:
        _check_clips(self.clips)
        batch = len(self.clips)
        _check_numbers("labels", self.labels, batch)
        if len(self.video_ids) != batch or self.start_seconds.shape != (batch,):
            raise ValueError(f"video_ids and start_seconds must have {batch} entries")

    def to(self, device: torch.device | str) -> LabelledBatch:
        """The same batch with its tensors on `device`."""
        return replace(
            self,
            clips=self.clips.to(device, non_blocking=True),
            labels=self.labels.to(device, non_blocking=True),
        )

    def __len__(self) -> int:
        """B, the clips."""
        return len(self.clips)

    def split(self, size: int) -> list[LabelledBatch]:
        """The same clips in batches of `size`, the last one perhaps smaller."""
        return _consecutive(self, size)


_BatchT = TypeVar("_BatchT", NarratedBatch, FeatureBatch, WindowBatch, CaptionedBatch, LabelledBatch)


def _consecutive(batch: _BatchT, size: int) -> list[_BatchT]:
    parts = [slice(start, start + size) for start in range(0, len(batch), size)]
    names = [field.name for field in fields(batch)]
    return [replace(batch, **{name: getattr(batch, name)[part] for name in names}) for part in parts]


def _check_clips(clips: torch.Tensor) -> None:
    if clips.ndim != 5 or clips.shape[1] != 3 or clips.dtype != torch.uint8:
        raise ValueError(f"clips must be (B, 3, T, H, W) uint8, got {tuple(clips.shape)} {clips.dtype}")


def _check_numbers(name: str, numbers: torch.Tensor, batch: int) -> None:
    if numbers.shape != (batch,) or numbers.dtype != torch.int64:
        raise ValueError(f"{name} must be ({batch},) int64, got {tuple(numbers.shape)} {numbers.dtype}")
