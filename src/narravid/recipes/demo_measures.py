"""What the demo measures in a toy world: retrieval of held-out steps, attributes, and answers to queries."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from narravid.evaluation.embed import EmbeddedPairs, embed_pairs
from narravid.evaluation.pairs import RetrievalPair
from narravid.inference.embedder import Embedder
from narravid.inference.index import VideoIndex
from narravid.metrics import retrieval_metrics
from narravid.protocols import PixelDualEncoder
from narravid.synthetic.files import video_path
from narravid.synthetic.steps import Step
from narravid.synthetic.world import ToyWorld
from narravid.types import Hit, Span
from narravid.video.watched import WatchedDecoder

__all__ = [
    "ATTRIBUTES",
    "Gallery",
    "ModelMeasures",
    "QueryAnswer",
    "answer_queries",
    "attribute_chance",
    "draw_queries",
    "held_out_gallery",
    "measure_model",
]

ATTRIBUTES = ("colour", "shape", "motion")
NUM_COUNTED_HITS = 5
MIN_OVERLAP_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Gallery:
    """One held-out clip of every distinct step.

    Attributes:
        steps: The N steps.
        pairs: Their clips with their canonical sentences, in the same order.
    """

    steps: tuple[Step, ...]
    pairs: tuple[RetrievalPair, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ModelMeasures:
    """How well one model does on a gallery.

    Attributes:
        metrics: Text-to-video `R@1`, `R@5`, `R@10` in [0, 1] and `MedR`, `MeanR`.
        attributes: For each attribute the share of sentences whose best clip has the attribute they name.
        similarity: (N, N) similarity of sentence (row) and clip (column).
    """

    metrics: dict[str, float]
    attributes: dict[str, float]
    similarity: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class QueryAnswer:
    """A query put to the index, and whether the answer is right.

    Attributes:
        text: The query.
        true_spans: Every (path, span) of the held-out videos where the step happens.
        hits: What the search found, best first.
        right: For each hit, whether it lies where the step happens.
    """

    text: str
    true_spans: tuple[tuple[str, Span], ...]
    hits: tuple[Hit, ...]
    right: tuple[bool, ...]

    @property
    def correct(self) -> bool:
        """Whether one of the first five hits is right."""
        return any(self.right[:NUM_COUNTED_HITS])

    def to_dict(self) -> dict[str, Any]:
        """The answer as plain JSON types."""
        return {
            "text": self.text,
            "true_spans": [{"path": path, **_seconds(span)} for path, span in self.true_spans],
            "hits": [
                {"path": hit.path, **_seconds(hit.span), "score": hit.score, "right": right}
                for hit, right in zip(self.hits, self.right, strict=True)
            ],
            "correct": self.correct,
        }


def held_out_gallery(world: ToyWorld, folder: Path) -> Gallery:
    """The first held-out occurrence of every step.

    Args:
        world: A world with held-out videos.
        folder: Where its files lie.

    Returns:
        Each distinct step once.

    Raises:
        ValueError: If a step never happens in the held-out videos.
    """
    first: dict[Step, RetrievalPair] = {}
    for video in world.split("test"):
        for timed in video.steps:
            pair = RetrievalPair(str(video_path(folder, video)), timed.step.sentence, timed.span)
            first.setdefault(timed.step, pair)
    missing = [step.sentence for step in world.steps if step not in first]
    if missing:
        raise ValueError(
            f"{len(missing)} steps never happen in the held-out videos, the first is {missing[0]!r}"
        )
    return Gallery(world.steps, tuple(first[step] for step in world.steps))


def measure_model(model: PixelDualEncoder, gallery: Gallery, *, num_windows: int = 4) -> ModelMeasures:
    """Retrieval metrics and attribute accuracy of a model.

    Args:
        model: The dual encoder.
        gallery: Clips and sentences.
        num_windows: Windows per clip whose embeddings are averaged.

    Returns:
        The measures.
    """
    embedder = Embedder(model, batch_size=32)
    with WatchedDecoder() as decoder:
        embedded = embed_pairs(embedder, gallery.pairs, windows=num_windows, decoder=decoder)
    if embedded.missing:
        missing = embedded.missing[0]
        raise ValueError(f"a clip of the toy world cannot be read: {missing.pair.path}: {missing.reason}")
    similarity = _similarity(embedded, model)
    best = similarity.argmax(axis=1)
    attributes = {
        name: float(
            np.mean(
                [
                    getattr(step, name) == getattr(gallery.steps[found], name)
                    for step, found in zip(gallery.steps, best, strict=True)
                ]
            )
        )
        for name in ATTRIBUTES
    }
    return ModelMeasures(retrieval_metrics(similarity), attributes, similarity)


def attribute_chance(gallery: Gallery) -> dict[str, float]:
    """The attribute accuracy of a model that picks clips at random."""
    chance: dict[str, float] = {}
    for name in ATTRIBUTES:
        values = [getattr(step, name) for step in gallery.steps]
        shares = np.array([values.count(value) / len(values) for value in set(values)])
        chance[name] = float((shares**2).sum())
    return chance


def draw_queries(world: ToyWorld, count: int, *, seed: int) -> list[Step]:
    """Distinct steps to ask for, drawn by the seed among those of the held-out videos."""
    shown = {timed.step for video in world.split("test") for timed in video.steps}
    candidates = [step for step in world.steps if step in shown]
    generator = np.random.default_rng([seed, 2])
    chosen = generator.choice(len(candidates), size=min(count, len(candidates)), replace=False)
    return [candidates[int(number)] for number in chosen]


def answer_queries(
    index: VideoIndex, embedder: Embedder, queries: Sequence[Step], *, world: ToyWorld, folder: Path
) -> list[QueryAnswer]:
    """Ask the index for steps and compare what it finds with the truth.

    Args:
        index: The indexed held-out videos.
        embedder: Holds the model of the index.
        queries: Steps; their canonical sentences are asked.
        world: Knows where each step happens.
        folder: Where the world's files lie.

    Returns:
        One answer for each query. A hit is right when at least half of it lies in one occurrence of the step.
    """
    answers = []
    for step in queries:
        hits = tuple(index.search(embedder.embed_text([step.sentence])[0], top=NUM_COUNTED_HITS))
        true = tuple(
            (os.path.realpath(video_path(folder, video)), timed.span)
            for video in world.split("test")
            for timed in video.steps
            if timed.step == step
        )
        right = tuple(_lies_in(hit, true) for hit in hits)
        answers.append(QueryAnswer(step.sentence, true, hits, right))
    return answers


def _lies_in(hit: Hit, true_spans: Sequence[tuple[str, Span]]) -> bool:
    needed = MIN_OVERLAP_SHARE * hit.span.duration_seconds
    return any(path == hit.path and span.overlap_seconds(hit.span) >= needed for path, span in true_spans)


def _similarity(embedded: EmbeddedPairs, model: PixelDualEncoder) -> npt.NDArray[np.float64]:
    text, video = embedded.text.astype(np.float64), embedded.video.astype(np.float64)
    if model.similarity == "cosine":
        text /= np.linalg.norm(text, axis=1, keepdims=True)
        video /= np.linalg.norm(video, axis=1, keepdims=True)
    similarity: npt.NDArray[np.float64] = text @ video[embedded.clip_of_text].T
    return similarity


def _seconds(span: Span) -> dict[str, float]:
    return {"start_seconds": span.start_seconds, "end_seconds": span.end_seconds}
