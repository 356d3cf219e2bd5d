"""Which videos are extracted, and where the features of each one go."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from narravid.annotation_files import read_table
from narravid.bad_items import BadItems
from narravid.errors import AnnotationError, ConfigError
from narravid.inference.video_files import find_video_files

__all__ = ["FeatureFormat", "ListedVideo", "list_folder", "list_table"]

SUFFIXES = (".npy", ".safetensors", ".lance")


FeatureFormat = Literal["npy", "safetensors", "lance"]
"""Files of NumPy with a JSON beside each, safetensors files, or one LanceDB table for all videos."""


@dataclass(frozen=True, slots=True)
class ListedVideo:
    """A video to be extracted.

    Attributes:
        video: The file, an absolute path.
        output: The file of its features, too; of a table, the name of its rows in the place of a file.
    """

    video: Path
    output: Path


def list_table(
    table: Path, *, output: Path | None = None, file_format: FeatureFormat = "npy"
) -> list[ListedVideo]:
    """The videos of a CSV `video_path,feature_path`, as HowTo100M's extractor reads it.

    Paths that are not absolute are taken from the working folder, as published.

    Args:
        table: The CSV.
        output: Feature paths that are not absolute are taken from there, if it is given.
        file_format: Which suffix feature paths get; that of another format gives way.

    Raises:
        AnnotationError: If the table has a fault, or two videos have one feature path.
    """
    listed = []
    for row in read_table(table, ("video_path", "feature_path")):
        features = _absolute((output or Path()) / row.text("feature_path"))
        listed.append(ListedVideo(_absolute(row.text("video_path")), _with_suffix(features, file_format)))
    if not listed:
        raise AnnotationError(table, "lists no video")
    _refuse_shared_outputs(table, listed)
    return listed


def list_folder(
    videos: Path, output: Path, *, bad: BadItems, file_format: FeatureFormat = "npy"
) -> list[ListedVideo]:
    """The videos below a folder; the features lie in the same places below another one.

    Args:
        videos: Searched to the bottom for files with a video's suffix.
        output: Folder of the features, `sub/a.npy` for `sub/a.mp4`.
        bad: Gets what cannot be read: empty files, links that lead nowhere, closed folders.
        file_format: Which suffix they get.

    Raises:
        ConfigError: If there is no such folder, no video in it, or two videos differ in their suffix only.
    """
    if not videos.is_dir():
        raise ConfigError(f"{videos} is no folder", key="videos")
    root = Path(os.path.realpath(videos))
    listed, output = [], _absolute(output)
    found = find_video_files([root])
    for path in map(Path, found.videos):
        # A link may lead out of the folder; its features then lie flat.
        place = path.relative_to(root) if path.is_relative_to(root) else Path(path.name)
        listed.append(ListedVideo(path, _with_suffix(output / place.with_suffix(""), file_format)))
    if not listed:
        name, reason = found.problems[0]
        where = "" if name == str(root) else f"{name}: "
        raise ConfigError(f"{videos} holds no video: {where}{reason}", key="videos")
    for name, reason in found.problems:
        bad.add(name, reason)
    _refuse_shared_outputs(videos, listed)
    return listed


def _absolute(path: str | Path) -> Path:
    return Path(os.path.abspath(path))


def _with_suffix(output: Path, file_format: FeatureFormat) -> Path:
    bare = output.with_suffix("") if output.suffix in SUFFIXES else output
    return bare if file_format == "lance" else bare.with_name(f"{bare.name}.{file_format}")


def _refuse_shared_outputs(source: Path, listed: Iterable[ListedVideo]) -> None:
    seen: dict[Path, Path] = {}
    for item in listed:
        if item.output in seen:
            raise AnnotationError(
                source,
                f"the features of {seen[item.output]} and of {item.video} would both be {item.output}; list "
                "them with --csv, each with a feature_path of its own",
            )
        seen[item.output] = item.video
