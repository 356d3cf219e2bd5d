"""Embedding clips and the sentences that describe them, the first half of every retrieval evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from narravid.bad_items import BadItems
from narravid.errors import DecodeError
from narravid.evaluation.pairs import RetrievalPair
from narravid.inference.embedder import Embedder
from narravid.progress import progress_bar
from narravid.types import Clip, ClipSpec, Span
from narravid.video.sampling import evaluation_windows
from narravid.video.watched import WatchedDecoder

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
    embedder: Embedder,
    pairs: Sequence[RetrievalPair],
    *,
    num_windows: int,
    decoder: WatchedDecoder,
    max_bad_share: float = 1.0,
) -> EmbeddedPairs:
    """Embed the sentences and, over windows spread evenly, the clips of some pairs.

    A clip that several pairs share is embedded once. The mean is taken over window embeddings as the
    embedder gives them: L2-normalised for models that compare by cosine, raw for others. Frames are cropped
    at the centre, also for a model that was trained on random crops.

    Args:
        embedder: The model.
        pairs: Clips and sentences.
        num_windows: Windows per clip, S; fewer are decoded where a clip is too short to hold different ones.
        decoder: Reads the videos, ahead of the model.
        max_bad_share: Share of the clips that may be bad; 1 never stops.

    Returns:
        The embeddings and the pairs that had to be left out. C and N are 0 if no video could be read.

    Raises:
        TooManyBadItemsError: If more clips cannot be read.
        ValueError: If `num_windows` is not positive.
    """
    if num_windows < 1:
        raise ValueError(f"num_windows must be at least 1, got {num_windows}")
    moments = list(dict.fromkeys(map(_moment, pairs)))
    judge = _Judge(num_expected=len(moments), max_bad_share=max_bad_share)
    reader = _MomentReader(embedder.clip_spec, num_windows, decoder=decoder, judge=judge)
    windows = embedder.embed_clips(reader.read(moments))
    reasons = judge.reasons
    readable = [moment for moment in moments if moment not in reasons]
    row_of_moment = {moment: row for row, moment in enumerate(readable)}
    kept = tuple(pair for pair in pairs if _moment(pair) in row_of_moment)
    rows = np.array([row_of_moment[moment] for moment in reader.moment_of_window], dtype=np.int64)
    return EmbeddedPairs(
        pairs=kept,
        video=_mean_by_row(windows, rows, num_rows=len(readable)),
        text=_embed_sentences(embedder, [pair.text for pair in kept]),
        clip_of_text=np.array([row_of_moment[_moment(pair)] for pair in kept], dtype=np.int64),
        missing=tuple(
            MissingPair(pair, reasons[_moment(pair)]) for pair in pairs if _moment(pair) in reasons
        ),
    )


Moment = tuple[str, Span | None]


def _moment(pair: RetrievalPair) -> Moment:
    return pair.path, pair.span


class _Judge:
    """Remembers which moments are bad, and stops when they are too many."""

    def __init__(self, *, num_expected: int, max_bad_share: float) -> None:
        self._num_expected = num_expected
        self._max_bad_share = max_bad_share
        self._bad = BadItems()
        self.num_good = 0
        self.reasons: dict[Moment, str] = {}

    def add(self, moment: Moment, reason: str) -> None:
        """Note a bad one.

        Raises:
            TooManyBadItemsError: If it is one too many.
        """
        self.reasons[moment] = reason
        self._bad.add(moment[0], reason)
        num_met = self.num_good + len(self.reasons)
        self._bad.check_share(num_met, num_expected=self._num_expected, max_share=self._max_bad_share)


class _MomentReader:
    """Reads the windows of moments and remembers which is whose."""

    def __init__(self, spec: ClipSpec, num_windows: int, *, decoder: WatchedDecoder, judge: _Judge) -> None:
        self._spec = replace(spec, crop="center")
        self._num_windows = num_windows
        self._decoder = decoder
        self._judge = judge
        self.moment_of_window: list[Moment] = []

    def read(self, moments: Sequence[Moment]) -> Iterator[Clip]:
        """The windows of all moments that can be read, moment by moment."""
        plan = self._plan(moments)
        jobs = [(path, starts) for (path, _), starts in plan.items()]
        with progress_bar("evaluating", len(jobs), unit="clips") as bar:
            results = self._decoder.map(jobs, self._spec)
            for moment, (_, result) in zip(plan, results, strict=True):
                if isinstance(result, DecodeError):
                    self._judge.add(moment, result.reason)
                else:
                    self._judge.num_good += 1
                    self.moment_of_window += [moment] * len(result)
                    yield from result
                bar.advance()

    def _plan(self, moments: Sequence[Moment]) -> dict[Moment, list[float]]:
        """Where the windows of each moment start, in seconds."""
        plan = {}
        for moment in moments:
            try:
                span = moment[1] or Span(0.0, self._decoder.probe(moment[0]).duration_seconds)
            except DecodeError as error:
                self._judge.add(moment, error.reason)
                continue
            starts = evaluation_windows(span, self._spec.duration_seconds, self._num_windows)
            # A moment with no room for different windows has one start again and again: the mean stays.
            plan[moment] = list(dict.fromkeys(starts))
        return plan


def _mean_by_row(
    values: npt.NDArray[np.float32], rows: npt.NDArray[np.int64], *, num_rows: int
) -> npt.NDArray[np.float32]:
    sums = np.zeros((num_rows, values.shape[1]))
    np.add.at(sums, rows, values)
    counts = np.bincount(rows, minlength=num_rows)
    return (sums / counts[:, None]).astype(np.float32)


def _embed_sentences(embedder: Embedder, sentences: Sequence[str]) -> npt.NDArray[np.float32]:
    starts = range(0, max(1, len(sentences)), SENTENCES_PER_BATCH)
    return np.concatenate(
        [embedder.embed_text(sentences[start : start + SENTENCES_PER_BATCH]) for start in starts]
    )
