"""Where extracted features go, and whether those of a video are there already."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from narravid.data.feature_storage import facts_path, read_facts, write_features
from narravid.files import remove_leftovers
from narravid.inference.extract_list import ListedVideo
from narravid.inference.video_files import FileState

__all__ = ["FeatureStore", "FileStore", "Standing", "standing_of"]

Features = npt.NDArray[np.floating]

Standing = Literal["absent", "done", "foreign", "blocked"]
"""Nothing is there (or what an earlier state of the video gave), what is wanted is, other features are, or
something that is not of features and must not be written over."""


class FeatureStore(Protocol):
    """Keeps the features of videos; several threads and processes may write to one."""

    def mark(self, item: ListedVideo) -> Path:
        """The path beside which claims and failures of a video are marked."""

    def has(self, item: ListedVideo) -> bool:
        """Whether there are features of a video."""

    def obstacle(self, item: ListedVideo) -> Path | None:
        """What lies in the way and is not of features."""

    def facts(self, item: ListedVideo) -> dict[str, Any] | None:
        """What is known of the features that are there; None where Narravid did not write them."""

    def write(self, item: ListedVideo, features: Features, facts: Mapping[str, Any]) -> None:
        """Keep the features of a video, whole or not at all, in the place of any that are there."""

    def tidy_up(self, item: ListedVideo) -> None:
        """Remove what a killed process left half written."""


class FileStore:
    """One file per video; see `data.feature_storage`."""

    def mark(self, item: ListedVideo) -> Path:
        """See `FeatureStore`."""
        return item.output

    def has(self, item: ListedVideo) -> bool:
        """See `FeatureStore`."""
        return item.output.exists()

    def obstacle(self, item: ListedVideo) -> Path | None:
        """See `FeatureStore`: a JSON that Narravid did not write where that of the features would go."""
        beside = facts_path(item.output)
        is_ours = item.output.suffix != ".npy" or not beside.exists() or read_facts(item.output) is not None
        return None if is_ours else beside

    def facts(self, item: ListedVideo) -> dict[str, Any] | None:
        """See `FeatureStore`."""
        return read_facts(item.output)

    def write(self, item: ListedVideo, features: Features, facts: Mapping[str, Any]) -> None:
        """See `FeatureStore`."""
        write_features(item.output, features, facts)

    def tidy_up(self, item: ListedVideo) -> None:
        """See `FeatureStore`."""
        remove_leftovers(item.output.parent, of={item.output.name, facts_path(item.output).name})


def standing_of(
    store: FeatureStore, item: ListedVideo, *, settings: Mapping[str, Any], state: FileState
) -> tuple[Standing, str]:
    """Whether the features of a video are there.

    Args:
        store: Where they would be.
        item: The video.
        settings: What decides the numbers: hash of the weights, windows, layer and so on, as JSON values.
        state: That of the video now.

    Returns:
        The standing, and what is there instead if it is foreign or blocked.
    """
    obstacle = store.obstacle(item)
    if obstacle is not None:
        return "blocked", (
            f"{obstacle} is there and does not describe features; move it, or choose another place for them"
        )
    if not store.has(item):
        return "absent", ""
    facts = store.facts(item)
    if facts is None:
        return "foreign", f"{item.output} is there already, and nothing says what made it"
    differing = [key for key, value in settings.items() if facts.get(key) != value]
    if differing:
        return "foreign", f"{item.output} was made with another {' and another '.join(differing)}"
    same = facts.get("video_size_bytes") == state.size_bytes
    return ("done" if same and facts.get("video_modified_ns") == state.modified_ns else "absent"), ""
