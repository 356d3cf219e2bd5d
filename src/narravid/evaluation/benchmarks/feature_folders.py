"""The folders of extracted features that a benchmark is told of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from narravid.data.feature_files import FeatureFolder, FolderTracks
from narravid.errors import ConfigError
from narravid.types import FeatureSpec

__all__ = ["open_features"]

PUBLISHED_RATES = {"resnext101-kinetics": 1.5}
"""Features per second of the extractors that HowTo100M (arXiv 1906.03327) does not run at one per second."""


def open_features(spec: FeatureSpec, folders: Sequence[Path], *, rates: Sequence[float] = ()) -> FolderTracks:
    """Reads the features of a model from its folders.

    Args:
        spec: Whose features the model takes.
        folders: A folder of `.npy` files for each of them, in this order.
        rates: Features per second of each; those of the published extractors when empty.

    Raises:
        ConfigError: If there are not as many folders as extractors, or one is not there.
    """
    if len(folders) != len(spec.extractors):
        raise ConfigError(
            f"the model takes features of {' and '.join(spec.extractors)}: --features needs "
            f"{len(spec.extractors)} folders in this order, got {len(folders)}",
            key="features",
        )
    absent = next((folder for folder in folders if not folder.is_dir()), None)
    if absent is not None:
        raise ConfigError(f"there is no folder {absent} of features (--features)", key="features")
    known = rates or tuple(PUBLISHED_RATES.get(name, 1.0) for name in spec.extractors)
    return FolderTracks(
        [
            FeatureFolder(root, dim=dim, steps_per_second=rate)
            for root, dim, rate in zip(folders, spec.dims, known, strict=True)
        ]
    )
