"""HTM-Align's videos as a model aligned them in one view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from narravid.evaluation.benchmarks.htm_align_seconds import SecondsOfVideo
from narravid.metrics import AlignedVideo, TextOutcomes, text_outcomes

__all__ = ["AlignedView", "MeasuredVideo"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredVideo:
    """A video that was aligned.

    Attributes:
        path: Its file, or the name of its features.
        sentences: Its N sentences.
        aligned: Similarities of sentences and seconds with the truth.
        outcomes: What became of each sentence.
        chance_hits: (N,) what chance has of a hit: the share of right seconds among those shown; NaN for a
            sentence that is not alignable.
    """

    path: str
    sentences: tuple[str, ...]
    aligned: AlignedVideo
    outcomes: TextOutcomes
    chance_hits: FloatArray

    @property
    def name(self) -> str:
        """YouTube's name of the video."""
        return self.aligned.name

    @property
    def recall(self) -> float:
        """Share of its alignable sentences that were placed right; NaN where none is alignable."""
        hits = self.outcomes.hits[~np.isnan(self.outcomes.hits)]
        return float(hits.mean()) if len(hits) else float("nan")

    def best_second(self, sentence: int) -> int | None:
        """The first of the seconds that fit a sentence best; None where no window saw it."""
        row = self.known_similarity()[sentence]
        return None if np.isnan(row).all() else int(np.nanargmax(row))

    def known_similarity(self) -> FloatArray:
        """(N, T) similarity; NaN where no window saw sentence and second together."""
        similarity = torch.as_tensor(self.aligned.similarity).double()
        if self.aligned.is_covered is not None:
            is_covered = torch.as_tensor(self.aligned.is_covered)
            similarity = similarity.masked_fill(~is_covered, torch.nan)
        known: FloatArray = similarity.numpy()
        return known


@dataclass(frozen=True, slots=True)
class AlignedView:
    """All videos as a model was shown them in one way.

    Attributes:
        name: The way.
        videos: The videos.
    """

    name: Literal["windows", "global"]
    videos: list[MeasuredVideo] = field(default_factory=list)

    def add(self, seconds: SecondsOfVideo, aligned: AlignedVideo) -> None:
        """Add a video."""
        knowing_nothing = replace(
            aligned, similarity=torch.zeros_like(torch.as_tensor(aligned.similarity)), alignability=None
        )
        self.videos.append(
            MeasuredVideo(
                path=seconds.path,
                sentences=tuple(sentence.text for sentence in seconds.video.sentences),
                aligned=aligned,
                outcomes=text_outcomes(aligned),
                chance_hits=text_outcomes(knowing_nothing).hits,
            )
        )

    def sort(self, names: Sequence[str]) -> None:
        """Put the videos in the order of some names, which holds all of them."""
        place_of = {name: place for place, name in enumerate(names)}
        self.videos.sort(key=lambda video: place_of[video.name])

    def counts(self) -> dict[str, int]:
        """How many sentences there are, how many are alignable, how many no window saw."""
        is_covered = np.concatenate([one.outcomes.is_covered for one in self.videos])
        is_alignable = np.concatenate([np.asarray(one.aligned.is_alignable, bool) for one in self.videos])
        return {
            "sentences": len(is_covered),
            "alignable": int(is_alignable.sum()),
            "never_shown_to_the_model": int((~is_covered).sum()),
            "alignable_never_shown_to_the_model": int((is_alignable & ~is_covered).sum()),
        }

    def finite_scores(self) -> FloatArray:
        """(N,) score of each sentence of all videos of being alignable; what was not shown is below all."""
        scores: FloatArray = np.concatenate([one.outcomes.scores for one in self.videos])
        known = scores[np.isfinite(scores)]
        lowest = float(known.min()) - 1.0 if len(known) else 0.0
        return np.where(np.isfinite(scores), scores, lowest)
