"""Encoding many windows of many videos without holding all their vectors."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from narravid.evaluation.session import EvaluationSession
from narravid.evaluation.windows import PlanRule, WindowEncoder, WindowItem, encode_windows
from narravid.types import ClipSpec

__all__ = ["encode_in_parts", "window_spec"]

ITEMS_AT_ONCE = 400
"""Items whose vectors are held together: a few hundred MB for videos of ten minutes, a vector a second."""

FloatArray = npt.NDArray[np.float32]


def window_spec(own: ClipSpec, *, num_frames: int | None, fps: float | None) -> ClipSpec:
    """What a window looks like: as the model wants it, but for what is given.

    Args:
        own: What the model wants.
        num_frames: Frames of a window; None as the model says.
        fps: Frames per second; None as the model says.

    Returns:
        The specification, cropped at the centre.

    Raises:
        ValueError: If a number is not positive.
    """
    return replace(
        own,
        num_frames=own.num_frames if num_frames is None else num_frames,
        fps=own.fps if fps is None else fps,
        crop="center",
    )


def encode_in_parts(
    session: EvaluationSession, encoder: WindowEncoder, items: Sequence[WindowItem], *, rule: PlanRule
) -> Iterator[tuple[int, FloatArray | str]]:
    """Encode the windows of items, a few hundred items at a time.

    Args:
        session: The run.
        encoder: The network.
        items: Videos or parts of them.
        rule: Where their windows lie.

    Yields:
        The number of each item with its (S, F) float32, or with why it cannot be read, in order.

    Raises:
        TooManyBadItemsError: If more items than the session allows cannot be read.
    """
    num_parts = math.ceil(len(items) / ITEMS_AT_ONCE)
    for numbers in np.array_split(np.arange(len(items)), max(1, num_parts)):
        found = encode_windows(
            encoder,
            [items[number] for number in numbers],
            rule,
            decoder=session.decoder,
            batch_size=session.batch_size,
            cache=session.cache,
            max_bad_share=session.max_bad_share,
        )
        for place, number in enumerate(numbers.tolist()):
            vectors = found.vectors[place]
            yield number, found.reasons[place] if vectors is None else vectors
