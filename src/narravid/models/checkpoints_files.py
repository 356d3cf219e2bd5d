"""Reading published files and filling networks with them; nothing in a file is trusted.

Only tensors and plain values are read, never Python objects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from narravid.errors import CheckpointError
from narravid.models.checkpoints_reading import check_plain_tensor, read_checkpoint

__all__ = [
    "PublishedFamily",
    "PublishedFile",
    "find_asset",
    "load_tensors_strictly",
    "open_published",
    "with_batch_counts",
]

PARALLEL_PREFIX = "module."
"""What training on several devices put before every key."""

BATCH_COUNT = ".num_batches_tracked"

MAX_SHARING = 4
"""So many times the size of its file may all tensors have together; two networks may share a third."""

CONTAINER_KEYS = ("state_dict", "model")
"""Where published files keep the tensors when they are not flat."""


@dataclass(frozen=True)
class PublishedFile:
    """A published checkpoint, opened but not yet understood.

    Attributes:
        path: The file; named in errors.
        tensors: The state dict in the order of the file, the prefix of parallel training removed.
        prefixed: Whether every key had that prefix.
        asset_path: A word list or tokenizer file that the user gave; None to look beside the checkpoint.
    """

    path: Path
    tensors: dict[str, torch.Tensor]
    prefixed: bool = False
    asset_path: Path | None = None


@dataclass(frozen=True)
class PublishedFamily:
    """One kind of published checkpoint.

    Attributes:
        name: What it is called.
        recognises: Whether a state dict with these keys (prefix removed) and shapes is of this kind. No two
            families recognise the same file.
        build: The model of such a file, on the CPU, with its weights, in evaluation mode.
    """

    name: str
    recognises: Callable[[Mapping[str, torch.Tensor]], bool]
    build: Callable[[PublishedFile], nn.Module]


def open_published(path: Path, asset_path: Path | None = None) -> PublishedFile:
    """Read a file and take its tensors out of whatever contains them.

    Args:
        path: The checkpoint file.
        asset_path: Kept for the family's `build`.

    Returns:
        Its tensors; a flat file, and one with `state_dict` or `model` in it, look the same.

    Raises:
        CheckpointError: If the file is unreadable or refused, or its state dict holds anything but tensors.
    """
    content = read_checkpoint(path)
    held = [content[key] for key in CONTAINER_KEYS if isinstance(content.get(key), dict)]
    entries: Mapping[object, object] = held[0] if held else content  # type: ignore[assignment]
    tensors = {
        str(key): check_plain_tensor(path, str(key), value)
        for key, value in entries.items()
        if isinstance(value, torch.Tensor)
    }
    _check_total(path, tensors)
    if not tensors:
        found = ", ".join(str(key) for key in list(entries)[:5]) or "nothing"
        raise CheckpointError(path, f"no tensors in it; its entries begin with: {found}")
    foreign = [str(key) for key, value in entries.items() if not isinstance(value, torch.Tensor)]
    if foreign:
        raise CheckpointError(path, "entries that are no tensors", unexpected=foreign)
    prefixed = all(key.startswith(PARALLEL_PREFIX) for key in tensors)
    if prefixed:
        tensors = {key.removeprefix(PARALLEL_PREFIX): value for key, value in tensors.items()}
    return PublishedFile(path, tensors, prefixed, asset_path)


def _check_total(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Tensors may share their numbers, of which each gets a copy; a few bytes must not fill the memory so."""
    claimed, held = sum(tensor.nbytes for tensor in tensors.values()), path.stat().st_size
    if claimed > MAX_SHARING * held:
        raise CheckpointError(
            path, f"its tensors claim {claimed:,} bytes together, the file holds {held:,} of them"
        )


def find_asset(file: PublishedFile, names: Sequence[str], *, what: str) -> Path:
    """The word list or tokenizer file of a checkpoint: the one given, else the first of `names` beside it.

    Args:
        file: The checkpoint.
        names: File names to look for in its folder, in this order.
        what: What it is, for the error: "word list".

    Returns:
        Its path.

    Raises:
        CheckpointError: If none is there; says where to put it.
    """
    if file.asset_path is not None:
        return file.asset_path
    folder = file.path.parent
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise CheckpointError(
        file.path,
        f"its {what} is not beside it; put {' or '.join(names)} (published with the weights) into {folder}, "
        "or give vocabulary_path",
    )


def load_tensors_strictly(
    model: nn.Module,
    tensors: Mapping[str, torch.Tensor],
    *,
    path: Path,
    names: Mapping[str, str] | None = None,
    keep_precision: bool = False,
) -> None:
    """Put `tensors` in place of the model's own; every one must fit and none may be left over.

    Args:
        model: Gets the tensors; may be on the meta device.
        tensors: By key of the file.
        path: Where they come from; named in errors.
        names: Key of the file -> key of the model; by default they are the same.
        keep_precision: Leave floating numbers in the precision of the file, such as half; by default they get
            the model's.

    Raises:
        CheckpointError: Listing missing and unexpected keys, or those of the wrong shape.
    """
    own = model.state_dict()
    names = {key: key for key in own} if names is None else names
    missing = [key for key in names if key not in tensors]
    unexpected = [key for key in tensors if key not in names]
    if missing or unexpected:
        raise CheckpointError(
            path, "the weights do not fit the network", missing=missing, unexpected=unexpected
        )
    wrong = [
        f"{key} is {tuple(tensors[key].shape)}, expected {tuple(own[name].shape)}"
        for key, name in names.items()
        if tensors[key].shape != own[name].shape
    ]
    if wrong:
        raise CheckpointError(path, f"weights of the wrong shape: {'; '.join(wrong)}")
    copies = {}
    for key, name in names.items():
        tensor, dtype = tensors[key], own[name].dtype
        if keep_precision and tensor.is_floating_point() and dtype.is_floating_point:
            dtype = tensor.dtype
        # A copy, because tensors read from a file may lie at odd addresses, where products round differently.
        copies[name] = tensor.to(dtype, copy=True)
    model.load_state_dict(copies, assign=True)  # what is trained and what is frozen stays so


def with_batch_counts(tensors: Mapping[str, torch.Tensor], names: Iterable[str]) -> dict[str, torch.Tensor]:
    """A state dict with zeros for the counts of batches in batch normalisation, where it has none at all.

    Files older than these counts lack all of them, and so does frozen batch normalisation; evaluation needs
    none. A file that lacks some is damaged and stays as it is.

    Args:
        tensors: By key of the file.
        names: All keys that the file should have.
    """
    if any(key.endswith(BATCH_COUNT) for key in tensors):
        return dict(tensors)
    counts = {key: torch.zeros((), dtype=torch.int64) for key in names if key.endswith(BATCH_COUNT)}
    return {**tensors, **counts}
