"""The cache of embeddings: nothing is decoded twice, nothing stale is used, damage costs only the cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from narravid.evaluation import embedding_cache
from narravid.evaluation.embedding_cache import EmbeddingCache
from narravid.evaluation.windows import WindowItem, WindowPlan, encode_windows, spread_windows
from narravid.types import ClipSpec, Span, VideoInfo
from tiny_corpus import write_colour_videos
from watched_doubles import DirectDecoder

SPEC = ClipSpec(num_frames=2, fps=4.0, size_pixels=8, frame_rule="shown_at")
PLAN = WindowPlan(SPEC, (0.0, 0.5))


class MeanColour:
    """Every window becomes its mean colour; says what it is, as a `ClipEncoder` does."""

    def __init__(self, **changed):
        self.weights_hash = "0123abc"
        self.output = "embedding"
        self.dtype = "float32"
        self.backend = "torch"
        self.device = torch.device("cpu")
        self.num_encoded = 0
        for name, value in changed.items():
            setattr(self, name, value)

    def encode(self, clips):
        self.num_encoded += len(clips)
        return clips.float().mean(dim=(2, 3, 4))


@pytest.fixture(scope="module")
def originals(tmp_path_factory) -> Path:
    return write_colour_videos(tmp_path_factory.mktemp("videos"))


@pytest.fixture
def videos(originals, tmp_path) -> Path:
    return Path(shutil.copytree(originals, tmp_path / "videos"))


@pytest.fixture
def cache(tmp_path):
    with EmbeddingCache(tmp_path / "cache") as cache:
        yield cache


def run(videos: Path, cache: EmbeddingCache | None, *, encoder=None, rule=None, names=("red", "blue")):
    """Vectors, and how many videos were opened and how many decoded."""
    decoder = DirectDecoder()
    items = [WindowItem(str(videos / f"{name}.mp4")) for name in names]
    found = encode_windows(
        encoder or MeanColour(), items, rule or spread_windows(SPEC, 3), decoder=decoder, cache=cache
    )
    return found, len(decoder.probed), len(decoder.requests)


def same(first, second) -> bool:
    pairs = zip(first.vectors, second.vectors, strict=True)
    return all(np.array_equal(one, other) for one, other in pairs) and first.starts == second.starts


def test_a_second_run_opens_and_decodes_nothing(videos, cache, tmp_path):
    first, *counts = run(videos, cache)
    assert counts == [2, 2]
    encoder = MeanColour()
    second, *counts = run(videos, cache, encoder=encoder)
    assert counts == [0, 0]
    assert encoder.num_encoded == 0
    assert same(first, second)
    cache.close()
    with EmbeddingCache(tmp_path / "cache") as again:
        third, *counts = run(videos, again)
    assert counts == [0, 0]
    assert same(first, third)
    assert same(first, run(videos, None)[0])


def test_what_is_new_is_decoded_and_what_is_known_is_not(videos, cache):
    run(videos, cache)
    found, *counts = run(videos, cache, names=("red", "green", "blue"))
    assert counts == [1, 1]
    assert [vectors.argmax(axis=1).tolist() for vectors in found.vectors] == [[0] * 3, [1] * 3, [2] * 3]


@pytest.mark.parametrize(
    "changed",
    [
        {"weights_hash": "other"},
        {"output": "feature"},
        {"dtype": "bfloat16"},
        {"backend": "openvino"},
        {"device": torch.device("cuda")},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_another_network_is_not_the_same(videos, cache, changed):
    run(videos, cache)
    _, num_opened, num_decoded = run(videos, cache, encoder=MeanColour(**changed))
    assert (num_opened, num_decoded) == (0, 2)  # what a video holds does not depend on the network


@pytest.mark.parametrize(
    "plan",
    [
        WindowPlan(SPEC, (0.0, 0.25)),
        WindowPlan(SPEC, (0.0,)),
        WindowPlan(ClipSpec(2, 4.0, 12, frame_rule="shown_at"), (0.0, 0.5)),
        WindowPlan(ClipSpec(2, 5.0, 8, frame_rule="shown_at"), (0.0, 0.5)),
        WindowPlan(SPEC, (0.0, 0.5), ((0.0, 0.5), (0.0, 0.5))),
    ],
)
def test_other_windows_are_not_the_same(tmp_path, cache, plan):
    path = tmp_path / "video.mp4"
    path.write_bytes(b"x")
    vectors = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert cache.find(MeanColour(), str(path), PLAN) is None
    cache.keep(MeanColour(), str(path), PLAN, vectors=vectors)
    np.testing.assert_array_equal(cache.find(MeanColour(), str(path), PLAN), vectors)
    assert cache.find(MeanColour(), str(path), plan) is None


def test_a_file_that_changed_is_encoded_again(videos, cache):
    run(videos, cache)
    shutil.copy(videos / "green.mp4", videos / "red.mp4")
    found, *counts = run(videos, cache)
    assert counts == [1, 1]
    assert found.vectors[0].argmax(axis=1).tolist() == [1, 1, 1]
    os.utime(videos / "red.mp4", ns=(1, 1))  # the same size at another time
    assert run(videos, cache)[1:] == (1, 1)
    assert run(videos, cache)[1:] == (0, 0)


def test_a_file_that_changes_while_it_is_encoded_is_not_taken_for_the_new_one(videos, cache):
    class Slow(MeanColour):
        def encode(self, clips):
            shutil.copy(videos / "green.mp4", videos / "red.mp4")
            return super().encode(clips)

    run(videos, cache, encoder=Slow(), names=("red",))
    found, _, num_decoded = run(videos, cache, names=("red",))
    assert num_decoded == 1
    assert found.vectors[0].argmax(axis=1).tolist() == [1, 1, 1]


def test_parts_and_bad_videos(videos, cache):
    items = [WindowItem(str(videos / "blue.mp4"), Span(0, 1)), WindowItem(str(videos / "gone.mp4"))]
    for expected in (1, 0):
        decoder = DirectDecoder()
        rule = spread_windows(SPEC, 2)
        found = encode_windows(MeanColour(), items, rule, decoder=decoder, cache=cache)
        assert list(found.reasons) == [1]
        assert len(decoder.requests) == expected
        assert str(videos / "gone.mp4") in decoder.probed  # it may be there the next time


def test_what_a_video_holds_comes_back(tmp_path, cache):
    path = tmp_path / "video.mp4"
    path.write_bytes(b"x")
    info = VideoInfo(str(path), 12.5, 29.97, 640, 360, None, "h264", 90)
    assert cache.find_video(str(path)) is None
    cache.keep_video(str(path), info)
    assert cache.find_video(str(path)) == info
    path.unlink()
    assert cache.find_video(str(path)) is None


def only_vectors(folder: Path) -> Path:
    [path] = [path for path in folder.glob("*.sqlite") if path.name != "videos.sqlite"]
    return path


@pytest.mark.parametrize("damage", ["header", "page", "half", "blob"])
def test_a_damaged_file_is_put_aside_with_a_warning(videos, cache, tmp_path, damage):
    first, *_ = run(videos, cache)
    cache.close()
    path = only_vectors(tmp_path / "cache")
    content = bytearray(path.read_bytes())
    if damage == "header":
        content[:64] = b"\0" * 64
    elif damage == "page":
        content[4096:] = os.urandom(len(content) - 4096)
    elif damage == "half":
        del content[len(content) // 2 :]
    else:
        vectors = first.vectors[0].tobytes()
        place = content.index(vectors)
        content[place] ^= 1
    path.write_bytes(content)
    with pytest.warns(UserWarning, match="is damaged .*: put aside as"):
        second, _, num_decoded = run(videos, cache)
    assert same(first, second)
    assert num_decoded > 0
    assert path.with_name(f"{path.name}.damaged").exists()
    third, _, num_decoded = run(videos, cache)
    assert num_decoded == 0
    assert same(first, third)


def test_items_of_which_nothing_is_wanted_are_no_trouble(videos, cache):
    for _ in range(2):
        found, _, _ = run(videos, cache, rule=lambda *_: WindowPlan(SPEC, ()))
        assert found.reasons == {}
        assert [len(vectors) for vectors in found.vectors] == [0, 0]


def test_a_name_may_hold_any_bytes(tmp_path, cache):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/v\xff.mp4")
    Path(path).write_bytes(b"x")
    vectors = np.ones((2, 3), np.float32)
    assert cache.find(MeanColour(), path, PLAN) is None
    cache.keep(MeanColour(), path, PLAN, vectors=vectors)
    np.testing.assert_array_equal(cache.find(MeanColour(), path, PLAN), vectors)


def test_other_decoding_is_not_the_same(videos, cache, monkeypatch):
    run(videos, cache)
    monkeypatch.setattr(embedding_cache, "DECODING_VERSION", embedding_cache.DECODING_VERSION + 1)
    assert run(videos, cache)[2] == 2


def test_a_cache_of_another_thread_is_not_taken_for_a_damaged_one(tmp_path, cache):
    (tmp_path / "v.bin").write_bytes(b"x")
    path = str(tmp_path / "v.bin")
    cache.find(MeanColour(), path, PLAN)
    cache.keep(MeanColour(), path, PLAN, vectors=np.ones((2, 3), np.float32))
    with (
        pytest.warns(UserWarning, match="cannot be used .*thread.*: going on without"),
        ThreadPoolExecutor(1) as pool,
    ):
        assert pool.submit(cache.find, MeanColour(), path, PLAN).result() is None
    assert not list((tmp_path / "cache").glob("*.damaged"))


def test_a_cache_that_cannot_be_written_costs_only_the_cache(videos, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    with EmbeddingCache(blocked) as cache, pytest.warns(UserWarning, match="going on without"):
        found, _, num_decoded = run(videos, cache)
    assert num_decoded == 2
    assert found.reasons == {}


def use_much(folder: Path, num_files: int) -> None:
    """What one of several does that use a cache at once."""
    with EmbeddingCache(folder / "cache") as cache:
        for number in range(num_files):
            path = str(folder / f"{number}.bin")
            cache.find(MeanColour(), path, PLAN)
            cache.keep(MeanColour(), path, PLAN, vectors=np.full((2, 3), number, np.float32))
            assert (cache.find(MeanColour(), path, PLAN) == number).all()


def check_much(folder: Path, num_files: int) -> None:
    with EmbeddingCache(folder / "cache") as cache:
        for number in range(num_files):
            assert (cache.find(MeanColour(), str(folder / f"{number}.bin"), PLAN) == number).all()


def test_several_may_use_it_at_once(tmp_path):
    for number in range(20):
        (tmp_path / f"{number}.bin").write_bytes(b"x")
    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(use_much, tmp_path, 20) for _ in range(4)]:
            done.result()
    check_much(tmp_path, 20)


@pytest.mark.slow
def test_several_processes_may_use_it_at_once(tmp_path):
    for number in range(60):
        (tmp_path / f"{number}.bin").write_bytes(b"x")
    job = "import sys, pathlib, test_embedding_cache as t; t.use_much(pathlib.Path(sys.argv[1]), 60)"
    tests = Path(__file__).resolve().parent
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (tests, tests.parent, *sys.path)))}
    command = [sys.executable, "-W", "error", "-c", job, str(tmp_path)]
    jobs = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for running in jobs:
        _, said = running.communicate(timeout=120)
        assert running.returncode == 0, said
    check_much(tmp_path, 60)
