"""Temporal aligners of some ten thousand weights."""

from __future__ import annotations

import torch

from narravid.models.aligner import TemporalAligner
from narravid.models.aligner_config import TemporalAlignerConfig
from narravid.models.text_encoders import SentenceTowerConfig
from narravid.text.words import Vocabulary
from narravid.types import FeatureSpec

WORDS = ("add", "oil", "pan", "cut", "tomato", "stir")
FEATURE_DIM, TEXT_DIM = 12, 10


def small_aligner_config(**changes: object) -> TemporalAlignerConfig:
    settings: dict[str, object] = {
        "text": SentenceTowerConfig(
            num_embeddings=len(WORDS) + 1, word_dim=6, hidden_dim=14, embed_dim=TEXT_DIM
        ),
        "feature_spec": FeatureSpec(("s3d-howto100m",), (FEATURE_DIM,)),
        "embed_dim": 16,
        "num_encoder_layers": 2,
        "num_joint_layers": 3,
        "num_heads": 8,
        "max_positions": 20,
        "alignability_head": True,
        "max_words": 5,
    }
    return TemporalAlignerConfig(**{**settings, **changes})


def small_aligner(*, seed: int = 5, **changes: object) -> TemporalAligner:
    """An aligner in evaluation mode whose weights are large enough for everything to matter."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = TemporalAligner(small_aligner_config(**changes), Vocabulary(WORDS))
        for parameter in model.parameters():
            with torch.no_grad():
                parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return model.eval()


def small_inputs(
    generator: torch.Generator, *, num_videos: int = 2, num_seconds: int = 9, num_sentences: int = 4
) -> tuple[torch.Tensor, torch.Tensor]:
    """Features and sentence embeddings."""
    features = torch.randn(num_videos, num_seconds, FEATURE_DIM, generator=generator)
    return features, torch.randn(num_videos, num_sentences, TEXT_DIM, generator=generator)
