"""A pack in the making: whoever finds it half made goes on, and nobody hinders anybody else."""

from __future__ import annotations

from pathlib import Path

import pytest

from narravid.bad_items import BadItems
from narravid.data.corpus import find_narrated_videos
from narravid.data.pack_folder import PackFolder
from narravid.data.pack_format import PackedVideo, PackError, PackSettings
from narravid.data.pack_plan import PackPart, PackPlan
from narravid.errors import NarravidError
from packable_archive import write_tiny_archive

WHOLE = PackPart()


@pytest.fixture
def folder(tmp_path) -> PackFolder:
    """Three videos, one in each shard."""
    root = write_tiny_archive(tmp_path / "tiny")
    videos = find_narrated_videos(root).videos
    return PackFolder(tmp_path / "pack", PackPlan(root, videos, PackSettings(videos_per_shard=1)))


def finish(folder: PackFolder, shard: int) -> PackedVideo:
    name = "abc"[shard]
    row = PackedVideo(name, f"{name}.mp4", (), bad="empty file")
    (folder.folder / f"shard-00000{shard}.tar").write_bytes(b"tar")
    folder.finish_shard(shard, [row])
    return row


def test_a_kill_before_there_is_a_plan_can_be_gone_on_from(folder):
    parts = folder.folder / "parts"
    parts.mkdir(parents=True)
    (folder.folder / ".lock").touch()
    (parts / ".plan.json.12.partial").write_text("{")
    with folder.work_on(WHOLE):
        assert sorted(path.name for path in parts.iterdir()) == ["of-1", "plan.json"]


def test_a_folder_of_somebody_else_is_refused(folder):
    (folder.folder / "parts").mkdir(parents=True)
    (folder.folder / "parts" / "mine").touch()
    with (
        pytest.raises(
            PackError, match=r"is not empty and holds no pack \(parts/mine\); choose another folder"
        ),
        folder.work_on(WHOLE),
    ):
        pass
    assert not (folder.folder / "parts" / "plan.json").exists()


def test_a_shard_is_done_when_its_rows_are_there(folder):
    with folder.work_on(WHOLE):
        (folder.folder / "shard-000000.tar").write_bytes(b"tar")
        assert not folder.is_done(0)
        row = finish(folder, 0)
        assert folder.is_done(0)
        assert list(folder.rows(range(3))) == [row]
        (folder.folder / "shard-000000.tar").unlink()
        assert not folder.is_done(0)


def test_what_killed_runs_left_of_a_part_goes_and_that_of_others_stays(folder):
    with folder.work_on(PackPart(1, 3)):
        pass
    for shard in ("shard-000000", "shard-000001"):
        (folder.folder / f".{shard}.tar.7.partial").touch()
        (folder.folder / "parts" / f".{shard}.arrow.7.partial").touch()
    with folder.work_on(PackPart(2, 3)):
        left = [path.name for path in folder.folder.rglob("*.partial")]
        assert sorted(left) == [".shard-000000.arrow.7.partial", ".shard-000000.tar.7.partial"]


def test_different_parts_are_worked_on_at_once_and_one_only_by_one(folder):
    first, second = PackPart(1, 2), PackPart(2, 2)
    with folder.work_on(first), folder.work_on(second):
        for part, words in ((first, "packs part 1/2 of"), (WHOLE, "packs part-1 of-2 of .*in one way")):
            with pytest.raises(NarravidError, match=words), folder.work_on(part):
                pass
    with folder.work_on(WHOLE):
        pass


def test_it_is_complete_when_all_shards_are_done(folder):
    unused = [(Path("silent.mp4"), "no transcript")]
    with folder.work_on(WHOLE):
        finish(folder, 0)
        finish(folder, 2)
        assert folder.complete(unused) is None
        finish(folder, 1)
        info = folder.complete(unused)
        assert info is not None
        assert (info.num_videos, info.num_bad_videos, info.shard_bytes) == (3, 3, (3, 3, 3))
        assert folder.info == folder.complete([]) == info
    assert not (folder.folder / "parts").exists()
    listed = BadItems.read(folder.folder / "bad_items.csv")
    assert {Path(path).name for path in listed.reasons} == {"a.mp4", "b.mp4", "c.mp4", "silent.mp4"}


def test_the_table_of_bad_items_of_a_complete_pack_is_not_replaced(folder):
    """Another machine may complete the pack while this one still has something to say."""
    with folder.work_on(WHOLE):
        for shard in range(3):
            finish(folder, shard)
        folder.complete([])
        before = (folder.folder / "bad_items.csv").read_bytes()
        folder.write_bad_items([], more=BadItems())
        assert (folder.folder / "bad_items.csv").read_bytes() == before
