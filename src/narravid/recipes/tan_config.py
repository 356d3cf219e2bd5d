"""Configuration of runs of the temporal aligner: data, model, objective, evaluation."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Self

from narravid.bad_items import MAX_BAD_SHARE
from narravid.config import check_choices
from narravid.data.feature_windows import WindowSampling
from narravid.evaluation.alignment import AlignmentProtocol
from narravid.losses.temporal_alignment import TemporalAlignmentConfig
from narravid.models.aligner_config import S3D_FEATURES, Positions
from narravid.recipes.narrated_config import absolute_path
from narravid.recipes.toy_data import is_toy
from narravid.recipes.toy_features import toy_features
from narravid.types import FeatureSpec
from narravid.video.durations import ALIGNMENT_DURATIONS, DurationLimits

__all__ = [
    "AlignerModelConfig",
    "AlignmentEvaluationConfig",
    "AlignmentObjectiveConfig",
    "WindowsDataConfig",
]

STAGE_TWO_THRESHOLD = 0.5


@dataclass(frozen=True)
class WindowsDataConfig:
    """Which windows are trained on.

    Attributes:
        features: Folder of the features, one `.npy` file of (seconds, F) per video; a toy world such as
            toy:tiny has its own.
        captions: The sentences of all videos: sentencified JSON {video: {text, start, end}}, or any other
            captions of many videos.
        video_list: The videos to take, CSV video_id[,path] or a .txt of ids; None takes all with features.
        held_out: Videos to leave out, one id a line, such as htm_holdout_vid.txt.
        min_video_seconds: Videos of this length or shorter are left out; 0 takes all.
        max_video_seconds: Videos of this length or longer are left out; None takes all.
        batch_size: Windows per batch.
        sampling: How windows are drawn.
        max_bad_share: Share of videos with faulty sentences or bad features above which the run stops; up to
            it they are left out or replaced by others. 1 never stops.

    Raises:
        ValueError: If a number is out of range.
    """

    features: Path | None = None
    captions: Path | None = None
    video_list: Path | None = None
    held_out: Path | None = None
    min_video_seconds: float = ALIGNMENT_DURATIONS.longer_than_seconds
    max_video_seconds: float | None = ALIGNMENT_DURATIONS.shorter_than_seconds
    batch_size: int = 128
    sampling: WindowSampling = field(default_factory=WindowSampling)
    max_bad_share: float = MAX_BAD_SHARE

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")
        if not self.min_video_seconds >= 0:
            raise ValueError(f"min_video_seconds must be at least 0, got {self.min_video_seconds}")
        if self.max_video_seconds is not None and not self.max_video_seconds > self.min_video_seconds:
            raise ValueError(
                f"max_video_seconds must exceed min_video_seconds, {self.min_video_seconds}, got"
                f" {self.max_video_seconds}"
            )
        if not 0 <= self.max_bad_share <= 1:
            raise ValueError(f"max_bad_share must be 0 to 1, got {self.max_bad_share}")

    @property
    def durations(self) -> DurationLimits | None:
        """Which videos are taken by their length; None takes all."""
        if self.min_video_seconds == 0 and self.max_video_seconds is None:
            return None
        most = math.inf if self.max_video_seconds is None else self.max_video_seconds
        return DurationLimits(self.min_video_seconds, most)

    def with_paths(self) -> Self:
        """The same with absolute paths; toy worlds that are not there yet are drawn."""
        features, captions = self.features, self.captions
        if features is not None and is_toy(features):
            features = toy_features(features).features_seconds
        if captions is not None and is_toy(captions):
            captions = toy_features(captions).captions
        return replace(
            self,
            features=features and absolute_path(features),
            captions=captions and absolute_path(captions),
            video_list=self.video_list and absolute_path(self.video_list),
            held_out=self.held_out and absolute_path(self.held_out),
        )


@dataclass(frozen=True)
class AlignerModelConfig:
    """The aligner.

    Attributes:
        sentences_from: An S3D dual encoder whose words and sentence tower the aligner starts from: a
            published name, a checkpoint or a model folder. None starts from a random tower for the words of
            the captions.
        freeze_sentences: Whether the sentence tower stays as it is in training, not only its word table.
        features: Whose features the video comes as, and their size.
        word_dim: Size of a word vector of a random sentence tower.
        hidden_dim: Size of the hidden layer of a random sentence tower.
        sentence_dim: Size of a sentence embedding of a random sentence tower.
        embed_dim: Width of both transformers, and size of the vectors that are compared.
        num_encoder_layers: Blocks of the dual encoder.
        num_joint_layers: Blocks of the joint encoder.
        num_heads: Attention heads of every block.
        max_positions: Seconds that have a position of their own.
        positions: Where the positions of the seconds come from.
        text_positions: Whether the joint encoder is told the order of the sentences.
        alignability_head: Whether there is a head that says if the video shows a sentence at all.
        alignability_layer: Layer of the joint encoder, counted from 0, that the head is read at.
        max_words: Words of a sentence that are read.
    """

    sentences_from: str | None = "s3d-howto100m"
    freeze_sentences: bool = False
    features: FeatureSpec = S3D_FEATURES
    word_dim: int = 300
    hidden_dim: int = 2048
    sentence_dim: int = 512
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


@dataclass(frozen=True)
class AlignmentObjectiveConfig:
    """What is minimised; what is None follows the stage.

    Attributes:
        temperature: Divides the cosines.
        loss_threshold: Share of the sentences that is trained on, those that both branches score best; 0 for
            all of them. None: 0 in stage one, 0.5 in stage two.
        agreement: How sentences are moved to where both branches of the averaged weights agree; None leaves
            them at the times of the speech.
        use_alignability_head: Whether the alignability head is trained; gives the aligner one if it has none.
        only_alignability_head: Whether it alone is trained.
        count_padded_seconds: Whether seconds past the end of a video take part as negatives, as published.
        random_positions: Whether windows begin at random positions. None: in stage one.
        momentum: Of the average of the weights in stage two.

    Raises:
        ValueError: If a value is out of range.
    """

    temperature: float = 0.07
    loss_threshold: float | None = None
    agreement: Literal["keep", "keep-joint", "intersection", "union"] | None = None
    use_alignability_head: bool = False
    only_alignability_head: bool = False
    count_padded_seconds: bool = True
    random_positions: bool | None = None
    momentum: float = 0.999

    def __post_init__(self) -> None:
        if not (0 <= self.momentum <= 1 and math.isfinite(self.momentum)):
            raise ValueError(f"momentum must be in [0, 1], got {self.momentum}")
        self.loss_config(stage=1, alignability_layer=0)

    def loss_config(self, *, stage: int, alignability_layer: int) -> TemporalAlignmentConfig:
        """The loss of a stage."""
        threshold = self.loss_threshold
        if threshold is None:
            threshold = STAGE_TWO_THRESHOLD if stage == 2 else 0.0
        return TemporalAlignmentConfig(
            temperature=self.temperature,
            loss_threshold=threshold,
            agreement=self.agreement,
            use_alignability_head=self.use_alignability_head,
            alignability_layer=alignability_layer,
            optim_policy="bce" if self.only_alignability_head else "default",
            count_padded_seconds=self.count_padded_seconds,
        )


@dataclass(frozen=True)
class AlignmentEvaluationConfig:
    """Alignment while training; the model with the best R@1 is the one that is kept.

    Attributes:
        annotations: Sentences with the times at which they are shown, HTM-Align's JSON; None for none.
        features: Folder of their features; None for that of the training data.
        protocol: How videos are shown to the aligner.
    """

    annotations: Path | None = None
    features: Path | None = None
    protocol: AlignmentProtocol = field(default_factory=AlignmentProtocol)

    def with_paths(self) -> Self:
        """The same with absolute paths; toy worlds that are not there yet are drawn."""
        annotations, features = self.annotations, self.features
        if annotations is not None and is_toy(annotations):
            annotations = toy_features(annotations).alignment
        if features is not None and is_toy(features):
            features = toy_features(features).features_seconds
        return replace(
            self,
            annotations=annotations and absolute_path(annotations),
            features=features and absolute_path(features),
        )
