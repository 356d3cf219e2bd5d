"""Benchmarks as clips with features and sentences: MSR-VTT, YouCook2, LSMDC, and any list of pairs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self

from narravid.config import check_choices
from narravid.data.annotations.lsmdc import read_lsmdc
from narravid.data.annotations.msrvtt import read_msrvtt, read_msrvtt_pairs
from narravid.data.annotations.subsets import Subset
from narravid.data.annotations.youcook2 import read_youcook2, read_youcook2_clips
from narravid.data.feature_clips import FeaturePair
from narravid.data.feature_files import FeatureFolder, FolderTracks
from narravid.data.packed_features import read_packed_features
from narravid.errors import ConfigError
from narravid.evaluation.pairs import read_pairs_csv
from narravid.recipes.feature_data import FeatureData, existing
from narravid.recipes.narrated_config import absolute_path
from narravid.recipes.toy_data import is_toy
from narravid.recipes.toy_features import toy_features
from narravid.types import FeatureSpec

__all__ = ["FeatureFiles", "PairKind", "read_feature_pairs"]

PairKind = Literal["pairs", "msrvtt", "youcook2", "youcook2-features", "lsmdc"]
"""What a list of clips and sentences is: a CSV video_path,text[,start_seconds,end_seconds]; MSR-VTT's 1k-A
table or official JSON; YouCook2's table or official JSON; HowTo100M's pickle of YouCook2, which holds the
features as well; LSMDC's table. Features are looked up by the name of the video or clip."""


@dataclass(frozen=True)
class FeatureFiles:
    """Where 2D and 3D features lie, one `.npy` file of (n, F) per video in each folder.

    Attributes:
        features_2d: Folder of the 2D features; a toy world such as toy:tiny has its own.
        features_3d: Folder of the 3D features.
        rate_2d: 2D features per second.
        rate_3d: 3D features per second.

    Raises:
        ValueError: If a rate is not positive.
    """

    features_2d: Path | None = None
    features_3d: Path | None = None
    rate_2d: float = 1.0
    rate_3d: float = 1.5

    def __post_init__(self) -> None:
        if not (self.rate_2d > 0 and self.rate_3d > 0):
            raise ValueError(f"rate_2d and rate_3d must be positive, got {self.rate_2d} and {self.rate_3d}")

    def with_paths(self) -> Self:
        """The same with absolute paths; toy worlds that are not there yet are drawn."""
        folder_2d, folder_3d = self.features_2d, self.features_3d
        if folder_2d is not None and is_toy(folder_2d):
            folder_2d = toy_features(folder_2d).features_2d
        if folder_3d is not None and is_toy(folder_3d):
            folder_3d = toy_features(folder_3d).features_3d
        return replace(
            self,
            features_2d=folder_2d and absolute_path(folder_2d),
            features_3d=folder_3d and absolute_path(folder_3d),
        )

    def tracks(self, spec: FeatureSpec, *, key: str) -> FolderTracks:
        """Reads them.

        Args:
            spec: Whose features, 2D then 3D.
            key: Name of this configuration in messages.

        Raises:
            ConfigError: If a folder is not there, or the model wants other features than two.
        """
        if len(spec.dims) != 2:
            raise ConfigError(f"the model wants features of {spec.extractors}, not 2D and 3D ones", key=key)
        places = (
            (existing(self.features_2d, f"{key}.features_2d"), self.rate_2d),
            (existing(self.features_3d, f"{key}.features_3d"), self.rate_3d),
        )
        return FolderTracks(
            [
                FeatureFolder(root, dim=dim, steps_per_second=rate)
                for (root, rate), dim in zip(places, spec.dims, strict=True)
            ]
        )


@dataclass(frozen=True)
class _Chosen:
    kind: PairKind
    subset: Subset

    def __post_init__(self) -> None:
        check_choices(self)


def read_feature_pairs(
    path: Path, kind: PairKind, *, subset: Subset, files: FeatureFiles, spec: FeatureSpec, key: str
) -> FeatureData:
    """The clips and sentences of a benchmark, with their features.

    Args:
        path: The list.
        kind: What it is.
        subset: Which part, for lists that hold several (the official JSON of MSR-VTT and YouCook2).
        files: Where the features lie; not looked at for youcook2-features.
        spec: Whose features the model takes.
        key: Name of the configuration in messages.

    Returns:
        The pairs in the order of the list.

    Raises:
        AnnotationError: If the list has a fault, or holds features of other sizes.
        ConfigError: If a folder is not there, or the list is empty.
    """
    _Chosen(kind, subset)
    if kind == "youcook2-features":
        return FeatureData(*read_packed_features(path, spec))
    pairs = _listed_pairs(path, kind, subset)
    if not pairs:
        raise ConfigError(f"{path} has no clip of the subset {subset!r}", key=key)
    return FeatureData(pairs, files.tracks(spec, key=key))


def _listed_pairs(path: Path, kind: PairKind, subset: Subset) -> list[FeaturePair]:
    if kind == "pairs":
        return [FeaturePair(Path(pair.path).stem, pair.text, pair.span) for pair in read_pairs_csv(path)]
    if kind == "lsmdc":
        return [FeaturePair(sentence.clip_id, sentence.text) for sentence in read_lsmdc(path)]
    is_document = path.suffix.lower() == ".json"
    if kind == "msrvtt" and is_document:
        videos = (video for video in read_msrvtt(path) if video.subset == subset)
        return [FeaturePair(video.video_id, text) for video in videos for text in video.captions]
    if kind == "msrvtt":
        return [FeaturePair(pair.video_id, pair.sentence) for pair in read_msrvtt_pairs(path)]
    if is_document:
        return [
            FeaturePair(cooked.video_id, caption.text, caption.span)
            for cooked in read_youcook2(path)
            if cooked.subset == subset
            for caption in cooked.captions
        ]
    return [FeaturePair(clip.video_id, clip.text, clip.span) for clip in read_youcook2_clips(path)]
