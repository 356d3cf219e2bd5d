"""Clips that come with their features in one file, as HowTo100M's repository has YouCook2."""

from __future__ import annotations

from pathlib import Path

import torch

from narravid.data.annotations.youcook2_features import read_youcook2_features
from narravid.data.feature_clips import FeaturePair
from narravid.data.feature_files import MemoryTracks
from narravid.data.featured import FeatureTrack
from narravid.errors import AnnotationError
from narravid.types import FeatureSpec

__all__ = ["read_packed_features"]


def read_packed_features(path: Path, spec: FeatureSpec) -> tuple[list[FeaturePair], MemoryTracks]:
    """The clips, sentences and features of `youcook_val.pkl` or `youcook_train.pkl`.

    Args:
        path: The pickle; nothing that it names is run.
        spec: Whose features the model takes, 2D then 3D.

    Returns:
        The pairs in the order of the file, and their features by the names of the pairs.

    Raises:
        AnnotationError: If the file has a fault, holds no clip, or has features of other sizes.
    """
    pairs, tracks = [], {}
    for number, clip in enumerate(read_youcook2_features(path)):
        vectors = (clip.features_2d, clip.features_3d)
        if tuple(len(vector) for vector in vectors) != spec.dims:
            raise AnnotationError(
                path,
                f"clip {clip.clip_id} has features of {[len(vector) for vector in vectors]}, the model takes "
                f"{list(spec.dims)}",
            )
        name = f"{clip.clip_id}#{number}"  # an id may name several clips
        tracks[name] = tuple(FeatureTrack(torch.from_numpy(vector)[None], 1.0) for vector in vectors)
        pairs.append(FeaturePair(name, clip.text))
    if not pairs:
        raise AnnotationError(path, "holds no clip")
    return pairs, MemoryTracks(tracks)
