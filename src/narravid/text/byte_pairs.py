"""CLIP's byte-pair tokenizer: sentences to ids as ViCLIP reads them.

The pairs come from the file that CLIP published, `bpe_simple_vocab_16e6.txt.gz`; merging is done by the
`tokenizers` library.
"""

from __future__ import annotations

import gzip
import html
import zlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from narravid.errors import AnnotationError
from narravid.extras import import_extra
from narravid.files import write_atomically

__all__ = ["MERGES_FILE", "BytePairTokenizer"]

MERGES_FILE = "bpe_simple_vocab_16e6.txt.gz"
"""Name of the pairs as CLIP published them, and in a model folder."""

NUM_MERGES = 48894
"""Pairs of the published file that count; the rest of it is not used."""

MAX_BYTES = 16_000_000
"""Of the unpacked file, five times CLIP's: a small packed one of a stranger could fill the memory."""

END_OF_WORD = "</w>"
PAIR_RULE = "two symbols and a space, each a byte or what an earlier pair makes"
START_TEXT, END_TEXT = "<|startoftext|>", "<|endoftext|>"

PIECES = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"  # CLIP's
)
"""What stands by itself before pairs are merged: endings, runs of letters, single digits, runs of signs."""


class BytePairTokenizer:
    """Sentences to byte-pair ids.

    Radford et al., Learning Transferable Visual Models From Natural Language Supervision, ICML 2021, arXiv
    2103.00020, section 2.4. Text is repaired (ftfy), freed of HTML entities, lower-cased, split, and its
    bytes merged by the published pairs.

    Args:
        merges: The pairs in their order, each two symbols joined by a space.
        context_length: L, ids per sentence with start and end; ViCLIP reads 32.

    Raises:
        ValueError: If context_length is below 3, there are no pairs, or one is not of two known symbols.
        MissingExtraError: At the first use, if `tokenizers` or `ftfy` is not installed.
    """

    def __init__(self, merges: Sequence[str], *, context_length: int = 32) -> None:
        if context_length < 3:
            raise ValueError(
                f"context_length must be at least 3 (start, one piece, end), got {context_length}"
            )
        if not merges:
            raise ValueError("a byte-pair tokenizer needs pairs, got none")
        wrong = _first_wrong(merges)
        if wrong is not None:
            raise ValueError(f"merges[{wrong}] must be {PAIR_RULE}; got {merges[wrong]!r}")
        self.merges = tuple(merges)
        self.context_length = context_length

    @classmethod
    def load(cls, path: Path, *, context_length: int = 32) -> BytePairTokenizer:
        """Read the published file of pairs.

        Args:
            path: `bpe_simple_vocab_16e6.txt.gz`, or the same unpacked.
            context_length: As for the class.

        Returns:
            The tokenizer.

        Raises:
            AnnotationError: If the file is missing, broken or holds no such pairs; names the line.
            ValueError: If context_length is below 3.
        """
        try:
            with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
            if len(content) > MAX_BYTES:
                raise AnnotationError(
                    path, f"more than {MAX_BYTES:,} bytes unpacked; CLIP's pairs take 3.2 million"
                )
            text = content.decode()
        except FileNotFoundError as error:
            raise AnnotationError(
                path, f"there is no such file; CLIP publishes it as {MERGES_FILE}"
            ) from error
        except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
            raise AnnotationError(path, f"not a readable file of byte pairs: {error}") from error
        merges = text.splitlines()[1 : NUM_MERGES + 1]  # the first line says the version
        if not merges:
            raise AnnotationError(path, "expected a line of its version and byte pairs, found no pairs")
        wrong = _first_wrong(merges)
        if wrong is not None:
            raise AnnotationError(path, f"expected {PAIR_RULE}, found {merges[wrong]!r}", line=wrong + 2)
        return cls(merges, context_length=context_length)

    def save(self, path: Path) -> None:
        """Write the pairs in the published format; packed if the name ends in `.gz`."""
        text = "\n".join(["#version: 0.2", *self.merges, ""]).encode()
        packed = gzip.compress(text, mtime=0) if path.suffix == ".gz" else text

        def write(temporary: Path) -> None:
            temporary.write_bytes(packed)

        write_atomically(path, write)

    @property
    def start_id(self) -> int:
        """The id before the first piece."""
        return self.num_ids - 2

    @property
    def end_id(self) -> int:
        """The id after the last piece, the largest there is."""
        return self.num_ids - 1

    @property
    def num_ids(self) -> int:
        """How many ids there are: each byte alone and as end of a word, each pair, start and end."""
        return 2 * 256 + len(self.merges) + 2

    def __call__(self, sentences: Sequence[str]) -> torch.Tensor:
        """N sentences to (N, L) int64 ids: start, pieces, end, zeros.

        A sentence too long is cut to L ids, the last of which becomes the end. Zero is also the id of "!", as
        in CLIP: what stands behind the end is never read.

        Raises:
            ValueError: If a single string is given in place of a sequence of sentences.
        """
        if isinstance(sentences, str):
            raise ValueError("give a list of sentences, not one string; wrap it: [sentence]")
        ids = torch.zeros((len(sentences), self.context_length), dtype=torch.int64)
        for row, sentence in zip(ids, sentences, strict=True):
            pieces = self._merger.encode(self._cleaned(sentence)).ids[: self.context_length - 2]
            row[: len(pieces) + 2] = torch.tensor([self.start_id, *pieces, self.end_id])
        return ids

    @cached_property
    def _merger(self) -> Any:  # noqa: ANN401 - a class of an optional library
        tokenizers = import_extra("tokenizers", extra="text", feature="CLIP's byte-pair tokenizer")
        alphabet = _byte_symbols()
        symbols = [
            *alphabet,
            *(symbol + END_OF_WORD for symbol in alphabet),
            *(pair.replace(" ", "") for pair in self.merges),
            START_TEXT,
            END_TEXT,
        ]
        merger = tokenizers.Tokenizer(
            tokenizers.models.BPE(
                vocab={symbol: number for number, symbol in enumerate(symbols)},
                merges=[tuple(pair.split(" ")) for pair in self.merges],
                end_of_word_suffix=END_OF_WORD,
            )
        )
        merger.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
            [
                tokenizers.pre_tokenizers.Split(tokenizers.Regex(PIECES), "removed", invert=True),
                tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        merger.add_special_tokens([START_TEXT, END_TEXT])  # also where a sentence spells them, as published
        return merger

    def _cleaned(self, sentence: str) -> str:
        ftfy = import_extra("ftfy", extra="text", feature="CLIP's byte-pair tokenizer")
        repaired: str = ftfy.fix_text(sentence)
        plain = html.unescape(html.unescape(repaired))  # twice, as published: "&amp;lt;" becomes "<"
        return " ".join(plain.split()).lower()


def _first_wrong(merges: Sequence[str]) -> int | None:
    """Position of the first pair that is none, or of symbols that no earlier pair makes; None if all are."""
    alphabet = _byte_symbols()
    known = {*alphabet, *(symbol + END_OF_WORD for symbol in alphabet)}
    for position, pair in enumerate(merges):
        symbols = pair.split(" ")
        if len(symbols) != 2 or not known.issuperset(symbols):
            return position
        known.add("".join(symbols))
    return None


def _byte_symbols() -> list[str]:
    """The printable sign that stands for each byte, in the published order: bytes that print come first."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + position) for position in range(len(others))]
