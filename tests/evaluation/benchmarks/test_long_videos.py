"""Many items in parts: each has its own vectors or reason, in order; what a window looks like."""

from __future__ import annotations

import numpy as np
import pytest

from narravid.evaluation.benchmarks import long_videos
from narravid.evaluation.benchmarks.long_videos import encode_in_parts, window_spec
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


@pytest.mark.parametrize("items_at_once", [1, 2, 400])
def test_parts_give_what_all_at_once_gives(tmp_path, monkeypatch, items_at_once):
    monkeypatch.setattr(long_videos, "ITEMS_AT_ONCE", items_at_once)
    write_colour_videos(tmp_path)
    (tmp_path / "torn.mp4").write_bytes(b"no video")
    names = ["blue", "torn", "red", "green", "blue"]
    items = [WindowItem(str(tmp_path / f"{name}.mp4")) for name in names]
    session = EvaluationSession(None, decoder=DirectDecoder(), max_bad_share=1.0)
    found = list(encode_in_parts(session, MeanColour(), items, rule=spread_windows(SPEC, 3)))
    assert [number for number, _ in found] == [0, 1, 2, 3, 4]
    assert isinstance(found[1][1], str)
    for name, (_, vectors) in zip(names, found, strict=True):
        if name != "torn":
            assert vectors.shape == (3, 3)
            assert (vectors.argmax(axis=1) == list(COLOURS).index(name)).all()
    np.testing.assert_array_equal(found[0][1], found[4][1])


def test_no_items_are_no_work():
    session = EvaluationSession(None, decoder=DirectDecoder())
    assert list(encode_in_parts(session, MeanColour(), [], rule=spread_windows(SPEC, 3))) == []


def test_a_window_is_as_the_model_wants_it_but_for_what_is_given():
    own = ClipSpec(num_frames=32, fps=10.0, size_pixels=224, crop="random", mean=(0.1, 0.2, 0.3))
    assert window_spec(own, num_frames=None, fps=None) == ClipSpec(32, 10.0, 224, mean=(0.1, 0.2, 0.3))
    changed = window_spec(own, num_frames=16, fps=16.0)
    assert (changed.num_frames, changed.fps, changed.crop) == (16, 16.0, "center")
    with pytest.raises(ValueError, match="num_frames"):
        window_spec(own, num_frames=0, fps=None)
