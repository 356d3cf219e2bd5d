"""Feature files: where they are found, what is read, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from narravid.data.feature_files import FeatureFolder, FolderTracks, MemoryTracks
from narravid.data.featured import FeatureTrack
from narravid.errors import DecodeError


def save(path, array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array, allow_pickle=False)


@pytest.fixture
def folder(tmp_path):
    save(tmp_path / "b.npy", np.arange(12, dtype=np.float16).reshape(6, 2))
    save(tmp_path / "deep" / "a.mp4.npy", np.ones((3, 2), np.float32))
    save(tmp_path / "deep" / "v1.2.npy", np.zeros((1, 2)))
    save(tmp_path / ".hidden" / "c.npy", np.zeros((1, 2)))
    (tmp_path / "notes.txt").write_text("no features")
    return FeatureFolder(tmp_path, dim=2, steps_per_second=1.5)


def test_files_are_named_after_their_videos(folder):
    assert folder.names() == ["a", "b", "v1.2"]
    for name in ("a", "a.mp4", "deep/a.mp4.npy", "deep/a.mp4"):
        assert folder.path_of(name) == folder.root / "deep" / "a.mp4.npy", name
    assert folder.path_of("x/b.webm") == folder.root / "x" / "b.npy"  # where it should lie


def test_a_file_is_read_with_its_rate(folder):
    track = folder.read("b")
    assert torch.equal(track.steps, torch.arange(12.0).view(6, 2).half())
    assert track.steps_per_second == 1.5
    assert folder.num_seconds("b") == 4.0


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (np.zeros((2, 3), np.float16), r"must hold features \(n, 2\), n at least 1, got \(2, 3\)"),
        (np.zeros((0, 2), np.float16), r"n at least 1, got \(0, 2\)"),
        (np.zeros(2, np.float16), r"must hold features \(n, 2\) of floating-point numbers"),
        (np.zeros((2, 2), np.int64), "of floating-point numbers"),
        (np.array([[0, np.nan]], np.float16), "NaN or infinity"),
        (b"", "not a whole .npy array"),
        (b"\x93NUMPY", "not a whole .npy array"),
        (None, "there is no such feature file"),
    ],
)
def test_bad_files_are_refused(tmp_path, content, reason):
    path = tmp_path / "bad.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        save(path, content)
    with pytest.raises(DecodeError, match=reason):
        FeatureFolder(tmp_path, dim=2, steps_per_second=1).read("bad")


def test_a_head_that_claims_more_than_there_is_takes_no_memory(tmp_path):
    path = tmp_path / "cut.npy"
    save(path, np.zeros((100, 2), np.float16))
    content = path.read_bytes()
    path.write_bytes(content[:-8])
    with pytest.raises(DecodeError, match="not a whole .npy array"):
        FeatureFolder(tmp_path, dim=2, steps_per_second=1).num_seconds("cut")
    path.write_bytes(content.replace(b"100", b"999"))
    with pytest.raises(DecodeError, match="not a whole .npy array"):
        FeatureFolder(tmp_path, dim=2, steps_per_second=1).read("cut")


def test_pickled_content_is_never_opened(tmp_path):
    np.save(tmp_path / "evil.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DecodeError, match="not a whole .npy array"):
        FeatureFolder(tmp_path, dim=2, steps_per_second=1).read("evil")


@pytest.mark.parametrize("name", ["/etc/a.npy", "../a.npy", "x/../../a"])
def test_a_list_cannot_lead_out_of_the_folder(folder, name):
    with pytest.raises(DecodeError, match="lies outside the folder of the features"):
        folder.path_of(name)


def test_tracks_come_in_the_order_of_the_folders(folder, tmp_path_factory):
    root = tmp_path_factory.mktemp("other")
    save(root / "b.npy", np.ones((3, 5), np.float32))
    other = FeatureFolder(root, dim=5, steps_per_second=1)
    first, second = FolderTracks([other, folder]).read("b")
    assert (first.steps.shape, second.steps.shape) == ((3, 5), (6, 2))
    with pytest.raises(ValueError, match="a folder of features at least"):
        FolderTracks([])


def test_tracks_in_memory():
    track = FeatureTrack(torch.ones(1, 2), 1.0)
    tracks = MemoryTracks({"a": (track,)})
    assert tracks.read("a") == (track,)
    with pytest.raises(DecodeError, match="there are no features of it"):
        tracks.read("b")


@pytest.mark.parametrize("settings", [{"dim": 0, "steps_per_second": 1}, {"dim": 1, "steps_per_second": 0}])
def test_numbers_must_be_positive(tmp_path, settings):
    with pytest.raises(ValueError, match="must be positive"):
        FeatureFolder(tmp_path, **settings)
