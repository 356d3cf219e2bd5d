"""The seconds of HTM-Align's videos as vectors: from feature files, or from pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch

from narravid.bad_items import BadItems
from narravid.data.annotations.htm_align import HtmAlignVideo
from narravid.data.annotations.video_places import locate_videos
from narravid.data.feature_files import FolderTracks
from narravid.data.featured import FeatureTrack, clip_features
from narravid.errors import DecodeError
from narravid.evaluation.alignment import read_seconds
from narravid.evaluation.benchmarks.long_videos import encode_each
from narravid.evaluation.seconds import second_windows
from narravid.evaluation.session import EvaluationSession
from narravid.evaluation.windows import WindowEncoder, WindowItem
from narravid.protocols import FeatureDualEncoder
from narravid.types import ClipSpec, Span

__all__ = ["SecondsOfVideo", "seconds_from_features", "seconds_from_pixels", "seconds_in_features"]


Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, eq=False)
class SecondsOfVideo:
    """A video as one vector for each of its seconds, or why there is none.

    Attributes:
        video: The video with its sentences.
        path: Its file, or the name of its features.
        vectors: (T, F) floating point; None where it cannot be read.
        reason: What is wrong with it; empty where nothing is.
        rates: Features per second of each extractor, as its file states or its folder is said to have; empty
            from pixels.
    """

    video: HtmAlignVideo
    path: str
    vectors: torch.Tensor | None
    reason: str = ""
    rates: tuple[float, ...] = ()


def seconds_from_pixels(
    session: EvaluationSession,
    encoder: WindowEncoder,
    videos: Sequence[HtmAlignVideo],
    *,
    folder: Path,
    spec: ClipSpec,
) -> Iterator[SecondsOfVideo]:
    """Encode a window for each second of each video.

    Args:
        session: The run.
        encoder: The network.
        videos: The videos.
        folder: Where their files lie.
        spec: What a window looks like.

    Yields:
        Each video; first those of which there is no file.

    Raises:
        TooManyBadItemsError: If more of the files than the session allows cannot be read.
    """
    places = locate_videos(folder, videos)
    for absent in places.missing:
        yield SecondsOfVideo(videos[absent.index], str(folder / absent.place), None, absent.reason)
    there = [(video, str(path)) for video, path in zip(videos, places.paths, strict=True) if path is not None]
    items = [WindowItem(path) for _, path in there]
    for number, vectors in encode_each(session, encoder, items, rule=second_windows(spec)):
        video, path = there[number]
        if isinstance(vectors, str):
            yield SecondsOfVideo(video, path, None, vectors)
        else:
            yield SecondsOfVideo(video, path, torch.tensor(vectors))


def seconds_in_features(
    videos: Sequence[HtmAlignVideo], tracks: FolderTracks, *, max_bad_share: float
) -> Iterator[SecondsOfVideo]:
    """The features of an extractor that gives one for each second, as an aligner takes them.

    A file that states another rate counts as unreadable.

    Args:
        videos: The videos.
        tracks: One folder of features, one a second.
        max_bad_share: Share of the feature files that may be unreadable; 1 never stops.

    Yields:
        Each video.

    Raises:
        TooManyBadItemsError: If more of the files cannot be read.
    """
    for video, found in _read(videos, tracks, partial(read_seconds, tracks), max_bad_share=max_bad_share):
        if isinstance(found, DecodeError):
            yield SecondsOfVideo(video, found.path, None, found.reason)
        else:
            yield SecondsOfVideo(video, video.video_id, found, rates=(1.0,))


@torch.no_grad()
def seconds_from_features(
    model: FeatureDualEncoder,
    videos: Sequence[HtmAlignVideo],
    tracks: FolderTracks,
    *,
    max_bad_share: float,
) -> Iterator[SecondsOfVideo]:
    """Embed the features of each second: the largest values of each extractor within it, L2-normalised.

    Args:
        model: The dual encoder, in evaluation mode.
        videos: The videos.
        tracks: The features, in the order in which the model takes them.
        max_bad_share: Share of the videos whose features may be unreadable; 1 never stops.

    Yields:
        Each video.

    Raises:
        TooManyBadItemsError: If more of the files cannot be read.
    """
    for video, found in _read(videos, tracks, tracks.read, max_bad_share=max_bad_share):
        if isinstance(found, DecodeError):
            yield SecondsOfVideo(video, found.path, None, found.reason)
            continue
        features = clip_features(found, _whole_seconds(found)).features
        embeddings = model.encode_features(features.to(model.device)).float().cpu()
        rates = tuple(track.steps_per_second for track in found)
        yield SecondsOfVideo(video, video.video_id, embeddings, rates=rates)


def _whole_seconds(tracks: Sequence[FeatureTrack]) -> list[Span]:
    """The seconds of the longest track, each ending just before the next so that it touches none of it."""
    length = max(len(track.steps) / track.steps_per_second for track in tracks)
    return [Span(float(second), math.nextafter(second + 1.0, 0.0)) for second in range(math.ceil(length))]


def _read(
    videos: Sequence[HtmAlignVideo],
    tracks: FolderTracks,
    read: Callable[[str], Found],
    *,
    max_bad_share: float,
) -> Iterator[tuple[HtmAlignVideo, Found | DecodeError]]:
    """The features of each video; files that are not there are missing, others that fail are bad."""
    absent = {video.video_id: _why_absent(video, tracks) for video in videos}
    num_there = sum(reason is None for reason in absent.values())
    bad = BadItems()
    num_met = 0
    for video in videos:
        reason = absent[video.video_id]
        if reason is not None:
            yield video, reason
            continue
        num_met += 1
        try:
            found: Found | DecodeError = read(video.video_id)
        except DecodeError as error:
            bad.add(error.path, error.reason)
            bad.check_share(num_met, num_expected=num_there, max_share=max_bad_share)
            found = error
        yield video, found


def _why_absent(video: HtmAlignVideo, tracks: FolderTracks) -> DecodeError | None:
    """That a video has no feature file, or a name that no file of the folders can have; None if it has."""
    try:
        paths = [folder.path_of(video.video_id) for folder in tracks.folders]
    except DecodeError as error:
        return error
    path = next((path for path in paths if not path.is_file()), None)
    return None if path is None else DecodeError(path, "there is no such feature file")
