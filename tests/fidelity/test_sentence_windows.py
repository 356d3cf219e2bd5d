"""Windows of sentences, equal to those of the released loader of the temporal alignment network.

golden/sentence_windows.json was recorded with that program (MIT licence), its random choice replaced by each
of its choices in turn: per window its start and end, and [position, start, end] of the sentences, position -1
for the made-up one.
"""

from __future__ import annotations

import json

import pytest
import torch

from fidelity.fill import GOLDEN
from fidelity.sampling_golden import read_track
from narravid.text.captions import Caption, CaptionTrack
from narravid.text.sentence_windows import (
    UNKNOWN_SENTENCE,
    SentenceWindow,
    draw_sentence_window,
    sentence_window,
    window_sentences,
)
from narravid.types import Span

RECORDED = json.loads((GOLDEN / "sentence_windows.json").read_text(encoding="utf-8"))


def recorded_track(name: str) -> CaptionTrack:
    if name != "hard":
        return read_track(name)
    rows = zip(*(RECORDED["hard_track"][column] for column in ("text", "start", "end")), strict=True)
    return CaptionTrack(tuple(Caption(text, Span(start, end)) for text, start, end in rows))


def as_recorded(window: SentenceWindow) -> list:
    positions = window.positions or (-1,) * len(window.sentences)
    sentences = [
        [position, sentence.span.start_seconds, sentence.span.end_seconds]
        for position, sentence in zip(positions, window.sentences, strict=True)
    ]
    return [window.span.start_seconds, window.span.end_seconds, sentences]


@pytest.mark.parametrize(
    "case",
    RECORDED["cases"],
    ids=lambda case: "{track}-{num_seconds}-{window_seconds}-{min_words}".format(**case),
)
def test_windows_match(case):
    track = recorded_track(case["track"])
    num_seconds, window_seconds = case["num_seconds"], case["window_seconds"]

    def is_known(text: str) -> bool:
        return len(text.split()) >= case["min_words"]

    starting = window_sentences(track, num_seconds, window_seconds=window_seconds)
    assert starting == case["starting"]
    windows = [
        sentence_window(
            track, first, num_seconds=num_seconds, window_seconds=window_seconds, is_known=is_known
        )
        for first in starting
    ] or [
        draw_sentence_window(
            track, num_seconds, generator=torch.Generator(), window_seconds=window_seconds, is_known=is_known
        )
    ]
    assert [as_recorded(window) for window in windows] == case["windows"]
    for window in windows:
        texts = [sentence.text for sentence in window.sentences]
        assert texts == ([track[place].text for place in window.positions] or [UNKNOWN_SENTENCE])
