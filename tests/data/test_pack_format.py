"""What a pack says of itself: read back as written, and refused with a remedy where it is something else."""

from __future__ import annotations

import dataclasses
import json
import pickle

import pytest

from narravid.data.pack_format import (
    INFO_NAME,
    PackError,
    PackInfo,
    PackSettings,
    parse_info,
    segment_name,
    shard_name,
    write_info,
)

INFO = PackInfo(
    settings=PackSettings(short_side_pixels=None, lossless=True),
    corpus_sha256="ab" * 32,
    videos_sha256="cd" * 32,
    videos_bytes=4096,
    num_videos=3,
    num_bad_videos=1,
    num_captions=12,
    num_segments=4,
    shard_bytes=(10_240, 20_480),
    video_seconds=61.5,
    segment_seconds=40.25,
)


def test_names():
    assert shard_name(7) == "shard-000007.tar"
    assert segment_name(12, 3) == "00000012_0003"


def test_description_comes_back_as_written(tmp_path):
    write_info(tmp_path, INFO)
    assert parse_info((tmp_path / INFO_NAME).read_bytes(), "x") == INFO


def changed(**values):
    write = {**json.loads(json.dumps(dataclasses.asdict(INFO))), **values}
    return json.dumps(write).encode()


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b'{"format_version": 1, "settings"', "not valid JSON .*copy the pack again"),
        (b"\xff\xfe\x00", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"[1]", "not the description of a pack; name a folder"),
        (b'{"files": []}', "not the description of a pack"),
        (
            changed(format_version=2),
            "'format_version': the pack is of version 2, this Narravid reads version 1",
        ),
        (changed(num_videos="many"), "num_videos.*'many'.*pack the archive again"),
        (changed(nom_videos=3), "nom_videos.*did you mean 'num_videos'"),
        (changed(videos_sha256="../../home"), "videos_sha256 must be 64 hexadecimal digits"),
        (changed(settings={"crf": 99}), "settings.*crf must be 0 to 51, got 99"),
    ],
)
def test_another_description_is_refused(content, fault):
    with pytest.raises(PackError, match=fault) as caught:
        parse_info(content, "some/pack.json")
    assert str(caught.value).startswith("some/pack.json: ")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.path, again.reason, str(again)) == (
        caught.value.path,
        caught.value.reason,
        str(caught.value),
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("clip_seconds", 0.0),
        ("max_segment_seconds", float("inf")),
        ("keyframe_seconds", -1.0),
        ("min_caption_seconds", float("nan")),
        ("short_side_pixels", 1),
        ("crf", -1),
        ("videos_per_shard", 0),
    ],
)
def test_settings_name_the_field_at_fault(field, value):
    with pytest.raises(ValueError, match=field):
        PackSettings(**{field: value})
