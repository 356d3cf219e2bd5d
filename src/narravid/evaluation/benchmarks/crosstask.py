"""CrossTask: the steps of 18 tasks in instructional videos of several minutes.

Zhukov et al., CVPR 2019, arXiv 1903.08225. Two measures go by similar names. The benchmark's own gives each
second of a video a score for each step, chooses one second for each step in their order, and counts the steps
that land where they are shown (MIL-NCE's table calls it CTR). That of VT-TWINS (Ko et al., CVPR 2022) gives
the intervals away and asks which step of the task each shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from narravid.config import check_choices
from narravid.data.annotations.video_places import locate_videos
from narravid.errors import AnnotationError, NarravidError
from narravid.evaluation.benchmarks.annotation_place import find_annotations
from narravid.evaluation.benchmarks.crosstask_data import (
    CrossTaskData,
    CrossTaskSubset,
    ListedVideo,
    read_crosstask,
)
from narravid.evaluation.benchmarks.crosstask_result import CrossTaskFindings, crosstask_result
from narravid.evaluation.benchmarks.crosstask_scores import FoundVideo, judge_segments, score_videos
from narravid.evaluation.benchmarks.long_videos import window_spec
from narravid.evaluation.benchmarks.protocol_card import clip_card
from narravid.evaluation.comparisons import DualEncoderComparison
from narravid.evaluation.result import BenchmarkResult, MissingItem
from narravid.evaluation.sentences import TextSettings, text_card
from narravid.evaluation.session import EvaluationSession
from narravid.types import ClipSpec, Similarity

__all__ = ["CrossTask"]

ANNOTATION_NAMES = ("crosstask_release", "crosstask.csv", "crosstask_steps.csv")
"""The folder of the release; the table of steps as MIL-NCE, VT-TWINS and collections name it."""


@dataclass(frozen=True, kw_only=True)
class CrossTask:
    """Steps of instructional videos on CrossTask: found in whole videos, told apart in given intervals.

    Attributes:
        videos: Folder of the videos, `videos/TASK/VIDEO.mp4`, `TASK/VIDEO.mp4` or `VIDEO.mp4` in it.
        annotations: The folder of the release (`tasks_primary.txt`, `videos_val.csv`, `annotations/` and so
            on), or the table `end,start,task_id,text,video_id`, which is enough for the segment accuracy;
            looked for as `crosstask_release` and `crosstask.csv` in the videos' folder and beside it when
            absent.
        measure: What is measured: average-recall over whole videos, segment-accuracy in given intervals, or
            both.
        subset: Videos of the release: those of `videos_val.csv`, as published, or all that are annotated.
        similarity: How the average recall compares seconds and steps; the model's own way when absent. The
            segment accuracy goes by cosine, as published.
        num_windows: Windows, equally spaced, over which the embedding of an interval is averaged.
        num_frames: Frames of a window; as the model says when absent.
        fps: Frames per second of a window; as the model says when absent.
        max_words: Words of a step that are read; as the model's weights were published when absent.
        case: Whether steps are lower-cased or keep their case; as the weights were published when absent.

    Raises:
        ValueError: If a number is out of range.
        ConfigError: If a choice is none of those that there are.
    """

    name: ClassVar[str] = "crosstask"

    videos: Path
    annotations: Path | None = None
    measure: Literal["both", "average-recall", "segment-accuracy"] = "both"
    subset: CrossTaskSubset = "validation"
    similarity: Similarity | None = None
    num_windows: int = 10
    num_frames: int | None = None
    fps: float | None = None
    max_words: int | None = None
    case: Literal["lower", "keep"] | None = None

    def __post_init__(self) -> None:
        check_choices(self)
        if self.num_windows < 1:
            raise ValueError(f"num_windows must be at least 1, got {self.num_windows}")

    def run(self, session: EvaluationSession) -> BenchmarkResult:
        """Measure the session's model; see `Benchmark.run`."""
        model = session.pixel_dual_encoder()
        source = find_annotations(self.annotations, ANNOTATION_NAMES, videos=self.videos)
        data = read_crosstask(source, subset=self.subset)
        if self.measure == "average-recall" and not data.has_order:
            raise AnnotationError(
                source, "has not the order of the steps; the average recall needs the folder of the release"
            )
        spec = window_spec(model.clip_spec, num_frames=self.num_frames, fps=self.fps)
        found, missing = self._find(data, source)
        findings = self._measure(session, data, found, spec=spec)
        return crosstask_result(
            session,
            findings,
            missing=missing,
            source=source,
            card=self._card(session, spec, has_order=data.has_order),
        )

    def _find(self, data: CrossTaskData, source: Path) -> tuple[list[FoundVideo], list[MissingItem]]:
        """The annotated videos whose file is there, and the others."""
        annotated = [video for video in data.videos if video.annotations]
        missing = [
            MissingItem(str(self.videos / video.places[0]), f"is not annotated in {source.name}")
            for video in data.videos
            if not video.annotations
        ]
        places = locate_videos(self.videos, annotated)
        missing += [
            MissingItem(str(self.videos / video.place), str(video.reason)) for video in places.missing
        ]
        pairs: list[tuple[ListedVideo, Path | None]] = list(zip(annotated, places.paths, strict=True))
        found = [FoundVideo(video, str(path)) for video, path in pairs if path is not None]
        if not found:
            raise NarravidError(
                f"none of {len(annotated)} annotated videos is in {self.videos}; the first should be "
                f"{annotated[0].places[0]} with a video's suffix"
            )
        return found, missing

    def _measure(
        self, session: EvaluationSession, data: CrossTaskData, found: list[FoundVideo], *, spec: ClipSpec
    ) -> CrossTaskFindings:
        model = session.pixel_dual_encoder()
        listed = tuple(video for video in data.videos if video.annotations)
        findings = CrossTaskFindings(listed, tuple(found))
        if self.measure != "segment-accuracy" and data.has_order:
            comparison = DualEncoderComparison(
                model, similarity=self.similarity, text=self._text, dtype=session.dtype
            )
            findings.scored, reasons = score_videos(session, comparison, found, spec=spec)
            findings.add_reasons(reasons)
        if self.measure != "average-recall":
            comparison = DualEncoderComparison(
                model, similarity="cosine", text=self._text, dtype=session.dtype
            )
            findings.galleries = data.galleries
            findings.segments, reasons = judge_segments(
                session, comparison, found, galleries=data.galleries, plan=(spec, self.num_windows)
            )
            findings.add_reasons(reasons)
        if not findings.scored and not findings.segments:
            path, reason = next(iter(findings.reasons.items()))
            raise NarravidError(f"none of {len(found)} videos could be measured; {path}: {reason}")
        return findings

    @property
    def _text(self) -> TextSettings:
        return TextSettings(self.max_words, None if self.case is None else self.case == "lower")

    def _card(self, session: EvaluationSession, spec: ClipSpec, *, has_order: bool) -> dict[str, Any]:
        model = session.pixel_dual_encoder()
        recall = {
            "windows": "one for each second, around its middle, moved inside the video at its ends",
            "similarity": self.similarity or model.similarity,
            "placement": "one second for each step of the task, in order, for the greatest sum",
            "hit": "a second from floor(start) to before ceil(end) of an interval of the step",
            "mean": "over the tasks, of the share of annotated steps of all their videos",
        }
        accuracy = {
            "num_windows": self.num_windows,
            "window_starts": "equally spaced in [start, end - clip length - 0.4 s]; the same start once",
            "window_mean": "of L2-normalised embeddings",
            "similarity": "cosine",
            "gallery": "the different texts of all annotated steps of the task",
            "mean": "over the tasks, of the share of their intervals",
        }
        return {
            "videos": f"{self.subset} videos of the release" if has_order else "those of the table",
            "clip": clip_card(spec),
            **({"average_recall": recall} if has_order and self.measure != "segment-accuracy" else {}),
            **({"segment_accuracy": accuracy} if self.measure != "average-recall" else {}),
            "text": text_card(model, self._text),
        }
