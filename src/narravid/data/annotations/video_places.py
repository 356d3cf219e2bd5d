"""Finding the videos of a list below a folder, by names alone: each folder is listed once, nothing is opened.

A list names a video by where it may lie below the folder, without suffix, because downloads differ in their
containers. One listing per folder, in place of a look for every suffix of every video, is what makes lists of
a million videos on a network disk bearable.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from narravid.video.suffixes import VIDEO_SUFFIXES

__all__ = ["HasPlaces", "MissingReason", "MissingVideo", "VideoPlaces", "locate_videos"]

PREFERRED_SUFFIXES = (".mp4", ".mkv", ".webm", ".avi")
"""Taken in this order where a video is there more than once; other containers come behind, by name."""

MissingReason = Literal["no such folder", "no such file", "no video suffix", "unusable name"]
"""Why a video was not found: none of its folders can be listed; no file has its name; the file of its name
has a suffix that no video has, such as that of an unfinished download; the name leads out of the folder."""


class HasPlaces(Protocol):
    """A record of a list that says where its video may lie."""

    @property
    def places(self) -> tuple[str, ...]:
        """Paths below the data set's folder without suffix, with `/`, the most likely first."""


@dataclass(frozen=True, slots=True)
class MissingVideo:
    """A video of a list that is not there.

    Attributes:
        index: Its position in the list.
        place: Where it should lie, below the folder and without suffix.
        reason: Why it was not found.
    """

    index: int
    place: str
    reason: MissingReason


@dataclass(frozen=True, slots=True)
class VideoPlaces:
    """Which videos of a list are there.

    Attributes:
        paths: The file of each record, in the order of the list; None where it is missing.
        missing: Those that are missing.
    """

    paths: tuple[Path | None, ...]
    missing: tuple[MissingVideo, ...]

    @property
    def num_missing(self) -> dict[MissingReason, int]:
        """How many are missing for each reason, the most frequent first."""
        return dict(Counter(video.reason for video in self.missing).most_common())


def locate_videos(
    root: Path, records: Iterable[HasPlaces], *, suffixes: Sequence[str] = PREFERRED_SUFFIXES
) -> VideoPlaces:
    """Find the video of each record of a list.

    Args:
        root: The data set's folder.
        records: The records, as the readers of this package give them.
        suffixes: Containers to prefer where a video is there in several, the best first, in lower case.

    Returns:
        The file of each record and what is missing, by reason. Records of one video share its file.
    """
    rank = {suffix: number for number, suffix in enumerate(suffixes)}
    listings: dict[str, dict[str, str] | None] = {}
    paths: list[Path | None] = []
    missing: list[MissingVideo] = []
    for index, record in enumerate(records):
        found = _find(root, record.places, listings=listings, rank=rank)
        paths.append(found if isinstance(found, Path) else None)
        if not isinstance(found, Path):
            missing.append(MissingVideo(index, record.places[0], found))
    return VideoPlaces(tuple(paths), tuple(missing))


def _find(
    root: Path, places: Sequence[str], *, listings: dict[str, dict[str, str] | None], rank: dict[str, int]
) -> Path | MissingReason:
    reasons: set[MissingReason] = set()
    for place in places:
        folder, _, stem = place.rpartition("/")
        if place.startswith("/") or "\0" in place or ".." in place.split("/"):
            reasons.add("unusable name")
            continue
        if folder not in listings:
            listings[folder] = _list_folder(root / folder)
        listing = listings[folder]
        if listing is None or stem not in listing:
            reasons.add("no such folder" if listing is None else "no such file")
            continue
        videos = [suffix for suffix in listing[stem].split("/") if suffix.lower() in VIDEO_SUFFIXES]
        if videos:
            best = min(videos, key=lambda suffix: (rank.get(suffix.lower(), len(rank)), suffix))
            return root / folder / f"{stem}{best}"
        reasons.add("no video suffix")
    order: tuple[MissingReason, ...] = ("no video suffix", "no such file", "no such folder")
    return next((reason for reason in order if reason in reasons), "unusable name")


def _list_folder(folder: Path) -> dict[str, str] | None:
    """Suffixes of the entries by stem, `/` between several; None if the folder is absent or cannot be listed.

    One text for each stem, shared by all with the same suffix, since a folder may hold a million.
    """
    suffixes: dict[str, str] = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                stem, suffix = os.path.splitext(entry.name)
                if suffix:
                    before = suffixes.get(stem)
                    suffixes[stem] = sys.intern(suffix if before is None else f"{before}/{suffix}")
    except OSError:
        return None
    return suffixes
