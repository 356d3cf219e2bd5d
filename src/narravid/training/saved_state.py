"""The state of a run as checkpoints hold it: taken from all processes, written by the first, read by all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from narravid import distributed
from narravid.errors import CheckpointError
from narravid.training import checkpoint
from narravid.training.config import DataRecord

__all__ = ["Stateful", "load_parts", "newest_state", "restore_own_share", "shares_of_processes"]


class Stateful(Protocol):
    """Anything whose state goes into a checkpoint."""

    def state_dict(self) -> Mapping[str, Any]:
        """Tensors and plain values."""

    def load_state_dict(self, state_dict: Any, /) -> Any:  # noqa: ANN401 - modules and optimisers have their own
        """Go back to a kept state."""


def load_parts(parts: Mapping[str, Stateful], state: Mapping[str, Any], path: Path) -> None:
    """Give each part its state from a checkpoint.

    Raises:
        CheckpointError: If a part is not in it or does not fit.
    """
    for name, part in parts.items():
        if name not in state:
            raise CheckpointError(path, f"it has no state of {name!r}: the run was begun with other settings")
        try:
            part.load_state_dict(state[name])
        except (RuntimeError, ValueError, KeyError) as error:
            raise CheckpointError(path, f"does not fit this run's {name}: {error}") from error


def shares_of_processes(record: DataRecord | None) -> dict[str, list[Any]]:
    """What each process has to itself: random state and what it met in its data; call it on all of them.

    Returns:
        "random" and "data", each a list by rank.
    """
    own = {"random": checkpoint.random_state(), "data": None if record is None else record.state_dict()}
    shares = distributed.gather_objects(own)
    return {name: [share[name] for share in shares] for name in own}


def restore_own_share(
    state: Mapping[str, Any], record: DataRecord | None
) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Give this process back what it had to itself.

    With another number of processes than when it was saved, random layers draw other numbers from here on.

    Returns:
        On the first process, what the other ones had met in their data until then; and of that what no
        process goes on with, because there is another number of them now or was before.
    """
    rank, randoms, met = distributed.rank(), state["random"], state["data"]
    same_number = len(randoms) == distributed.world_size()
    if same_number:
        checkpoint.restore_random_state(randoms[rank])
    if record is not None and (same_number or rank == 0) and met[rank] is not None:
        record.load_state_dict(met[rank])
    if rank > 0:
        return [], []
    left = met[len(randoms) :] if same_number else met[1:]
    others, left_over = ([own for own in some if own is not None] for some in (met[1:], left))
    return others, left_over


def newest_state(run: Path) -> dict[str, Any] | None:
    """The newest checkpoint that can be read, the same on every process; None when the run has none yet.

    Raises:
        CheckpointError: If every one is damaged, or a process does not see what the first one does.
    """
    if distributed.rank() == 0:
        checkpoint.remove_unfinished(run)
        state = checkpoint.latest_checkpoint(run)
        distributed.from_first(None if state is None else state["step"])
        return state
    step: int | None = distributed.from_first(None)
    if step is None:
        return None
    path = checkpoint.checkpoint_path(run, step)
    try:
        return checkpoint.load_checkpoint(path)
    except CheckpointError as error:
        raise CheckpointError(
            path, f"{error.reason}; every machine of a run needs the same folder to go on from"
        ) from error
