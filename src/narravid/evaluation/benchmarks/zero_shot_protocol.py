"""Zero-shot action recognition: which class's sentences are nearest to a video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from narravid.evaluation.action_windows import SpreadWindows
from narravid.evaluation.benchmarks.action_lists import ActionSet
from narravid.evaluation.benchmarks.action_measurement import ActionMeasurement
from narravid.evaluation.benchmarks.action_result import ActionData, Judged, action_result
from narravid.evaluation.benchmarks.action_scores import SplitScores
from narravid.evaluation.benchmarks.action_vectors import ActionVectors, encode_actions
from narravid.evaluation.class_prompts import mean_by_class, prompts_of, read_templates
from narravid.evaluation.result import BenchmarkResult
from narravid.evaluation.sentences import TextSettings, encode_sentences, text_card
from narravid.evaluation.session import EvaluationSession
from narravid.types import Similarity

__all__ = ["ZeroShotProtocol"]


@dataclass(frozen=True, kw_only=True)
class ZeroShotProtocol(ActionMeasurement):
    """How videos are compared with the names of classes.

    Attributes:
        num_windows: Windows per video, equally spaced, over which its embedding is averaged.
        templates: Text file of sentences, one a line, with {} in place of the class; a short list of general
            ones when absent.
        similarity: How embeddings are compared; the model's own way when absent.
        max_words: Words of a sentence that are read; as the model's weights were published when absent.
        case: Whether sentences are lower-cased or keep their case; as the weights were published when absent.
    """

    num_windows: int = 10
    templates: Path | None = None
    similarity: Similarity | None = None
    max_words: int | None = None
    case: Literal["lower", "keep"] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_windows < 1:
            raise ValueError(f"num_windows must be at least 1, got {self.num_windows}")
        if self.similarity not in (None, "dot", "cosine"):
            raise ValueError(f"similarity must be 'dot' or 'cosine', got {self.similarity!r}")
        if self.case not in (None, "lower", "keep"):
            raise ValueError(f"case must be 'lower' or 'keep', got {self.case!r}")

    @property
    def text(self) -> TextSettings:
        """How sentences are read."""
        return TextSettings(self.max_words, None if self.case is None else self.case == "lower")

    def judge(self, session: EvaluationSession, actions: ActionSet, *, data: ActionData) -> BenchmarkResult:
        """Compare the test videos of each split with the names of the classes.

        Args:
            session: The run.
            actions: Videos, classes and splits.
            data: What the result is about.

        Returns:
            The result.

        Raises:
            AnnotationError: If the templates have a fault, or a split nothing to judge by.
            CheckpointError: If the model does not compare clips with sentences.
            TooManyBadItemsError: If more videos are unreadable than the session allows.
            NarravidError: If no video of a split can be read.
        """
        actions.check(data.source, folder=data.folder, learns=False)
        model = session.pixel_dual_encoder()
        similarity = self.similarity or model.similarity
        templates = read_templates(self.templates)
        prompts = prompts_of(actions.labels, templates)
        sentences = encode_sentences(model, prompts, settings=self.text, dtype=session.dtype)
        classes = mean_by_class(sentences, len(actions.labels), normalised=similarity == "cosine")
        rule = SpreadWindows(model.clip_spec, num_windows=self.num_windows)
        wanted = [number for split in actions.splits for number in split.test]
        encoder = session.clip_encoder("embedding")
        found = encode_actions(session, encoder, actions, numbers=wanted, rules=[rule])
        splits = []
        for split in actions.splits:
            test = found.usable(split.test)
            videos = _video_embeddings(found, test, similarity)
            splits.append(SplitScores(split.name, test, videos @ classes.T.astype(np.float64)))
        card: dict[str, Any] = {
            **rule.describe(),
            "mean": list(model.clip_spec.mean),
            "std": list(model.clip_spec.std),
            "window_mean": f"of {'L2-normalised' if similarity == 'cosine' else 'raw'} embeddings",
            "similarity": similarity,
            "templates": list(templates),
            "class_words": prompts_of(actions.labels, ["{}"]),
            "class_embedding": "mean over the templates",
            "text": text_card(model, self.text),
        }
        judged = Judged(tuple(splits), found.reasons, tuple(wanted))
        return action_result(session, actions, judged, data=data, card=card)


def _video_embeddings(
    found: ActionVectors, numbers: Sequence[int], similarity: Similarity
) -> npt.NDArray[np.float64]:
    """(V, D): the mean over windows; for cosines of unit vectors, brought to length 1 again."""
    if similarity == "dot" or not numbers:
        return found.means(numbers)
    units = {number: _unit(found.vectors[number]) for number in numbers}
    return _unit(ActionVectors(units, found.counts, {}).means(numbers))


def _unit(vectors: npt.NDArray[Any]) -> npt.NDArray[Any]:
    result: npt.NDArray[Any] = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    return result
