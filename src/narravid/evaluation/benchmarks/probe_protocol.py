"""The linear probe of action recognition: what can be chosen, and how it is measured."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import torch

from narravid.errors import ConfigError
from narravid.evaluation.action_windows import ActionRule, NativeRateWindows, SpreadWindows
from narravid.evaluation.baselines import PixelThumbnails, untrained
from narravid.evaluation.benchmarks.action_lists import ActionSet, ActionSplit
from narravid.evaluation.benchmarks.action_measurement import ActionMeasurement
from narravid.evaluation.benchmarks.action_result import ActionData, Judged, action_result
from narravid.evaluation.benchmarks.action_scores import SplitScores, action_measures
from narravid.evaluation.benchmarks.action_vectors import (
    ActionVectors,
    encode_actions,
)
from narravid.evaluation.linear_probe import fit_linear_probe, summed_scores
from narravid.evaluation.probe_solvers import ProbeFit, Solver, check_size
from narravid.evaluation.result import BenchmarkResult, Measure
from narravid.evaluation.session import EvaluationSession
from narravid.inference.clip_encoder import ClipEncoder
from narravid.metrics.bootstrap import paired_bootstrap
from narravid.progress import progress_bar
from narravid.protocols import FeatureExtractor
from narravid.types import ClipSpec

__all__ = ["ProbeProtocol"]

TOLD_MISSING = 20
PIXELS, RANDOM = "pixels only", "untrained network"


@dataclass(frozen=True, kw_only=True)
class ProbeProtocol(ActionMeasurement):
    """How a linear layer is fitted to the features of a network and judged.

    Attributes:
        num_windows: Windows per video, equally spaced; their decision values are summed.
        clips: What a window is: num_frames at the video's own frame rate, as published, or a clip as the
            model itself wants it (for models that take no other number of frames).
        num_frames: Frames of a window at the video's own rate.
        cost: C of the support vector machine.
        solver: What fits it: liblinear takes some 32 bytes for each number of the training features and less
            than 2**31 of them, lbfgs finds the same minimum in little more than the features themselves.
        mirror: Also take each window mirrored. The published program asks for it and gets none.
        standardise: Bring features to mean 0 and deviation 1 over the training windows first.
        baselines: Also probe small pictures of the pixels, and the same network untrained, both standardised.
    """

    num_windows: int = 10
    clips: Literal["native", "model"] = "native"
    num_frames: int = 32
    cost: float = 100.0
    solver: Solver = "liblinear"
    mirror: bool = False
    standardise: bool = False
    baselines: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.clips not in ("native", "model"):
            raise ValueError(f"clips must be 'native' or 'model', got {self.clips!r}")
        if min(self.num_windows, self.num_frames) < 1:
            raise ValueError(
                f"num_windows and num_frames must be at least 1, got {self.num_windows} and {self.num_frames}"
            )
        ProbeFit(cost=self.cost, solver=self.solver)

    def rules(self, spec: ClipSpec) -> list[ActionRule]:
        """Where the windows lie, and once more for mirrored ones."""
        return [self._rule(spec, mirrored) for mirrored in ((False, True) if self.mirror else (False,))]

    def _rule(self, spec: ClipSpec, mirrored: bool) -> ActionRule:
        if self.clips == "model":
            return SpreadWindows(spec, num_windows=self.num_windows, mirrored=mirrored)
        return NativeRateWindows(
            spec, num_frames=self.num_frames, num_windows=self.num_windows, mirrored=mirrored
        )

    def card(self, spec: ClipSpec) -> dict[str, Any]:
        """What the numbers depend on, as JSON values."""
        return {
            **self.rules(spec)[0].describe(),
            "mean": list(spec.mean),
            "std": list(spec.std),
            "mirrored_windows": self.mirror,
            "feature": "of the trunk, before any embedding layer"
            + (", standardised over the training windows" if self.standardise else ", as it is"),
            "classifier": f"linear support vector machine, squared hinge, one against all, C = {self.cost:g}",
            "solver": self.solver,
            "video_score": "sum of the decision values of the windows",
        }

    def judge(self, session: EvaluationSession, actions: ActionSet, *, data: ActionData) -> BenchmarkResult:
        """Fit and judge a probe for each split.

        Args:
            session: The run.
            actions: Videos, classes and splits.
            data: What the result is about.

        Returns:
            The result, with the baselines where they are asked for.

        Raises:
            AnnotationError: If a split has nothing to judge by, fewer than two classes to learn from, or a
                video in both parts.
            CheckpointError: If the model gives no features of clips, or baselines are asked for and there is
                no untrained network like it.
            TooManyBadItemsError: If more videos are unreadable than the session allows.
            ConfigError: If the model does not take so many frames.
            NarravidError: If no video of a part can be read, those to learn from are of one class, or they
                are more than the solver takes.
        """
        actions.check(data.source, folder=data.folder, learns=True)
        encoder = session.clip_encoder("feature")
        _check_sizes(self, actions, encoder.dim)
        spec = encoder.clip_spec
        if self.clips == "native" and self.num_frames != spec.num_frames:
            _check_takes(encoder, self.num_frames, session.model_name)
        baselines = _baseline_encoders(session, spec) if self.baselines else {}
        judged, fits = _probe(session, encoder, self, actions, standardised=self.standardise)
        measures = action_measures(actions, judged.splits, seed=session.seed)
        further: dict[str, tuple[Measure, ...]] = {}
        particulars: dict[str, Any] = {**self.card(spec), "fits": fits}
        for name, baseline in baselines.items():
            scored, own_fits = _probe(session, baseline, self, actions, standardised=True)
            further[name] = action_measures(actions, scored.splits, seed=session.seed)
            particulars[f"fits, {name}"] = own_fits
        if baselines:
            particulars["baselines"] = "standardised over the training windows, else by the same protocol"
            particulars["lead_over_baselines"] = _leads(measures, further, seed=session.seed)
        return action_result(
            session, actions, judged, data=data, card=particulars, measures=measures, further=further
        )


def _check_sizes(protocol: ProbeProtocol, actions: ActionSet, feature_dim: int) -> None:
    """Refuse what the solver cannot take before anything is decoded; short videos may have fewer windows."""
    per_video = protocol.num_windows * (2 if protocol.mirror else 1)
    for split in actions.splits:
        there = sum(number not in actions.absent for number in split.train)
        check_size(there * per_video, feature_dim, solver=protocol.solver)


def _check_takes(encoder: ClipEncoder, num_frames: int, model_name: str) -> None:
    """Show the network a black window before anything is decoded."""
    size = encoder.clip_spec.size_pixels
    black = torch.zeros((1, 3, num_frames, size, size), dtype=torch.uint8, device=encoder.model.device)
    try:
        with torch.inference_mode():
            encoder.model.video_features(black)
    except torch.OutOfMemoryError:
        raise
    except (ValueError, RuntimeError) as error:
        if "alloc" in str(error):  # the memory of a processor ends in a plain RuntimeError
            raise
        raise ConfigError(
            f"{model_name} takes no windows of {num_frames} frames ({error}); --clips model takes clips as "
            "it wants them",
            key="clips",
        ) from error


def _baseline_encoders(session: EvaluationSession, spec: ClipSpec) -> dict[str, ClipEncoder]:
    network = cast("FeatureExtractor", untrained(session.model, session.model_name, seed=session.seed))
    return {
        PIXELS: ClipEncoder(PixelThumbnails(spec), output="feature"),
        RANDOM: ClipEncoder(
            network, output="feature", device=session.device, dtype=session.dtype, backend=session.backend
        ),
    }


def _probe(
    session: EvaluationSession,
    encoder: ClipEncoder,
    protocol: ProbeProtocol,
    actions: ActionSet,
    *,
    standardised: bool,
) -> tuple[Judged, list[dict[str, Any]]]:
    """Scores of each split, and how its fit went."""
    tested = tuple(dict.fromkeys(number for split in actions.splits for number in split.test))
    learnt = tuple(dict.fromkeys(number for split in actions.splits for number in split.train))
    # Each part for itself, so that of neither more than the allowed share is bad.
    found = _encode_parts(session, encoder, protocol, actions, parts=(tested, learnt))
    fit = ProbeFit(
        cost=protocol.cost, standardised=standardised, solver=protocol.solver, device=session.device
    )
    splits, fits = [], []
    with progress_bar("fitting", len(actions.splits), unit="splits") as bar:
        for place, split in enumerate(actions.splits):
            needed = {n for later in actions.splits[place:] for n in later.test}
            needed |= {n for later in actions.splits[place + 1 :] for n in later.train}
            scores, told = _fitted(found, actions, split, fit=fit, needed=needed)
            splits.append(scores)
            fits.append(told)
            bar.advance()
    return Judged(tuple(splits), found.reasons, tested), fits


def _encode_parts(
    session: EvaluationSession,
    encoder: ClipEncoder,
    protocol: ProbeProtocol,
    actions: ActionSet,
    *,
    parts: Sequence[Sequence[int]],
) -> ActionVectors:
    """All windows; what an earlier part has as well is encoded there."""
    whole = ActionVectors({}, {}, {})
    rules = protocol.rules(encoder.clip_spec)
    for part in parts:
        numbers = [n for n in part if n not in whole.vectors and n not in whole.reasons]
        if numbers:
            found = encode_actions(session, encoder, actions, numbers=numbers, rules=rules)
            whole.vectors.update(found.vectors)
            whole.counts.update(found.counts)
            whole.reasons.update(found.reasons)
    return whole


def _fitted(
    found: ActionVectors, actions: ActionSet, split: ActionSplit, *, fit: ProbeFit, needed: Container[int]
) -> tuple[SplitScores, dict[str, Any]]:
    """The scores of one split's test; training vectors that no later split needs are let go."""
    train, test = found.usable(split.train), found.usable(split.test)
    labels = np.array([actions.classes[number] for number in train], dtype=np.int64)
    rows = [len(found.vectors[number]) for number in train]
    probe = fit_linear_probe(
        found.stacked(train, needed=needed),
        np.repeat(labels, rows),
        num_classes=len(actions.labels),
        repeats=_counts(found, train),
        fit=fit,
    )
    missing = [number for number in split.train if number in found.reasons]
    scores = summed_scores(
        probe,
        [found.vectors[number] for number in test],
        repeats=[found.counts[number] for number in test],
    )
    return SplitScores(split.name, test, scores), {
        "split": split.name,
        "train_videos": len(train),
        "missing_train_videos": len(missing),
        "first_missing": {actions.names[n]: found.reasons[n] for n in missing[:TOLD_MISSING]},
        "test_videos": len(test),
        "classes_without_training": int((~probe.seen).sum()),
        "has_converged": probe.has_converged,
    }


def _counts(found: ActionVectors, numbers: Sequence[int]) -> np.ndarray[Any, np.dtype[np.int64]]:
    parts = [found.counts[number] for number in numbers]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)


def _leads(
    measures: Sequence[Measure], further: dict[str, tuple[Measure, ...]], *, seed: int
) -> dict[str, dict[str, float | int]]:
    """How far the model's top-1 is ahead of each baseline's on the same videos, with interval."""
    leads = {}
    for name, others in further.items():
        found = paired_bootstrap(others[0].outcomes, measures[0].outcomes, seed=seed)
        leads[name] = {
            "top1_difference": found.difference,
            "low": found.low,
            "high": found.high,
            "p_value": found.p_value,
            "num_videos": found.num_units,
        }
    return leads
