"""Fine-tuned classifiers on action recognition: temporal and spatial crops, the mean of their scores."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from narravid.errors import CheckpointError
from narravid.evaluation.action_windows import TemporalCrops
from narravid.evaluation.benchmarks.action_lists import ActionSet
from narravid.evaluation.benchmarks.action_result import ActionData, Judged, action_result
from narravid.evaluation.benchmarks.action_scores import SplitScores
from narravid.evaluation.benchmarks.action_vectors import encode_actions
from narravid.evaluation.result import BenchmarkResult
from narravid.evaluation.session import EvaluationSession
from narravid.models.hub import load
from narravid.types import ClipSpec

__all__ = ["ClassifierProtocol", "classifier_result"]


@dataclass(frozen=True, kw_only=True)
class ClassifierProtocol:
    """How the scores of a fine-tuned classifier become those of a video.

    Attributes:
        temporal_crops: Clips of a video; the last one does not reach its end, as published.
        spatial_crops: Squares of each clip: 3 (left, middle, right), or 1 for the middle alone.
    """

    temporal_crops: int = 10
    spatial_crops: int = 3

    def __post_init__(self) -> None:
        if self.temporal_crops < 1:
            raise ValueError(f"temporal_crops must be at least 1, got {self.temporal_crops}")
        if self.spatial_crops not in (1, 3):
            raise ValueError(f"spatial_crops must be 1 or 3, got {self.spatial_crops}")

    def rule(self, spec: ClipSpec) -> TemporalCrops:
        """Where the clips lie."""
        return TemporalCrops(spec, num_crops=self.temporal_crops, num_positions=self.spatial_crops)


def classifier_result(
    session: EvaluationSession,
    protocol: ClassifierProtocol,
    actions: ActionSet,
    *,
    models: tuple[str, ...],
    data: ActionData,
) -> BenchmarkResult:
    """Judge a classifier for each split.

    Args:
        session: The run; its model is that of the first split.
        protocol: How.
        actions: Videos, classes and splits.
        models: The models of the other splits, as for `hub.load`.
        data: What the result is about.

    Returns:
        The result: the mean over the splits.

    Raises:
        CheckpointError: If a model scores no classes, or others than those of the data set.
        TooManyBadItemsError: If more videos are unreadable than the session allows.
        NarravidError: If no video of a split can be read.
        ValueError: If there are not as many models as splits.
    """
    if len(models) + 1 != len(actions.splits):
        raise ValueError(f"there are {len(models) + 1} models for {len(actions.splits)} splits")
    for split in actions.splits:
        actions.require(split.test, purpose=f"judge by ({split.name})", folder=data.folder)
    splits, cards = [], []
    reasons: dict[int, str] = {}
    for number, split in enumerate(actions.splits):
        own = session if number == 0 else _session_of(session, models[number - 1])
        encoder = own.clip_encoder("logits")
        if encoder.dim != len(actions.labels):
            raise CheckpointError(
                own.model_name,
                f"scores {encoder.dim} classes, and {data.title} has {len(actions.labels)}",
            )
        rule = protocol.rule(encoder.clip_spec)
        found = encode_actions(own, encoder, actions, numbers=split.test, rules=[rule])
        test = found.usable(split.test)
        splits.append(SplitScores(split.name, test, found.means(test)))
        reasons |= found.reasons
        cards.append(_model_card(own, encoder.clip_spec))
    wanted = tuple(number for split in actions.splits for number in split.test)
    card = {
        **protocol.rule(session.clip_encoder("logits").clip_spec).describe(),
        "models": {split.name: card for split, card in zip(actions.splits, cards, strict=True)},
        "video_score": "mean of the raw class scores of all crops",
    }
    return action_result(session, actions, Judged(tuple(splits), reasons, wanted), data=data, card=card)


def _session_of(session: EvaluationSession, name: str) -> EvaluationSession:
    return replace(session, model=load(name, device=session.device), model_name=name)


def _model_card(session: EvaluationSession, spec: ClipSpec) -> dict[str, Any]:
    return {
        "model": session.model_name,
        "weights_hash": session.model.weights_hash,
        "mean": list(spec.mean),
        "std": list(spec.std),
    }
