"""Configuration of CPD's pre-training: captioned clips, the dual encoder, the objective."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from narravid.models.cpd import PRE_TRAINING_CLIPS
from narravid.models.cpd_text import DistilBERTTowerConfig
from narravid.models.resnet3d import ResNet3DConfig
from narravid.recipes.clip_config import ClipDataConfig
from narravid.recipes.narrated_config import absolute_path
from narravid.types import ClipSpec

__all__ = ["CPDModelConfig", "CaptionedDataConfig", "InstanceConfig"]


@dataclass(frozen=True)
class CaptionedDataConfig(ClipDataConfig):
    """Which captioned clips are trained on and how they are drawn: give instagram and root, or pairs.

    Attributes:
        instagram: JSON of Instagram-300k, {ID: {subset, caption}}; None where pairs are given.
        root: Folder of its videos, trimmed_resize_ID.mp4.
        pairs: List of clips and captions, CSV video_path,text[,start_seconds,end_seconds]; toy:tiny takes the
            steps of a toy world.
    """

    instagram: Path | None = None
    root: Path | None = None
    pairs: Path | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.instagram is None) != (self.root is None):
            raise ValueError("data.instagram and data.root, the folder of its videos, go together")
        if self.instagram is not None and self.pairs is not None:
            raise ValueError("give data.instagram or data.pairs, not both")

    def absolute(self) -> CaptionedDataConfig:
        """The same with absolute paths, so that a run can be resumed from any folder."""
        return replace(
            self,
            instagram=self.instagram and absolute_path(self.instagram),
            root=self.root and absolute_path(self.root),
            pairs=self.pairs and absolute_path(self.pairs),
        )


@dataclass(frozen=True)
class CPDModelConfig:
    """The dual encoder.

    Attributes:
        video: Shape of the visual trunk.
        text: Shape of the text tower; its number of word pieces follows from their list, and its encoder
            from text_init where that is given.
        clip_spec: What a clip must look like.
        max_tokens: Word pieces of a caption that are read.
        dropout: Share of the trunk's features dropped in training, before the video head.
        text_init: Published weights that the text encoder starts from: the folder of
            distilbert-base-uncased, or hf:distilbert/distilbert-base-uncased to fetch it. None starts from
            random ones.
        word_pieces: List of word pieces (vocab.txt); None takes that of text_init, or else the words of the
            captions.
    """

    video: ResNet3DConfig = field(default_factory=ResNet3DConfig)
    text: DistilBERTTowerConfig = field(default_factory=DistilBERTTowerConfig)
    clip_spec: ClipSpec = PRE_TRAINING_CLIPS
    max_tokens: int = 64
    dropout: float = 0.0
    text_init: str | None = None
    word_pieces: Path | None = None

    def __post_init__(self) -> None:
        if self.text_init is not None and self.word_pieces is not None:
            raise ValueError("model.text_init brings its own word pieces: leave out model.word_pieces")

    def absolute(self) -> CPDModelConfig:
        """The same with absolute paths."""
        text_init = self.text_init
        if text_init is not None and Path(text_init).expanduser().exists():
            text_init = os.fspath(absolute_path(Path(text_init)))
        return replace(
            self, text_init=text_init, word_pieces=self.word_pieces and absolute_path(self.word_pieces)
        )


@dataclass(frozen=True)
class InstanceConfig:
    """Discrimination of every sample of the data set.

    Attributes:
        num_negatives: K, samples drawn from memory for each clip and each caption.
        temperature: Divides the cosines.
        bank_momentum: Share of the old embedding in one that is refreshed.

    Raises:
        ValueError: If a number is out of range.
    """

    num_negatives: int = 16_392
    temperature: float = 0.07
    bank_momentum: float = 0.5

    def __post_init__(self) -> None:
        if self.num_negatives < 1:
            raise ValueError(f"num_negatives must be at least 1, got {self.num_negatives}")
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature must be positive, got {self.temperature}")
        if not 0 <= self.bank_momentum < 1:
            raise ValueError(f"bank_momentum must lie in [0, 1), got {self.bank_momentum}")
