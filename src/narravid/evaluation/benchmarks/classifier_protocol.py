"""Fine-tuned classifiers on action recognition: temporal and spatial crops, the mean of their scores."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from narravid.errors import CheckpointError
from narravid.evaluation.action_windows import TemporalCrops
from narravid.evaluation.benchmarks.action_lists import ActionSet
from narravid.evaluation.benchmarks.action_measurement import ActionMeasurement
from narravid.evaluation.benchmarks.action_result import ActionData, Judged, action_result
from narravid.evaluation.benchmarks.action_scores import SplitScores
from narravid.evaluation.benchmarks.action_vectors import encode_actions
from narravid.evaluation.result import BenchmarkResult
from narravid.evaluation.session import EvaluationSession
from narravid.models.hub import load
from narravid.protocols import Model
from narravid.types import ClipSpec

__all__ = ["ClassifierProtocol", "class_names_of", "classifier_result"]

SHOWN_NAMES = 5


@dataclass(frozen=True, kw_only=True)
class ClassifierProtocol(ActionMeasurement):
    """How the scores of a fine-tuned classifier become those of a video.

    Attributes:
        temporal_crops: Clips of a video; the last one does not reach its end, as published.
        spatial_crops: Squares of each clip: 3 (left, middle, right), or 1 for the middle alone.
    """

    temporal_crops: int = 10
    spatial_crops: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
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
    has_all_classes: bool = True,
) -> BenchmarkResult:
    """Judge a classifier for each split.

    Args:
        session: The run; its model is that of the first split.
        protocol: How.
        actions: Videos, classes and splits.
        models: The models of the other splits, as for `hub.load`.
        data: What the result is about.
        has_all_classes: Whether the videos show all classes that a model may know. Where they need not, a
            model that knows its classes by name may know others too, which then are wrong answers.

    Returns:
        The result: the mean over the splits.

    Raises:
        AnnotationError: If a split has nothing to judge by.
        CheckpointError: If a model scores no classes, or others than those of the data set.
        TooManyBadItemsError: If more videos are unreadable than the session allows.
        NarravidError: If no video of a split can be read.
        ValueError: If there are not as many models as splits.
    """
    if len(models) + 1 != len(actions.splits):
        raise ValueError(f"there are {len(models) + 1} models for {len(actions.splits)} splits")
    actions.check(data.source, folder=data.folder, learns=False)
    known = class_names_of(session.model)
    if known and not has_all_classes:
        actions = _among(actions, known, session.model_name, data)
    splits, cards = [], []
    reasons: dict[int, str] = {}
    for number, split in enumerate(actions.splits):
        own = session if number == 0 else _session_of(session, models[number - 1])
        encoder = own.clip_encoder("logits")
        columns = _columns(own, encoder.dim, actions, data)
        rule = protocol.rule(encoder.clip_spec)
        found = encode_actions(own, encoder, actions, numbers=split.test, rules=[rule])
        test = found.usable(split.test)
        splits.append(SplitScores(split.name, test, found.means(test)[:, columns]))
        reasons |= found.reasons
        cards.append(_model_card(own, encoder.clip_spec) | {"rule": rule.describe()})
    wanted = tuple(number for split in actions.splits for number in split.test)
    rules = [card.pop("rule") for card in cards]
    if any(rule != rules[0] for rule in rules):  # then each model has its own
        cards = [card | rule for card, rule in zip(cards, rules, strict=True)]
        rules = [{}]
    card = {
        **rules[0],
        "models": {split.name: card for split, card in zip(actions.splits, cards, strict=True)},
        "video_score": "mean of the raw class scores of all crops",
    }
    return action_result(session, actions, Judged(tuple(splits), reasons, wanted), data=data, card=card)


def _session_of(session: EvaluationSession, name: str) -> EvaluationSession:
    return replace(session, model=load(name, device=session.device), model_name=name)


def class_names_of(model: Model) -> tuple[str, ...]:
    """Names of the classes of a classifier in the order of its scores; empty where it does not know them."""
    names: tuple[str, ...] = getattr(model.config, "class_names", ())
    return names


def _among(actions: ActionSet, known: tuple[str, ...], model_name: str, data: ActionData) -> ActionSet:
    """The same videos, each of one of the classes that a model knows."""
    _refuse_strange(actions.labels, known, model_name, data)
    numbers = {label: number for number, label in enumerate(known)}
    return replace(
        actions, labels=known, classes=tuple(numbers[actions.labels[label]] for label in actions.classes)
    )


def _columns(session: EvaluationSession, num_scores: int, actions: ActionSet, data: ActionData) -> list[int]:
    """Which of a model's scores belongs to each class: by name, or by number where it knows no names."""
    if num_scores != len(actions.labels):
        raise CheckpointError(
            session.model_name, f"scores {num_scores} classes, and {data.title} has {len(actions.labels)}"
        )
    known = class_names_of(session.model)
    if not known:
        return list(range(num_scores))
    _refuse_strange(actions.labels, known, session.model_name, data)
    return [known.index(label) for label in actions.labels]


def _refuse_strange(
    labels: tuple[str, ...], known: tuple[str, ...], model_name: str, data: ActionData
) -> None:
    strange = [label for label in labels if label not in known]
    if strange:
        raise CheckpointError(
            model_name,
            f"does not know {len(strange)} of the {len(labels)} classes of {data.source}, the first is "
            f"{strange[0]!r}; its own are {', '.join(known[:SHOWN_NAMES])}"
            + (" and so on" if len(known) > SHOWN_NAMES else ""),
        )


def _model_card(session: EvaluationSession, spec: ClipSpec) -> dict[str, Any]:
    return {
        "classes_matched": "by name"
        if class_names_of(session.model)
        else "by number, as the model does not know their names",
        "model": session.model_name,
        "weights_hash": session.model.weights_hash,
        "mean": list(spec.mean),
        "std": list(spec.std),
    }
