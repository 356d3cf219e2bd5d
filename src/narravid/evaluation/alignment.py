"""Alignment of sentences with long videos, as HTM-Align measures it.

Han et al., Temporal Alignment Networks for Long-term Video, CVPR 2022, arXiv 2204.02968: the best second of a
sentence that is shown is to lie within the time in which it is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from narravid.data.annotations.htm_align import HtmAlignVideo
from narravid.data.feature_files import FeatureTracks
from narravid.errors import DecodeError, NarravidError
from narravid.evaluation.comparisons import AlignerComparison, SecondsComparison
from narravid.metrics.alignment import AlignedVideo, AlignmentMetrics, htm_align_metrics
from narravid.metrics.stitching import (
    alignment_windows,
    stitch_scores,
    stitch_similarity,
    whole_video_window,
)
from narravid.protocols import Aligner

__all__ = ["AlignmentProtocol", "AlignmentResult", "align_video", "evaluate_alignment", "read_seconds"]


@dataclass(frozen=True)
class AlignmentProtocol:
    """How a model is shown a video.

    Attributes:
        view: Windows that move over the video, their scores averaged (windows, as published), or the whole
            video at once (global).
        window_seconds: Length of a window.
        step_seconds: Distance of their starts.

    Raises:
        ValueError: If a length is below 1 or the view is unknown.
    """

    view: Literal["windows", "global"] = "windows"
    window_seconds: int = 64
    step_seconds: int = 16

    def __post_init__(self) -> None:
        if self.view not in ("windows", "global"):
            raise ValueError(f"view must be 'windows' or 'global', got {self.view!r}")
        if min(self.window_seconds, self.step_seconds) < 1:
            raise ValueError(
                "window_seconds and step_seconds must be at least 1, got "
                f"{self.window_seconds} and {self.step_seconds}"
            )


@dataclass(frozen=True, slots=True)
class AlignmentResult:
    """What an alignment evaluation found.

    Attributes:
        metrics: R@1 and ROC-AUC over all sentences of all videos that could be read.
        missing: (path, reason) of the videos that could not.
    """

    metrics: AlignmentMetrics
    missing: tuple[tuple[str, str], ...]

    def to_dict(self) -> dict[str, float]:
        """`R@1` and `ROC-AUC`, in [0, 1] or NaN where there is nothing to measure."""
        return {"R@1": self.metrics.recall, "ROC-AUC": self.metrics.roc_auc.value}


def evaluate_alignment(
    model: Aligner,
    videos: Sequence[HtmAlignVideo],
    tracks: FeatureTracks,
    *,
    protocol: AlignmentProtocol | None = None,
) -> AlignmentResult:
    """Measure how well an aligner finds the seconds of sentences, and tells which are shown at all.

    The similarity is the mean of the last layers of the dual and the joint encoder. Alignability is read off
    the model's head where it has one, else it is the greatest similarity.

    Args:
        model: The aligner, where and in which mode it is to compute.
        videos: Videos with their sentences in order of speaking.
        tracks: Their features, one per second.
        protocol: How videos are shown; None as published.

    Returns:
        The metrics and what could not be read.

    Raises:
        NarravidError: If no video could be read.
    """
    comparison = AlignerComparison(model)
    aligned, missing = [], []
    for video in videos:
        if not video.sentences:
            continue
        try:
            seconds = read_seconds(tracks, video.video_id)
        except DecodeError as error:
            missing.append((error.path, error.reason))
            continue
        aligned.append(align_video(comparison, video, seconds, protocol=protocol))
    if not aligned:
        raise NarravidError(f"none of {len(videos)} videos to align could be read; first {missing[:1]}")
    return AlignmentResult(htm_align_metrics(aligned), tuple(missing))


def read_seconds(tracks: FeatureTracks, name: str) -> torch.Tensor:
    """The features of a video as an aligner takes them, one for each second.

    Args:
        tracks: The features of one extractor.
        name: The video.

    Returns:
        (T, F) floating point.

    Raises:
        DecodeError: If they are absent, damaged, or at another rate, which their file may state.
    """
    [track] = tracks.read(name)
    if track.steps_per_second != 1.0:
        raise DecodeError(
            name,
            f"holds {track.steps_per_second:g} features per second, and an aligner takes one; extract them "
            "anew with `--features-per-second 1`",
        )
    return track.steps


@torch.no_grad()
def align_video(
    comparison: SecondsComparison,
    video: HtmAlignVideo,
    seconds: torch.Tensor,
    *,
    protocol: AlignmentProtocol | None = None,
) -> AlignedVideo:
    """Compare the seconds of a video with its sentences, window by window or all at once.

    Args:
        comparison: How a model compares what it sees together.
        video: The video with at least one sentence, in order of speaking.
        seconds: (T, F) floating point, one vector for each second, T at least 1.
        protocol: How the video is shown; None as published.

    Returns:
        Similarities with their coverage, ready to be measured.
    """
    protocol = protocol or AlignmentProtocol()
    spans = [sentence.span for sentence in video.sentences]
    is_alignable = [sentence.is_alignable for sentence in video.sentences]
    num_seconds, num_texts = len(seconds), len(spans)
    if protocol.view == "global":
        windows = whole_video_window(num_seconds, num_texts)
    else:
        windows = alignment_windows(
            num_seconds,
            spans,
            is_alignable,
            window_seconds=protocol.window_seconds,
            step_seconds=protocol.step_seconds,
        )
    text = comparison.encode_text([sentence.text for sentence in video.sentences])
    seen = [
        comparison.compare(
            seconds[window.seconds.start : window.seconds.stop],
            text[window.texts.start : window.texts.stop],
        )
        for window in windows
    ]
    stitched = stitch_similarity(
        windows, [one.similarity for one in seen], num_texts=num_texts, num_seconds=num_seconds
    )
    logits = [one.alignability for one in seen if one.alignability is not None]
    has_head = len(logits) == len(windows) > 0
    return AlignedVideo(
        video.video_id,
        stitched.similarity,
        spans,
        is_alignable,
        is_covered=stitched.num_windows > 0,
        alignability=stitch_scores(windows, logits, num_texts=num_texts).scores if has_head else None,
    )
