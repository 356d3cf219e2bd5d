"""Plans of packs: parts that make up the whole, and what is told when a plan has changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narravid.data.corpus import find_narrated_videos
from narravid.data.pack_format import PackError, PackSettings
from narravid.data.pack_plan import PackPart, PackPlan
from packable_archive import write_tiny_archive, write_transcript

SETTINGS = PackSettings(videos_per_shard=2)


@pytest.fixture
def root(tmp_path) -> Path:
    return write_tiny_archive(tmp_path / "tiny")


def plan_of(root: Path, settings: PackSettings = SETTINGS) -> PackPlan:
    return PackPlan(root, find_narrated_videos(root).videos, settings)


@given(st.integers(1, 50), st.integers(0, 200))
def test_parts_make_up_the_whole_and_are_about_as_large(count, num_items):
    shares = [PackPart(number, count).of(num_items) for number in range(1, count + 1)]
    assert [item for share in shares for item in share] == list(range(num_items))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(("number", "count"), [(0, 1), (2, 1), (0, 0), (-1, -1)])
def test_there_is_no_such_part(number, count):
    with pytest.raises(ValueError, match=f"part must be I/N with 1 <= I <= N, got {number}/{count}"):
        PackPart(number, count)


def test_a_shard_holds_consecutive_videos(root):
    plan = plan_of(root)
    assert [list(plan.videos_of(shard)) for shard in range(plan.num_shards)] == [[0, 1], [2]]
    assert (plan.num_captions, plan.archive_bytes) == (3, 24)


def test_the_same_plan_may_go_on(root, tmp_path):
    plan_of(root).check(plan_of(root).to_json(), tmp_path)


def larger_file(root: Path) -> None:
    (root / "c.mp4").write_text("no video either")


def another_place(root: Path) -> None:
    (root / "c.mp4").rename(root / "c.mkv")


def one_video_less(root: Path) -> None:
    (root / "c.mp4").unlink()


def one_caption_more(root: Path) -> None:
    write_transcript(root / "c.mp4", ((0.0, 1.0, "c"), (1.0, 2.0, "d")))


def another_caption(root: Path) -> None:
    write_transcript(root / "c.mp4", ((0.0, 1.0, "d"),))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            one_video_less,
            "num_videos (videos with captions) was 3 and is 2; num_captions was 3 and is 2",
        ),
        (one_caption_more, "num_captions was 3 and is 4. Pack as before"),
        (another_caption, "corpus_sha256 (names and captions of the videos) was "),
        (larger_file, "archive_bytes (size of the video files) was 24 and is 31. Pack as before"),
        (another_place, "files_sha256 (paths and sizes of the video files) was "),
    ],
)
def test_a_changed_archive_is_told(root, tmp_path, change, words):
    begun = plan_of(root).to_json()
    change(root)
    with pytest.raises(PackError) as caught:
        plan_of(root).check(begun, tmp_path / "pack")
    said = str(caught.value)
    assert said.startswith(f"{tmp_path / 'pack'}: was begun otherwise: {words}")
    assert said.endswith(". Pack as before, or into another folder")


def test_every_changed_setting_is_told(root, tmp_path):
    begun = plan_of(root).to_json()
    changed = replace(SETTINGS, clip_seconds=6.4, lossless=True, short_side_pixels=None)
    with pytest.raises(PackError) as caught:
        plan_of(root, changed).check(begun, tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: was begun otherwise: clip_seconds was 3.2 and is 6.4; short_side_pixels was 256 and is"
        " None; lossless was False and is True. Pack as before, or into another folder"
    )


def test_another_version_is_told(root, tmp_path):
    plan = plan_of(root)
    with pytest.raises(PackError, match="format_version was 0 and is 1"):
        plan.check({**plan.to_json(), "format_version": 0}, tmp_path)
