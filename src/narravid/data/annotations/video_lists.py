"""Lists of videos: tables of MIL-NCE and HowTo100M, HTM-AA's `vid_to_path.json`, held-out ids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from narravid.annotation_files import read_document, read_lines, read_table
from narravid.errors import AnnotationError

__all__ = ["ListedVideo", "read_video_ids", "read_video_list"]

PATH_COLUMNS = ("video_path", "path")
ID_COLUMNS = ("video_id", "vid")


@dataclass(frozen=True, slots=True)
class ListedVideo:
    """A video of a list.

    Attributes:
        path: Where it lies below the folder of the videos.
        video_id: Its name in caption corpora; the stem of the file where the list has no name for it.
    """

    path: str
    video_id: str


def read_video_list(path: Path) -> Iterator[ListedVideo]:
    """The videos of a list, one at a time.

    Args:
        path: A table with a column `video_path` or `path`, and perhaps `video_id` or `vid`, further columns
            being passed over; or a `.json` object of paths by id.

    Raises:
        AnnotationError: If the list has a fault.
    """
    if path.suffix.lower() == ".json":
        document = read_document(path)
        for video_id in document.keys():  # noqa: SIM118 - no dictionary
            yield ListedVideo(document.text(video_id), str(video_id))
        return
    for row in read_table(path, (), check_header=partial(_require_path, path)):
        place = row.text(next(column for column in PATH_COLUMNS if column in row))
        id_column = next((column for column in ID_COLUMNS if column in row), None)
        yield ListedVideo(place, Path(place).stem if id_column is None else row.text(id_column))


def _require_path(path: Path, columns: Sequence[str]) -> None:
    if not any(name in columns for name in PATH_COLUMNS):
        known = " or ".join(PATH_COLUMNS)
        raise AnnotationError(path, f"no column says where the videos lie; it is named {known}", line=1)


def read_video_ids(path: Path) -> frozenset[str]:
    """A list of video ids, one a line.

    Such is `htm_holdout_vid.txt`, the videos on which temporal alignment networks are not trained.

    Raises:
        AnnotationError: If a line has more than one word, or an id is there twice.
    """
    video_ids: set[str] = set()
    for line, video_id in read_lines(path):
        if len(video_id.split()) > 1:
            raise AnnotationError(path, f"must be one video id, got {video_id[:80]!r}", line=line)
        if video_id in video_ids:
            raise AnnotationError(path, f"the video {video_id!r} is there twice", line=line)
        video_ids.add(video_id)
    return frozenset(video_ids)
