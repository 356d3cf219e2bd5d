"""`narravid pack`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from narravid.cli.main import main
from narravid.data.pack_format import INFO_NAME, PackSettings, parse_info
from narravid.data.pack_table import read_videos
from narravid.data.packs import open_pack
from packable_archive import (
    MAX_BAD_SHARE,
    MAX_SEGMENT_SECONDS,
    NUM_VIDEOS,
    VIDEOS_PER_SHARD,
    content_of,
    write_archive,
    write_tiny_archive,
    write_transcript,
)
from tiny_corpus import write_colour_video

OPTIONS = (
    *("--max-segment-seconds", str(MAX_SEGMENT_SECONDS), "--videos-per-shard", str(VIDEOS_PER_SHARD)),
    *("--max-bad-share", str(MAX_BAD_SHARE)),
)


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    return write_archive(tmp_path_factory.mktemp("archive"))


@pytest.fixture
def tiny(tmp_path) -> Path:
    return write_tiny_archive(tmp_path / "tiny")


def pack(root: Path, output: Path | str, *options: str) -> int:
    return main(["pack", str(root), "--output", str(output), *options])


def test_a_pack_is_made_and_said_what_it_holds(archive, tmp_path, capsys):
    output = tmp_path / "pack"
    assert pack(archive, output, *OPTIONS, "--workers", "1") == 0
    said = capsys.readouterr()
    info = open_pack(output).info
    size = sum(info.shard_bytes)
    assert info.settings == PackSettings(
        max_segment_seconds=MAX_SEGMENT_SECONDS, videos_per_shard=VIDEOS_PER_SHARD
    )
    share = size / sum(path.stat().st_size for path in packed_files(archive))
    rate = size / 1e6 / info.video_seconds * 3600
    lines = said.out.splitlines()
    bad = [f"not packed: {archive / name}.mp4: " for name in ("broken", "silent", "torn")]
    assert [line.startswith(words) for line, words in zip(lines, bad, strict=False)] == [True] * 3
    assert lines[3:] == [
        f"7 videos done now; 3 are not packed, see {output / 'bad_items.csv'}",
        f"{output}: 6 videos (0.01 h) in 8 segments (0.01 h) and 4 shards",
        f"{size / 1e6:.2f} MB, {rate:.0f} MB an hour of video, {share:.0%} of the archive",
    ]
    assert f"packing {NUM_VIDEOS}/{NUM_VIDEOS} videos" in said.err
    assert "2 bad" in said.err

    assert pack(archive, output, *OPTIONS) == 0
    again = capsys.readouterr()
    complete = f"{output} was complete before, nothing is done; 3 are not packed, see {output}/bad_items.csv"
    assert again.out.splitlines() == [*lines[:3], complete, *lines[4:]]
    assert again.err == ""


def packed_files(archive: Path) -> list[Path]:
    return [path for path in archive.rglob("*.mp4") if path.stem not in ("silent", "torn")]


def test_every_setting_reaches_the_pack(tmp_path):
    root = tmp_path / "videos"
    write_colour_video(root / "one" / "a.mp4", (90, 90, 90), seconds=0.5)
    write_colour_video(root / "b.mp4", (90, 90, 90), seconds=0.5)
    (tmp_path / "texts").mkdir()
    write_transcript(tmp_path / "texts" / "a.vtt", ((0.0, 0.5, "words"),))
    (tmp_path / "list.csv").write_text("video_path\none/a.mp4\n")
    words = (
        *("--crf", "30", "--preset", "ultrafast", "--keyframe-seconds", "0.5", "--clip-seconds", "2"),
        *("--min-caption-seconds", "4", "--max-segment-seconds", "20", "--videos-per-shard", "3"),
        *("--short-side", "32"),
    )
    places = ("--captions", str(tmp_path / "texts"), "--video-list", str(tmp_path / "list.csv"))
    assert pack(root, tmp_path / "pack", *words, *places) == 0
    info = parse_info((tmp_path / "pack" / INFO_NAME).read_bytes(), "")
    assert info.settings == PackSettings(2.0, 4.0, 20.0, 32, False, 30, "ultrafast", 0.5, 3)
    assert [row.video_id for row in read_videos(tmp_path / "pack" / "videos.arrow")] == ["one/a"]
    assert pack(root, tmp_path / "lossless", "--lossless", *places) == 0
    settings = parse_info((tmp_path / "lossless" / INFO_NAME).read_bytes(), "").settings
    assert (settings.lossless, settings.short_side_pixels) == (True, None)


def test_parts_of_several_machines(tiny, tmp_path, capsys):
    options = ("--videos-per-shard", "1", "--max-bad-share", "1")
    assert pack(tiny, tmp_path / "pack", *options, "--part", "2/2") == 0
    said = capsys.readouterr().out
    assert "2 videos done now; 2 are not packed" in said
    assert said.endswith(f"shards of other parts still missing in {tmp_path / 'pack'}: 1\n")
    assert pack(tiny, tmp_path / "pack", *options, "--part", "1/2") == 0
    assert "1 videos done now; 3 are not packed" in capsys.readouterr().out
    assert open_pack(tmp_path / "pack").info.num_videos == 3


def test_an_archive_of_which_too_much_is_bad_stops_the_command(tiny, tmp_path, capsys):
    assert pack(tiny, tmp_path / "pack") == 2
    said = capsys.readouterr()
    assert "1 of 1 items met so far are bad, more than 5%: 1 x cannot be opened as a video" in said.err
    assert (
        f"All are listed in {tmp_path / 'pack' / 'bad_items.csv'}. The same command with a larger" in said.err
    )
    assert "--max-bad-share goes on without them; mended ones need a new pack" in said.err
    assert "a.mp4" in (tmp_path / "pack" / "bad_items.csv").read_text()
    assert pack(tiny, tmp_path / "pack", "--max-bad-share", "1") == 0


def test_many_bad_videos_are_summed_up(tmp_path, capsys):
    (tmp_path / "videos").mkdir()
    for number in range(30):
        (tmp_path / "videos" / f"{number}.mp4").touch()
    write_colour_video(tmp_path / "videos" / "good.mp4", (90, 90, 90), seconds=0.5)
    write_transcript(tmp_path / "videos" / "good.mp4", ((0.0, 0.5, "words"),))
    assert pack(tmp_path / "videos", tmp_path / "pack") == 0  # what was never narrated is no fault
    out = capsys.readouterr().out
    assert out.count("not packed: ") == 20
    assert "and 10 more, in " in out
    assert "  30 x no transcript of the same name" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere", "--output", "pack"], "nowhere is not a folder"),
        (["tiny", "--output", "s3://bucket/pack"], "a pack is written to a folder, not to an address"),
        (
            ["tiny", "--output", "https://example.org/pack"],
            "copy the folder there, from where training reads",
        ),
        (["tiny", "--output", "tiny"], "is not empty and holds no pack (a.mp4); choose another folder"),
        (["tiny", "--output", "tiny/a.mp4"], "a.mp4: is a file; a pack needs a folder"),
        (["tiny", "--output", "pack", "--part", "1-2"], "--part must be I/N, such as 1/4, got '1-2'"),
        (["tiny", "--output", "pack", "--part", "3/2"], "part must be I/N with 1 <= I <= N, got 3/2"),
        (["tiny", "--output", "pack", "--workers", "0"], "num_workers must be at least 1, got 0"),
        (["tiny", "--output", "pack", "--max-bad-share", "5"], "max_bad_share must be from 0 to 1, got 5.0"),
        (["tiny", "--output", "pack", "--crf", "52"], "crf must be 0 to 51, got 52"),
        (["tiny", "--output", "pack", "--preset", "slowest"], "invalid choice 'slowest'"),
        (["tiny", "--output", "pack", "--clip-seconds", "0"], "clip_seconds must be positive, got 0.0"),
        (["tiny", "--output", "pack", "--lossless", "--short-side", "64"], "--lossless keeps the size"),
        (["tiny", "--output", "pack", "--captions", "none"], "none is neither a folder nor a file"),
    ],
)
def test_mistakes_are_one_clear_line_and_leave_nothing_behind(
    tiny, tmp_path, monkeypatch, capsys, words, said
):
    monkeypatch.chdir(tmp_path)
    assert main(["pack", *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.startswith("narravid: ")
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def started(archive: Path, output: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "narravid.cli.main", "pack", str(archive), "--output", str(output)]
    return subprocess.Popen(
        [*command, *OPTIONS, "--workers", "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_ctrl_c_keeps_the_finished_shards_and_says_so(tmp_path):
    archive = write_tiny_archive(tmp_path / "tiny", good=True)
    for number in range(200):  # more than are packed before Ctrl-C comes
        os.link(archive / "b.mp4", archive / f"b{number}.mp4")
        os.link(archive / "b.vtt", archive / f"b{number}.vtt")
    output = tmp_path / "pack"
    with started(archive, output) as process:
        while process.poll() is None and not (output / "parts" / "shard-000000.arrow").exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "narravid: finished shards are kept; the same command goes on from there\n" in said
    assert said.endswith("narravid: interrupted\n")
    assert "Traceback" not in said
    assert "a.mp4" in (output / "bad_items.csv").read_text()
    assert not list(output.rglob("*.partial"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_command_stopped_at_any_moment_makes_the_same_pack(archive, tmp_path, seed, kind):
    """The whole command with two workers, stopped at moments drawn by a seed."""
    rng = np.random.default_rng(seed)
    assert pack(archive, tmp_path / "undisturbed", *OPTIONS, "--workers", "1") == 0
    output = tmp_path / "pack"
    num_stopped = 0
    for _ in range(4):
        with started(archive, output) as process:
            while process.poll() is None and not (output / "parts" / "plan.json").exists():
                time.sleep(0.01)
            time.sleep(float(rng.uniform(0.0, 2.0)))
            num_stopped += process.poll() is None
            process.send_signal(kind)
            process.communicate(timeout=60)
    assert num_stopped >= 1
    assert pack(archive, output, *OPTIONS) == 0
    assert content_of(output) == content_of(tmp_path / "undisturbed")


@pytest.mark.slow
def test_several_machines_at_once_make_the_same_pack(archive, tmp_path):
    """Three commands at the same time stand for the machines."""
    command = [sys.executable, "-m", "narravid.cli.main", "pack", str(archive), *OPTIONS, "--output"]
    parts = [
        subprocess.Popen([*command, str(tmp_path / "pack"), "--part", f"{number}/3", "--workers", "1"])
        for number in (1, 2, 3)
    ]
    assert [process.wait(timeout=300) for process in parts] == [0, 0, 0]
    assert pack(archive, tmp_path / "other", *OPTIONS) == 0
    assert content_of(tmp_path / "pack") == content_of(tmp_path / "other")
