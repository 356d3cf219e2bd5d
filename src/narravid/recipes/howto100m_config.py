"""Configuration of runs on 2D and 3D features: data, model, evaluation."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Self

from narravid.bad_items import MAX_BAD_SHARE
from narravid.config import check_choices
from narravid.data.annotations.subsets import Subset
from narravid.data.feature_clips import MergedSampling
from narravid.models.gated_embedding import HOWTO100M_FEATURES
from narravid.recipes.feature_pairs import FeatureFiles, PairKind
from narravid.recipes.narrated_config import absolute_path
from narravid.recipes.toy_data import is_toy
from narravid.recipes.toy_features import toy_features
from narravid.types import FeatureSpec

__all__ = ["FeatureEvaluationConfig", "FeatureModelConfig", "FeaturesDataConfig"]


@dataclass(frozen=True)
class FeaturesDataConfig:
    """Which clips are trained on.

    Attributes:
        features: Where the features lie.
        kind: Narrated videos, of which clips are drawn (howto100m); or clips with one sentence each, for
            fine-tuning: a list of pairs, MSR-VTT, YouCook2, LSMDC (youcook2-features brings its features).
        captions: For howto100m, the captions of all videos: caption.json, caption.pickle, or a table.
        video_list: For howto100m, the videos to take, HowTo100M_v1.csv or any CSV video_id[,path] (path =
            where the features lie below their folders); None takes all that have 2D features.
        pairs: For the other kinds, the list.
        subset: Part of a list that holds several.
        batch_size: Videos, or pairs, per batch.
        sampling: For howto100m, how clips and captions are drawn.
        max_bad_share: Share of videos with faulty captions or bad features above which the run stops; up to
            it they are left out or replaced by others. 1 never stops.

    Raises:
        ValueError: If a choice is unknown, a number out of range, or `pairs` set for howto100m.
    """

    features: FeatureFiles = field(default_factory=FeatureFiles)
    kind: Literal["howto100m"] | PairKind = "howto100m"
    captions: Path | None = None
    video_list: Path | None = None
    pairs: Path | None = None
    subset: Subset = "train"
    batch_size: int = 32
    sampling: MergedSampling = field(default_factory=MergedSampling)
    max_bad_share: float = MAX_BAD_SHARE

    def __post_init__(self) -> None:
        check_choices(self)
        if self.kind == "howto100m" and self.pairs is not None:
            raise ValueError(
                f"pairs is {self.pairs}, and kind howto100m draws clips of narrated videos: set kind too"
            )
        if self.batch_size * self.clips_per_item < 2:
            raise ValueError(
                "a batch needs at least 2 clips to contrast, got batch_size="
                f"{self.batch_size} of {self.clips_per_item} each"
            )
        if not 0 <= self.max_bad_share <= 1:
            raise ValueError(f"max_bad_share must be 0 to 1, got {self.max_bad_share}")

    @property
    def clips_per_item(self) -> int:
        """Clips of one video in a batch, side by side."""
        return self.sampling.pairs_per_video if self.kind == "howto100m" else 1

    def with_paths(self) -> Self:
        """The same with absolute paths; toy worlds that are not there yet are drawn."""
        captions, pairs = self.captions, self.pairs
        if captions is not None and is_toy(captions):
            captions = toy_features(captions).captions
        if pairs is not None and is_toy(pairs):
            pairs = toy_features(pairs).train_pairs
        return replace(
            self,
            features=self.features.with_paths(),
            captions=captions and absolute_path(captions),
            video_list=self.video_list and absolute_path(self.video_list),
            pairs=pairs and absolute_path(pairs),
        )


@dataclass(frozen=True)
class FeatureModelConfig:
    """The feature dual encoder; the published embedding has 4096 numbers, that of the released file 6144.

    Attributes:
        features: Whose features it takes, 2D then 3D, and their sizes.
        embed_dim: Size of the joint embedding.
        sentence_dim: Size of the layer whose maximum over words is taken; None for that of the embedding.
        word_vectors: The vectors of the words, which stay fixed: word2vec's GoogleNews .bin (or .bin.gz), of
            which those of `vocabulary` or, without it, of the captions are kept; or .npy or .pth for the
            words of `vocabulary`. None draws random ones for the words.
        vocabulary: Word list (.json or .npy); None takes the words of the captions.
        word_dim: Size of random word vectors.
        max_words: Words of a sentence that are read.
        lower_case: Whether sentences are lower-cased first; GoogleNews' words are not.

    Raises:
        ValueError: If a size is below 1.
    """

    features: FeatureSpec = HOWTO100M_FEATURES
    embed_dim: int = 4096
    sentence_dim: int | None = None
    word_vectors: Path | None = None
    vocabulary: Path | None = None
    word_dim: int = 300
    max_words: int = 20
    lower_case: bool = False

    def __post_init__(self) -> None:
        for name in ("embed_dim", "sentence_dim", "word_dim", "max_words"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")

    def with_paths(self) -> Self:
        """The same with absolute paths."""
        return replace(
            self,
            word_vectors=self.word_vectors and absolute_path(self.word_vectors),
            vocabulary=self.vocabulary and absolute_path(self.vocabulary),
        )


@dataclass(frozen=True)
class FeatureEvaluationConfig:
    """Retrieval while training; the model with the best R@10 is the one that is kept.

    Attributes:
        pairs: List of clips and sentences; None for none.
        kind: What the list is.
        subset: Part of a list that holds several.
        features: Where the features lie; those of the training data if nothing is said here.
        batch_size: Clips, and sentences, per forward pass.

    Raises:
        ValueError: If a choice is unknown or a number out of range.
    """

    pairs: Path | None = None
    kind: PairKind = "pairs"
    subset: Subset = "test"
    features: FeatureFiles = field(default_factory=FeatureFiles)
    batch_size: int = 256

    def __post_init__(self) -> None:
        check_choices(self)
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")

    def with_paths(self) -> Self:
        """The same with absolute paths; toy worlds that are not there yet are drawn."""
        pairs = self.pairs
        if pairs is not None and is_toy(pairs):
            pairs = toy_features(pairs).test_pairs
        return replace(self, pairs=pairs and absolute_path(pairs), features=self.features.with_paths())
