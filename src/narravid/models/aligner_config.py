"""Shape and settings of the temporal aligner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from narravid.config import check_choices
from narravid.models.text_encoders import SentenceTowerConfig
from narravid.types import FeatureSpec

__all__ = ["S3D_FEATURES", "Positions", "TemporalAlignerConfig"]

S3D_FEATURES = FeatureSpec(("s3d-howto100m",), (1024,))
"""The published input: S3D's `mixed_5c` feature, one per second."""

Positions = Literal["learned", "sine"]
"""Position vectors of the seconds: trained, or a fixed table of sines."""


@dataclass(frozen=True)
class TemporalAlignerConfig:
    """Everything but the weights and the words; the defaults are the published network's.

    Attributes:
        text: Shape of the sentence tower.
        feature_spec: Whose features the video comes as, one vector per second.
        embed_dim: D, width of both transformers and size of the vectors that are compared.
        num_encoder_layers: Blocks of the dual encoder; 0 compares the projected features.
        num_joint_layers: Blocks of the joint encoder.
        num_heads: Attention heads of every block.
        max_positions: Seconds, and sentences, that have a position of their own.
        positions: Where the positions of the seconds come from.
        text_positions: Whether the joint encoder is told the order of the sentences (published: no).
        alignability_head: Whether there is a head that says if the video shows a sentence at all.
        alignability_layer: Which layer of the joint encoder, counted from 0, that head is read at in loss and
            evaluation; the third one works best (published evaluation).
        max_words: Words of a sentence that are read.

    Raises:
        ValueError: If a size is too small, the heads do not divide the width, or the layer does not exist.
    """

    text: SentenceTowerConfig
    feature_spec: FeatureSpec = S3D_FEATURES
    embed_dim: int = 512
    num_encoder_layers: int = 6
    num_joint_layers: int = 6
    num_heads: int = 8
    max_positions: int = 1024
    positions: Positions = "learned"
    text_positions: bool = False
    alignability_head: bool = False
    alignability_layer: int = 2
    max_words: int = 32

    def __post_init__(self) -> None:
        check_choices(self)
        for name in ("embed_dim", "num_joint_layers", "num_heads", "max_positions", "max_words"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.num_encoder_layers < 0:
            raise ValueError(f"num_encoder_layers must be at least 0, got {self.num_encoder_layers}")
        if self.embed_dim % self.num_heads:
            raise ValueError(f"num_heads must divide embed_dim, got {self.num_heads} for {self.embed_dim}")
        if self.positions == "sine" and self.embed_dim % 2:
            raise ValueError(f"sine positions need an even embed_dim, got {self.embed_dim}")
        if self.alignability_head and not 0 <= self.alignability_layer < self.num_joint_layers:
            raise ValueError(
                f"alignability_layer must be one of the {self.num_joint_layers} joint layers, from 0 on, "
                f"got {self.alignability_layer}"
            )
