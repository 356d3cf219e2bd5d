"""Embedding clips and the sentences that describe them, the first half of every retrieval evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from narravid.errors import DecodeError
from narravid.evaluation.pairs import RetrievalPair
from narravid.inference.embedder import Embedder
from narravid.progress import ProgressBar, progress_bar
from narravid.types import Clip, Span
from narravid.video.sampling import evaluation_windows

if TYPE_CHECKING:
    from narravid.inference.indexing import ClipDecoder

__all__ = ["EmbeddedPairs", "MissingPair", "embed_pairs"]

SENTENCES_PER_BATCH = 256


@dataclass(frozen=True, slots=True)
class MissingPair:
    """A pair that could not be evaluated.

    Attributes:
        pair: The pair.
        reason: What was wrong with its video.
    """

    pair: RetrievalPair
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedPairs:
    """Embeddings of clips and sentences, and which belongs to which.

    Attributes:
        pairs: The N pairs whose clip could be read, in the order given.
        video: (C, D) float32, one row for each distinct clip: the mean over its windows.
        text: (N, D) float32, one row for each pair.
        clip_of_text: (N,) int64 row of `video` that each sentence describes; 0, 1, 2 ... where no clip has
            two sentences.
        missing: The pairs whose clip could not be read.
    """

    pairs: tuple[RetrievalPair, ...]
    video: npt.NDArray[np.float32]
    text: npt.NDArray[np.float32]
    clip_of_text: npt.NDArray[np.int64]
    missing: tuple[MissingPair, ...]


def embed_pairs(
    embedder: Embedder, pairs: Sequence[RetrievalPair], *, num_windows: int, decoder: ClipDecoder
) -> EmbeddedPairs:
    """Embed the sentences and, over windows spread evenly, the clips of some pairs.

    A clip that several pairs share is embedded once. The mean is taken over window embeddings as the
    embedder gives them: L2-normalised for models that compare by cosine, raw for others.

    Args:
        embedder: The model.
        pairs: Clips and sentences.
        num_windows: Windows per clip, S; fewer are decoded where a clip is too short to hold different ones.
        decoder: Reads the videos.

    Returns:
        The embeddings and the pairs that had to be left out. C and N are 0 if no video could be read.

    Raises:
        ValueError: If `num_windows` is not positive.
    """
    if num_windows < 1:
        raise ValueError(f"num_windows must be at least 1, got {num_windows}")
    moments = list(dict.fromkeys((pair.path, pair.span) for pair in pairs))
    with progress_bar("evaluating", len(moments), unit="clips") as bar:
        reader = _MomentReader(moments, num_windows, embedder, decoder, bar)
        windows = embedder.embed_clips(reader)
    row_of_moment = {
        moment: row for row, moment in enumerate(moment for moment in moments if moment not in reader.reasons)
    }
    kept = tuple(pair for pair in pairs if _moment(pair) in row_of_moment)
    return EmbeddedPairs(
        pairs=kept,
        video=_mean_windows(windows, [row_of_moment.get(moment) for moment in reader.moment_of_window]),
        text=_embed_sentences(embedder, [pair.text for pair in kept]),
        clip_of_text=np.array([row_of_moment[_moment(pair)] for pair in kept], dtype=np.int64),
        missing=tuple(
            MissingPair(pair, reader.reasons[_moment(pair)])
            for pair in pairs
            if _moment(pair) in reader.reasons
        ),
    )


Moment = tuple[str, Span | None]


def _moment(pair: RetrievalPair) -> Moment:
    return pair.path, pair.span


class _MomentReader:
    """Iterates over the windows of all moments and remembers which is whose and what failed."""

    def __init__(
        self,
        moments: Sequence[Moment],
        num_windows: int,
        embedder: Embedder,
        decoder: ClipDecoder,
        bar: ProgressBar,
    ) -> None:
        self._moments = moments
        self._num_windows = num_windows
        self._spec = embedder.clip_spec
        self._decoder = decoder
        self._bar = bar
        self.moment_of_window: list[Moment] = []
        self.reasons: dict[Moment, str] = {}

    def __iter__(self) -> Iterator[Clip]:
        for moment in self._moments:
            try:
                for clip in self._read(moment):
                    self.moment_of_window.append(moment)
                    yield clip
            except DecodeError as error:
                self.reasons[moment] = error.reason
            self._bar.advance()

    def _read(self, moment: Moment) -> Iterator[Clip]:
        path, span = moment
        if span is None:
            span = Span(0.0, self._decoder.probe(path).duration_seconds)
        starts = evaluation_windows(span, self._spec.duration_seconds, self._num_windows)
        # A clip with no room for different windows gives the same start again and again: the mean stays.
        yield from self._decoder.clips(path, list(dict.fromkeys(starts)), self._spec)


def _mean_windows(windows: npt.NDArray[np.float32], rows: Sequence[int | None]) -> npt.NDArray[np.float32]:
    """Mean of the windows of each row; those without a row, of a clip that failed half-way, are dropped."""
    used = np.array([row is not None for row in rows], dtype=bool)
    places = np.array([row for row in rows if row is not None], dtype=np.int64)
    num_rows = int(places.max(initial=-1)) + 1
    sums = np.zeros((num_rows, windows.shape[1]))
    np.add.at(sums, places, windows[used])
    counts = np.bincount(places, minlength=num_rows)
    return (sums / counts[:, None]).astype(np.float32)


def _embed_sentences(embedder: Embedder, sentences: Sequence[str]) -> npt.NDArray[np.float32]:
    starts = range(0, max(1, len(sentences)), SENTENCES_PER_BATCH)
    return np.concatenate(
        [embedder.embed_text(sentences[start : start + SENTENCES_PER_BATCH]) for start in starts]
    )
