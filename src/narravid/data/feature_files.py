"""Feature files: one array per video and extractor, (n, F), as HowTo100M and its successors keep them.

The arrays hold half-precision numbers at a fixed rate, 1 per second for 2D and 1.5 per second for 3D features
(Miech et al. 2019, arXiv 1906.03327), 1 per second for those of S3D (Han et al. 2022, arXiv 2204.02968). They
lie in `.npy` or `.safetensors` files; see `feature_storage`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from narravid.data.feature_storage import FEATURE_SUFFIXES, features_per_second, open_features
from narravid.data.featured import FeatureTrack
from narravid.errors import DecodeError
from narravid.video.suffixes import VIDEO_SUFFIXES

__all__ = ["FeatureFolder", "FeatureTracks", "FolderTracks", "MemoryTracks"]

SUFFIX = FEATURE_SUFFIXES[0]


class FeatureTracks(Protocol):
    """Gives the features of videos by their names, to several threads at once."""

    def read(self, name: str) -> tuple[FeatureTrack, ...]:
        """The features of a video, those of each extractor in the order in which the model wants them.

        Raises:
            DecodeError: If they are absent or damaged; names the file.
        """


class FeatureFolder:
    """The feature files of one extractor, in one folder and those below it.

    Args:
        root: The folder.
        dim: F, size of a feature; files with another are refused.
        steps_per_second: The rate of files that do not state theirs; those of `narravid extract` do.

    Attributes:
        root: As given.
        steps_per_second: As given.

    Raises:
        ValueError: If a number is not positive.
    """

    def __init__(self, root: Path, *, dim: int, steps_per_second: float) -> None:
        if dim < 1 or not steps_per_second > 0:
            raise ValueError(f"dim and steps_per_second must be positive, got {dim} and {steps_per_second}")
        self.root = root
        self.steps_per_second = steps_per_second
        self._dim = dim
        self._listed: dict[str, Path] | None = None

    def names(self) -> list[str]:
        """Stems of all files, without a video suffix that they may have before their own, sorted."""
        return sorted(self._files())

    def path_of(self, name: str) -> Path:
        """Where the file of a video lies, or should lie.

        Args:
            name: A stem as in `names`, or a path below the root, of the file itself or of the video it is
                named after.

        Raises:
            DecodeError: If the path leads out of the root.
        """
        if "/" not in name and not name.endswith(FEATURE_SUFFIXES):
            return self._files().get(_stem(name), self.root / f"{name}{SUFFIX}")
        place = os.path.normpath(name)
        if os.path.isabs(place) or place.split(os.sep)[0] == os.pardir:
            raise DecodeError(name, f"lies outside the folder of the features, {self.root}")
        if place.endswith(FEATURE_SUFFIXES):
            return self.root / place
        stem = os.path.join(os.path.dirname(place), _stem(place))
        candidates = [
            self.root / f"{start}{suffix}" for suffix in FEATURE_SUFFIXES for start in (place, stem)
        ]
        return next((path for path in candidates if path.is_file()), self.root / f"{stem}{SUFFIX}")

    def num_seconds(self, name: str) -> float:
        """How long the video of a file is, from the head of the file.

        Raises:
            DecodeError: If there is no such file, or it is none of this extractor.
        """
        path = self.path_of(name)
        return len(self._open(path)) / self._rate_of(path)

    def read(self, name: str) -> FeatureTrack:
        """The features of a video.

        Args:
            name: As for `path_of`.

        Raises:
            DecodeError: If there is no such file, it is none of this extractor, or a number is not finite.
        """
        path = self.path_of(name)
        steps = torch.from_numpy(np.array(self._open(path)))
        if not bool(torch.isfinite(steps).all()):
            raise DecodeError(path, "its features hold NaN or infinity")
        return FeatureTrack(steps, self._rate_of(path))

    def _rate_of(self, path: Path) -> float:
        return features_per_second(path) or self.steps_per_second

    def _open(self, path: Path) -> npt.NDArray[np.floating]:
        steps = open_features(path)
        if not isinstance(steps, np.ndarray) or steps.ndim != 2 or steps.dtype.kind != "f":
            raise DecodeError(path, f"must hold features (n, {self._dim}) of floating-point numbers")
        if steps.shape[1] != self._dim or len(steps) == 0:
            raise DecodeError(path, f"must hold features (n, {self._dim}), n at least 1, got {steps.shape}")
        return steps

    def _files(self) -> dict[str, Path]:
        if self._listed is None:
            self._listed = {_stem(path.stem): path for path in _walk(self.root)}
        return self._listed


class FolderTracks:
    """Reads the features of a video from one file per extractor; see `FeatureTracks`.

    Args:
        folders: The extractors, in the order in which the model wants them; at least one.

    Attributes:
        folders: As given.
    """

    def __init__(self, folders: Sequence[FeatureFolder]) -> None:
        if not folders:
            raise ValueError("there must be a folder of features at least")
        self.folders = tuple(folders)

    def read(self, name: str) -> tuple[FeatureTrack, ...]:
        """The features of a video; see `FeatureTracks.read`."""
        return tuple(folder.read(name) for folder in self.folders)


class MemoryTracks:
    """Features that are in memory already; see `FeatureTracks`.

    Args:
        tracks: Those of each video by its name.
    """

    def __init__(self, tracks: Mapping[str, tuple[FeatureTrack, ...]]) -> None:
        self._tracks = dict(tracks)

    def read(self, name: str) -> tuple[FeatureTrack, ...]:
        """The features of a video; see `FeatureTracks.read`."""
        if name not in self._tracks:
            raise DecodeError(name, "there are no features of it")
        return self._tracks[name]


def _walk(root: Path) -> Iterable[Path]:
    """Files below a folder in one order everywhere: of two of one stem the last counts."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.endswith(FEATURE_SUFFIXES) and not name.startswith("."):
                yield Path(folder, name)


def _stem(name: str) -> str:
    """`a` of `a`, `a.mp4` and `x/a.mp4`; names with other dots in them stay whole."""
    stem, suffix = os.path.splitext(os.path.basename(name))
    return stem if suffix.lower() in VIDEO_SUFFIXES else os.path.basename(name)
