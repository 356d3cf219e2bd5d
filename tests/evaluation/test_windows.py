"""Windows to vectors: whose are whose, in which order, what is encoded together, and what bad items cost."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

from narravid.bad_items import TooManyBadItemsError
from narravid.errors import DecodeError
from narravid.evaluation.window_stream import ItemJudge
from narravid.evaluation.windows import (
    WindowItem,
    WindowPlan,
    encode_windows,
    encoded_items,
    spread_windows,
)
from narravid.inference.clip_encoder import ClipEncoder
from narravid.types import ClipSpec, Span
from narravid.video.watched import WatchedDecoder
from tiny_corpus import COLOURS, make_tiny_s3d, write_colour_videos
from watched_doubles import DirectDecoder

SPEC = ClipSpec(num_frames=2, fps=4.0, size_pixels=8, frame_rule="shown_at")


class MeanColour:
    """Every window becomes its mean colour; the sizes of what came at once are noted."""

    def __init__(self):
        self.shapes = []

    def encode(self, clips):
        self.shapes.append(tuple(clips.shape))
        return clips.float().mean(dim=(2, 3, 4))


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    return write_colour_videos(tmp_path_factory.mktemp("videos"))


@pytest.fixture
def decoder():
    return DirectDecoder()


def items_of(videos: Path, *names: str, span: Span | None = None) -> list[WindowItem]:
    return [WindowItem(str(videos / f"{name}.mp4"), span) for name in names]


def test_every_item_has_its_own_windows_in_order(videos, decoder):
    encoder = MeanColour()
    items = items_of(videos, "red", "blue", "green")
    found = encode_windows(encoder, items, spread_windows(SPEC, 3), decoder=decoder, batch_size=4)
    for name, vectors, starts in zip(("red", "blue", "green"), found.vectors, found.starts, strict=True):
        assert vectors.dtype == np.float32
        assert vectors.shape == (3, 3)
        assert len(starts) == 3
        assert starts[0] == 0.0
        assert vectors.argmax(axis=1).tolist() == [list(COLOURS).index(name)] * 3
    assert found.reasons == {}
    assert [shape[0] for shape in encoder.shapes] == [4, 4, 1]  # windows of two videos in one pass


def test_a_batch_over_borders_gives_what_a_batch_of_its_own_gives(videos, decoder):
    items = items_of(videos, "red", "blue", "green")
    rule = spread_windows(SPEC, 3)
    together = encode_windows(MeanColour(), items, rule, decoder=decoder, batch_size=8)
    for number, item in enumerate(items):
        alone = encode_windows(MeanColour(), [item], rule, decoder=decoder, batch_size=1)
        np.testing.assert_allclose(together.vectors[number], alone.vectors[0], atol=1e-6 * 255)


def test_a_network_gives_the_same_whatever_shares_its_batch(videos, decoder):
    encoder = ClipEncoder(make_tiny_s3d())
    items = items_of(videos, "red", "blue", "green")
    rule = spread_windows(encoder.clip_spec, 3)
    together = encode_windows(encoder, items, rule, decoder=decoder, batch_size=4)
    for number, item in enumerate(items):
        alone = encode_windows(encoder, [item], rule, decoder=decoder, batch_size=1)
        norms = np.linalg.norm(alone.vectors[0], axis=1, keepdims=True)
        np.testing.assert_allclose(together.vectors[number] / norms, alone.vectors[0] / norms, atol=1e-6)


def test_an_item_that_is_there_twice_is_decoded_once(videos, decoder):
    red, blue = items_of(videos, "red", "blue")
    found = encode_windows(MeanColour(), [red, blue, red], spread_windows(SPEC, 1), decoder=decoder)
    assert [path for path, _ in decoder.requests] == [red.path, blue.path]
    np.testing.assert_array_equal(found.vectors[0], found.vectors[2])


def test_parts_of_one_video_are_items_and_the_video_is_opened_once_to_plan(videos, decoder):
    items = [*items_of(videos, "blue", span=Span(0, 1)), *items_of(videos, "blue", span=Span(2, 4))]
    found = encode_windows(MeanColour(), items, spread_windows(SPEC, 2), decoder=decoder)
    assert found.starts == ((0.0, pytest.approx(0.1)), (2.0, pytest.approx(3.1)))
    assert decoder.probed == [items[0].path]


def test_a_long_item_goes_through_in_several_jobs(videos, decoder):
    starts = tuple(0.05 * number for number in range(40))
    [item] = items_of(videos, "blue")
    found = encode_windows(MeanColour(), [item], lambda *_: WindowPlan(SPEC, starts), decoder=decoder)
    assert [len(asked) for _, asked in decoder.requests] == [16, 16, 8]
    assert found.vectors[0].shape == (40, 3)
    assert found.starts == (starts,)
    once = encode_windows(MeanColour(), [item], lambda *_: WindowPlan(SPEC, starts[20:21]), decoder=decoder)
    np.testing.assert_allclose(once.vectors[0][0], found.vectors[0][20], atol=1e-3)


def test_items_may_differ_in_what_a_window_is(videos, decoder):
    encoder = MeanColour()

    def rule(info, span):
        num_frames = 3 if "blue" in info.path else 2
        return WindowPlan(ClipSpec(num_frames, info.fps, 8), (0.0, 0.5))

    items = items_of(videos, "red", "blue", "green")
    found = encode_windows(encoder, items, rule, decoder=decoder, batch_size=8)
    assert [shape[:3] for shape in encoder.shapes] == [(2, 3, 2), (2, 3, 3), (2, 3, 2)]
    assert [vectors.argmax(axis=1).tolist() for vectors in found.vectors] == [[0, 0], [2, 2], [1, 1]]


def test_squares_are_taken_where_the_plan_says(videos):
    # The first of 64 columns, 16 of them, hold a bright square: of a square of 48 it fills a ninth, a half of
    # that, or nothing. It is brighter than its ground by 240 - 260 / 3.
    class Columns(MeanColour):
        def encode(self, clips):
            return clips.float().mean(dim=(1, 2, 3, 4)).unsqueeze(1)

    [item] = items_of(videos, "red")
    squares = ((0.0, 0.5), (0.5, 0.5), (1.0, 0.5))
    spec = ClipSpec(num_frames=1, fps=10.0, size_pixels=48, frame_rule="shown_at")

    def rule(info, span):
        return WindowPlan(spec, (0.0,) * 3, squares)

    with WatchedDecoder() as decoder:
        found = encode_windows(Columns(), [item], rule, decoder=decoder)
    left, middle, right = found.vectors[0][:, 0]
    assert left - right == pytest.approx((240 - 260 / 3) / 9, abs=2)
    assert middle - right == pytest.approx((240 - 260 / 3) / 18, abs=2)
    with pytest.raises(ValueError, match="1 squares for 2 windows"):
        WindowPlan(spec, (0.0, 1.0), squares[:1])


def test_what_cannot_be_read_has_a_reason_and_the_others_stay(videos, decoder, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    red, blue = items_of(videos, "red", "blue")
    [late] = items_of(videos, "red", span=Span(90, 95))
    items = [WindowItem(str(tmp_path / "gone.mp4")), red, late, WindowItem(str(broken)), blue, late]
    found = encode_windows(MeanColour(), items, spread_windows(SPEC, 2), decoder=decoder)
    assert sorted(found.reasons) == [0, 2, 3, 5]
    assert [vectors is None for vectors in found.vectors] == [True, False, True, True, False, True]
    assert found.starts[2] == ()
    alone = encode_windows(MeanColour(), [red, blue], spread_windows(SPEC, 2), decoder=decoder)
    np.testing.assert_array_equal(alone.vectors[0], found.vectors[1])
    np.testing.assert_array_equal(alone.vectors[1], found.vectors[4])


def test_a_part_that_cannot_be_read_makes_the_item_bad(videos, decoder):
    starts = tuple([0.1] * 20 + [90.0] + [0.2] * 30)  # the second of four jobs fails
    red, blue = items_of(videos, "red", "blue")

    def rule(info, span):
        return WindowPlan(SPEC, starts if "red" in info.path else (0.0,))

    found = encode_windows(MeanColour(), [red, blue], rule, decoder=decoder)
    assert list(found.reasons) == [0]
    assert found.vectors[0] is None
    assert found.vectors[1].argmax() == 2


def test_a_rule_may_leave_an_item_out_or_want_nothing_of_it(videos, decoder):
    red, blue, green = items_of(videos, "red", "blue", "green")

    def rule(info, span):
        if "red" in info.path:
            raise DecodeError(info.path, "is red")
        return WindowPlan(SPEC, () if "blue" in info.path else (0.0,))

    found = encode_windows(MeanColour(), [red, blue, green], rule, decoder=decoder)
    assert found.reasons == {0: "is red"}
    assert found.vectors[1].shape[0] == 0
    assert found.vectors[2].shape == (1, 3)


def test_too_many_bad_items_stop_the_work(videos, decoder, tmp_path):
    gone = [WindowItem(str(tmp_path / f"{number}.mp4")) for number in range(2)]
    items = [*items_of(videos, "red"), *gone]
    with pytest.raises(TooManyBadItemsError):
        encode_windows(MeanColour(), items, spread_windows(SPEC, 1), decoder=decoder, max_bad_share=0.5)
    again = items + gone  # each counts once
    found = encode_windows(MeanColour(), again, spread_windows(SPEC, 1), decoder=decoder, max_bad_share=0.7)
    assert len(found.reasons) == 4


def test_the_whole_job_is_judged_and_not_where_its_bad_items_lie():
    judge = ItemJudge(num_expected=10_000, max_bad_share=0.2)
    for number in range(10_000):  # every eighth cannot be opened
        if number % 8 == 0:
            judge.add(WindowItem(str(number)), "cannot be opened")
        else:
            judge.num_good += 1
    judge.begin_sweep()
    judge.num_good += 4000
    for number in range(750):  # those of one folder cannot be decoded
        judge.add(WindowItem(f"torn {number}"), "cannot be decoded")
    assert len(judge.reasons) == 2000
    with pytest.raises(TooManyBadItemsError, match="2001 of 10000"):
        judge.add(WindowItem("one more"), "cannot be decoded")
    early = ItemJudge(num_expected=10_000, max_bad_share=0.2)
    for number in range(200):
        early.add(WindowItem(str(number)), "cannot be opened")
    with pytest.raises(TooManyBadItemsError, match="201 of 201"):
        early.add(WindowItem("one more"), "cannot be opened")


def test_items_come_as_soon_as_they_are_encoded(videos, decoder, tmp_path):
    items = [*items_of(videos, "red", "blue", "red"), WindowItem(str(tmp_path / "gone.mp4"))]
    stream = encoded_items(MeanColour(), items, spread_windows(SPEC, 2), decoder=decoder, batch_size=2)
    with closing(stream) as results:
        bad, red = next(results), next(results)
        assert (bad.item, bad.vectors) == (items[3], None)
        assert bad.reason
        assert (red.item, red.vectors.argmax(axis=1).tolist()) == (items[0], [0, 0])
        assert [path for path, _ in decoder.requests] == [items[0].path]
        assert [one.item for one in results] == [items[1]]


def test_decoding_processes_give_the_same(videos, decoder, tmp_path):
    items = [*items_of(videos, "red", "blue", "green"), WindowItem(str(tmp_path / "gone.mp4"))]
    rule = spread_windows(SPEC, 3)
    with WatchedDecoder(num_workers=2) as watched:
        ahead = encode_windows(MeanColour(), items, rule, decoder=watched, batch_size=2)
    direct = encode_windows(MeanColour(), items, rule, decoder=decoder, batch_size=2)
    for one, other in zip(ahead.vectors[:3], direct.vectors[:3], strict=True):
        np.testing.assert_array_equal(one, other)
    assert ahead.starts == direct.starts
    assert ahead.reasons == direct.reasons


def test_mistakes_in_the_call_are_named(decoder):
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        encode_windows(MeanColour(), [], spread_windows(SPEC, 1), decoder=decoder, batch_size=0)
    with pytest.raises(ValueError, match="num_windows must be at least 1, got 0"):
        spread_windows(SPEC, 0)
    with pytest.raises(ValueError, match="centre only"):
        WindowPlan(ClipSpec(2, 4.0, 8, crop="random"), (0.0,))


def test_an_encoder_of_models_is_fed_as_it_is(videos, decoder):
    """Nothing is normalised: the vectors are those of the network."""

    class Doubled(MeanColour):
        def encode(self, clips):
            return 2 * super().encode(clips)

    rule = spread_windows(SPEC, 1)
    once = encode_windows(MeanColour(), items_of(videos, "red"), rule, decoder=decoder)
    twice = encode_windows(Doubled(), items_of(videos, "red"), rule, decoder=decoder)
    torch.testing.assert_close(torch.from_numpy(twice.vectors[0]), 2 * torch.from_numpy(once.vectors[0]))
