"""Word vectors from a file, as published beside a vocabulary."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from narravid.errors import CheckpointError
from narravid.text.words import Vocabulary

__all__ = ["load_word_vectors"]


def load_word_vectors(path: Path, vocabulary: Vocabulary) -> torch.Tensor:
    """Read a table of word vectors.

    Args:
        path: A `.npy` array, or a tensor saved by PyTorch (`.pth`, `.pt`) such as MIL-NCE's `word2vec.pth`.
        vocabulary: The words it belongs to.

    Returns:
        (number of words + 1, word_dim) float32, row 0 for padding; a row of zeros is put there when the file
        has one row per word only.

    Raises:
        CheckpointError: If the file cannot be read, or is no such table for this vocabulary.
    """
    table = _read(path)
    if table.ndim != 2 or not table.is_floating_point():
        raise CheckpointError(
            path, f"word vectors are a 2-D table of floats, got {tuple(table.shape)} {table.dtype}"
        )
    if len(table) == len(vocabulary):
        table = torch.cat([table.new_zeros((1, table.shape[1])), table])
    if len(table) != vocabulary.num_embeddings:
        raise CheckpointError(
            path,
            f"{len(table)} word vectors do not fit a vocabulary of {len(vocabulary)} words"
            f" (one row each, or one more for padding in front)",
        )
    if not bool(torch.isfinite(table).all()):
        raise CheckpointError(path, "word vectors hold NaN or infinity")
    return table.float()


def _read(path: Path) -> torch.Tensor:
    try:
        if path.suffix == ".npy":
            return torch.from_numpy(np.load(path, allow_pickle=False))
        table = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(path, "no such file of word vectors") from error
    except Exception as error:  # arbitrary bytes make the readers fail in arbitrary ways
        raise CheckpointError(path, f"not a file of word vectors: {error}".split("\n")[0]) from error
    if not isinstance(table, torch.Tensor):
        raise CheckpointError(path, f"word vectors are one tensor, got {type(table).__name__}")
    return table
