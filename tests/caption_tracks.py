"""Random caption tracks with everything that real transcripts hold, and whether draws are uniform."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

import numpy as np
from hypothesis import strategies as st
from scipy.stats import chisquare

from narravid.text.captions import Caption, CaptionTrack
from narravid.types import Span

ONCE_IN = 1e-4
"""A uniform draw misses `are_uniform` so rarely; seeds are fixed, so a test that passes always passes."""


@st.composite
def caption_tracks(draw, *, min_size: int = 0, max_size: int = 14) -> CaptionTrack:
    """Captions that follow each other, overlap, start together, last no time, or sit beside whole seconds.

    Their texts have 0 to 6 words, each naming the place of its caption in the order of starts: "w3 w3".
    """
    steps = st.one_of(st.sampled_from([0.0, 0.0, 0.5, 2.0, 70.0]), st.floats(0, 15))
    noise = st.sampled_from([0.0, 0.0, 1e-9, -1e-9, 4e-16])
    rows = draw(
        st.lists(st.tuples(steps, steps, noise, st.integers(0, 6)), min_size=min_size, max_size=max_size)
    )
    spans = []
    start = 0.0
    for step, seconds, shift, _ in rows:
        start += step
        first = max(0.0, start + shift)
        spans.append(Span(first, max(first, start + seconds + shift)))
    spans.sort(key=lambda span: span.start_seconds)
    return CaptionTrack(
        tuple(Caption(" ".join([f"w{n}"] * rows[n][3]), span) for n, span in enumerate(spans))
    )


def scaled(track: CaptionTrack, factor: float) -> CaptionTrack:
    """The track in slow motion; exact for powers of two."""
    return CaptionTrack(
        tuple(
            Caption(
                caption.text, Span(caption.span.start_seconds * factor, caption.span.end_seconds * factor)
            )
            for caption in track
        )
    )


def are_uniform(draws: Sequence[Hashable], outcomes: Iterable[Hashable]) -> bool:
    """Whether a chi-square test takes the draws for uniform over these outcomes, and no other occurs."""
    counts = dict.fromkeys(outcomes, 0)
    for drawn in draws:
        if drawn not in counts:
            return False
        counts[drawn] += 1
    return bool(chisquare(np.array(list(counts.values()))).pvalue > ONCE_IN)
