"""YouCook2: steps of cooking videos, searched by the sentence that describes them.

Zhou et al. 2018, arXiv 1703.09788. On pixels the list is that of the repositories of MIL-NCE (Miech et al.
2020, arXiv 1912.06430) and VT-TWINS, 3,350 clips; papers count a few more or fewer. On features HowTo100M's
repository (Miech et al. 2019, arXiv 1906.03327) has a pickle of the validation clips with their features.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from narravid.data.annotations.youcook2 import read_youcook2_clips
from narravid.data.packed_features import read_packed_features
from narravid.evaluation.benchmarks.annotation_place import find_annotations
from narravid.evaluation.benchmarks.retrieval_clips import (
    ListedPair,
    embed_listed,
    embed_on_features,
    one_entry_per_row,
    with_files,
)
from narravid.evaluation.benchmarks.retrieval_protocol import RetrievalProtocol
from narravid.evaluation.benchmarks.retrieval_result import RetrievalData, retrieval_result
from narravid.evaluation.result import BenchmarkResult
from narravid.evaluation.session import EvaluationSession

__all__ = ["Youcook2"]

ANNOTATION_NAMES = ("validation_youcook.csv", "youcook2_validation.csv")
PICKLE_SUFFIX = ".pkl"


@dataclass(frozen=True, kw_only=True)
class Youcook2(RetrievalProtocol):
    """Text and video retrieval on YouCook2's validation clips: 3,350 as published by MIL-NCE's repository.

    With `--features youcook_val.pkl`, the file of HowTo100M's repository, clips, sentences and features come
    from that file and nothing else is needed.

    Attributes:
        videos: Folder of the videos, `validation/TASK/VIDEO_ID.mp4` and so on.
        annotations: The list `end,start,task,text,video_id`; looked for under its published names in the
            videos' folder and beside it when absent.
    """

    name: ClassVar[str] = "youcook2"

    videos: Path | None = None
    annotations: Path | None = None

    def run(self, session: EvaluationSession) -> BenchmarkResult:
        """Measure the session's model; see `Benchmark.run`."""
        if len(self.features) == 1 and self.features[0].suffix.lower() == PICKLE_SUFFIX:
            return self._run_on_pickle(session, self.features[0])
        source = find_annotations(self.annotations, ANNOTATION_NAMES, videos=self.videos)
        listed = [
            ListedPair(clip.video_id, clip.places, clip.text, clip.span)
            for clip in read_youcook2_clips(source)
        ]
        clips = embed_listed(session, self, listed, source=source, videos=self.videos)
        data = RetrievalData(
            self.name,
            "YouCook2 validation",
            {"annotations": source},
            "an entry for each row of the list; 3,350 as published",
        )
        return retrieval_result(session, data, clips)

    def _run_on_pickle(self, session: EvaluationSession, path: Path) -> BenchmarkResult:
        model = session.feature_dual_encoder()
        pairs, tracks = read_packed_features(path, model.feature_spec)
        embedded = one_entry_per_row(embed_on_features(session, self, pairs, tracks=tracks))
        data = RetrievalData(
            self.name, "YouCook2 validation", {"features": path}, "validation clips of HowTo100M's repository"
        )
        clips = with_files(embedded, {}, card=self.feature_card(model))
        return retrieval_result(session, data, clips)
