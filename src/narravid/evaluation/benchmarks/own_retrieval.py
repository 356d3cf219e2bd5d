"""Retrieval on anyone's clips and sentences, by the protocol of the published benchmarks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from narravid.data.feature_clips import FeaturePair
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
            features, the name of a path without folder and suffix is that of its feature files.
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
        model = session.feature_dual_encoder()
        named = [FeaturePair(Path(pair.path).stem, pair.text, pair.span) for pair in pairs]
        embedded = embed_on_features(session, self, named, tracks=self.tracks(model.feature_spec))
        files = {Path(pair.path).stem: pair.path for pair in pairs if Path(pair.path).is_file()}
        clips = with_files(embedded, files, card=self.feature_card(model))
        name_of = {Path(pair.path).stem: self._name(pair) for pair in pairs}
        return replace(clips, names={path: name_of[stem] for path, stem in clips.names.items()})

    def _name(self, pair: RetrievalPair) -> str:
        """The path as the list has it."""
        return Path(os.path.relpath(pair.path, self.pairs.parent)).as_posix()
