"""A small model of every kind that sees pixels, and clips for it."""

from __future__ import annotations

from collections.abc import Callable

import torch

from models.small_cpd import shake, small_classifier, small_cpd, small_extractor
from models.small_models import shake_statistics, small_config, small_model
from models.small_viclip import small_viclip
from narravid.models.inference_form import HasInferenceForm
from narravid.models.resnet2d import ResNet2DConfig, ResNet2DExtractor
from narravid.models.resnet3d import ResNet3DConfig
from narravid.models.s3d import S3DConfig
from narravid.models.s3d_classifier import S3DClassifier, S3DClassifierConfig
from narravid.models.video_classifier import CPDClassifierConfig
from narravid.types import ClipSpec


def small_resnet2d() -> ResNet2DExtractor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        model = ResNet2DExtractor(
            ResNet2DConfig(num_blocks=(1, 2, 1, 1), layer_dims=(8, 12, 16, 20), stem_dim=6, num_classes=3)
        )
        shake_statistics(model)
    return model.eval()


def small_s3d_classifier() -> S3DClassifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        model = S3DClassifier(
            S3DClassifierConfig(
                4,
                video=S3DConfig(stem="plain", width_multiplier=0.125, num_inception_blocks=3, gating=False),
                clip_spec=ClipSpec(num_frames=5, fps=5.0, size_pixels=17),
            )
        )
        shake_statistics(model)
    return model.eval()


def small_deep_classifier() -> HasInferenceForm:
    """With bottlenecks and projecting shortcuts."""
    config = CPDClassifierConfig(7, video=ResNet3DConfig(depth=50, stem_channels=2, shortcut="B"))
    model = small_classifier(config)
    shake(model)
    return model


FORMS: dict[str, tuple[Callable[[], HasInferenceForm], tuple[int, int, int]]] = {
    "S3D, space to depth": (small_model, (4, 16, 16)),
    "S3D, plain": (lambda: small_model(small_config(stem="plain")), (5, 17, 15)),
    "S3D classifier": (small_s3d_classifier, (5, 17, 17)),
    "CPD": (small_cpd, (4, 24, 24)),
    "CPD classifier": (small_classifier, (4, 24, 24)),
    "CPD classifier, depth 50": (small_deep_classifier, (3, 16, 16)),
    "ResNeXt": (small_extractor, (8, 24, 24)),
    "ResNet": (small_resnet2d, (1, 32, 40)),
    "ViCLIP": (small_viclip, (4, 16, 16)),
}
"""Of each kind: a model and frames, height and width of its clips."""


def clips_for(name: str, count: int, *, seed: int = 1) -> torch.Tensor:
    """(B, 3, T, H, W) uint8."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, *FORMS[name][1]), dtype=torch.uint8, generator=generator)


def outputs_of(model: object, clips: torch.Tensor) -> dict[str, torch.Tensor]:
    """All that a model makes of clips, by method."""
    with torch.inference_mode():
        return {
            method: getattr(model, method)(clips)
            for method in ("encode_video", "video_features", "class_logits")
            if hasattr(model, method)
        }
