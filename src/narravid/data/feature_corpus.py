"""Which videos have features and captions: the corpora of HowTo100M and of temporal alignment networks."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from narravid.annotation_files import read_table
from narravid.data.annotations.caption_corpora import read_caption_corpus
from narravid.data.annotations.video_lists import read_video_ids
from narravid.data.feature_files import FolderTracks
from narravid.errors import AnnotationError, DecodeError
from narravid.text.captions import CaptionTrack
from narravid.video.durations import DurationLimits

__all__ = ["FeaturedVideo", "FoundFeatures", "find_featured_videos", "read_featured_list"]


@dataclass(frozen=True, slots=True)
class FeaturedVideo:
    """A video as its features and captions.

    Attributes:
        video_id: Its name in the captions.
        name: Its name among the features.
        track: Its captions, at least one.
    """

    video_id: str
    name: str
    track: CaptionTrack


@dataclass(frozen=True)
class FoundFeatures:
    """What was found.

    Attributes:
        videos: Those that can be used, by name of their features.
        bad: (path, reason) of those with faulty captions, or without features that they should have.
        num_without_captions: Videos with features of which the captions say nothing.
        num_held_out: Videos left out because they are kept for evaluation.
        num_of_other_length: Videos left out for their length.
    """

    videos: tuple[FeaturedVideo, ...]
    bad: tuple[tuple[str, str], ...]
    num_without_captions: int = 0
    num_held_out: int = 0
    num_of_other_length: int = 0


def read_featured_list(path: Path) -> Iterator[tuple[str, str]]:
    """The videos of a list as (id, name of the features), one at a time.

    Args:
        path: A table with a column `video_id`, such as `HowTo100M_v1.csv`, and perhaps `path`, where the
            features lie below their folders; or a text file with one id a line.

    Raises:
        AnnotationError: If the list has a fault.
    """
    if path.suffix.lower() == ".txt":
        for video_id in sorted(read_video_ids(path)):
            yield video_id, video_id
        return
    for row in read_table(path, ("video_id",)):
        video_id = row.text("video_id")
        yield video_id, row.text("path") if "path" in row else video_id


def find_featured_videos(
    tracks: FolderTracks,
    captions: Path,
    *,
    video_list: Path | None = None,
    held_out: Collection[str] = (),
    durations: DurationLimits | None = None,
) -> FoundFeatures:
    """Bring features and captions together.

    Args:
        tracks: The features.
        captions: A file with the captions of all videos, see `read_caption_corpus`.
        video_list: The videos to take, see `read_featured_list`; None takes all that have a file in the first
            folder of the features.
        held_out: Ids of videos to leave out.
        durations: Which videos are taken by the length of their features; None takes all, and looks at no
            file before it is drawn.

    Returns:
        The videos in the order of their features' names, and what is wrong with others.

    Raises:
        AnnotationError: If the captions as a whole, or the list, have a fault.
    """
    first = tracks.folders[0]
    listed = read_featured_list(video_list) if video_list else ((name, name) for name in first.names())
    wanted: dict[str, str] = {}
    num_held_out = 0
    for video_id, name in listed:
        num_held_out += video_id in held_out
        if video_id not in held_out:
            wanted[video_id] = name
    videos: list[FeaturedVideo] = []
    bad: list[tuple[str, str]] = []
    num_of_other_length = 0
    for video in read_caption_corpus(captions):
        known = wanted.pop(video.video_id, None)
        if known is None:
            continue
        try:
            track = video.read().track
            if len(track) == 0:
                raise AnnotationError(captions, f"holds no captions of {video.video_id!r}")
            if durations is not None and first.num_seconds(known) not in durations:
                num_of_other_length += 1
                continue
        except (AnnotationError, DecodeError) as error:
            path = error.path if isinstance(error, DecodeError) else f"{captions}#{video.video_id}"
            bad.append((path, error.reason))
            continue
        videos.append(FeaturedVideo(video.video_id, known, track))
    videos.sort(key=lambda video: video.name)
    return FoundFeatures(tuple(videos), tuple(bad), len(wanted), num_held_out, num_of_other_length)
