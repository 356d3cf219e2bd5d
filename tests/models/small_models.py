"""Dual encoders of some ten thousand weights."""

from __future__ import annotations

import torch

from narravid.models.dual_encoder import S3DDualEncoder, S3DDualEncoderConfig
from narravid.models.s3d import S3DConfig
from narravid.models.text_encoders import SentenceTowerConfig
from narravid.text.words import Vocabulary
from narravid.types import ClipSpec, Similarity

WORDS = ("add", "oil", "pan", "cut", "tomato", "stir")


def small_config(
    *, similarity: Similarity = "dot", temperature: float | None = None, stem: str = "space_to_depth"
) -> S3DDualEncoderConfig:
    return S3DDualEncoderConfig(
        video=S3DConfig(stem=stem, width_multiplier=0.125, num_inception_blocks=3, embed_dim=16),
        text=SentenceTowerConfig(num_embeddings=len(WORDS) + 1, word_dim=6, hidden_dim=24, embed_dim=16),
        clip_spec=ClipSpec(num_frames=4, fps=5.0, size_pixels=16, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3)),
        max_words=5,
        similarity=similarity,
        temperature=temperature,
    )


def small_model(config: S3DDualEncoderConfig | None = None, *, seed: int = 3) -> S3DDualEncoder:
    """A dual encoder of some ten thousand weights, its normalisation statistics away from 0 and 1."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = S3DDualEncoder(config or small_config(), Vocabulary(WORDS))
        shake_statistics(model)
    return model.eval()


def shake_statistics(model: torch.nn.Module) -> None:
    """Move every batch normalisation away from where it does nothing."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
                torch.nn.init.normal_(module.weight, 1, 0.1)
                torch.nn.init.normal_(module.bias, 0, 0.1)
