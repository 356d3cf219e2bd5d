"""Configuration of runs on narrated videos: data, model, evaluation."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Self

from narravid.bad_items import MAX_BAD_SHARE
from narravid.config import check_choices
from narravid.data.narrated import ClipSampling
from narravid.data.pack_files import is_address
from narravid.models.s3d import S3DConfig
from narravid.types import ClipSpec, Crop, Similarity
from narravid.video.transforms import Augmentation

__all__ = ["EvaluationConfig", "NarratedDataConfig", "NarratedModelConfig", "absolute_path"]


@dataclass(frozen=True)
class NarratedDataConfig:
    """Which videos are trained on and how clips and captions are drawn from them.

    Attributes:
        root: Folder of the videos, searched to the bottom; each needs a transcript of the same stem. Or a
            pack of them: its folder, or its address (https://..., s3://...). toy:tiny is a toy world, drawn
            when it is not there yet.
        captions: Folder of the transcripts, or one file with the captions of many videos: caption.json or
            caption.pickle of HowTo100M, sentencified JSON, HTM-AA's CSV. None when transcripts lie beside
            the videos. toy:tiny takes the true captions of a toy world.
        video_list: The videos to take, in place of all below root: CSV with a column video_path or path, or
            vid_to_path.json; paths start at root.
        vocabulary: Word list (.json or .npy); None builds it from the captions.
        min_word_count: In a built word list, leave out words that occur less often.
        max_vocabulary_words: In a built word list, keep only the most frequent words; None for all.
        batch_size: Videos per batch; the batch has clips_per_video times as many clips.
        sampling: How clips and captions are drawn.
        crop: Where the square is cut out of a frame in training.
        augmentation: Random changes to each clip.
        storage: Decode clips from the files each time, or decode all videos into memory once.
        max_memory_gib: Most memory that the decoded videos may take, in GiB.
        max_bad_share: Share of videos with faulty or empty captions, or that cannot be decoded, above which
            the run stops; up to it they are left out or replaced by others. 1 never stops.
    """

    root: str
    captions: Path | None = None
    video_list: Path | None = None
    vocabulary: Path | None = None
    min_word_count: int = 1
    max_vocabulary_words: int | None = None
    batch_size: int = 256
    sampling: ClipSampling = field(default_factory=lambda: ClipSampling(num_candidates=5))
    crop: Crop = "random"
    augmentation: Augmentation = field(default_factory=Augmentation)
    storage: Literal["files", "memory"] = "files"
    max_memory_gib: float = 2.0
    max_bad_share: float = MAX_BAD_SHARE

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", os.fspath(self.root))  # a Path is welcome in Python
        check_choices(self)
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")
        if self.batch_size * self.sampling.clips_per_video < 2:
            raise ValueError(
                "a contrastive batch needs at least 2 clips; raise batch_size or clips_per_video"
            )
        if self.min_word_count < 1:
            raise ValueError(f"min_word_count must be at least 1, got {self.min_word_count}")
        if self.max_vocabulary_words is not None and self.max_vocabulary_words < 1:
            raise ValueError(f"max_vocabulary_words must be at least 1, got {self.max_vocabulary_words}")
        if not self.max_memory_gib > 0:
            raise ValueError(f"max_memory_gib must be positive, got {self.max_memory_gib}")
        if not 0 <= self.max_bad_share <= 1:
            raise ValueError(f"max_bad_share must be 0 to 1, got {self.max_bad_share}")

    def absolute(self) -> Self:
        """The same with absolute paths, so that a run can be resumed from any folder."""
        return replace(
            self,
            root=self.root if is_address(self.root) else str(absolute_path(Path(self.root))),
            captions=self.captions and absolute_path(self.captions),
            video_list=self.video_list and absolute_path(self.video_list),
            vocabulary=self.vocabulary and absolute_path(self.vocabulary),
        )


@dataclass(frozen=True)
class NarratedModelConfig:
    """The dual encoder; its word table follows from the vocabulary.

    Attributes:
        video: Shape of the video tower.
        word_dim: Size of a word vector; given word vectors bring their own.
        hidden_dim: Size of the text tower's hidden layer.
        word_vectors: Word vectors (.npy or .pth) for the vocabulary that is given; they stay fixed. None
            starts from random ones and trains them.
        clip_spec: What a clip looks like to the model.
        max_words: Words of a sentence that are read.
        lower_case: Whether sentences are lower-cased first.
        similarity: How embeddings are compared.
        temperature: Start of a learned temperature that divides similarities; None for none.

    Raises:
        ValueError: If the clips do not fit the stem.
    """

    video: S3DConfig = field(default_factory=lambda: S3DConfig(stem="plain"))
    word_dim: int = 300
    hidden_dim: int = 2048
    word_vectors: Path | None = None
    clip_spec: ClipSpec = field(default_factory=lambda: ClipSpec(num_frames=16, fps=5.0, size_pixels=224))
    max_words: int = 20
    lower_case: bool = True
    similarity: Similarity = "dot"
    temperature: float | None = None

    def __post_init__(self) -> None:
        spec = self.clip_spec
        if self.video.stem == "space_to_depth" and (spec.num_frames % 2 or spec.size_pixels % 2):
            raise ValueError(
                "the space_to_depth stem needs an even number of frames and pixels, got"
                f" num_frames={spec.num_frames} and size_pixels={spec.size_pixels}"
            )

    def absolute(self) -> NarratedModelConfig:
        """The same with absolute paths."""
        return replace(self, word_vectors=self.word_vectors and absolute_path(self.word_vectors))


@dataclass(frozen=True)
class EvaluationConfig:
    """Retrieval while training; the model with the best R@10 is the one that is kept.

    Attributes:
        pairs: List of clips and sentences, CSV video_path,text[,start_seconds,end_seconds]; None for none.
            toy:tiny takes the held-out steps of a toy world.
        num_windows: Clips per video whose embeddings are averaged.
        batch_size: Clips per forward pass.
        similarity: How embeddings are compared, which may differ from the training: as the model says, by
            dot product, or by cosine.
    """

    pairs: Path | None = None
    num_windows: int = 4
    batch_size: int = 8
    similarity: Literal["model", "dot", "cosine"] = "model"

    def __post_init__(self) -> None:
        check_choices(self)
        if min(self.num_windows, self.batch_size) < 1:
            raise ValueError(
                f"num_windows and batch_size must be at least 1, got {self.num_windows} and {self.batch_size}"
            )

    def absolute(self) -> EvaluationConfig:
        """The same with absolute paths."""
        return replace(self, pairs=self.pairs and absolute_path(self.pairs))


def absolute_path(path: Path) -> Path:
    """The path from the root, without `~` and `..`; symbolic links are kept."""
    return Path(os.path.abspath(path.expanduser()))
