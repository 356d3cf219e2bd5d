"""The seconds of HTM-Align's videos as vectors: from feature files, or from pixels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from narravid.bad_items import BadItems
from narravid.data.annotations.htm_align import HtmAlignVideo
from narravid.data.annotations.video_places import locate_videos
from narravid.data.feature_files import FolderTracks
from narravid.data.featured import FeatureTrack, clip_features
from narravid.errors import DecodeError
from narravid.evaluation.benchmarks.long_videos import encode_in_parts
from narravid.evaluation.seconds import second_windows
from narravid.evaluation.session import EvaluationSession
from narravid.evaluation.windows import WindowEncoder, WindowItem
from narravid.protocols import FeatureDualEncoder
from narravid.types import ClipSpec, Span

__all__ = ["SecondsOfVideo", "seconds_from_features", "seconds_from_pixels", "seconds_in_features"]


@dataclass(frozen=True, slots=True, eq=False)
class SecondsOfVideo:
    """A video as one vector for each of its seconds, or why there is none.

    Attributes:
        video: The video with its sentences.
        path: Its file, or the name of its features.
        vectors: (T, F) floating point; None where it cannot be read.
        reason: What is wrong with it; empty where nothing is.
    """

    video: HtmAlignVideo
    path: str
    vectors: torch.Tensor | None
    reason: str = ""


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
    for number, vectors in encode_in_parts(session, encoder, items, rule=second_windows(spec)):
        video, path = there[number]
        if isinstance(vectors, str):
            yield SecondsOfVideo(video, path, None, vectors)
        else:
            yield SecondsOfVideo(video, path, torch.tensor(vectors))


def seconds_in_features(
    videos: Sequence[HtmAlignVideo], tracks: FolderTracks, *, max_bad_share: float
) -> Iterator[SecondsOfVideo]:
    """The features of an extractor that gives one for each second, as an aligner takes them.

    Args:
        videos: The videos.
        tracks: One folder of features, one a second.
        max_bad_share: Share of the feature files that may be unreadable; 1 never stops.

    Yields:
        Each video.

    Raises:
        TooManyBadItemsError: If more of the files cannot be read.
    """
    for video, found in _read_tracks(videos, tracks, max_bad_share=max_bad_share):
        if isinstance(found, DecodeError):
            yield SecondsOfVideo(video, found.path, None, found.reason)
        else:
            yield SecondsOfVideo(video, video.video_id, found[0].steps)


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
    for video, found in _read_tracks(videos, tracks, max_bad_share=max_bad_share):
        if isinstance(found, DecodeError):
            yield SecondsOfVideo(video, found.path, None, found.reason)
            continue
        features = clip_features(found, _whole_seconds(found)).features
        embeddings = model.encode_features(features.to(model.device)).float().cpu()
        yield SecondsOfVideo(video, video.video_id, embeddings)


def _whole_seconds(tracks: Sequence[FeatureTrack]) -> list[Span]:
    """The seconds of the longest track, each ending just before the next so that it touches none of it."""
    length = max(len(track.steps) / track.steps_per_second for track in tracks)
    return [Span(float(second), math.nextafter(second + 1.0, 0.0)) for second in range(math.ceil(length))]


def _read_tracks(
    videos: Sequence[HtmAlignVideo], tracks: FolderTracks, *, max_bad_share: float
) -> Iterator[tuple[HtmAlignVideo, tuple[FeatureTrack, ...] | DecodeError]]:
    """The features of each video; files that are not there are missing, others that fail are bad."""
    absent = {video.video_id: _absent_file(video, tracks) for video in videos}
    num_there = sum(path is None for path in absent.values())
    bad = BadItems()
    num_met = 0
    for video in videos:
        path = absent[video.video_id]
        if path is not None:
            yield video, DecodeError(path, "there is no such feature file")
            continue
        num_met += 1
        try:
            found: tuple[FeatureTrack, ...] | DecodeError = tracks.read(video.video_id)
        except DecodeError as error:
            bad.add(error.path, error.reason)
            bad.check_share(num_met, num_expected=num_there, max_share=max_bad_share)
            found = error
        yield video, found


def _absent_file(video: HtmAlignVideo, tracks: FolderTracks) -> Path | None:
    paths = (folder.path_of(video.video_id) for folder in tracks.folders)
    return next((path for path in paths if not path.is_file()), None)
