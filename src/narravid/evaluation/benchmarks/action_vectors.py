"""Windows of the videos of an action set as vectors, and what of the set cannot be used."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from narravid.errors import NarravidError
from narravid.evaluation.action_windows import ActionRule
from narravid.evaluation.benchmarks.action_lists import ActionSet
from narravid.evaluation.result import Coverage, MissingItem
from narravid.evaluation.session import EvaluationSession
from narravid.evaluation.windows import WindowEncoder, encode_windows

__all__ = ["ActionVectors", "action_coverage", "encode_actions"]

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class ActionVectors:
    """Vectors of the windows of some items of an action set.

    Attributes:
        vectors: (S, F) float32 of each item that could be read, by its number.
        counts: (S,) int64, how often each of these windows counts.
        reasons: Why others could not be used, by their numbers.
    """

    vectors: dict[int, FloatArray]
    counts: dict[int, npt.NDArray[np.int64]]
    reasons: dict[int, str]

    def usable(self, numbers: Sequence[int]) -> tuple[int, ...]:
        """Those of some items that could be read."""
        return tuple(number for number in numbers if number in self.vectors)

    def stacked(self, numbers: Sequence[int], *, needed: Container[int]) -> FloatArray:
        """(n, F) all windows of some items that could be read, one item after the other.

        Args:
            numbers: The items.
            needed: Those of them whose vectors are kept; the others go as they are copied, so that large sets
                are not in memory twice.
        """
        if not numbers:
            return np.zeros((0, 1), dtype=np.float32)
        shapes = [self.vectors[number].shape for number in numbers]
        rows = np.empty((sum(count for count, _ in shapes), shapes[0][1]), dtype=np.float32)
        start = 0
        for number, (count, _) in zip(numbers, shapes, strict=True):
            rows[start : start + count] = self.vectors[number]
            start += count
            if number not in needed:
                del self.vectors[number]
        return rows

    def means(self, numbers: Sequence[int]) -> npt.NDArray[np.float64]:
        """(V, F) mean over the windows of each of some items that could be read."""
        dim = next(iter(self.vectors.values())).shape[1] if self.vectors else 0
        rows = [
            np.average(self.vectors[n].astype(np.float64), axis=0, weights=self.counts[n]) for n in numbers
        ]
        return np.stack(rows) if rows else np.zeros((0, dim))


def encode_actions(
    session: EvaluationSession,
    encoder: WindowEncoder,
    actions: ActionSet,
    *,
    numbers: Sequence[int],
    rules: Sequence[ActionRule],
) -> ActionVectors:
    """Encode the windows of some items of an action set.

    What is not there at all is missing and stops nothing; what is there and cannot be read counts as bad.

    Args:
        session: The run.
        encoder: The network.
        actions: The set.
        numbers: Which of its items.
        rules: Where the windows lie; those of all rules are taken together.

    Returns:
        The vectors.

    Raises:
        TooManyBadItemsError: If more of them are unreadable than the session allows.
        NarravidError: If nothing can be read.
        ValueError: If there is no item.
    """
    if not numbers:
        raise ValueError("there is no item to encode")
    there = [number for number in dict.fromkeys(numbers) if number not in actions.absent]
    items = [actions.items[number] for number in there]
    parts: dict[int, list[FloatArray]] = {number: [] for number in there}
    counts: dict[int, list[npt.NDArray[np.int64]]] = {number: [] for number in there}
    reasons = {number: actions.absent[number] for number in numbers if number in actions.absent}
    for rule in rules:
        found = encode_windows(
            encoder,
            items,
            rule,
            decoder=session.decoder,
            batch_size=session.batch_size,
            cache=session.cache,
            max_bad_share=session.max_bad_share,
        )
        for place, number in enumerate(there):
            vectors = found.vectors[place]
            if vectors is None:
                reasons[number] = found.reasons[place]
            else:
                parts[number].append(vectors)
                counts[number].append(rule.counts(items[place]))
    return _gathered(parts, counts, reasons, actions)


def _gathered(
    parts: dict[int, list[FloatArray]],
    counts: dict[int, list[npt.NDArray[np.int64]]],
    reasons: dict[int, str],
    actions: ActionSet,
) -> ActionVectors:
    """What all rules found in the items that every one could read."""
    good = [number for number in parts if number not in reasons]
    if not good:
        number, reason = next(iter(reasons.items()))
        raise NarravidError(
            f"none of {len(reasons)} videos could be read; {actions.items[number].path}: {reason}"
        )
    return ActionVectors(
        {number: _joined(parts[number]) for number in good},
        {number: np.concatenate(counts[number]) for number in good},
        reasons,
    )


def _joined(parts: list[FloatArray]) -> FloatArray:
    """All rows; those of one rule alone are not copied."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def action_coverage(
    actions: ActionSet, reasons: dict[int, str], *, numbers: Sequence[int], unit: str
) -> Coverage:
    """What of a set could be used.

    Args:
        actions: The set.
        reasons: Why items could not be used, by their numbers.
        numbers: The items that were asked for.
        unit: What they are called.
    """
    wanted = list(dict.fromkeys(numbers))
    missing = [number for number in wanted if number in reasons]
    return Coverage(
        unit=unit,
        num_expected=len(wanted),
        num_measured=len(wanted) - len(missing),
        missing=tuple(MissingItem(actions.items[number].path, reasons[number]) for number in missing),
    )
