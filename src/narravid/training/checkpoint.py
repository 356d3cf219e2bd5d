"""Checkpoints of a run: written so that a kill at any moment leaves a complete one to go on from."""

from __future__ import annotations

import dataclasses
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from narravid.errors import CheckpointError
from narravid.files import remove_leftovers, write_atomically

__all__ = [
    "CHECKPOINT_FOLDER",
    "checkpoint_path",
    "latest_checkpoint",
    "list_checkpoints",
    "load_checkpoint",
    "prune_checkpoints",
    "random_state",
    "remove_unfinished",
    "restore_random_state",
    "save_checkpoint",
    "save_failed_batch",
]

CHECKPOINT_FOLDER = "checkpoints"
FORMAT_VERSION = 2
REQUIRED_KEYS = (
    "model",
    "optimisation",
    "schedule",
    "step",
    "epoch",
    "batch",
    "random",
    "progress",
    "window",
    "scaler",
)


def checkpoint_path(run: Path, step: int) -> Path:
    """Where the checkpoint after `step` finished steps lies in a run folder."""
    return run / CHECKPOINT_FOLDER / f"step_{step:08d}.pt"


def list_checkpoints(run: Path) -> list[tuple[int, Path]]:
    """Steps and paths of a run's checkpoints, oldest first."""
    found = []
    for path in (run / CHECKPOINT_FOLDER).glob("step_*.pt"):
        match = re.fullmatch(r"step_(\d+)\.pt", path.name)
        if match:
            found.append((int(match.group(1)), path))
    return sorted(found)


def save_checkpoint(run: Path, state: Mapping[str, Any]) -> Path:
    """Write the state of a run after `state["step"]` steps, atomically.

    Args:
        run: The run folder.
        state: Tensors and plain Python values only, so that it can be read back without running code.

    Returns:
        The checkpoint's path.
    """
    path = checkpoint_path(run, int(state["step"]))
    content = {"format": FORMAT_VERSION, **state}
    write_atomically(path, lambda temporary: torch.save(content, temporary))
    return path


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of a run onto the CPU, without running code from it.

    Raises:
        CheckpointError: If the file cannot be read, is damaged, or is no checkpoint of a Narravid run.
    """
    if not path.is_file():
        raise CheckpointError(path, "no such file")
    if not zipfile.is_zipfile(path):
        raise CheckpointError(path, "damaged or not a checkpoint: it is not whole")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # arbitrary bytes make the reader fail in arbitrary ways
        raise CheckpointError(path, f"damaged or not a checkpoint: {error}".split("\n")[0]) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT_VERSION:
        raise CheckpointError(path, f"not a checkpoint of a Narravid run (format {FORMAT_VERSION})")
    missing = [key for key in REQUIRED_KEYS if key not in state]
    if missing:
        raise CheckpointError(path, "incomplete checkpoint", missing=missing)
    return state


def latest_checkpoint(run: Path) -> dict[str, Any] | None:
    """The newest checkpoint of a run that can be read, or None when the run has none yet.

    A damaged one (a full disk, a power cut) is passed over with a warning: going on from an older one costs
    time but ends with the same weights.

    Raises:
        CheckpointError: If there are checkpoints and every one is damaged.
    """
    checkpoints = list_checkpoints(run)
    for _, path in reversed(checkpoints):
        try:
            return load_checkpoint(path)
        except CheckpointError as error:
            warnings.warn(f"passed over: {error}", stacklevel=2)
    if checkpoints:
        raise CheckpointError(run / CHECKPOINT_FOLDER, "every checkpoint of this run is damaged")
    return None


def prune_checkpoints(run: Path, *, step: int, keep_last: int, best_step: int | None) -> None:
    """Delete all but the last `keep_last` checkpoints up to `step`, and the one of `best_step`.

    Later ones stand there only if they were damaged when the run was resumed: they must not count as the
    last ones, and go when training comes past them.
    """
    reached = [(saved, path) for saved, path in list_checkpoints(run) if saved <= step]
    for saved, path in reached[:-keep_last]:
        if saved != best_step:
            path.unlink()


def remove_unfinished(run: Path) -> None:
    """Tidy up after a killed run: nothing half written stays, a model that was being replaced comes back."""
    remove_leftovers(run)
    remove_leftovers(run / CHECKPOINT_FOLDER)


def save_failed_batch(run: Path, batch: object, *, step: int, rank: int = 0) -> Path:
    """Keep the batch that training stopped at, for a look at it.

    Args:
        run: The run folder.
        batch: A tensor, a mapping, or a dataclass of tensors and plain values.
        step: The step it failed at.
        rank: Whose share of the batch it is.

    Returns:
        The file: a dictionary that `torch.load` reads without knowing the batch's class.
    """
    if dataclasses.is_dataclass(batch):
        content = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
    else:
        content = dict(batch) if isinstance(batch, Mapping) else {"batch": batch}
    share = f"_rank_{rank}" if rank else ""
    path = run / f"failed_batch_step_{step:08d}{share}.pt"
    write_atomically(path, lambda temporary: torch.save(content, temporary))
    return path


def random_state() -> dict[str, Any]:
    """State of PyTorch's own generators, which layers such as dropout draw from."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def restore_random_state(state: Mapping[str, Any]) -> None:
    """Go back to what `random_state` returned; CUDA states are left out where there is no such device."""
    torch.set_rng_state(state["cpu"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
