"""Encoding many windows of many videos without holding all their vectors."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from narravid.evaluation.session import EvaluationSession
from narravid.evaluation.windows import PlanRule, WindowEncoder, WindowItem, encoded_items
from narravid.types import ClipSpec

__all__ = ["encode_each", "window_spec"]

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


def encode_each(
    session: EvaluationSession, encoder: WindowEncoder, items: Sequence[WindowItem], *, rule: PlanRule
) -> Generator[tuple[int, FloatArray | str]]:
    """Encode the windows of items and hand them out one by one, none of them held.

    Args:
        session: The run.
        encoder: The network.
        items: Videos or parts of them; one that is there several times is encoded once.
        rule: Where their windows lie.

    Yields:
        The number of each item, in any order, with its (S, F) float32, or with why it cannot be read.

    Raises:
        TooManyBadItemsError: If more of the distinct items than the session allows cannot be read.
    """
    numbers: dict[WindowItem, list[int]] = {}
    for number, item in enumerate(items):
        numbers.setdefault(item, []).append(number)
    stream = encoded_items(
        encoder,
        items,
        rule,
        decoder=session.decoder,
        batch_size=session.batch_size,
        cache=session.cache,
        max_bad_share=session.max_bad_share,
    )
    with closing(stream) as results:
        for one in results:
            for number in numbers[one.item]:
                yield number, one.reason if one.vectors is None else one.vectors
