"""HTM-Align: 80 long instructional videos, each sentence with whether it is shown and when.

Han et al., Temporal Alignment Networks for Long-term Video, CVPR 2022, arXiv 2204.02968. Aligners and dual
encoders of both kinds are judged alike, on one vector for each second: through windows of 64 s that move over
the video by 16 s, their scores averaged, or on the whole video at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from narravid.config import check_choices
from narravid.data.annotations.htm_align import HtmAlignVideo, read_htm_align
from narravid.data.annotations.video_places import locate_videos
from narravid.errors import AnnotationError, NarravidError
from narravid.evaluation.alignment import AlignmentProtocol, align_video
from narravid.evaluation.benchmarks.annotation_place import find_annotations
from narravid.evaluation.benchmarks.htm_align_models import open_source
from narravid.evaluation.benchmarks.htm_align_result import htm_align_result
from narravid.evaluation.benchmarks.htm_align_view import AlignedView
from narravid.evaluation.result import BenchmarkResult, MissingItem
from narravid.evaluation.sentences import TextSettings
from narravid.evaluation.session import EvaluationSession
from narravid.types import Similarity

__all__ = ["HtmAlign"]

ANNOTATION_NAMES = ("htm_align.json",)

View = Literal["windows", "global"]


@dataclass(frozen=True, kw_only=True)
class HtmAlign:
    """Sentences of long videos on HTM-Align: when each is shown, and whether it is shown at all.

    Attributes:
        videos: Folder of the videos, `VIDEO.mp4` and so on. With features only to show examples.
        features: For an aligner or a dual encoder that works on extracted features: a folder of `.npy` files,
            one per video, for each of its extractors in the order in which it takes them. With features no
            video is decoded.
        feature_rates: Features per second of each folder; those of the published extractors when empty. An
            aligner needs one per second.
        feature_model: For an aligner on videos: what extracts its features; the extractor that it was trained
            on when absent.
        annotations: The JSON file `{VIDEO: [[alignable, start, end, text], ...]}`; looked for as
            `htm_align.json` in the folder of the videos, or of the features, and beside it when absent.
        view: How a model is shown a video: windows that move over it, as published, global for all of it at
            once, or both.
        window_seconds: Length of a window.
        step_seconds: Distance of the windows' starts.
        similarity: How a dual encoder's embeddings are compared; the model's own way when absent.
        num_frames: Frames that stand for a second of video; when absent, 16 for the features of an aligner,
            as published, and as the model says for a dual encoder.
        fps: Their rate; when absent, 16 for the features of an aligner, as published, and as the model says
            for a dual encoder.
        max_words: Words of a sentence that a dual encoder reads; as its weights were published when absent.
        case: Whether a dual encoder's sentences are lower-cased or keep their case; as its weights were
            published when absent.

    Raises:
        ValueError: If a number is out of range.
        ConfigError: If a choice is none of those that there are.
    """

    name: ClassVar[str] = "htm-align"

    videos: Path | None = None
    features: tuple[Path, ...] = ()
    feature_rates: tuple[float, ...] = ()
    feature_model: str | None = None
    annotations: Path | None = None
    view: Literal["both", "windows", "global"] = "both"
    window_seconds: int = 64
    step_seconds: int = 16
    similarity: Similarity | None = None
    num_frames: int | None = None
    fps: float | None = None
    max_words: int | None = None
    case: Literal["lower", "keep"] | None = None

    def __post_init__(self) -> None:
        check_choices(self)
        self._protocols()  # a wrong length is refused at once
        if self.feature_rates and len(self.feature_rates) != len(self.features):
            raise ValueError(
                f"there must be a rate for each folder of features: {len(self.features)} folders, "
                f"{len(self.feature_rates)} rates"
            )

    def run(self, session: EvaluationSession) -> BenchmarkResult:
        """Measure the session's model; see `Benchmark.run`."""
        folder = self.videos or next(iter(self.features), None)
        annotations = find_annotations(self.annotations, ANNOTATION_NAMES, videos=folder)
        videos = [video for video in read_htm_align(annotations) if video.sentences]
        if not videos:
            raise AnnotationError(annotations, "has no video with a sentence")
        views, missing, card = self._align(session, videos)
        return htm_align_result(
            session, views, missing=missing, annotations=annotations, card=card | self._view_card()
        )

    def _align(
        self, session: EvaluationSession, videos: list[HtmAlignVideo]
    ) -> tuple[list[AlignedView], list[MissingItem], dict[str, Any]]:
        source = open_source(session, self, videos)
        views = [AlignedView(name) for name in self._protocols()]
        files = self._files_to_show(videos)
        missing = []
        rates: set[tuple[float, ...]] = set()
        for seconds in source.seconds:
            if seconds.vectors is None:
                missing.append(MissingItem(seconds.path, seconds.reason))
                continue
            rates.add(seconds.rates)
            for view in views:
                protocol = self._protocols()[view.name]
                aligned = align_video(source.comparison, seconds.video, seconds.vectors, protocol=protocol)
                view.add(replace(seconds, path=files.get(aligned.name, seconds.path)), aligned)
        for view in views:
            view.sort([video.video_id for video in videos])
        if not views[0].videos:
            raise NarravidError(
                f"none of {len(videos)} videos could be measured; {missing[0].path}: {missing[0].reason}"
            )
        known = {"features_per_second": sorted(map(list, rates))} if self.features else {}
        return views, missing, source.card | known

    def _files_to_show(self, videos: list[HtmAlignVideo]) -> dict[str, str]:
        """Files by names of videos, where examples of measured features can be shown."""
        if self.videos is None or not self.features:
            return {}
        paths = locate_videos(self.videos, videos).paths
        found = zip(videos, paths, strict=True)
        return {video.video_id: str(path) for video, path in found if path is not None}

    @property
    def text(self) -> TextSettings:
        """How sentences are read by a dual encoder."""
        return TextSettings(self.max_words, None if self.case is None else self.case == "lower")

    def _protocols(self) -> dict[View, AlignmentProtocol]:
        asked: Iterable[View] = ("windows", "global") if self.view == "both" else (self.view,)
        return {view: AlignmentProtocol(view, self.window_seconds, self.step_seconds) for view in asked}

    def _view_card(self) -> dict[str, Any]:
        return {
            "views": list(self._protocols()),
            "window_seconds": self.window_seconds,
            "step_seconds": self.step_seconds,
            "window_texts": "in order, between those not alignable that are said near the window",
            "stitching": "mean over the windows that saw sentence and second; what none saw is a miss",
            "hit": "the best second lies in [floor(start), ceil(end)] of an alignable sentence",
        }
