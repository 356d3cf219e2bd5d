"""Packs at addresses are those of folders: the same clips with one request each, faults that pass or last."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import fsspec
import pytest

from file_server import Served, serve_files
from handmade_packs import make_pack
from narravid.data import pack_files as pack_files_module
from narravid.data.pack_files import is_address, pack_files
from narravid.data.pack_format import INFO_NAME, VIDEOS_NAME, PackError
from narravid.data.packed_clips import PackedClips
from narravid.data.packs import is_pack, open_pack
from narravid.errors import DecodeError, MissingExtraError
from narravid.types import ClipSpec
from small_corpus import write_narrated_videos

SPEC = ClipSpec(8, 4.0, 32)
RED = Path("red2.mp4")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return write_narrated_videos(tmp_path_factory.mktemp("archive"))


@pytest.fixture(scope="module")
def made(tmp_path_factory, archive):
    folder = tmp_path_factory.mktemp("packs") / "pack"
    make_pack(archive, folder)
    return folder


@pytest.fixture
def pack(made, tmp_path):
    """A pack to damage."""
    return Path(shutil.copytree(made, tmp_path / "pack"))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of the test's own, and no pauses before further tries."""
    monkeypatch.setenv("NARRAVID_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(pack_files_module, "RETRY_PAUSES_SECONDS", (0.0, 0.0))
    return tmp_path / "cache"


@pytest.fixture
def server(made):
    with serve_files({f"/a/{path.name}": Served(path.read_bytes()) for path in made.iterdir()}) as served:
        yield served


def same_clips(one, other):
    ours, theirs = PackedClips(one), PackedClips(other)
    for video in one.videos:
        assert ours.duration_seconds(video.path) == theirs.duration_seconds(video.path)
        mine, yours = (clips.read(video.path, 0.7, SPEC) for clips in (ours, theirs))
        assert (mine.frames == yours.frames).all()


# ---------------------------------------------------------------- what is a pack


def test_a_folder_of_videos_is_no_pack_and_an_address_is_one(archive, made, tmp_path):
    assert is_pack(made)
    assert is_pack(str(made))
    assert not is_pack(archive)
    assert not is_pack(tmp_path / "nothing")
    assert is_pack("https://somewhere/pack")
    assert all(is_address(text) for text in ("s3://a/b", "file:///a", "simplecache::https://a/b"))
    assert not any(is_address(text) for text in ("C:\\a", "C://a", "/a/b", "~/x", "a/b", ""))


def test_an_incomplete_pack_names_the_command_that_finishes_it(pack):
    (pack / INFO_NAME).unlink()
    assert is_pack(pack)
    with pytest.raises(PackError, match=r"no pack\.json.*finish it with the same `narravid pack"):
        open_pack(pack)


def test_a_table_of_another_pack_is_refused(pack, archive, tmp_path):
    shutil.rmtree(tmp_path / "less", ignore_errors=True)
    less = Path(shutil.copytree(archive, tmp_path / "less"))
    (less / "red1.mp4").unlink()
    make_pack(less, tmp_path / "other")
    shutil.copy(tmp_path / "other" / VIDEOS_NAME, pack / VIDEOS_NAME)
    with pytest.raises(PackError, match="has 5 videos in .* says 6 in .* of different packs"):
        open_pack(pack)


# ---------------------------------------------------------------- addresses


def test_a_pack_on_a_web_server_gives_the_same_with_one_request_a_clip(made, server, cache):
    remote = open_pack(f"{server.url}/a/")
    same_clips(remote, open_pack(made))
    server.requests.clear()
    PackedClips(remote).read(RED, 0.7, SPEC)
    [(path, headers)] = server.requests
    row = remote.rows[remote.rows.find("red2.mp4")]
    wanted = {f"bytes={part.offset - 512}-{part.offset + part.size - 1}" for part in row.segments}
    assert path == f"/a/shard-{row.segments[0].shard:06d}.tar"
    assert headers["Range"] in wanted
    assert headers["Accept-Encoding"] == "identity"
    server.requests.clear()
    open_pack(f"{server.url}/a")
    assert f"/a/{VIDEOS_NAME}" not in server.paths(), "the table is in the cache"


def test_a_copied_table_that_lost_its_end_is_copied_again(made, server, cache):
    open_pack(f"{server.url}/a")
    [copied] = cache.rglob(VIDEOS_NAME)
    copied.write_bytes(copied.read_bytes()[:-100])
    same_clips(open_pack(f"{server.url}/a"), open_pack(made))


def test_a_file_address_is_a_folder(made):
    same_clips(open_pack(made.as_uri()), open_pack(made))


def test_an_object_store_gives_the_same(made):
    store = fsspec.filesystem("memory")
    store.put(f"{made}/", "/bucket/pack/", recursive=True)
    try:
        same_clips(open_pack("memory://bucket/pack"), open_pack(made))
    finally:
        store.rm("/bucket", recursive=True)


@pytest.mark.parametrize(
    ("root", "error", "message"),
    [
        ("s3://bucket/pack", MissingExtraError, "s3:// needs s3fs, which is not installed: pip install s3fs"),
        ("gs://bucket/pack", MissingExtraError, "needs gcsfs, .*pip install gcsfs"),
        ("nosuch://bucket/pack", PackError, "nosuch://bucket/pack: is no kind of address"),
        ("https://host/pack?token=1", PackError, "name that of the folder"),
    ],
)
def test_an_address_that_cannot_be_read_says_why(root, error, message):
    with pytest.raises(error, match=message):
        pack_files(root)


def test_a_server_without_a_pack_is_told(server):
    with pytest.raises(PackError, match=r"/b: there is no pack\.json"):
        open_pack(f"{server.url}/b")


def test_a_server_that_sends_no_parts_is_refused(server):
    for file in server.files.values():
        file.knows_ranges = False
    with pytest.raises(PackError, match="sends whole files where a part is asked for"):
        open_pack(f"{server.url}/a")


# ---------------------------------------------------------------- faults


def shard_of_red(server, remote):
    shard = remote.rows[remote.rows.find("red2.mp4")].segments[0].shard
    return server.files[f"/a/shard-{shard:06d}.tar"]


@pytest.mark.parametrize("fault", [{"faults": [503, 429]}, {"cuts": [700, 10]}])
def test_faults_that_pass_are_passed_over(made, server, fault):
    remote = open_pack(f"{server.url}/a")
    served = shard_of_red(server, remote)
    for name, values in fault.items():
        setattr(served, name, list(values))
    same_clips(remote, open_pack(made))
    assert not served.faults
    assert not served.cuts


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"faults": [500] * 3}, r"cannot be read \(ClientResponseError: 500"),
        ({"faults": [403]}, r"cannot be read \(ClientResponseError: 403"),
        ({"faults": [404]}, "is not there"),
        ({"content": b"x" * 700}, r"it ends at byte 700|cannot be read \(ClientResponseError: 416"),
        ({"cuts": [700] * 3}, r"cannot be read \(ClientPayloadError"),
    ],
)
def test_faults_that_last_cost_the_clip_and_name_the_shard(server, fault, reason):
    remote = open_pack(f"{server.url}/a")
    served = shard_of_red(server, remote)
    for name, value in fault.items():
        setattr(served, name, value)
    with pytest.raises(DecodeError, match=rf"red2\.mp4: shard-00000\d\.tar at byte \d+: .*({reason})"):
        PackedClips(remote).read(RED, 0.7, SPEC)
    assert not served.faults
    assert not served.cuts


def test_a_table_that_changes_meanwhile_is_not_kept(server, cache):
    content = server.files[f"/a/{VIDEOS_NAME}"].content
    server.files[f"/a/{VIDEOS_NAME}"].content = content[:-1] + b"?"
    with pytest.raises(PackError, match="is not the table that pack.json describes"):
        open_pack(f"{server.url}/a")
    server.files[f"/a/{VIDEOS_NAME}"].content = content
    assert len(open_pack(f"{server.url}/a").videos) == 6


def test_silence_is_a_fault(server, monkeypatch):
    monkeypatch.setattr(pack_files_module, "SILENCE_SECONDS", 0.2)
    remote = open_pack(f"{server.url}/a")
    shard_of_red(server, remote).stalls = [700]
    assert dataclasses.is_dataclass(PackedClips(remote).read(RED, 0.7, SPEC))
