"""Clips out of shards: those of the files, and a plain error for every damage."""

from __future__ import annotations

import dataclasses
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from handmade_packs import make_pack
from narravid.data.corpus import find_narrated_videos
from narravid.data.pack_format import VIDEOS_NAME, PackError
from narravid.data.packed_clips import PackedClips
from narravid.data.packs import open_pack
from narravid.data.sources import FileClips
from narravid.errors import DecodeError
from narravid.types import ClipSpec
from narravid.video.watched import WatchedDecoder
from small_corpus import write_narrated_videos

SPEC = ClipSpec(8, 4.0, 32)
STARTS = (0.0, 0.37, 1.0, 1.99, 2.5)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = write_narrated_videos(tmp_path_factory.mktemp("archive"))
    (folder / "blue2.mp4").write_bytes(b"no video" * 50)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory, archive):
    folder = tmp_path_factory.mktemp("packs") / "pack"
    make_pack(archive, folder)
    return folder


@pytest.fixture
def pack(made, tmp_path):
    """A pack to damage."""
    return Path(shutil.copytree(made, tmp_path / "pack"))


def test_videos_are_those_of_the_files(archive, made):
    videos = open_pack(made).videos
    expected = find_narrated_videos(archive).videos
    assert [video.video_id for video in videos] == [video.video_id for video in expected]
    assert [video.track for video in videos] == [video.track for video in expected]
    assert [archive / video.path for video in videos] == [video.path for video in expected]
    assert videos[-1] == videos[5]
    assert videos[1:3] == [videos[1], videos[2]]


@pytest.mark.parametrize("rule", ["ffmpeg_fps", "shown_at"])
@pytest.mark.parametrize("crop", ["center", "random"])
def test_clips_and_lengths_are_those_of_the_files(archive, made, rule, crop):
    spec = dataclasses.replace(SPEC, frame_rule=rule, crop=crop)
    clips, files = PackedClips(open_pack(made)), FileClips()
    for name in ("green1.mp4", "red2.mp4"):
        assert clips.duration_seconds(Path(name)) == files.duration_seconds(archive / name)
        for number, start in enumerate(STARTS):
            seeded = [torch.Generator().manual_seed(number) for _ in range(2)]
            ours = clips.read(Path(name), start, spec, generator=seeded[0])
            theirs = files.read(archive / name, start, spec, generator=seeded[1])
            assert ours.span == theirs.span
            assert (ours.mask == theirs.mask).all()
            assert (ours.frames == theirs.frames).all(), (name, start)
            assert torch.equal(seeded[0].get_state(), seeded[1].get_state())
    assert ours.num_padded > 0, "none of the clips passes the end of its video"


def test_watched_processes_and_several_threads_give_the_same(made):
    names = [Path(name) for name in ("blue1.mp4", "green1.mp4", "red1.mp4")] * 3
    plain = PackedClips(open_pack(made))
    with WatchedDecoder(2) as decoder, ThreadPoolExecutor(3) as pool:
        watched = PackedClips(open_pack(made), decoder)
        for ours, name in zip(
            pool.map(lambda name: watched.read(name, 0.5, SPEC), names), names, strict=True
        ):
            assert (ours.frames == plain.read(name, 0.5, SPEC).frames).all()
        assert decoder.worker_pids
        watched.close()
        assert not decoder.worker_pids


def test_a_bad_video_of_the_archive_raises_its_reason(made):
    clips = PackedClips(open_pack(made))
    with pytest.raises(DecodeError, match="cannot be opened") as caught:
        clips.duration_seconds(Path("blue2.mp4"))
    assert caught.value.path == "blue2.mp4"
    with pytest.raises(DecodeError, match="cannot be opened"):
        clips.read(Path("blue2.mp4"), 0.0, SPEC)


def test_a_clip_behind_the_end_raises_as_the_file_does(archive, made):
    faults = []
    for source, path in (
        (PackedClips(open_pack(made)), Path("red2.mp4")),
        (FileClips(), archive / "red2.mp4"),
    ):
        with pytest.raises(DecodeError) as caught:
            source.read(path, 4.5, SPEC)
        faults.append((caught.value.reason, caught.value.span))
    assert faults[0] == faults[1]


def test_a_clip_that_no_segment_holds_names_the_remedy(made):
    clips = PackedClips(open_pack(made))
    with pytest.raises(PackError, match=r"red2\.mp4 .*0\.25-3\.75 s: .*up to 2 s \(--clip-seconds\).*again"):
        clips.read(Path("red2.mp4"), 0.25, ClipSpec(14, 4.0, 32))
    assert clips.read(Path("red2.mp4"), 1.5, ClipSpec(14, 4.0, 32)).num_padded, "it may pass the video's end"


def test_a_video_that_is_not_in_the_pack_is_a_mistake(made):
    with pytest.raises(ValueError, match=r"yellow\.mp4 is not among the 6 videos"):
        PackedClips(open_pack(made)).read(Path("yellow.mp4"), 0.0, SPEC)


def shard_of(pack, name):
    rows = open_pack(pack).rows
    segment = rows[rows.find(name)].segments[0]
    return pack / f"shard-{segment.shard:06d}.tar", segment


def cut_off(shard, segment):
    shard.write_bytes(shard.read_bytes()[: segment.offset + 100])


def flip(shard, segment):
    content = bytearray(shard.read_bytes())
    content[segment.offset + segment.size // 2] ^= 1
    shard.write_bytes(content)


def shift(shard, segment):
    shard.write_bytes(bytes(512) + shard.read_bytes())


def remove(shard, segment):
    shard.unlink()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (cut_off, "it ends at byte [0-9]+; the shard is cut off or changed, copy it again"),
        (flip, "its bytes are not those that were packed"),
        (shift, "another file lies there"),
        (remove, "cannot be read: No such file"),
    ],
)
def test_a_damaged_shard_costs_its_clips_and_names_the_place(pack, damage, reason):
    shard, segment = shard_of(pack, "green1.mp4")
    clips = PackedClips(open_pack(pack))
    clips.read(Path("green1.mp4"), 0.5, SPEC)
    damage(shard, segment)
    with pytest.raises(DecodeError, match=f"^green1.mp4: {shard.name} at byte {segment.offset}: {reason}"):
        clips.read(Path("green1.mp4"), 0.5, SPEC)
    clips.read(Path("red1.mp4"), 0.5, SPEC)


@pytest.mark.parametrize("change", [{"shard": 99}, {"size": 2**40}, {"offset": 0}, {"shard": -1}])
def test_a_table_that_points_outside_its_shards_is_refused(pack, change):
    opened = open_pack(pack)
    row = opened.rows[0]
    wrong = dataclasses.replace(row, segments=(dataclasses.replace(row.segments[0], **change),))

    class Rows(type(opened.rows)):
        def row(self, index, *, with_captions=True):
            return wrong

    opened.rows.__class__ = Rows
    with pytest.raises(DecodeError, match="the table names .* that the shard cannot hold; .*copy") as caught:
        PackedClips(opened).read(Path(row.path), 0.0, SPEC)
    assert VIDEOS_NAME not in caught.value.path
