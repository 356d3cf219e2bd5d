"""Windows of videos to vectors, the beginning of every evaluation that looks at pixels.

Videos are decoded ahead of the network, each distinct item once. What cannot be read costs one item, and what
a cache knows costs no decoding.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from narravid.errors import DecodeError
from narravid.evaluation.window_plans import (
    PlanRule,
    WindowEncoder,
    WindowItem,
    WindowPlan,
    spread_windows,
)
from narravid.evaluation.window_stream import ItemJudge, WindowStream
from narravid.progress import progress_bar
from narravid.types import VideoInfo
from narravid.video.watched import WatchedDecoder

if TYPE_CHECKING:
    from narravid.evaluation.embedding_cache import EmbeddingCache

__all__ = [
    "EncodedItem",
    "PlanRule",
    "WindowEncoder",
    "WindowItem",
    "WindowPlan",
    "WindowVectors",
    "encode_windows",
    "encoded_items",
    "spread_windows",
]

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class WindowVectors:
    """What came of some items, in their order.

    Attributes:
        vectors: (S, F) float32 of each item, as the encoder gives them; None for one that cannot be read.
        starts: The S starts of its windows, in seconds; none for one that cannot be read.
        reasons: What is wrong with each that cannot be read, by its number.
    """

    vectors: tuple[FloatArray | None, ...]
    starts: tuple[tuple[float, ...], ...]
    reasons: dict[int, str]


@dataclass(frozen=True, slots=True, eq=False)
class EncodedItem:
    """What came of one item.

    Attributes:
        item: The item.
        vectors: (S, F) float32, as the encoder gives them; None if it cannot be read.
        starts: The S starts of its windows, in seconds; none if it cannot be read.
        reason: What is wrong with it; empty where nothing is.
    """

    item: WindowItem
    vectors: FloatArray | None
    starts: tuple[float, ...] = ()
    reason: str = ""


def encode_windows(
    encoder: WindowEncoder,
    items: Sequence[WindowItem],
    rule: PlanRule,
    *,
    decoder: WatchedDecoder,
    batch_size: int = 8,
    cache: EmbeddingCache | None = None,
    max_bad_share: float = 1.0,
) -> WindowVectors:
    """Decode windows of videos and encode them, distinct items once.

    A forward pass may hold windows of several videos, which changes a vector in its last digits at most.

    Args:
        encoder: The network. To be cached it must say what it is, as a `ClipEncoder` does.
        items: Videos or parts of them; one that is there twice is encoded once.
        rule: Where their windows lie.
        decoder: Reads the videos, ahead of the network.
        batch_size: Windows per forward pass.
        cache: Keeps the vectors; what it knows is not decoded. None keeps nothing.
        max_bad_share: Share of the distinct items that may be bad; 1 never stops.

    Returns:
        The vectors of each item, or why there are none.

    Raises:
        TooManyBadItemsError: If more items cannot be read.
        NarravidError: If the network gives NaN or infinity.
        ValueError: If `batch_size` is not positive.
    """
    found: dict[WindowItem, EncodedItem] = {}
    stream = encoded_items(
        encoder,
        items,
        rule,
        decoder=decoder,
        batch_size=batch_size,
        cache=cache,
        max_bad_share=max_bad_share,
    )
    with closing(stream) as results:
        found.update((one.item, one) for one in results)
    return WindowVectors(
        vectors=tuple(found[item].vectors for item in items),
        starts=tuple(found[item].starts for item in items),
        reasons={
            number: found[item].reason for number, item in enumerate(items) if found[item].vectors is None
        },
    )


def encoded_items(
    encoder: WindowEncoder,
    items: Iterable[WindowItem],
    rule: PlanRule,
    *,
    decoder: WatchedDecoder,
    batch_size: int = 8,
    cache: EmbeddingCache | None = None,
    max_bad_share: float = 1.0,
) -> Generator[EncodedItem]:
    """The same item by item, each as soon as it is encoded: vectors that nobody keeps are not held.

    Args:
        encoder: The network.
        items: Videos or parts of them; one that is there twice is encoded, and comes, once.
        rule: Where their windows lie.
        decoder: Reads the videos, ahead of the network.
        batch_size: Windows per forward pass.
        cache: Keeps the vectors; what it knows is not decoded. None keeps nothing.
        max_bad_share: Share of the distinct items that may be bad; 1 never stops.

    Yields:
        Each distinct item: first those that cannot be opened, then those that the cache knows, then the
        others about in their order.

    Raises:
        TooManyBadItemsError: If more items cannot be read.
        NarravidError: If the network gives NaN or infinity.
        ValueError: If `batch_size` is not positive.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    distinct = list(dict.fromkeys(items))
    judge = ItemJudge(num_expected=len(distinct), max_bad_share=max_bad_share)
    plans = _plan(distinct, rule, decoder=decoder, cache=cache, judge=judge)
    yield from (EncodedItem(item, None, reason=reason) for item, reason in judge.reasons.items())
    judge.begin_sweep()
    left = {}
    for item, plan in plans.items():
        known = None if cache is None else cache.find(encoder, item.path, plan)
        if known is None:
            left[item] = plan
            continue
        judge.num_good += 1
        yield EncodedItem(item, known, plan.starts)
    stream = WindowStream(encoder, left, decoder=decoder, judge=judge)
    with (
        progress_bar("encoding", len(left), unit="items") as bar,
        closing(stream.encoded(batch_size)) as results,
    ):
        for item, vectors in results:
            bar.advance()
            if vectors is None:
                yield EncodedItem(item, None, reason=judge.reasons[item])
                continue
            if cache is not None:
                cache.keep(encoder, item.path, left[item], vectors=vectors)
            yield EncodedItem(item, vectors, left[item].starts)


def _plan(
    items: Sequence[WindowItem],
    rule: PlanRule,
    *,
    decoder: WatchedDecoder,
    cache: EmbeddingCache | None,
    judge: ItemJudge,
) -> dict[WindowItem, WindowPlan]:
    """The windows of each item whose video can be opened."""
    found: dict[str, VideoInfo | DecodeError] = {}
    paths = dict.fromkeys(item.path for item in items)
    if cache is not None:
        found.update({path: known for path in paths if (known := cache.find_video(path)) is not None})
    unknown = [path for path in paths if path not in found]
    for path, info in decoder.map_jobs(unknown, decoder.probe):
        found[path] = info
        if cache is not None and not isinstance(info, DecodeError):
            cache.keep_video(path, info)
    plans = {}
    for item in items:
        info = found[item.path]
        try:
            if isinstance(info, DecodeError):
                raise info
            plans[item] = rule(info, item.span)
            judge.num_good += 1
        except DecodeError as error:
            judge.add(item, error.reason)
    return plans
