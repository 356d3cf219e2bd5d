"""Retrieval on anyone's clips and sentences, by the protocol of the published benchmarks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from narravid.data.feature_clips import FeaturePair
from narravid.evaluation.benchmarks.retrieval_clips import embed_on_features, embed_on_pixels
from narravid.evaluation.benchmarks.retrieval_protocol import RetrievalProtocol
from narravid.evaluation.benchmarks.retrieval_result import RetrievalData, retrieval_result
from narravid.evaluation.pairs import read_pairs_csv
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
        if self.features:
            model = session.feature_dual_encoder()
            tracks = self.tracks(model.feature_spec)
            named = [FeaturePair(Path(pair.path).stem, pair.text, pair.span) for pair in pairs]
            embedded, card = embed_on_features(session, self, named, tracks=tracks), self.feature_card(model)
        else:
            embedded = embed_on_pixels(session, self, pairs)
            card = self.pixel_card(session.pixel_dual_encoder())
        data = RetrievalData(
            self.name, f"Retrieval on {self.pairs.name}", {"pairs": self.pairs}, "the clips of the list"
        )
        return retrieval_result(session, data, embedded, similarity=card["similarity"], card=card)
