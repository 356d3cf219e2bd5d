"""Scores of groups of trajectories with groups of prompts, by the names of the groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from narravid.inference.trajectories import Deviation, group_scores

__all__ = ["GroupTable", "group_labels", "group_table"]


@dataclass(frozen=True, slots=True, eq=False)
class GroupTable:
    """Mean and deviation of scores over groups.

    Attributes:
        trajectory_groups: Gv names.
        prompt_groups: Gp names.
        mean: (Gv, Gp) float64, over all pairs of a trajectory and a prompt of the two groups.
        std: (Gv, Gp) float64, their standard deviation; 0 for a single pair.
        num_pairs: (Gv, Gp) int64.
        normalised: Whether each prompt's scores were first centred over all trajectories and divided by their
            deviation.
        deviation: Divisor of the variance: n ("population") or n - 1 ("sample").
    """

    trajectory_groups: tuple[str, ...]
    prompt_groups: tuple[str, ...]
    mean: npt.NDArray[np.float64]
    std: npt.NDArray[np.float64]
    num_pairs: npt.NDArray[np.int64]
    normalised: bool
    deviation: Deviation


def group_table(
    scores: npt.NDArray[np.float32],
    groups: tuple[Sequence[str], Sequence[str]],
    *,
    normalise: bool = False,
    deviation: Deviation = "population",
) -> GroupTable:
    """Mean and deviation of scores over named groups, which need not stand side by side.

    Args:
        scores: (V, P) float32, trajectories by prompts.
        groups: The group of each of the V trajectories, and that of each of the P prompts.
        normalise: As for `group_scores`.
        deviation: As for `group_scores`.

    Returns:
        The table, groups in the order in which they first appear.

    Raises:
        ValueError: If there are not as many groups as rows and columns, or as for `group_scores`.

    >>> table = group_table(np.float32([[1, 2], [5, 6], [3, 4]]), (["a", "b", "a"], ["p", "p"]))
    >>> table.trajectory_groups, table.mean.tolist(), table.num_pairs.tolist()
    (('a', 'b'), [[2.5], [5.5]], [[4], [2]])
    """
    of_rows, of_columns = groups
    if scores.shape != (len(of_rows), len(of_columns)):
        raise ValueError(
            f"scores of {len(of_rows)} trajectories and {len(of_columns)} prompts have another shape: "
            f"{scores.shape}"
        )
    rows, columns = _members(of_rows), _members(of_columns)
    ordered = scores[np.ix_(np.concatenate(list(rows.values())), np.concatenate(list(columns.values())))]
    row_sizes, column_sizes = [len(m) for m in rows.values()], [len(m) for m in columns.values()]
    result = group_scores(
        torch.from_numpy(ordered), row_sizes, column_sizes, normalise=normalise, deviation=deviation
    )
    return GroupTable(
        trajectory_groups=tuple(rows),
        prompt_groups=tuple(columns),
        mean=result.mean.numpy(),
        std=result.std.numpy(),
        num_pairs=np.outer(row_sizes, column_sizes).astype(np.int64),
        normalised=normalise,
        deviation=deviation,
    )


def group_labels(items: Sequence[tuple[str | None, str]]) -> list[str]:
    """The group of each item; one that has none gets its own name, which no group and no other item has.

    Args:
        items: Group, if any, and name of each.

    Returns:
        As many labels; " (alone)" behind a name tells an item without group from the group of that name.

    >>> group_labels([("door", "push"), (None, "door"), (None, "lid")])
    ['door', 'door (alone)', 'lid']
    """
    taken = {group for group, _ in items if group is not None}
    labels = []
    for group, name in items:
        label = name if group is None else group
        while group is None and label in taken:
            label = f"{label} (alone)"
        taken.add(label)
        labels.append(label)
    return labels


def _members(groups: Sequence[str]) -> dict[str, list[int]]:
    """Group → positions of its members, groups by first appearance."""
    members: dict[str, list[int]] = {}
    for position, group in enumerate(groups):
        members.setdefault(group, []).append(position)
    return members
