"""Packing an archive: what is in the pack, that it is the same however it was made, and what is refused."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tarfile
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

import narravid.data.packing
from narravid.bad_items import BadItems, TooManyBadItemsError
from narravid.data.corpus import NarratedVideo, find_narrated_videos
from narravid.data.pack_format import INFO_NAME, PackError, PackSettings, parse_info
from narravid.data.pack_plan import PackPart
from narravid.data.pack_table import read_videos
from narravid.data.packing import LOG_NAME, PackReport, pack_archive
from narravid.errors import NarravidError
from narravid.types import ClipSpec
from narravid.video.decode import decode_clips, probe
from narravid.video.segments import Segment
from packable_archive import (
    CAPTIONS,
    MAX_BAD_SHARE,
    MAX_SEGMENT_SECONDS,
    NOT_PACKED,
    NUM_SHARDS,
    NUM_VIDEOS,
    VIDEOS_PER_SHARD,
    content_of,
    write_archive,
    write_tiny_archive,
    write_transcript,
)
from tiny_corpus import write_colour_video

SETTINGS = PackSettings(max_segment_seconds=MAX_SEGMENT_SECONDS, videos_per_shard=VIDEOS_PER_SHARD)
KILLER = Path(__file__).parent.parent / "killed_packing.py"


def pack(root: Path, output: Path, **options) -> PackReport:
    options = {"settings": SETTINGS, "max_bad_share": MAX_BAD_SHARE, **options}
    return pack_archive(find_narrated_videos(root), root, output, **options)


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    return write_archive(tmp_path_factory.mktemp("archive"))


@pytest.fixture(scope="module")
def made(archive, tmp_path_factory) -> tuple[Path, PackReport]:
    output = tmp_path_factory.mktemp("packs") / "deep" / "pack"
    return output, pack(archive, output)


@pytest.fixture
def tiny(tmp_path) -> Path:
    return write_tiny_archive(tmp_path / "tiny")


def test_the_table_has_a_row_for_every_video_in_the_order_of_the_corpus(archive, made):
    rows = list(read_videos(made[0] / "videos.arrow"))
    videos = find_narrated_videos(archive).videos
    assert [row.video_id for row in rows] == [video.video_id for video in videos]
    assert [row.path for row in rows] == [video.path.relative_to(archive).as_posix() for video in videos]
    assert [row.captions for row in rows] == [video.track.captions for video in videos]
    for row, video in zip(rows, videos, strict=True):
        if row.video_id == "broken":
            assert (row.bad, row.segments, row.duration_seconds) == (NOT_PACKED["broken"], (), 0.0)
        else:
            assert row.bad is None
            assert row.duration_seconds == probe(video.path).duration_seconds
            assert row.segments


def test_captions_are_in_segments_and_pauses_are_not(made):
    rows = {row.video_id: row for row in read_videos(made[0] / "videos.arrow")}
    spans = {
        name: [(round(part.start_seconds, 1), round(part.end_seconds, 1)) for part in rows[name].segments]
        for name in CAPTIONS
    }
    assert spans == {
        "long": [(0.0, 12.0), (9.0, 14.0)],  # longer than max_segment_seconds, as its caption is
        "pause": [(0.0, 5.0), (9.0, 14.0)],
        "plain": [(0.0, 3.0)],
        "short": [(0.0, 0.5)],
        "sub/late": [(0.0, 2.0)],
        "sub/plain": [(0.0, 2.0)],
    }


def test_a_shard_has_a_video_and_a_description_for_each_segment_and_nothing_of_this_machine(made):
    rows = list(read_videos(made[0] / "videos.arrow"))
    for shard in range(NUM_SHARDS):
        path = made[0] / f"shard-{shard:06d}.tar"
        with tarfile.open(path) as tar:
            members = tar.getmembers()
        numbers = range(VIDEOS_PER_SHARD * shard, min(VIDEOS_PER_SHARD * (shard + 1), NUM_VIDEOS))
        assert [member.name for member in members] == [
            f"{number:08d}_{part:04d}.{kind}"
            for number in numbers
            for part in range(len(rows[number].segments))
            for kind in ("mp4", "json")
        ]
        about = {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode, m.isreg()) for m in members}
        assert about == {(0, 0, 0, "", "", 0o644, True)}


def test_the_table_leads_to_the_bytes_of_each_segment_and_they_give_the_clips_of_the_video(archive, made):
    spec = ClipSpec(num_frames=4, fps=5.0, size_pixels=48)
    for row in read_videos(made[0] / "videos.arrow"):
        for part in row.segments:
            shard = (made[0] / f"shard-{part.shard:06d}.tar").read_bytes()
            data = shard[part.offset : part.offset + part.size]
            assert zlib.crc32(data) == part.crc32
            start = part.start_seconds
            segment = Segment(data, row.timeline(part))
            [ours] = decode_clips(archive / row.path, [start], spec, segment=segment)
            [theirs] = decode_clips(archive / row.path, [start], spec)
            assert ours.num_padded == theirs.num_padded
            assert (ours.frames.float() - theirs.frames.float()).abs().mean() < 4


def test_the_description_says_what_is_said_when_in_the_video(made):
    rows = {row.video_id: row for row in read_videos(made[0] / "videos.arrow")}
    part = rows["pause"].segments[1]
    with tarfile.open(made[0] / f"shard-{part.shard:06d}.tar") as tar:
        [name] = [member.name for member in tar.getmembers() if member.offset_data == part.offset]
        said = json.load(tar.extractfile(name.replace(".mp4", ".json")))
    base = rows["pause"].time_base
    assert said == {
        "video_id": "pause",
        "start_seconds": part.start_seconds,
        "end_seconds": part.end_seconds,
        "clock": {
            "time_base": [base.numerator, base.denominator],
            "origin_microseconds": 0,
            "shift_ticks": part.shift_ticks,
            "frame_ticks": rows["pause"].frame_ticks,
        },
        "captions": [{"text": "behind the pause", "start_seconds": 12.0, "end_seconds": 13.0}],
    }


def test_the_description_of_the_pack_counts_what_is_in_it(made):
    output, report = made
    rows = list(read_videos(output / "videos.arrow"))
    info = parse_info((output / INFO_NAME).read_bytes(), INFO_NAME)
    assert report.info == info
    assert info.settings == SETTINGS
    assert (info.num_videos, info.num_bad_videos) == (NUM_VIDEOS, 1)
    assert info.num_captions == sum(len(row.captions) for row in rows)
    assert info.num_segments == sum(len(row.segments) for row in rows)
    assert info.shard_bytes == tuple(path.stat().st_size for path in sorted(output.glob("shard-*.tar")))
    assert info.video_seconds == pytest.approx(sum(seconds for seconds, _ in CAPTIONS.values()), abs=0.2)
    parts = [part for row in rows for part in row.segments]
    assert info.segment_seconds == sum(part.end_seconds - part.start_seconds for part in parts)


def test_what_is_not_packed_is_listed_with_its_reason(archive, made):
    output, report = made
    assert BadItems.read(output / "bad_items.csv") == report.bad
    said = {Path(path).name.partition(".")[0]: reason for path, reason in report.bad.reasons.items()}
    assert said.keys() == NOT_PACKED.keys()
    for name, words in NOT_PACKED.items():
        assert words in said[name]
    assert (report.num_written, report.num_kept, report.num_shards_missing) == (NUM_VIDEOS, 0, 0)
    assert report.archive_bytes == sum(
        video.path.stat().st_size for video in find_narrated_videos(archive).videos
    )


def test_each_part_answers_for_its_share_of_the_faulty_captions(tiny, tmp_path):
    """Two of five videos are bad, and at most one of each part is."""
    for name in ("c", "d", "e"):
        write_colour_video(tiny / f"{name}.mp4", (9, 9, 9), seconds=0.5)
        write_transcript(tiny / f"{name}.mp4", ((0.0, 1.0, name),))
    (tiny / "a.vtt").write_text("nonsense")
    (tiny / "b.vtt").write_text("nonsense")
    settings = replace(SETTINGS, videos_per_shard=1)
    for number in (1, 2, 3):
        pack(tiny, tmp_path / "pack", part=PackPart(number, 3), settings=settings, max_bad_share=0.5)
    assert parse_info((tmp_path / "pack" / INFO_NAME).read_bytes(), "").num_videos == 3


def test_several_workers_make_the_same_bytes(archive, made, tmp_path):
    pack(archive, tmp_path / "pack", num_workers=3)
    assert content_of(tmp_path / "pack") == content_of(made[0])


def test_parts_make_the_same_bytes_and_the_last_one_completes_the_pack(archive, made, tmp_path):
    output = tmp_path / "pack"
    first = pack(archive, output, part=PackPart(2, 3))
    assert first.info is None
    assert 0 < first.num_written < NUM_VIDEOS
    assert first.num_shards_missing == NUM_SHARDS - 1
    assert "part 2/3 is done, 3 shards of others are missing" in (output / "pack-2-of-3.log").read_text()
    listed = BadItems.read(output / "bad_items.csv")
    assert listed == first.bad
    assert str(archive / "silent.mp4") in listed.reasons
    again = pack(archive, output, part=PackPart(2, 3))
    assert (again.num_written, again.num_kept) == (0, first.num_written)
    pack(archive, output, part=PackPart(1, 3))
    last = pack(archive, output, part=PackPart(3, 3))
    assert last.info == made[1].info
    assert last.bad == made[1].bad
    assert content_of(output) == content_of(made[0])


def test_a_complete_pack_is_left_alone(archive, made):
    output, report = made
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in output.iterdir()}
    again = pack(archive, output, num_workers=2)
    assert (again.info, again.bad) == (report.info, report.bad)
    assert (again.num_written, again.num_kept, again.num_shards_missing) == (0, 0, 0)
    after = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in output.iterdir()}
    del before[output / ".lock"], after[output / ".lock"]
    assert after == before


def test_killed_at_every_step_and_gone_on_with_it_is_the_same_pack(tmp_path):
    """SIGKILL before each renaming of a file that is finished, and after the last."""
    archive = write_tiny_archive(tmp_path / "archive", good=True)
    output = tmp_path / "pack"
    command = [sys.executable, str(KILLER), str(archive), str(output), "steps"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    shard = ("shard-000000.tar", "shard-000000.arrow")
    steps = ["plan.json", *shard, "videos.arrow", "bad_items.csv", "pack.json"]
    assert json.loads(done.stdout) == [*(f"before {step}" for step in steps), "after pack.json"]
    pack(archive, tmp_path / "other")
    assert content_of(output, num_shards=1) == content_of(tmp_path / "other", num_shards=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_killed_at_any_moment_and_gone_on_with_it_is_the_same_pack(archive, made, tmp_path, seed):
    """SIGKILL at twenty moments drawn by a seed."""
    options = ["moments", str(seed), "20"]
    command = [sys.executable, str(KILLER), str(archive), str(tmp_path / "pack"), *options]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert len(json.loads(done.stdout)) == 20
    assert content_of(tmp_path / "pack") == content_of(made[0])


def test_stopped_by_ctrl_c_it_lists_what_is_bad_and_goes_on(archive, made, tmp_path, monkeypatch):
    output = tmp_path / "pack"
    bars = []

    class StoppingBar:
        def advance(self, amount=1.0, *, note=None):
            bars.append(note)
            if len(bars) == 3:
                raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(narravid.data.packing.ProgressBar, "advance", StoppingBar.advance)
        with pytest.raises(KeyboardInterrupt):
            pack(archive, output)
    assert bars[0].endswith(" h of video an hour, 2 bad")  # the faulty captions, and the first video
    assert "stopped: KeyboardInterrupt" in (output / LOG_NAME).read_text()
    assert BadItems.read(output / "bad_items.csv") == made[1].bad
    assert sorted(path.name for path in output.glob("shard*")) == ["shard-000000.tar"]
    report = pack(archive, output)
    assert (report.num_written, report.num_kept) == (NUM_VIDEOS - VIDEOS_PER_SHARD, VIDEOS_PER_SHARD)
    assert content_of(output) == content_of(made[0])


def test_too_many_bad_videos_stop_it_and_more_may_be_let_be(tiny, tmp_path):
    output = tmp_path / "pack"
    with pytest.raises(TooManyBadItemsError, match="1 of 1 items met so far are bad, more than 25%"):
        pack(tiny, output, max_bad_share=0.25)
    listed = BadItems.read(output / "bad_items.csv")
    assert list(listed.reasons) == [str(tiny / "a.mp4")]
    assert "stopped: TooManyBadItemsError" in (output / LOG_NAME).read_text()
    report = pack(tiny, output, max_bad_share=1.0)
    assert report.info.num_bad_videos == len(report.bad) == 3
    assert report.info.num_segments == 0


def test_videos_found_bad_by_earlier_runs_count_too(tiny, tmp_path):
    output = tmp_path / "pack"
    pack(tiny, output, max_bad_share=1.0, part=PackPart(1, 2))
    with pytest.raises(TooManyBadItemsError, match="2 of 2 items"):
        pack(tiny, output, max_bad_share=0.5)
    assert not (output / "shard-000001.tar").exists()


@pytest.mark.parametrize("part", [PackPart(), PackPart(1, 2)], ids=["complete", "begun"])
def test_what_was_begun_otherwise_is_not_gone_on_with(tiny, tmp_path, part):
    output = tmp_path / "pack"
    pack(tiny, output, max_bad_share=1.0, part=part)
    before = sorted(output.rglob("*"))
    with pytest.raises(PackError) as caught:
        pack(tiny, output, settings=replace(SETTINGS, crf=30), max_bad_share=1.0)
    assert str(caught.value) == (
        f"{output}: was begun otherwise: crf was 20 and is 30. Pack as before, or into another folder"
    )
    (tiny / "c.mp4").unlink()
    with pytest.raises(PackError, match=r"num_videos \(videos with captions\) was 3 and is 2; num_captions"):
        pack(tiny, output, max_bad_share=1.0)
    assert sorted(output.rglob("*")) == before


def test_one_part_has_one_writer(tiny, tmp_path, monkeypatch):
    output = tmp_path / "pack"
    said = []

    def meet(decoder, path):
        for part, words in ((PackPart(), "packs part 1/1"), (PackPart(1, 2), "packs part-1 of-1")):
            with pytest.raises(NarravidError, match=words):
                pack(tiny, output, part=part, max_bad_share=1.0)
        said.append(path)
        monkeypatch.undo()
        return decoder.probe(path)

    monkeypatch.setattr(narravid.video.watched.WatchedDecoder, "probe", meet)
    pack(tiny, output, max_bad_share=1.0)
    assert said == [tiny / "a.mp4"]


def test_a_full_disk_is_told_and_what_is_packed_is_kept(archive, made, tmp_path):
    """A limit on the size of files stands for the disk."""
    output = tmp_path / "pack"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    pack(archive, output, part=PackPart(2, 2))
    resource.setrlimit(resource.RLIMIT_FSIZE, (made[1].info.shard_bytes[0] - 1, before[1]))
    try:
        with pytest.raises(NarravidError) as caught:
            pack(archive, output)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(caught.value) == (
        f"{output} cannot be written (File too large); what is packed is kept: make room and run the same"
        " command again"
    )
    assert not list(output.glob(".*.partial"))
    assert pack(archive, output).num_kept == NUM_VIDEOS - 2 * VIDEOS_PER_SHARD
    assert content_of(output) == content_of(made[0])


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("file", "file: is a file; a pack needs a folder"),
        ("file/pack", "pack cannot be written (Not a directory); mend that and run the same command again"),
        ("full", "full: is not empty and holds no pack (mine.txt); choose another folder"),
        ("other", "other: is not empty and holds no pack (parts/mine.txt); choose another folder"),
    ],
)
def test_where_no_pack_can_be_nothing_is_written(tiny, tmp_path, place, words):
    (tmp_path / "file").write_text("mine")
    for folder in ("full", "other/parts"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "mine.txt").write_text("mine")
    with pytest.raises(NarravidError) as caught:
        pack(tiny, tmp_path / place)
    assert words in str(caught.value)
    left = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()]
    assert {name for name in left if not name.startswith("tiny/") and not name.endswith(".lock")} == {
        "file",
        "full/mine.txt",
        "other/parts/mine.txt",
    }


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_workers": 0}, "num_workers must be at least 1, got 0"),
        ({"max_bad_share": -0.1}, "max_bad_share must be from 0 to 1, got -0.1"),
        ({"max_bad_share": float("nan")}, "max_bad_share must be from 0 to 1, got nan"),
    ],
)
def test_options_out_of_range_leave_nothing_behind(tiny, tmp_path, options, words):
    with pytest.raises(ValueError, match=words):
        pack(tiny, tmp_path / "pack", **options)
    assert not (tmp_path / "pack").exists()


def test_an_archive_without_narrated_videos(tmp_path):
    (tmp_path / "archive").mkdir()
    with pytest.raises(ValueError, match="archive has no narrated video to pack"):
        pack(tmp_path / "archive", tmp_path / "pack")


def test_a_name_that_is_no_text_is_told(tiny, tmp_path):
    found = find_narrated_videos(tiny)
    odd = NarratedVideo(Path(os.fsdecode(b"caf\xe9.mp4")), found.videos[0].track, "caf")
    with pytest.raises(NarravidError, match=r"'caf\\udce9.mp4' is no UTF-8 text; rename the file"):
        pack_archive(replace(found, videos=[odd]), tiny, tmp_path / "pack", settings=SETTINGS)


def test_a_video_that_vanishes_is_a_bad_one(tiny, tmp_path):
    found = find_narrated_videos(tiny)
    (tiny / "b.mp4").unlink()
    report = pack_archive(found, tiny, tmp_path / "pack", settings=SETTINGS, max_bad_share=1.0)
    assert report.bad.reasons[str(tiny / "b.mp4")] == "cannot be opened as a video: No such file or directory"
    assert report.archive_bytes == 16
