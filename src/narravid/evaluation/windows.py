"""Windows of videos to vectors, the beginning of every evaluation that looks at pixels.

Videos are decoded ahead of the network, each distinct item once. What cannot be read costs one item, and what
a cache knows costs no decoding.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    "PlanRule",
    "WindowEncoder",
    "WindowItem",
    "WindowPlan",
    "WindowVectors",
    "encode_windows",
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
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    distinct = list(dict.fromkeys(items))
    judge = ItemJudge(num_expected=len(distinct), max_bad_share=max_bad_share)
    plans = _plan(distinct, rule, decoder=decoder, cache=cache, judge=judge)
    vectors = {} if cache is None else _known(encoder, plans, cache)
    judge.num_good += len(vectors)
    left = {item: plan for item, plan in plans.items() if item not in vectors}
    stream = WindowStream(encoder, left, decoder=decoder, judge=judge)
    with (
        progress_bar("encoding", len(left), unit="items") as bar,
        closing(stream.encoded(batch_size)) as results,
    ):
        for item, found in results:
            bar.advance()
            if found is None:
                continue
            vectors[item] = found
            if cache is not None:
                cache.keep(encoder, item.path, left[item], vectors=found)
    return WindowVectors(
        vectors=tuple(vectors.get(item) for item in items),
        starts=tuple(plans[item].starts if item in vectors else () for item in items),
        reasons={number: judge.reasons[item] for number, item in enumerate(items) if item in judge.reasons},
    )


def _known(
    encoder: WindowEncoder, plans: dict[WindowItem, WindowPlan], cache: EmbeddingCache
) -> dict[WindowItem, FloatArray]:
    found = {item: cache.find(encoder, item.path, plan) for item, plan in plans.items()}
    return {item: vectors for item, vectors in found.items() if vectors is not None}


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
        except DecodeError as error:
            judge.add(item, error.reason)
    return plans
