"""Whole videos against prompts: cosines of their vectors, or these regularised by a baseline prompt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from narravid.bad_items import BadItems
from narravid.errors import ConfigError, DecodeError, NarravidError
from narravid.inference.clip_encoder import ClipEncoder
from narravid.inference.prompt_vectors import encode_prompts, unknown_words
from narravid.inference.trajectories import Deviation
from narravid.inference.trajectory_baseline import Baseline, RewardForm, refuse_equal, regularised_scores
from narravid.inference.trajectory_clips import (
    DEFAULT_SAMPLING,
    TrajectorySampling,
    encode_trajectory_clips,
    like_clips,
    trajectory_clip,
)
from narravid.inference.trajectory_groups import GroupTable, group_labels, group_table
from narravid.inference.trajectory_lists import ListedPrompt, ListedTrajectory
from narravid.progress import progress_bar
from narravid.protocols import PixelDualEncoder
from narravid.video.frame_strip import frame_strip
from narravid.video.watched import WatchedDecoder

__all__ = [
    "Baseline",
    "RewardForm",
    "ScoredTrajectory",
    "TrajectorySampling",
    "TrajectoryScores",
    "regularised_scores",
    "score_trajectories",
]

STRIP_FRAMES = 16
STRIP_HEIGHT_PIXELS = 96


@dataclass(frozen=True, slots=True, eq=False)
class ScoredTrajectory:
    """What a model saw of one video.

    Attributes:
        listed: The video.
        frame_numbers: The frames taken, counted from 0 as they are decoded; those of a video with fewer than
            were asked for are there several times.
        times_seconds: When each is shown.
        num_video_frames: How many frames the video has.
        strip: A JPEG of these frames side by side, each once, at most 16, evenly chosen, 96 pixels high.
    """

    listed: ListedTrajectory
    frame_numbers: tuple[int, ...]
    times_seconds: tuple[float, ...]
    num_video_frames: int
    strip: bytes

    @property
    def num_repeated(self) -> int:
        """How many of the frames taken are there already; more than 0 for a video with too few."""
        return len(self.frame_numbers) - len(set(self.frame_numbers))


@dataclass(frozen=True, slots=True, eq=False)
class TrajectoryScores:
    """Scores of V trajectories against P prompts.

    Attributes:
        trajectories: Those that could be read, in the order of the list.
        prompts: All prompts.
        similarity: (V, P) float32 cosines in [-1, 1].
        scores: (V, P) float32: the same, or with a baseline its regularised form.
        baseline: The baseline.
        card: What the numbers depend on, as JSON values.
        bad: Videos that could not be used, by path, with reasons.
    """

    trajectories: tuple[ScoredTrajectory, ...]
    prompts: tuple[ListedPrompt, ...]
    similarity: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    baseline: Baseline | None
    card: dict[str, Any]
    bad: BadItems = field(default_factory=BadItems)

    @property
    def has_groups(self) -> bool:
        """Whether any trajectory or prompt belongs to a group."""
        groups = [item.listed.group for item in self.trajectories] + [item.group for item in self.prompts]
        return any(group is not None for group in groups)

    def groups(self, *, normalise: bool = False, deviation: Deviation = "population") -> GroupTable:
        """Mean and deviation of the scores over groups; what has no group is one of its own, by its name.

        Args:
            normalise: First centre each prompt's scores over all videos and divide by their deviation.
            deviation: Divisor of the variance: n, or n - 1 as published.

        Returns:
            The table, groups in the order in which they first appear.
        """
        rows = group_labels([(item.listed.group, item.listed.name) for item in self.trajectories])
        columns = group_labels([(item.group, item.text) for item in self.prompts])
        return group_table(self.scores, (rows, columns), normalise=normalise, deviation=deviation)


def score_trajectories(
    trajectories: Sequence[ListedTrajectory],
    prompts: Sequence[ListedPrompt],
    encoder: ClipEncoder,
    *,
    decoder: WatchedDecoder,
    sampling: TrajectorySampling = DEFAULT_SAMPLING,
    baseline: Baseline | None = None,
    batch_size: int = 4,
) -> TrajectoryScores:
    """Score videos against prompts by the cosine of their vectors, whatever the model's own similarity.

    Sentences are looked at first, so that a wrong one costs no work.

    Args:
        trajectories: The videos.
        prompts: The sentences.
        encoder: The dual encoder, for embeddings.
        decoder: Reads the videos with as many processes as it has workers.
        sampling: Which frames the model sees, and of what size.
        baseline: A sentence that regularises the scores.
        batch_size: Videos per forward pass; those of another shape wait for their like, less than twice as
            many in all.

    Returns:
        The scores; videos that cannot be read, have too few frames for the published rule or a size that the
        published script cannot halve are left out and named in `bad`.

    Raises:
        ConfigError: If a sentence has no word that the model knows, the baseline says what a prompt says, or
            the model does not take clips of such a shape.
        NarravidError: If no video can be used, or the model gives no usable vector for one.
        ValueError: If there are no trajectories or prompts, or the encoder gives no vectors for prompts.
    """
    if not (trajectories and prompts and batch_size >= 1):
        sizes = f"{len(trajectories)} trajectories, {len(prompts)} prompts and batches of {batch_size}"
        raise ValueError(f"nothing to score: {sizes}")
    model = _dual_encoder_of(encoder)
    texts = [prompt.text for prompt in prompts]
    sentences = [*texts, *([] if baseline is None else [baseline.prompt])]
    unknown = {text: list(words) for text, words in unknown_words(model, sentences).items()}
    vectors = encode_prompts(model, sentences, encoder.dtype)
    goals, start = vectors[: len(texts)], vectors[len(texts) :]
    if baseline is not None:
        refuse_equal(texts, goals, start)
    reading = _read_ahead(trajectories, decoder, sampling=sampling, encoder=encoder)
    bad = BadItems()
    scored, videos = _encode_all(reading, encoder, len(trajectories), batch_size=batch_size, bad=bad)
    similarity = (videos @ goals.T).clamp(-1, 1)
    scores = similarity if baseline is None else regularised_scores(videos, goals, start, baseline=baseline)
    return TrajectoryScores(
        trajectories=tuple(scored),
        prompts=tuple(prompts),
        similarity=similarity.numpy(),
        scores=scores.numpy(),
        baseline=baseline,
        card=_card(encoder, sampling, baseline) | {"unknown_words": unknown},
        bad=bad,
    )


def _dual_encoder_of(encoder: ClipEncoder) -> PixelDualEncoder:
    model = encoder.model
    if encoder.output != "embedding" or not isinstance(model, PixelDualEncoder):
        raise ValueError(f"a {type(model).__name__} compares no clips with sentences")
    return model


Seen = tuple[ScoredTrajectory, torch.Tensor]
"""A trajectory and the clip, (3, T, H, W), that stands for it."""


def _read_ahead(
    trajectories: Sequence[ListedTrajectory],
    decoder: WatchedDecoder,
    *,
    sampling: TrajectorySampling,
    encoder: ClipEncoder,
) -> Iterator[tuple[ListedTrajectory, Seen | DecodeError]]:
    """What the model is to see of each video, or why it cannot; scaled where it is decoded, to wait small."""
    spec = encoder.clip_spec
    num_frames = sampling.num_frames_for(spec)

    def read(listed: ListedTrajectory) -> Seen:
        spread = decoder.spread_frames(listed.path, num_frames, sampling=sampling.frames)
        try:
            clip = trajectory_clip(spread.frames, sampling, spec=spec)
        except ValueError as error:  # a size that cannot be halved
            raise DecodeError(listed.path, str(error)) from error
        places = list({number: place for place, number in enumerate(spread.frame_numbers)}.values())
        strip = frame_strip(spread.frames[places], num_shown=STRIP_FRAMES, height_pixels=STRIP_HEIGHT_PIXELS)
        seen = ScoredTrajectory(
            listed, spread.frame_numbers, spread.times_seconds, spread.num_video_frames, strip
        )
        return seen, clip

    return decoder.map_jobs(trajectories, read)


def _encode_all(
    reading: Iterator[tuple[ListedTrajectory, Seen | DecodeError]],
    encoder: ClipEncoder,
    num_trajectories: int,
    *,
    batch_size: int,
    bad: BadItems,
) -> tuple[list[ScoredTrajectory], torch.Tensor]:
    """The trajectories that could be read, and their (V, D) vectors; the others go to `bad`."""
    scored: list[ScoredTrajectory] = []
    vectors: dict[int, torch.Tensor] = {}
    with progress_bar("scoring", num_trajectories, unit="videos") as bar:

        def readable() -> Iterator[torch.Tensor]:
            for listed, result in reading:
                if isinstance(result, DecodeError):
                    bad.add(listed.path, result.reason)
                    bar.advance()
                else:
                    scored.append(result[0])
                    yield result[1]

        for batch in like_clips(readable(), batch_size):
            encoded = _encode_batch(encoder, list(batch.values()))
            vectors |= dict(zip(batch, encoded, strict=True))
            bar.advance(len(batch))
    if not scored:
        which = (
            f"none of the {num_trajectories} videos could" if num_trajectories > 1 else "the video could not"
        )
        raise NarravidError(f"{which} be used: {bad.named()}")
    return scored, torch.stack([vectors[number] for number in range(len(scored))])


def _encode_batch(encoder: ClipEncoder, clips: Sequence[torch.Tensor]) -> torch.Tensor:
    try:
        return encode_trajectory_clips(encoder, clips, batch_size=len(clips))
    except ValueError as error:
        sizes = " or ".join(sorted({" x ".join(map(str, clip.shape[1:])) for clip in clips}))
        reason = f"the model does not take clips of {sizes} (frames, height, width): {error}"
        raise ConfigError(f"{reason}; choose another number of frames or another resize") from error


def _card(encoder: ClipEncoder, sampling: TrajectorySampling, baseline: Baseline | None) -> dict[str, Any]:
    """What scores depend on besides the videos and the prompts."""
    spec = encoder.clip_spec
    return {
        "model_class": type(encoder.model).__name__,
        "weights_hash": encoder.weights_hash,
        "num_frames": sampling.num_frames_for(spec),
        "frames": sampling.frames,
        "resize": sampling.resize,
        "size_pixels": None if sampling.resize == "published_half" else spec.size_pixels,
        "similarity": "cosine",
        "baseline": None if baseline is None else asdict(baseline),
        "dtype": encoder.dtype,
        "backend": encoder.backend,
    }
