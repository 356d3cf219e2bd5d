"""`narravid info PACK`: a folder, an address, a pack in the making, and what is none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from file_server import Served, serve_files
from narravid.bad_items import TooManyBadItemsError
from narravid.cli.main import main
from narravid.data.corpus import find_narrated_videos
from narravid.data.pack_format import INFO_NAME, PackSettings, shard_name
from narravid.data.packing import pack_archive
from narravid.data.packs import open_pack
from small_corpus import write_narrated_videos

SETTINGS = PackSettings(short_side_pixels=32, preset="ultrafast", videos_per_shard=2, crf=30)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = write_narrated_videos(tmp_path_factory.mktemp("archive"))
    (folder / "red2.mp4").write_bytes(b"no video" * 50)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory, archive):
    folder = tmp_path_factory.mktemp("packs") / "pack"
    pack_archive(find_narrated_videos(archive), archive, folder, settings=SETTINGS, max_bad_share=1.0)
    return folder


@pytest.fixture(scope="module")
def stopped(tmp_path_factory, archive):
    """Packing stops at the bad video, which is in the last of three shards."""
    folder = tmp_path_factory.mktemp("packs") / "stopped"
    with pytest.raises(TooManyBadItemsError):
        pack_archive(find_narrated_videos(archive), archive, folder, settings=SETTINGS, max_bad_share=0.0)
    return folder


@pytest.fixture
def unfinished(stopped, tmp_path):
    """A copy to change."""
    return Path(shutil.copytree(stopped, tmp_path / "unfinished"))


def info(target, capsys):
    capsys.readouterr()
    assert main(["info", str(target), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_complete_pack(made, capsys):
    facts = info(made, capsys)
    pack = open_pack(made)
    lengths = [row.duration_seconds for row in pack.rows if row.bad is None]
    held = [part.end_seconds - part.start_seconds for row in pack.rows for part in row.segments]
    assert (facts["kind"], facts["is_complete"], facts["format_version"]) == ("pack", True, 1)
    assert (facts["num_videos"], facts["num_bad_videos"], len(lengths)) == (6, 1, 5)
    assert facts["num_segments"] == len(held)
    assert facts["num_captions"] == sum(len(row.captions) for row in pack.rows)
    assert facts["hours_of_video"] == pytest.approx(sum(lengths) / 3600, abs=1e-4)
    assert facts["hours_held"] == pytest.approx(sum(held) / 3600, abs=1e-4)
    assert facts["num_shards"] == len(list(made.glob("shard-*.tar"))) == 3
    assert facts["num_bytes"] == sum(shard.stat().st_size for shard in made.glob("shard-*.tar"))
    assert facts["shards_not_as_packed"] == []
    settings = facts["settings"]
    assert (settings["short_side_pixels"], settings["crf"], settings["lossless"]) == (32, 30, False)
    assert (settings["keyframe_seconds"], settings["clip_seconds"]) == (1.0, 3.2)
    assert facts["corpus_sha256"] == pack.info.corpus_sha256


def test_lines_for_people(made, capsys):
    assert main(["info", str(made)]) == 0
    lines = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert lines["kind"] == "pack"
    assert lines["settings.crf"] == "30"
    assert lines["shards_not_as_packed"] == "none"


def test_a_pack_at_an_address_says_the_same_and_its_table_is_not_fetched(made, capsys):
    with serve_files({f"/p/{path.name}": Served(path.read_bytes()) for path in made.iterdir()}) as server:
        facts = info(f"{server.url}/p", capsys)
        assert {Path(path).name for path in server.paths()} == {INFO_NAME}
    expected = info(made, capsys)
    del expected["shards_not_as_packed"]
    assert facts == expected


def test_shards_that_are_gone_or_cut_off_are_named(made, tmp_path, capsys):
    pack = Path(shutil.copytree(made, tmp_path / "pack"))
    (pack / shard_name(0)).unlink()
    with (pack / shard_name(2)).open("ab") as shard:
        shard.write(b"more")
    assert info(pack, capsys)["shards_not_as_packed"] == [shard_name(0), shard_name(2)]


def test_a_pack_in_the_making_says_what_is_done_and_how_to_go_on(unfinished, archive, capsys):
    facts = info(unfinished, capsys)
    assert (facts["kind"], facts["is_complete"], facts["format_version"]) == ("pack", False, 1)
    assert "same `narravid pack` command" in facts["how_to_go_on"]
    assert (facts["num_shards_done"], facts["num_shards"]) == (2, 3)
    assert (facts["num_videos_done"], facts["num_videos"], facts["num_bad_videos"]) == (4, 6, 0)
    shards = list(unfinished.glob("shard-*.tar"))
    assert facts["num_bytes"] == sum(shard.stat().st_size for shard in shards) > 0
    assert 0 < facts["hours_held"] <= facts["hours_of_video"]
    assert facts["settings"]["crf"] == 30
    found = find_narrated_videos(archive)
    pack_archive(found, archive, unfinished, settings=SETTINGS, max_bad_share=1.0)
    assert info(unfinished, capsys)["is_complete"]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ('{"format_version": 9}', "version 9, this Narravid reads version 1"),
        ('{"format_version": 1, "num_videos": "many"}', "field 'num_videos': 'many'"),
        ('{"format_version": 1, "num_videos": 3, "settings": {"crf": 99}}', "crf must be 0 to 51"),
        ("[", "not valid JSON"),
    ],
)
def test_a_damaged_plan_is_named(unfinished, capsys, content, fault):
    plan = unfinished / "parts" / "plan.json"
    plan.write_text(content)
    assert main(["info", str(unfinished)]) == 2
    error = capsys.readouterr().err
    assert str(plan) in error
    assert fault in error


def test_an_address_without_a_pack_is_refused(capsys):
    with serve_files({}) as server:
        assert main(["info", f"{server.url}/p"]) == 2
    assert "there is no pack.json" in capsys.readouterr().err
