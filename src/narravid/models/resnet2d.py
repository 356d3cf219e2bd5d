"""ResNet-152 on single frames, the appearance features of HowTo100M.

He et al., CVPR 2016, arXiv 1512.03385, in the form that torchvision published: the stride of a bottleneck is
in its 3×3 convolution. The network is that of the transformers library.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from narravid.extras import import_extra
from narravid.models.inference_form import HasInferenceForm
from narravid.models.weights_hash import WeightsHash
from narravid.types import ClipSpec
from narravid.video.transforms import normalise, to_unit_float

__all__ = ["APPEARANCE_CLIPS", "ResNet2DConfig", "ResNet2DExtractor"]

REDUCTION = 4
"""Output channels of a bottleneck for each channel inside it."""

APPEARANCE_CLIPS = ClipSpec(
    num_frames=1, fps=1.0, size_pixels=224, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
)
"""What the ImageNet weights want: one frame per second, 224 pixels high.

A clip is the centre square of a frame. HowTo100M's features are of whole frames with a shorter side of 224,
which the network takes just as well: it averages over whatever it sees.
"""


@dataclass(frozen=True)
class ResNet2DConfig:
    """Everything but the weights; the defaults are ResNet-152.

    Attributes:
        num_blocks: Bottlenecks in each of the four layers; (3, 8, 36, 3) makes 152 layers with weights.
        layer_dims: Output channels of each layer, multiples of 4; the last is the feature's size.
        stem_dim: Output channels of the 7×7 convolution.
        num_classes: Scores of the classifier that comes with the weights.
        clip_spec: What a clip must look like.

    Raises:
        ValueError: If a value is out of range, or `clip_spec` has more than one frame.
    """

    num_blocks: tuple[int, int, int, int] = (3, 8, 36, 3)
    layer_dims: tuple[int, int, int, int] = (256, 512, 1024, 2048)
    stem_dim: int = 64
    num_classes: int = 1000
    clip_spec: ClipSpec = APPEARANCE_CLIPS

    def __post_init__(self) -> None:
        if len(self.num_blocks) != 4 or min(self.num_blocks) < 1:
            raise ValueError(f"num_blocks must be four numbers of at least 1, got {self.num_blocks}")
        wrong = [dim for dim in self.layer_dims if dim < REDUCTION or dim % REDUCTION]
        if len(self.layer_dims) != 4 or wrong:
            raise ValueError(f"layer_dims must be four multiples of {REDUCTION}, got {self.layer_dims}")
        if self.stem_dim < 1 or self.num_classes < 1:
            raise ValueError(
                f"stem_dim and num_classes must be at least 1, got {self.stem_dim} and {self.num_classes}"
            )
        if self.clip_spec.num_frames != 1:
            raise ValueError(f"clip_spec must have one frame, got {self.clip_spec.num_frames}")


class ResNet2DExtractor(HasInferenceForm):
    """Features of single frames; a `FeatureExtractor`.

    Extraction L2-normalises what `video_features` or `frame_features` give.

    Args:
        config: Shapes and settings.

    Attributes:
        config: As given.
        feature_dim: F, 2048 for ResNet-152.
        clip_spec: What a clip must look like.

    Raises:
        MissingExtraError: If transformers is not installed.
    """

    def __init__(self, config: ResNet2DConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ResNet2DConfig()
        self.clip_spec = config.clip_spec
        self.feature_dim = config.layer_dims[-1]
        transformers = import_extra("transformers", extra="text", feature="ResNet-152 on frames")
        self.trunk: nn.Module = transformers.ResNetModel(
            transformers.ResNetConfig(
                embedding_size=config.stem_dim,
                hidden_sizes=list(config.layer_dims),
                depths=list(config.num_blocks),
                layer_type="bottleneck",
                downsample_in_first_stage=False,
                downsample_in_bottleneck=False,
            )
        )
        self.classifier = nn.Linear(self.feature_dim, config.num_classes)
        self._hash = WeightsHash()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.classifier.weight.device

    @property
    def weights_hash(self) -> str:
        """SHA-256 of configuration and all tensors, in hexadecimal."""
        return self._hash.of(self.config, None, self.state_dict(keep_vars=True))

    def write_assets(self, folder: Path) -> None:
        """Nothing: the model is its configuration and its weights."""

    def video_features(self, clips: torch.Tensor) -> torch.Tensor:
        """Features of clips of one frame.

        Args:
            clips: (B, 3, 1, H, W), uint8 in [0, 255] or float32 in [0, 1]; any height and width. ImageNet's
                mean and standard deviation are applied here.

        Returns:
            (B, F) float32, averaged over the frame, not L2-normalised.

        Raises:
            ValueError: If the shape or dtype does not fit.
        """
        if clips.ndim != 5 or clips.shape[1:3] != (3, 1) or 0 in clips.shape[3:]:
            raise ValueError(
                f"clips must be (B, 3, 1, H, W), one frame each, got {tuple(clips.shape)}; frame_features "
                "takes the frames of a video, (N, 3, H, W)"
            )
        weight = self.classifier.weight
        unit: torch.Tensor = to_unit_float(clips.to(weight.device, non_blocking=True))
        frames = normalise(unit, self.clip_spec.mean, self.clip_spec.std).squeeze(2)
        features: torch.Tensor = self.trunk(frames.to(weight.dtype)).pooler_output
        return features.flatten(1).float()

    def frame_features(self, frames: torch.Tensor) -> torch.Tensor:
        """Features of frames, each by itself: (N, 3, H, W) as for `video_features` to (N, F) float32.

        Raises:
            ValueError: If the shape or dtype does not fit.
        """
        if frames.ndim != 4:
            raise ValueError(f"frames must be (N, 3, H, W), got {tuple(frames.shape)}")
        return self.video_features(frames.unsqueeze(2))

    def class_logits(self, clips: torch.Tensor) -> torch.Tensor:
        """Scores of the classes before any softmax, clips as for `video_features` to (B, K) float32."""
        features = self.video_features(clips)
        logits: torch.Tensor = self.classifier(features.to(self.classifier.weight.dtype))
        return logits.float()
