"""Retrieval on anyone's clips and sentences, by the protocol of the published benchmarks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from narravid.data.feature_clips import FeaturePair
from narravid.data.feature_files import FolderTracks
from narravid.errors import AnnotationError
from narravid.evaluation.benchmarks.retrieval_clips import (
    EmbeddedClips,
    embed_on_features,
    embed_on_pixels,
    with_files,
)
from narravid.evaluation.benchmarks.retrieval_protocol import RetrievalProtocol
from narravid.evaluation.benchmarks.retrieval_result import RetrievalData, retrieval_result
from narravid.evaluation.pairs import RetrievalPair, read_pairs_csv
from narravid.evaluation.result import BenchmarkResult
from narravid.evaluation.session import EvaluationSession

__all__ = ["OwnRetrieval"]


@dataclass(frozen=True, kw_only=True)
class OwnRetrieval(RetrievalProtocol):
    """Find clips by sentences and sentences by clips, in a list of your own.

    Attributes:
        pairs: CSV file `video_path,text[,start_seconds,end_seconds]`; paths start at its folder. With
            features, those of `videos/x/1.mp4` are looked for as `videos/x/1.npy` in their folder, then
            `x/1.npy`, then any `1.npy`; two videos that would share a file are refused.
    """

    name: ClassVar[str] = "retrieval"

    pairs: Path

    def run(self, session: EvaluationSession) -> BenchmarkResult:
        """Measure the session's model; see `Benchmark.run`."""
        pairs = read_pairs_csv(self.pairs)
        clips = self._on_features(session, pairs) if self.features else self._on_pixels(session, pairs)
        data = RetrievalData(
            self.name, f"Retrieval on {self.pairs.name}", {"pairs": self.pairs}, "the clips of the list"
        )
        return retrieval_result(session, data, clips)

    def _on_pixels(self, session: EvaluationSession, pairs: Sequence[RetrievalPair]) -> EmbeddedClips:
        embedded = embed_on_pixels(session, self, pairs)
        names = {pair.path: self._name(pair) for pair in pairs}
        return EmbeddedClips(embedded, names, self.pixel_card(session.pixel_dual_encoder()))

    def _on_features(self, session: EvaluationSession, pairs: Sequence[RetrievalPair]) -> EmbeddedClips:
        tracks = self.tracks(session.feature_dual_encoder().feature_spec)
        known = _feature_names(self.pairs, dict.fromkeys(self._name(pair) for pair in pairs), tracks)
        named = [FeaturePair(known[self._name(pair)], pair.text, pair.span) for pair in pairs]
        embedded = embed_on_features(session, self, named, tracks=tracks)
        both = list(zip(named, pairs, strict=True))
        files = {feature.name: pair.path for feature, pair in both if Path(pair.path).is_file()}
        clips = with_files(embedded, files, card=self.feature_card(session.feature_dual_encoder()))
        name_of = {feature.name: self._name(pair) for feature, pair in both}
        return replace(clips, names={path: name_of[name] for path, name in clips.names.items()})

    def _name(self, pair: RetrievalPair) -> str:
        """The path as the list has it."""
        return Path(os.path.relpath(pair.path, self.pairs.parent)).as_posix()


def _feature_names(source: Path, videos: Iterable[str], tracks: FolderTracks) -> dict[str, str]:
    """What each video of a list is called among the features.

    Raises:
        AnnotationError: If two videos have one feature file.
    """
    names: dict[str, str] = {}
    video_of: dict[Path, str] = {}
    for video in videos:
        names[video] = _feature_name(video, tracks)
        for path in {folder.path_of(names[video]) for folder in tracks.folders}:
            other = video_of.setdefault(path, video)
            if other != video:
                raise AnnotationError(
                    source,
                    f"{other} and {video} have the same features, {path}: name or place the feature files as "
                    "their videos",
                    field="video_path",
                )
    return names


def _feature_name(video: str, tracks: FolderTracks) -> str:
    """The longest end of a video's path under which there are features; the path if there are none."""
    parts = [part for part in Path(video).parts if part not in (os.pardir, os.sep)]
    ends = ["/".join(parts[start:]) for start in range(len(parts))]
    for together in (all, any):  # a name that every folder has goes before one that some have
        for end in ends:
            if together(folder.path_of(end).is_file() for folder in tracks.folders):
                return end
    return ends[0]
