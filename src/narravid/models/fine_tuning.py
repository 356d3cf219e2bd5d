"""Classifiers to fine-tune, made of the video trunks of pre-trained models."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from narravid.models.cpd import FINE_TUNING_CLIPS, CPDDualEncoder
from narravid.models.dual_encoder import S3DDualEncoder
from narravid.models.s3d_classifier import S3DClassifier, S3DClassifierConfig
from narravid.models.video_classifier import CPDClassifier, CPDClassifierConfig, VideoClassifier
from narravid.protocols import Model
from narravid.types import ClipSpec

__all__ = ["classifier_from_pre_trained"]

HEAD_PREFIX = "fc."
"""The embedding layer of S3D, which a classifier replaces."""


def classifier_from_pre_trained(
    model: Model,
    *,
    num_classes: int,
    generator: torch.Generator,
    dropout: float = 0.8,
    clip_spec: ClipSpec | None = None,
    class_names: tuple[str, ...] = (),
) -> VideoClassifier:
    """A classifier to fine-tune: the video trunk of a pre-trained model, copied, with a new last layer.

    Args:
        model: A dual encoder or classifier of CPD, or an S3D dual encoder; not changed.
        num_classes: Scores per clip.
        generator: On the CPU; draws the new layer.
        dropout: Share of the features dropped in training.
        clip_spec: What a clip must look like; None takes 16 frames of 224 pixels at 7.5 fps, normalised as
            the model's own.
        class_names: Names of the classes in the order of their scores; empty where they are not known.

    Returns:
        The classifier in training mode, on the model's device and of its dtype.

    Raises:
        ValueError: If the model has no trunk that can be fine-tuned, or a value is out of range.
    """
    if not isinstance(model, CPDDualEncoder | CPDClassifier | S3DDualEncoder | S3DClassifier):
        raise ValueError(
            f"a {type(model).__name__} has no video trunk that can be fine-tuned; CPD and S3D models have"
        )
    own = model.clip_spec
    spec = clip_spec or replace(FINE_TUNING_CLIPS, mean=own.mean, std=own.std, frame_rule=own.frame_rule)
    with torch.device("meta"):  # every initial value is replaced
        classifier = _empty(model, num_classes, clip_spec=spec, dropout=dropout, class_names=class_names)
    bound = 1 / math.sqrt(classifier.feature_dim)
    shapes = {name: part.shape for name, part in classifier.classifier.named_parameters()}
    tensors = {
        f"classifier.{name}": torch.empty(shape).uniform_(-bound, bound, generator=generator)
        for name, shape in shapes.items()
    }
    trunk = model.video.state_dict()
    tensors |= {
        f"video.{key}": tensor.clone() for key, tensor in trunk.items() if not key.startswith(HEAD_PREFIX)
    }
    dtype = next(model.video.parameters()).dtype
    classifier.load_state_dict(tensors, assign=True)
    return classifier.to(model.device, dtype).train()


def _empty(
    model: CPDDualEncoder | CPDClassifier | S3DDualEncoder | S3DClassifier,
    num_classes: int,
    *,
    clip_spec: ClipSpec,
    dropout: float,
    class_names: tuple[str, ...],
) -> VideoClassifier:
    if isinstance(model, S3DDualEncoder | S3DClassifier):
        return S3DClassifier(
            S3DClassifierConfig(num_classes, model.config.video, clip_spec, dropout, class_names)
        )
    return CPDClassifier(
        CPDClassifierConfig(num_classes, model.config.video, clip_spec, dropout, class_names)
    )
