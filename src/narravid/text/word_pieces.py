"""BERT word pieces, through the `tokenizers` library (the extra `text`).

Devlin et al., NAACL 2019, arXiv 1810.04805, section 3; lower-cased, accents stripped. The vocabulary is the
published `vocab.txt` of `bert-base-uncased`, one piece a line, which `distilbert-base-uncased` shares.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from narravid.errors import AnnotationError
from narravid.extras import import_extra
from narravid.files import write_atomically

__all__ = ["PIECES_FILE", "WordPieceTokenizer", "WordPieces"]

PIECES_FILE = "vocab.txt"
"""Name of the list of pieces in a model folder, as in the published one."""

PADDING, UNKNOWN, START, END = "[PAD]", "[UNK]", "[CLS]", "[SEP]"
SPECIAL_PIECES = (PADDING, UNKNOWN, START, END, "[MASK]")
"""Pieces that stand for no text; a sentence that spells one out is read as having it, as published."""

PADDING_ID = 0
MAX_WORD_CHARACTERS = 100
"""Longer words become one unknown piece, as published."""


class WordPieces:
    """An ordered list of word pieces; the id of a piece is its position.

    Args:
        pieces: The pieces in order; `[PAD]` first, `[UNK]`, `[CLS]` and `[SEP]` anywhere.

    Raises:
        ValueError: If a special piece is not at its place or a piece occurs twice.
    """

    def __init__(self, pieces: Sequence[str]) -> None:
        self._pieces = tuple(pieces)
        self._ids = {piece: position for position, piece in enumerate(self._pieces)}
        missing = [piece for piece in (PADDING, UNKNOWN, START, END) if piece not in self._ids]
        if missing:
            raise ValueError(f"a list of word pieces needs {', '.join(missing)}")
        if self._pieces[PADDING_ID] != PADDING:
            raise ValueError(f"a list of word pieces begins with {PADDING}, got {self._pieces[PADDING_ID]!r}")
        if len(self._ids) < len(self._pieces):
            twice = next(piece for place, piece in enumerate(self._pieces) if self._ids[piece] != place)
            raise ValueError(f"the word piece {twice!r} occurs twice")

    @classmethod
    def load(cls, path: Path) -> WordPieces:
        """Read a list with one piece a line, UTF-8.

        Raises:
            AnnotationError: If the file is missing, unreadable or no list of word pieces.
        """
        try:
            text = path.read_bytes().decode("utf-8")
        except FileNotFoundError as error:
            raise AnnotationError(path, "there is no such list of word pieces") from error
        except (OSError, UnicodeDecodeError) as error:
            raise AnnotationError(path, f"not a readable list of word pieces: {error}") from error
        # Not splitlines(), which would also split at separators that are pieces themselves.
        lines = text.removesuffix("\n").split("\n")
        try:
            return cls([line.removesuffix("\r") for line in lines])
        except ValueError as error:
            raise AnnotationError(path, str(error)) from error

    @classmethod
    def from_texts(cls, texts: Iterable[str], *, min_count: int = 1) -> WordPieces:
        """The whole words of some texts as pieces, the most frequent first: for data sets of few words.

        Args:
            texts: What the words are taken from, split and lower-cased as `WordPieceTokenizer` does.
            min_count: Words that occur less often are left out; they become the unknown piece.

        Returns:
            The special pieces, then the words; of equally frequent ones in the order of their letters.

        Raises:
            MissingExtraError: If `tokenizers` is not installed.
        """
        splitter = _build(cls(SPECIAL_PIECES))
        counts: Counter[str] = Counter()
        for text in texts:
            normal = splitter.normalizer.normalize_str(text)
            counts.update(word for word, _ in splitter.pre_tokenizer.pre_tokenize_str(normal))
        words = [word for word, count in counts.items() if count >= min_count and word not in SPECIAL_PIECES]
        return cls([*SPECIAL_PIECES, *sorted(words, key=lambda word: (-counts[word], word))])

    def save(self, path: Path) -> None:
        """Write the list atomically, one piece a line, UTF-8."""
        content = "".join(f"{piece}\n" for piece in self._pieces).encode()
        write_atomically(path, partial(_write_bytes, content=content))

    @property
    def pieces(self) -> tuple[str, ...]:
        """The pieces in order."""
        return self._pieces

    def __len__(self) -> int:
        return len(self._pieces)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WordPieces) and self._pieces == other._pieces

    def __hash__(self) -> int:
        return hash(self._pieces)

    def __repr__(self) -> str:
        return f"WordPieces({len(self)} pieces)"

    def id_of(self, piece: str) -> int | None:
        """The id of a piece, None if it is unknown."""
        return self._ids.get(piece)

    def ids(self) -> dict[str, int]:
        """A copy of the table from piece to id."""
        return dict(self._ids)


class WordPieceTokenizer:
    """Turns sentences into rows of piece ids of one length: start, pieces, end, then 0.

    A sentence that is too long loses its last pieces and with them the end, which published CPD does too; it
    is cut, not marked.

    Args:
        pieces: The list of pieces.
        max_tokens: L, ids per sentence, start and end included.

    Raises:
        ValueError: If `max_tokens` is below 1.
        MissingExtraError: If `tokenizers` is not installed.
    """

    def __init__(self, pieces: WordPieces, *, max_tokens: int = 64) -> None:
        if max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1, got {max_tokens}")
        self.pieces = pieces
        self.max_tokens = max_tokens
        self._tokenizer = _build(pieces)

    def __call__(self, sentences: Sequence[str]) -> torch.Tensor:
        """N sentences to (N, L) int64 ids.

        Raises:
            ValueError: If a single string is given in place of a sequence of sentences.
        """
        if isinstance(sentences, str):
            raise ValueError("give a list of sentences, not one string; wrap it: [sentence]")
        tokens = torch.full((len(sentences), self.max_tokens), PADDING_ID, dtype=torch.int64)
        for row, encoding in zip(tokens, self._tokenizer.encode_batch(list(sentences)), strict=True):
            ids = torch.tensor(encoding.ids[: self.max_tokens])
            row[: len(ids)] = ids
        return tokens


def _build(pieces: WordPieces) -> Any:  # noqa: ANN401 - a class of an optional library
    library = import_extra("tokenizers", extra="text", feature="reading word pieces")
    model = library.models.WordPiece(
        pieces.ids(), unk_token=UNKNOWN, max_input_chars_per_word=MAX_WORD_CHARACTERS
    )
    tokenizer = library.Tokenizer(model)
    tokenizer.normalizer = library.normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = library.pre_tokenizers.BertPreTokenizer()
    ends = [(piece, pieces.id_of(piece)) for piece in (END, START)]
    tokenizer.post_processor = library.processors.BertProcessing(*ends)
    tokenizer.add_special_tokens([piece for piece in SPECIAL_PIECES if pieces.id_of(piece) is not None])
    return tokenizer


def _write_bytes(path: Path, *, content: bytes) -> None:
    path.write_bytes(content)
