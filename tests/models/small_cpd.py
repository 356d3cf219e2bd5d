"""CPD models and ResNeXt extractors of some ten thousand weights."""

from __future__ import annotations

import torch

from narravid.models.cpd import CPDConfig, CPDDualEncoder
from narravid.models.cpd_text import DistilBERTTowerConfig
from narravid.models.resnet3d import ResNet3DConfig
from narravid.models.resnext3d import ResNeXt3DConfig
from narravid.models.video_classifier import (
    MOTION_CLIPS,
    CPDClassifier,
    CPDClassifierConfig,
    ResNeXtExtractor,
    ResNeXtExtractorConfig,
)
from narravid.text.word_pieces import WordPieces

PIECES = WordPieces(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "add", "oil", "##s", "to", "the", "pan", ","))


def small_cpd_config(*, attention_mask: bool = False, dropout: float = 0.0) -> CPDConfig:
    return CPDConfig(
        video=ResNet3DConfig(depth=10, stem_channels=4),
        text=DistilBERTTowerConfig(
            num_pieces=len(PIECES),
            max_positions=12,
            hidden_dim=24,
            feedforward_dim=20,
            num_layers=2,
            num_heads=12,
            head_dim=14,
            embed_dim=6,
            attention_mask=attention_mask,
        ),
        max_tokens=8,
        dropout=dropout,
    )


def small_cpd(config: CPDConfig | None = None, *, seed: int = 3) -> CPDDualEncoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CPDDualEncoder(config or small_cpd_config(), PIECES)
        shake(model)
    return model.eval()


def small_classifier(config: CPDClassifierConfig | None = None) -> CPDClassifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = CPDClassifier(
            config or CPDClassifierConfig(7, video=ResNet3DConfig(depth=10, stem_channels=4))
        )
        shake(model)
    return model.eval()


def small_extractor() -> ResNeXtExtractor:
    config = ResNeXtExtractorConfig(
        video=ResNeXt3DConfig(num_blocks=(1, 2, 1, 1), num_groups=4, stem_channels=8),
        clip_spec=MOTION_CLIPS,
        num_classes=5,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(6)
        model = ResNeXtExtractor(config)
        shake(model)
    return model.eval()


def shake(model: torch.nn.Module) -> None:
    """Move every normalisation away from where it does nothing."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm3d | torch.nn.LayerNorm):
            torch.nn.init.normal_(module.weight, 1, 0.1)
            torch.nn.init.normal_(module.bias, 0, 0.1)
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
