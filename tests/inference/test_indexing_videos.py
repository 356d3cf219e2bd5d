"""Indexing real video files with S3D through the watched decoder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from narravid.inference.embedder import Embedder
from narravid.inference.index import VideoIndex
from narravid.video.decode import decode_clips
from narravid.video.watched import WatchedDecoder
from tiny_corpus import COLOURS, make_tiny_s3d, write_colour_videos


@pytest.fixture(scope="module")
def decoder() -> Iterator[WatchedDecoder]:
    with WatchedDecoder(num_workers=2) as watched:
        yield watched


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_colour_videos(tmp_path_factory.mktemp("videos"))


def test_rows_are_what_the_model_says_of_each_window(decoder: WatchedDecoder, videos: Path, tmp_path: Path):
    model = make_tiny_s3d()
    index = VideoIndex.create(tmp_path / "index", model, model_path="m")
    index.add([videos / "red.mp4"], Embedder(model, batch_size=2), decoder=decoder)
    rows = index.rows()
    assert rows.start_seconds.tolist() == pytest.approx([0.0, 0.5, 1.0])
    assert rows.end_seconds.tolist() == pytest.approx([1.0, 1.5, 2.0])
    for start, vector in zip(rows.start_seconds, rows.vectors, strict=True):
        (clip,) = decode_clips(videos / "red.mp4", [float(start)], model.clip_spec)
        with torch.no_grad():
            expected = model.encode_video(clip.frames.permute(3, 0, 1, 2)[None])[0].numpy()
        expected /= np.linalg.norm(expected)
        assert vector == pytest.approx(expected, abs=1e-5)  # batches of two here, of one there


def test_each_video_gets_the_same_bits_alone_and_two_at_once(
    decoder: WatchedDecoder, videos: Path, tmp_path: Path
):
    model = make_tiny_s3d()
    embedder = Embedder(model, batch_size=4)
    together = VideoIndex.create(tmp_path / "together", model, model_path="m")
    together.add([videos], embedder, decoder=decoder, num_workers=2)
    alone = VideoIndex.create(tmp_path / "alone", model, model_path="m")
    for name in sorted(COLOURS):
        alone.add([videos / f"{name}.mp4"], embedder, decoder=decoder, num_workers=1)
    assert alone.num_clips == together.num_clips == 15
    assert alone.rows().paths == together.rows().paths
    assert alone.rows().vectors.tobytes() == together.rows().vectors.tobytes()
    assert len({vector.tobytes() for vector in together.rows().vectors}) == 15  # no window repeats another
