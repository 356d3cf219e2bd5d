"""Splitting sentences into words, and words into ids: the only place where either is done.

The published systems share one word pattern but differ in the rest: S3D on HowTo100M and TAN lower-case
first, MIL-NCE and VT-TWINS keep the case; TAN keeps unknown words in place as padding, the others drop them.
Each of these is a parameter here, because weights only work with the setting they were trained with.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from narravid.errors import AnnotationError
from narravid.files import read_json, write_atomically, write_json

__all__ = ["PADDING_ID", "VOCABULARY_FILE", "UnknownWords", "Vocabulary", "WordTokenizer", "split_words"]

PADDING_ID = 0
"""The id of no word: fills short sentences, and stands for unknown words that are kept in place."""

VOCABULARY_FILE = "vocabulary.json"
"""Name of the word list in a model folder."""

UnknownWords = Literal["drop", "keep"]
"""What happens to a word outside the vocabulary: left out, or kept in place as `PADDING_ID`."""

_WORD = re.compile(r"[\w']+")


def split_words(text: str, *, lower_case: bool) -> list[str]:
    """The words of a text: runs of letters, digits, underscores and apostrophes.

    Args:
        text: Any text.
        lower_case: Lower-case before splitting.

    Returns:
        The words in order.

    >>> split_words("Don't add the OIL (yet)!", lower_case=True)
    ["don't", 'add', 'the', 'oil', 'yet']
    """
    return _WORD.findall(text.lower() if lower_case else text)


class Vocabulary:
    """An ordered word list; the id of a word is its position plus one, 0 is padding.

    Args:
        words: The words in order. If a word occurs twice its last position counts, as in the published lists,
            and the earlier row of the embedding stays unused.

    Raises:
        ValueError: If the list is empty or an entry is not a string.
    """

    def __init__(self, words: Sequence[str]) -> None:
        if len(words) == 0:
            raise ValueError("a vocabulary needs at least one word, got an empty list")
        wrong = [word for word in words if not isinstance(word, str)]
        if wrong:
            raise ValueError(f"words must be strings, got {wrong[0]!r}")
        self._words = tuple(str(word) for word in words)
        self._ids = {word: position for position, word in enumerate(self._words, start=1)}

    @classmethod
    def from_captions(
        cls,
        texts: Iterable[str],
        *,
        min_count: int = 1,
        max_words: int | None = None,
        lower_case: bool = True,
    ) -> Vocabulary:
        """Build the list from a corpus: the most frequent words first, equally frequent ones by alphabet.

        Args:
            texts: The captions.
            min_count: Words seen less often are left out.
            max_words: Size limit; None for none.
            lower_case: Count lower-cased words.

        Returns:
            The vocabulary; the same texts in any order give the same one.

        Raises:
            ValueError: If a limit is below 1 or no word is left.
        """
        if min_count < 1 or (max_words is not None and max_words < 1):
            raise ValueError(f"min_count and max_words must be at least 1, got {min_count} and {max_words}")
        counts = Counter(word for text in texts for word in split_words(text, lower_case=lower_case))
        frequent = [word for word, count in counts.items() if count >= min_count]
        if not frequent:
            raise ValueError(
                f"no word occurs at least {min_count} times in the captions ({len(counts)} distinct words "
                "seen); check the captions or lower min_count"
            )
        frequent.sort(key=lambda word: (-counts[word], word))
        return cls(frequent[:max_words])

    @property
    def words(self) -> tuple[str, ...]:
        """The words in order."""
        return self._words

    @property
    def num_embeddings(self) -> int:
        """Rows that an embedding table needs: the words and the padding."""
        return len(self._words) + 1

    def __len__(self) -> int:
        return len(self._words)

    def __iter__(self) -> Iterator[str]:
        return iter(self._words)

    def __contains__(self, word: object) -> bool:
        return word in self._ids

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self._words == other._words

    def __hash__(self) -> int:
        return hash(self._words)

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} words: {', '.join(self._words[:3])}, ...)"

    def id_of(self, word: str) -> int | None:
        """The id of a word, None if it is unknown."""
        return self._ids.get(word)

    def encode(
        self, text: str, *, max_words: int, lower_case: bool, unknown: UnknownWords = "drop"
    ) -> torch.Tensor:
        """The ids of a text.

        Args:
            text: One sentence.
            max_words: L; longer sentences are cut (after unknown words are dropped), shorter ones filled
                with 0.
            lower_case: Lower-case before splitting.
            unknown: What to do with unknown words.

        Returns:
            (L,) int64 in [0, len(self)].
        """
        ids = [self._ids.get(word, PADDING_ID) for word in split_words(text, lower_case=lower_case)]
        if unknown == "drop":
            ids = [word_id for word_id in ids if word_id != PADDING_ID]
        kept = ids[:max_words]
        return torch.tensor(kept + [PADDING_ID] * (max_words - len(kept)), dtype=torch.int64)

    def save(self, path: Path) -> None:
        """Write the list atomically: a JSON list for `.json`, an array of strings for `.npy`.

        Raises:
            ValueError: If the file name ends in something else.
        """
        if path.suffix == ".json":
            write_json(path, list(self._words))
        elif path.suffix == ".npy":
            write_atomically(path, self._write_array)
        else:
            raise ValueError(f"a vocabulary is saved as .json or .npy, got {path.name!r}")

    def _write_array(self, path: Path) -> None:
        with path.open("wb") as file:  # a handle, because np.save would add a suffix to a bare name
            np.save(file, np.array(self._words, dtype=np.str_), allow_pickle=False)

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        """Read a list from a `.json` file or a published `.npy` array of strings; pickled content is refused.

        Raises:
            AnnotationError: If the file is not a non-empty list of words.
            ValueError: If the file name ends in neither.
        """
        if path.suffix not in {".json", ".npy"}:
            raise ValueError(f"a vocabulary is a .json or .npy file, got {path.name!r}")
        try:
            words = read_json(path) if path.suffix == ".json" else np.load(path, allow_pickle=False)
        except FileNotFoundError as error:
            raise AnnotationError(path, "there is no such vocabulary file") from error
        except (ValueError, OSError, EOFError) as error:
            raise AnnotationError(path, f"not a readable word list: {error}") from error
        if isinstance(words, np.ndarray):
            if words.dtype.kind != "U" or words.ndim != 1:
                raise AnnotationError(
                    path, f"expected a 1-D array of strings, got {words.ndim}-D of {words.dtype}"
                )
            words = words.tolist()
        if not isinstance(words, list):
            raise AnnotationError(path, f"expected a list of words, got {json.dumps(words)[:60]}")
        try:
            return cls(words)
        except ValueError as error:
            raise AnnotationError(path, str(error)) from error


class WordTokenizer:
    """Turns sentences into fixed-length rows of word ids.

    Args:
        vocabulary: The word list.
        max_words: L, ids per sentence.
        lower_case: Lower-case before splitting.
        unknown: What to do with unknown words.

    Raises:
        ValueError: If `max_words` is below 1 or `unknown` is not a known choice.
    """

    def __init__(
        self, vocabulary: Vocabulary, *, max_words: int, lower_case: bool, unknown: UnknownWords = "drop"
    ) -> None:
        if max_words < 1:
            raise ValueError(f"max_words must be at least 1, got {max_words}")
        if unknown not in ("drop", "keep"):
            raise ValueError(f"unknown must be 'drop' or 'keep', got {unknown!r}")
        self.vocabulary = vocabulary
        self.max_words = max_words
        self.lower_case = lower_case
        self.unknown: UnknownWords = unknown

    def __call__(self, sentences: Sequence[str]) -> torch.Tensor:
        """N sentences to (N, L) int64 ids.

        Raises:
            ValueError: If a single string is given in place of a sequence of sentences.
        """
        if isinstance(sentences, str):
            raise ValueError("give a list of sentences, not one string; wrap it: [sentence]")
        if len(sentences) == 0:
            return torch.zeros((0, self.max_words), dtype=torch.int64)
        encode = self.vocabulary.encode
        rows = [
            encode(s, max_words=self.max_words, lower_case=self.lower_case, unknown=self.unknown)
            for s in sentences
        ]
        return torch.stack(rows)

    def unknown_only(self, sentences: Sequence[str]) -> list[int]:
        """Positions of the sentences without a single known word among those kept.

        All of these get the same embedding, which says nothing about them.
        """
        has_words = (self(sentences) != PADDING_ID).any(dim=1)
        return [index for index, known in enumerate(has_words.tolist()) if not known]
