"""Many items one by one: each has its own vectors or reason; what a window looks like."""

from __future__ import annotations

import numpy as np
import pytest

from narravid.evaluation.benchmarks.long_videos import encode_each, window_spec
from narravid.evaluation.session import EvaluationSession
from narravid.evaluation.windows import WindowItem, spread_windows
from narravid.types import ClipSpec
from planned_videos import SPEC
from tiny_corpus import COLOURS, write_colour_videos
from watched_doubles import DirectDecoder


class MeanColour:
    """Every window becomes its mean colour."""

    def encode(self, clips):
        return clips.float().mean(dim=(2, 3, 4))


def test_each_item_comes_with_its_vectors_or_its_reason(tmp_path):
    write_colour_videos(tmp_path)
    (tmp_path / "torn.mp4").write_bytes(b"no video")
    names = ["blue", "torn", "red", "green", "blue"]
    items = [WindowItem(str(tmp_path / f"{name}.mp4")) for name in names]
    decoder = DirectDecoder()
    session = EvaluationSession(None, decoder=decoder, max_bad_share=1.0)
    found = dict(encode_each(session, MeanColour(), items, rule=spread_windows(SPEC, 3)))
    assert sorted(found) == [0, 1, 2, 3, 4]
    assert isinstance(found[1], str)
    for number, name in enumerate(names):
        if name != "torn":
            assert found[number].shape == (3, 3)
            assert (found[number].argmax(axis=1) == list(COLOURS).index(name)).all()
    np.testing.assert_array_equal(found[0], found[4])
    assert len(decoder.requests) == 3  # what is there twice is decoded once


def test_no_items_are_no_work():
    session = EvaluationSession(None, decoder=DirectDecoder())
    assert list(encode_each(session, MeanColour(), [], rule=spread_windows(SPEC, 3))) == []


def test_a_window_is_as_the_model_wants_it_but_for_what_is_given():
    own = ClipSpec(num_frames=32, fps=10.0, size_pixels=224, crop="random", mean=(0.1, 0.2, 0.3))
    assert window_spec(own, num_frames=None, fps=None) == ClipSpec(32, 10.0, 224, mean=(0.1, 0.2, 0.3))
    changed = window_spec(own, num_frames=16, fps=16.0)
    assert (changed.num_frames, changed.fps, changed.crop) == (16, 16.0, "center")
    with pytest.raises(ValueError, match="num_frames"):
        window_spec(own, num_frames=0, fps=None)
