"""A 3-D residual trunk with a linear classifier: features of clips, or scores of classes.

Two kinds: the fine-tuned networks of CPD, and the ResNeXt-101 of HowTo100M, whose classifier is published
with it and has no part in its features.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from narravid.models.cpd import FINE_TUNING_CLIPS
from narravid.models.inference_form import HasInferenceForm
from narravid.models.resnet3d import ResNet3D, ResNet3DConfig
from narravid.models.resnext3d import ResNeXt3D, ResNeXt3DConfig
from narravid.models.weights_hash import WeightsHash
from narravid.types import ClipSpec
from narravid.video.chunks import normalise_levels
from narravid.video.transforms import MAX_LEVEL, normalise, to_unit_float

__all__ = [
    "MOTION_CLIPS",
    "CPDClassifier",
    "CPDClassifierConfig",
    "ResNeXtExtractor",
    "ResNeXtExtractorConfig",
    "VideoClassifier",
    "check_class_names",
]

KINETICS_MEAN_LEVELS = (110.6, 103.2, 96.3)
"""Red, green and blue, 0 to 255, that the ResNeXt's weights want subtracted; they want no division after."""

RED, GREEN, BLUE = (level / MAX_LEVEL for level in KINETICS_MEAN_LEVELS)
MOTION_CLIPS = ClipSpec(
    num_frames=16,
    fps=24.0,
    size_pixels=112,
    mean=(RED, GREEN, BLUE),
    std=(1 / MAX_LEVEL, 1 / MAX_LEVEL, 1 / MAX_LEVEL),
)
"""What HowTo100M shows the ResNeXt: 1.5 clips per second."""


@dataclass(frozen=True)
class CPDClassifierConfig:
    """Everything but the weights.

    Attributes:
        num_classes: Scores per clip.
        video: Shape of the trunk.
        clip_spec: What a clip must look like.
        dropout: Share of the features dropped in training, before the classifier.
        class_names: Names of the classes in the order of their scores; empty where they are not known.

    Raises:
        ValueError: If a value is out of range.
    """

    num_classes: int
    video: ResNet3DConfig = field(default_factory=ResNet3DConfig)
    clip_spec: ClipSpec = FINE_TUNING_CLIPS
    dropout: float = 0.8
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check(self.num_classes, self.dropout)
        check_class_names(self.class_names, self.num_classes)


@dataclass(frozen=True)
class ResNeXtExtractorConfig:
    """Everything but the weights.

    Attributes:
        video: Shape of the trunk.
        clip_spec: What a clip must look like.
        num_classes: Scores of the classifier that comes with the weights.
        dropout: Share of the features dropped in training, before the classifier.

    Raises:
        ValueError: If a value is out of range.
    """

    video: ResNeXt3DConfig = field(default_factory=ResNeXt3DConfig)
    clip_spec: ClipSpec = MOTION_CLIPS
    num_classes: int = 400
    dropout: float = 0.0

    def __post_init__(self) -> None:
        _check(self.num_classes, self.dropout)


def _check(num_classes: int, dropout: float) -> None:
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, got {num_classes}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be at least 0 and below 1, got {dropout}")


def check_class_names(class_names: tuple[str, ...], num_classes: int) -> None:
    """Make sure that either no class has a name or each has its own.

    Raises:
        ValueError: If there are others than as many different ones as classes.
    """
    if class_names and (len(class_names) != num_classes or len(set(class_names)) != num_classes):
        raise ValueError(
            f"class_names must be {num_classes} different names or none, got {len(class_names)}, of which "
            f"{len(set(class_names))} are different"
        )


class ClassifierConfig(Protocol):
    """What the configurations of all classifiers hold."""

    @property
    def num_classes(self) -> int:
        """Scores per clip."""

    @property
    def clip_spec(self) -> ClipSpec:
        """What a clip must look like."""

    @property
    def dropout(self) -> float:
        """Share of the features dropped in training."""


class VideoClassifier(HasInferenceForm):
    """A trunk with a linear classifier; a `FeatureExtractor`. What float64 weights give is float64.

    Args:
        config: Shapes and settings.
        trunk: The network that `config` describes, with `feature_dim`; clips to features.

    Attributes:
        config: As given.
        feature_dim: F, size of `video_features`.
        clip_spec: What a clip must look like.
    """

    def __init__(self, config: ClassifierConfig, trunk: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.clip_spec = config.clip_spec
        self.video = trunk
        self.feature_dim = int(trunk.feature_dim)  # type: ignore[arg-type]  # a module's attribute
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(self.feature_dim, config.num_classes)
        self._hash = WeightsHash()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.classifier.weight.device

    @property
    def weights_hash(self) -> str:
        """SHA-256 of configuration and all tensors, in hexadecimal.

        Recomputed only when a tensor was replaced or written to since the last call.
        """
        return self._hash.of(self.config, None, self.state_dict(keep_vars=True))

    def write_assets(self, folder: Path) -> None:
        """Nothing: such a model is its configuration and its weights."""

    def video_features(self, clips: torch.Tensor) -> torch.Tensor:
        """Trunk features, averaged over time and space.

        Args:
            clips: (B, 3, T, H, W), uint8 in [0, 255] or float32 in [0, 1]; the model's own mean and standard
                deviation are applied here.

        Returns:
            (B, F) float32, not L2-normalised.

        Raises:
            ValueError: If the shape or dtype does not fit.
        """
        weight = self.classifier.weight
        normalised = self._normalised(clips.to(weight.device, non_blocking=True))
        features = self._features(normalised.to(weight.dtype))
        return features.to(torch.promote_types(features.dtype, torch.float32))

    def class_logits(self, clips: torch.Tensor) -> torch.Tensor:
        """Scores of the classes before any softmax, clips as for `video_features` to (B, K) float32."""
        return self.classify_features(self.video_features(clips))

    def classify_features(self, features: torch.Tensor) -> torch.Tensor:
        """(B, F) trunk features to (B, K) float32 scores, the second half of `class_logits`."""
        logits: torch.Tensor = self.classifier(self.dropout(features.to(self.classifier.weight.dtype)))
        return logits.to(torch.promote_types(logits.dtype, torch.float32))

    def _features(self, clips: torch.Tensor) -> torch.Tensor:
        """(B, 3, T, H, W) normalised to (B, F)."""
        features: torch.Tensor = self.video(clips)
        return features

    def _normalised(self, clips: torch.Tensor) -> torch.Tensor:
        return normalise(to_unit_float(clips), self.clip_spec.mean, self.clip_spec.std)


class CPDClassifier(VideoClassifier):
    """A 3-D ResNet of CPD, fine-tuned to tell classes apart.

    Li and Wang, arXiv 2001.05691.

    Args:
        config: Shapes and settings.
    """

    config: CPDClassifierConfig

    def __init__(self, config: CPDClassifierConfig) -> None:
        super().__init__(config, ResNet3D(config.video))


class ResNeXtExtractor(VideoClassifier):
    """The motion features of HowTo100M; extraction L2-normalises what `video_features` gives.

    Miech et al., ICCV 2019, arXiv 1906.03327.

    Args:
        config: Shapes and settings.
    """

    def __init__(self, config: ResNeXtExtractorConfig) -> None:
        super().__init__(config, ResNeXt3D(config.video))

    def _normalised(self, clips: torch.Tensor) -> torch.Tensor:
        return normalise_levels(clips, self.clip_spec.mean, self.clip_spec.std)
