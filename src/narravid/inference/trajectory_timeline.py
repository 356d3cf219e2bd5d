"""Scores over time: windows that slide along one video, each compared with every prompt.

A score of a whole video says whether something happens in it; these say when.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch

from narravid.bad_items import BadItems
from narravid.errors import ConfigError, DecodeError
from narravid.inference.clip_encoder import ClipEncoder
from narravid.inference.prompt_vectors import encode_prompts
from narravid.inference.trajectory_baseline import Baseline, refuse_equal, regularised_scores
from narravid.inference.trajectory_clips import encode_trajectory_clips
from narravid.inference.trajectory_lists import ListedPrompt, ListedTrajectory
from narravid.inference.window_reader import ClipDecoder, WindowReader
from narravid.progress import ProgressBar, progress_bar
from narravid.protocols import PixelDualEncoder
from narravid.types import Clip, ClipSpec, Span
from narravid.video.sampling import sliding_windows
from narravid.video.transforms import to_channels_first

__all__ = ["ScoreTimeline", "TimelineScorer", "TimelineWindows", "score_over_time"]

LEAST_STRIDE_SECONDS = 0.001
"""Shorter than a frame of any video."""

MAX_WINDOWS = 100_000
"""Of one video: a stride of half a second goes through 14 hours."""

STEPS_PER_VIDEO = 64
"""Moves of the progress bar; a power of two, so that the sum of all is exact."""


@dataclass(frozen=True, slots=True)
class TimelineWindows:
    """Which windows slide along a video.

    Attributes:
        window_seconds: Length of a window; None for that of the model's clips. A shorter video is one window.
        stride_seconds: From the start of one window to the next, at most their length, so that nothing falls
            between; None for half of it.
        num_frames: Frames spread evenly over each window; None for as many as the model's clips have.

    Raises:
        ConfigError: If a number is not positive, windows would leave gaps, or the stride is below a
            thousandth of a second.
    """

    window_seconds: float | None = None
    stride_seconds: float | None = None
    num_frames: int | None = None

    def __post_init__(self) -> None:
        for name in ("window_seconds", "stride_seconds"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ConfigError(f"{name} must be a positive number of seconds, got {value}", key=name)
        if self.num_frames is not None and self.num_frames < 1:
            raise ConfigError(f"num_frames must be at least 1, got {self.num_frames}", key="num_frames")
        if self.window_seconds is not None and self.stride_seconds is not None:
            _check_stride(self.stride_seconds, self.window_seconds)

    def for_clips(self, spec: ClipSpec) -> tuple[float, float, int]:
        """What holds for a model whose clips look like `spec`.

        Returns:
            Seconds of a window, seconds from one to the next, frames of each.

        Raises:
            ConfigError: If the windows would leave gaps, or follow each other too closely.
        """
        window = spec.duration_seconds if self.window_seconds is None else self.window_seconds
        stride = window / 2 if self.stride_seconds is None else self.stride_seconds
        _check_stride(stride, window)
        return window, stride, self.num_frames or spec.num_frames


@dataclass(frozen=True, eq=False)
class ScoreTimeline:
    """How well each window of a video fits each prompt. S windows, P prompts.

    Attributes:
        trajectory: The video.
        prompts: What it was compared with.
        starts_seconds: (S,) float64, ascending, of the windows that could be read.
        ends_seconds: (S,) float64, their ends.
        scores: (S, P) float32 in [-1, 1]: cosines, or what a baseline makes of them.
        reason: What could not be read of the video; None when everything could.
    """

    trajectory: ListedTrajectory
    prompts: tuple[ListedPrompt, ...]
    starts_seconds: npt.NDArray[np.float64]
    ends_seconds: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float32]
    reason: str | None = None


class TimelineScorer:
    """Compares the windows of videos with the same prompts.

    Windows are clips as the model was trained on them (its own rule for frames, the centre square, scaled by
    the decoder), only that their rate follows from the length of the window.

    Args:
        encoder: Makes the vectors of clips; its model those of prompts.
        prompts: P prompts, at least one.
        windows: Which windows.
        baseline: What regularises the scores, if anything.
        batch_size: Windows per forward pass, all of one video, so that its numbers do not depend on others.

    Raises:
        ConfigError: If the windows would leave gaps, the model knows no word of a prompt, or the baseline
            says what a prompt says.
        ValueError: If there is no prompt, `batch_size` is below 1, or the model has no text.
    """

    def __init__(
        self,
        encoder: ClipEncoder,
        prompts: Sequence[ListedPrompt],
        *,
        windows: TimelineWindows = TimelineWindows(),
        baseline: Baseline | None = None,
        batch_size: int = 4,
    ) -> None:
        if not prompts:
            raise ValueError("there must be at least one prompt")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        model = encoder.model
        if encoder.output != "embedding" or not isinstance(model, PixelDualEncoder):
            raise ValueError(f"a {type(model).__name__} compares no clips with sentences")
        sentences = [prompt.text for prompt in prompts] + ([] if baseline is None else [baseline.prompt])
        vectors = encode_prompts(model, sentences, encoder.dtype)
        self._goals, self._start = vectors[: len(prompts)], vectors[len(prompts) :]
        if baseline is not None:
            refuse_equal([prompt.text for prompt in prompts], self._goals, self._start)
        self._baseline = baseline
        self._encoder = encoder
        self._prompts = tuple(prompts)
        self._window_seconds, self._stride_seconds, self._num_frames = windows.for_clips(encoder.clip_spec)
        self._batch_size = batch_size

    def score(
        self,
        trajectory: ListedTrajectory,
        decoder: ClipDecoder,
        *,
        on_progress: Callable[[float], None] = lambda share: None,
    ) -> ScoreTimeline:
        """Score one video.

        A video is decoded in one request, streaming; no more than a batch of windows is held.

        Args:
            trajectory: The video.
            decoder: Reads it.
            on_progress: Called with the share of windows that were read so far, in [0, 1].

        Raises:
            DecodeError: If no window can be read, or there would be more than 100,000 of them.
        """
        spans = self._spans(trajectory.path, decoder.probe(trajectory.path).duration_seconds)
        spec = replace(
            self._encoder.clip_spec,
            num_frames=self._num_frames,
            fps=self._num_frames / spans[0].duration_seconds,
        )
        reader = WindowReader(trajectory.path, spans, decoder, spec=spec, on_progress=on_progress)
        vectors = [self._encode(clips) for clips in _batches(reader, self._batch_size)]
        reader.check_any_read()
        read = [spans[number] for number in reader.read_numbers]
        return ScoreTimeline(
            trajectory=trajectory,
            prompts=self._prompts,
            starts_seconds=np.array([span.start_seconds for span in read]),
            ends_seconds=np.array([span.end_seconds for span in read]),
            scores=self._scores(torch.cat(vectors)),
            reason=reader.problem,
        )

    def _spans(self, path: str, duration_seconds: float) -> list[Span]:
        if not (math.isfinite(duration_seconds) and duration_seconds > 0):
            raise DecodeError(path, f"its length is said to be {duration_seconds} seconds")
        num_windows = duration_seconds / self._stride_seconds
        if num_windows > MAX_WINDOWS:
            raise DecodeError(
                path,
                f"windows every {self._stride_seconds:g} seconds are {num_windows:,.0f}, more than "
                f"{MAX_WINDOWS:,}; give a longer stride (stride_seconds)",
            )
        return sliding_windows(duration_seconds, self._window_seconds, stride_seconds=self._stride_seconds)

    def _encode(self, clips: Sequence[Clip]) -> torch.Tensor:
        pixels = [to_channels_first(clip.frames) for clip in clips]
        return encode_trajectory_clips(self._encoder, pixels, batch_size=self._batch_size)

    def _scores(self, vectors: torch.Tensor) -> npt.NDArray[np.float32]:
        if self._baseline is None:
            return (vectors @ self._goals.T).clamp(-1, 1).numpy()
        return regularised_scores(vectors, self._goals, self._start, baseline=self._baseline).numpy()


def score_over_time(
    trajectories: Sequence[ListedTrajectory],
    scorer: TimelineScorer,
    *,
    decoder: ClipDecoder,
    bad: BadItems,
) -> tuple[ScoreTimeline, ...]:
    """Score many videos over time.

    Args:
        trajectories: The videos.
        scorer: Scores each.
        decoder: Reads them; a `video.watched.WatchedDecoder` for files of strangers.
        bad: A video of which no window can be read is left out and added here with the reason.

    Returns:
        The timelines of those that could be read, in the order given.
    """
    timelines = []
    with progress_bar("scoring over time", len(trajectories), unit="videos") as bar:
        for trajectory in trajectories:
            progress = _VideoProgress(bar)
            try:
                timelines.append(scorer.score(trajectory, decoder, on_progress=progress.show))
            except DecodeError as error:
                bad.add(trajectory.path, error.reason)
            progress.show(1.0)
    return tuple(timelines)


class _VideoProgress:
    """Moves a bar of videos by the share of one of them that is done."""

    def __init__(self, bar: ProgressBar) -> None:
        self._bar = bar
        self._shown = 0.0

    def show(self, share: float) -> None:
        rounded = int(STEPS_PER_VIDEO * share) / STEPS_PER_VIDEO
        if rounded > self._shown:
            self._bar.advance(rounded - self._shown)
            self._shown = rounded


def _check_stride(stride_seconds: float, window_seconds: float) -> None:
    if stride_seconds > window_seconds:
        raise ConfigError(
            f"stride_seconds is {stride_seconds:g} and a window has {window_seconds:g} seconds, so that some "
            f"of the video would lie in none; give at most {window_seconds:g}, or longer windows "
            "(window_seconds)",
            key="stride_seconds",
        )
    if stride_seconds < LEAST_STRIDE_SECONDS:
        raise ConfigError(
            f"stride_seconds is {stride_seconds:g}, shorter than any frame; give at least "
            f"{LEAST_STRIDE_SECONDS:g}, such as half a window",
            key="stride_seconds",
        )


def _batches(clips: Iterable[Clip], size: int) -> Iterator[list[Clip]]:
    iterator = iter(clips)
    while batch := list(islice(iterator, size)):
        yield batch
