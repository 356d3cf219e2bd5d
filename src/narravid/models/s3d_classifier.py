"""S3D with a linear classifier: the video tower of a dual encoder, fine-tuned to tell classes apart."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn

from narravid.models.s3d import S3D, S3DConfig
from narravid.models.video_classifier import VideoClassifier, check_class_names
from narravid.types import ClipSpec

__all__ = ["S3D_FINE_TUNING_CLIPS", "S3DClassifier", "S3DClassifierConfig"]

S3D_FINE_TUNING_CLIPS = ClipSpec(num_frames=16, fps=7.5, size_pixels=224)
"""As CPD is fine-tuned, every fourth of 64 frames at 30 fps; S3D takes pixels in [0, 1] as they are."""


@dataclass(frozen=True)
class S3DClassifierConfig:
    """Everything but the weights.

    Attributes:
        num_classes: Scores per clip.
        video: Shape of the trunk; its `embed_dim` has no meaning here.
        clip_spec: What a clip must look like.
        dropout: Share of the features dropped in training, before the classifier.
        class_names: Names of the classes in the order of their scores; empty where they are not known.

    Raises:
        ValueError: If a value is out of range.
    """

    num_classes: int
    video: S3DConfig = field(default_factory=S3DConfig)
    clip_spec: ClipSpec = S3D_FINE_TUNING_CLIPS
    dropout: float = 0.8
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {self.num_classes}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {self.dropout}")
        check_class_names(self.class_names, self.num_classes)


class S3DClassifier(VideoClassifier):
    """An S3D trunk, fine-tuned to tell classes apart.

    Xie et al., ECCV 2018, arXiv 1712.04851.

    Args:
        config: Shapes and settings.
    """

    config: S3DClassifierConfig

    def __init__(self, config: S3DClassifierConfig) -> None:
        trunk = S3D(config.video)
        trunk.fc = nn.Identity()  # type: ignore[assignment]  # no embedding here: the classifier reads features
        super().__init__(config, trunk)

    def _features(self, clips: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.video.features(clips)  # type: ignore[operator]  # an S3D
        return features
