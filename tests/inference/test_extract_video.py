"""One video into vectors: what the network is shown, in which batches, and what comes of it."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from extraction_doubles import (
    PLAN,
    TextDecoder,
    expected_features,
    frames_of,
    small_encoder,
    write_text_video,
)
from narravid.errors import DecodeError, NarravidError
from narravid.inference.extract_video import VideoExtractor, as_stored


class WatchedEncoder:
    """Keeps the clips and the thread of each call."""

    def __init__(self):
        self.encoder = small_encoder()
        self.clips = []
        self.threads = set()

    def encode(self, clips):
        self.clips.append(clips.clone())
        self.threads.add(threading.get_ident())
        return self.encoder.encode(clips)


@pytest.fixture
def video(tmp_path):
    return write_text_video(tmp_path / "a.mp4", frames=18)


def test_features_are_those_of_the_shortest_way(video):
    with VideoExtractor(small_encoder(), TextDecoder(), PLAN, batch_size=2) as extractor:
        features = extractor.extract(video)
    assert features.dtype == np.float32
    assert np.array_equal(features, expected_features(video))


def test_batches_are_as_large_as_they_should_be(video):
    encoder = WatchedEncoder()
    with VideoExtractor(encoder, TextDecoder(), PLAN, batch_size=2) as extractor:
        extractor.extract(video)
        extractor.extract(video)
    assert [len(clips) for clips in encoder.clips] == [2, 2, 1, 2, 2, 1]
    assert len(encoder.threads) == 1
    assert threading.get_ident() not in encoder.threads
    clips = torch.cat(encoder.clips[:3])
    assert clips.shape == (5, 3, 4, 8, 8)
    assert clips.dtype == torch.uint8
    shown = clips.permute(0, 2, 3, 4, 1).flatten(0, 1)
    assert torch.equal(shown[:18], frames_of(video))
    assert not shown[18:].any()


def test_normalised_features_have_length_one(video):
    plan = replace(PLAN, is_normalised=True)
    with VideoExtractor(small_encoder(), TextDecoder(), plan, batch_size=2) as extractor:
        features = extractor.extract(video)
    expected = expected_features(video)
    lengths = np.linalg.norm(expected, axis=1, keepdims=True)
    assert np.allclose(features, expected / lengths, atol=1e-6)


def test_the_time_of_the_network_is_measured(video):
    with VideoExtractor(small_encoder(), TextDecoder(), PLAN, batch_size=2) as extractor:
        assert extractor.busy_seconds == 0
        extractor.extract(video)
        assert extractor.busy_seconds > 0


def test_the_caller_sees_batches_go_by_and_may_stop(video):
    seen = []

    def stop_at_second(count):
        seen.append(count)
        if len(seen) == 2:
            raise KeyboardInterrupt

    with VideoExtractor(small_encoder(), TextDecoder(), PLAN, batch_size=2) as extractor:
        with pytest.raises(KeyboardInterrupt):
            extractor.extract(video, on_batch=stop_at_second)
        seen.clear()
        extractor.extract(video, on_batch=seen.append)
    assert seen == [2, 2, 1]


def test_a_broken_video_is_an_error_of_the_file(tmp_path):
    path = tmp_path / "broken.mp4"
    path.write_text("no video")
    with (
        VideoExtractor(small_encoder(), TextDecoder(), PLAN, batch_size=2) as extractor,
        pytest.raises(DecodeError, match="not a video"),
    ):
        extractor.extract(path)


def test_a_broken_network_is_an_error_of_the_network(video):
    encoder = small_encoder()
    encoder.model.weight.data.fill_(float("nan"))
    with (
        VideoExtractor(encoder, TextDecoder(), PLAN, batch_size=2) as extractor,
        pytest.raises(NarravidError, match="NaN or infinity"),
    ):
        extractor.extract(video)


def test_a_batch_has_a_clip_at_least():
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        VideoExtractor(small_encoder(), TextDecoder(), PLAN, batch_size=0)


def test_numbers_must_fit_into_the_type_they_are_kept_in():
    features = np.array([[1.0, -70000.0]], np.float32)
    assert as_stored(features, "float32").dtype == np.float32
    with pytest.raises(NarravidError, match=r"a feature of 7e\+04 does not fit into float16"):
        as_stored(features, "float16")
    assert as_stored(features / 2, "float16").tolist() == [[0.5, -35008.0]]
