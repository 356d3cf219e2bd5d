"""MSR-VTT 1k-A: 1,000 videos of 10 to 30 s with one sentence each.

Xu et al. 2016; the list is that of Yu et al. 2018 (JSFusion). It is searched as by Miech et al., HowTo100M,
ICCV 2019, arXiv 1906.03327 (features), and End-to-End Learning of Visual Representations from Uncurated
Instructional Videos, CVPR 2020, arXiv 1912.06430 (pixels).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from narravid.data.annotations.msrvtt import read_msrvtt_pairs
from narravid.evaluation.benchmarks.annotation_place import find_annotations
from narravid.evaluation.benchmarks.retrieval_clips import ListedPair, embed_listed
from narravid.evaluation.benchmarks.retrieval_protocol import RetrievalProtocol
from narravid.evaluation.benchmarks.retrieval_result import RetrievalData, retrieval_result
from narravid.evaluation.result import BenchmarkResult
from narravid.evaluation.session import EvaluationSession

__all__ = ["Msrvtt"]

ANNOTATION_NAMES = ("msrvtt_test.csv", "MSRVTT_JSFUSION_test.csv", "msrvtt_1ka_test.csv")
"""The one list as MIL-NCE's and VT-TWINS' repositories, JSFusion's followers and collections name it."""


@dataclass(frozen=True, kw_only=True)
class Msrvtt(RetrievalProtocol):
    """Text and video retrieval on MSR-VTT 1k-A: 1,000 whole videos, one sentence each.

    Attributes:
        videos: Folder of the videos, `videoNNNN.mp4` and so on in it or in a published subfolder.
        annotations: The list `key,vid_key,video_id,sentence`; looked for under its published names in the
            videos' folder and beside it when absent.
    """

    name: ClassVar[str] = "msrvtt"

    videos: Path | None = None
    annotations: Path | None = None

    def run(self, session: EvaluationSession) -> BenchmarkResult:
        """Measure the session's model; see `Benchmark.run`."""
        source = find_annotations(self.annotations, ANNOTATION_NAMES, videos=self.videos)
        listed = [ListedPair(pair.video_id, pair.places, pair.sentence) for pair in read_msrvtt_pairs(source)]
        clips = embed_listed(session, self, listed, source=source, videos=self.videos)
        data = RetrievalData(
            self.name, "MSR-VTT 1k-A", {"annotations": source}, "whole videos, one sentence each"
        )
        return retrieval_result(session, data, clips)
