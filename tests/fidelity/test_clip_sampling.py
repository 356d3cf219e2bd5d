"""Where clips start, equal to the numbers of the published loaders and evaluations."""

import json
from pathlib import Path

import numpy as np
import pytest

from narravid.types import Span
from narravid.video.sampling import clip_start_range, evaluation_windows, whole_second_span, widen_span

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "sampling.npz", allow_pickle=False) as arrays:
        return dict(arrays)


@pytest.mark.parametrize("min_seconds", [4, 5])
@pytest.mark.parametrize("track", ["a", "b", "c", "grid"])
def test_captions_are_widened_and_cut_to_whole_seconds(golden, track, min_seconds):
    lists = json.loads((GOLDEN / "captions.json").read_text(encoding="utf-8"))[track]
    spans = [
        whole_second_span(widen_span(Span(start, end), float(min_seconds)))
        for start, end in zip(lists["start"], lists["end"], strict=True)
    ]
    expected = golden[f"milnce_start_end_{track}_min{min_seconds}/start_end"]
    assert [[span.start_seconds, span.end_seconds] for span in spans] == expected.tolist()


def test_clips_start_within_the_published_range(golden):
    for start, end, num_frames, fps, lowest, highest in golden["milnce_seek_range/rows"]:
        assert clip_start_range(Span(start, end), num_frames / fps) == (lowest, highest)


def test_evaluation_windows_start_where_published(golden):
    for start, end, fps, num_frames, num_windows, *starts in golden["eval_windows/rows"]:
        windows = evaluation_windows(Span(start, end), num_frames / fps, int(num_windows))
        np.testing.assert_allclose(windows, starts[: int(num_windows)], rtol=1e-6)
        assert all(unused == -1 for unused in starts[int(num_windows) :])
