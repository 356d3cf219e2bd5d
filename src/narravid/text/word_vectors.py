"""Word vectors: tables published beside a word list, and the binary files of word2vec."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from narravid.errors import CheckpointError
from narravid.text.words import Vocabulary

__all__ = ["WordVectors", "load_word_vectors", "read_word2vec"]

CHUNK_BYTES = 1 << 22
MAX_WORD_BYTES = 4096
"""Without a space in so many bytes there is no word: the file is none of word2vec's."""

MAX_WORD_DIM = 100_000


@dataclass(frozen=True)
class WordVectors:
    """Words and their vectors.

    Attributes:
        vocabulary: The words.
        table: (number of words + 1, word_dim) float32, the vector of each id; row 0 is padding.

    Raises:
        ValueError: If the two differ in size or the table is no matrix of float32.
    """

    vocabulary: Vocabulary
    table: torch.Tensor

    def __post_init__(self) -> None:
        if self.table.ndim != 2 or self.table.dtype != torch.float32:
            raise ValueError(f"table must be 2-D float32, got {tuple(self.table.shape)} {self.table.dtype}")
        if len(self.table) != self.vocabulary.num_embeddings:
            raise ValueError(
                f"table must have {self.vocabulary.num_embeddings} rows, one per word and one for padding, "
                f"got {len(self.table)}"
            )


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
    return _finite(path, table.float())


def read_word2vec(path: Path, words: Container[str] | None = None) -> WordVectors:
    """Read word vectors in the binary format of word2vec, such as `GoogleNews-vectors-negative300.bin`.

    The file begins with a line `NUMBER_OF_WORDS DIMENSION`; then come, for each word, its UTF-8 bytes, a
    space and its vector in little-endian float32, perhaps with a line end behind it. Vectors of words that
    are not wanted are passed over and never held.

    Args:
        path: The file; one that ends in `.gz` is unpacked on the way.
        words: The only words to keep, such as a `Vocabulary`; None for all, which are three million (3.6 GB)
            in the GoogleNews file.

    Returns:
        The words in the order of the file, and their vectors; row 0, padding, is zeros. Where a word comes
        twice, its first vector counts.

    Raises:
        CheckpointError: If the file cannot be read, is cut short or no such file, or has none of the words.
    """
    kept: dict[str, None] = {}
    rows = bytearray()
    dim = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
            num_words, dim = _header(stream)
            rows += bytes(4 * dim)
            for raw, row in _entries(stream, num_words, row_bytes=4 * dim):
                word = raw.decode()
                if word not in kept and (words is None or word in words):
                    kept[word] = None
                    rows += row
    except FileNotFoundError as error:
        raise CheckpointError(path, "no such file of word vectors") from error
    except (OSError, EOFError, zlib.error, ValueError) as error:  # a UnicodeDecodeError is a ValueError
        raise CheckpointError(path, f"not a whole file of word2vec vectors: {error}") from error
    if not kept:
        raise CheckpointError(path, "it has a vector for none of the words that are wanted")
    table = torch.from_numpy(np.frombuffer(rows, dtype="<f4").reshape(-1, dim).astype(np.float32, copy=False))
    return WordVectors(Vocabulary(list(kept)), _finite(path, table))


def _header(stream: BinaryIO | gzip.GzipFile) -> tuple[int, int]:
    line = stream.readline(64)
    fields = line.split()
    if not line.endswith(b"\n") or len(fields) != 2 or not all(field.isdigit() for field in fields):
        raise ValueError(f"expected a first line 'NUMBER_OF_WORDS DIMENSION', got {line[:40]!r}")
    num_words, dim = (int(field) for field in fields)
    if num_words < 1 or not 1 <= dim <= MAX_WORD_DIM:
        raise ValueError(f"its first line says {num_words} words of dimension {dim}")
    return num_words, dim


def _entries(
    stream: BinaryIO | gzip.GzipFile, num_words: int, *, row_bytes: int
) -> Iterator[tuple[bytes, bytes]]:
    """The bytes of each word and of its vector; makes sure that the file ends with the last one."""
    buffer, position = b"", 0
    for number in range(num_words):
        space = buffer.find(b" ", position)
        while space < 0 or len(buffer) - space - 1 < row_bytes:
            if space < 0 and len(buffer) - position > MAX_WORD_BYTES:
                raise ValueError(f"word {number + 1} of {num_words} has no end")
            more = stream.read(CHUNK_BYTES)
            if not more:
                raise EOFError(f"it ends within word {number + 1} of {num_words}")
            buffer, position = buffer[position:] + more, 0
            space = buffer.find(b" ")
        end = space + 1 + row_bytes
        word = buffer[position:space].lstrip(b"\n")
        if not word:
            raise ValueError(f"word {number + 1} of {num_words} is empty")
        yield word, buffer[space + 1 : end]
        position = end
    if (buffer[position:] + stream.read(CHUNK_BYTES)).strip(b"\n"):
        raise ValueError(f"it goes on after its {num_words} words")


def _finite(path: Path, table: torch.Tensor) -> torch.Tensor:
    if not bool(torch.isfinite(table).all()):
        raise CheckpointError(path, "word vectors hold NaN or infinity")
    return table


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
    whole = table.layout == torch.strided and not table.is_quantized and not table.is_meta
    if not whole or table.nbytes > table.untyped_storage().nbytes():  # a few bytes may claim any size
        raise CheckpointError(path, f"not all numbers of its {tuple(table.shape)} tensor are in the file")
    return table
