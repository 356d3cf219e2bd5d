"""Lists of videos: paths, ids by path, held-out ids, HowTo100M's list, Instagram's captions."""

from __future__ import annotations

import json

import pytest

from narravid.data.annotations.howto100m import HowTo100MVideo, read_howto100m_videos
from narravid.data.annotations.instagram import InstagramVideo, read_instagram
from narravid.data.annotations.video_lists import ListedVideo, read_video_ids, read_video_list
from narravid.data.annotations.video_places import locate_videos
from narravid.errors import AnnotationError


def write(tmp_path, name: str, content: str):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    return path


@pytest.mark.shared
def test_the_published_list_of_milnce(shared_data):
    videos = list(read_video_list(shared_data / "captions" / "small_train_videos.csv"))
    assert len(videos) == 60
    assert videos[0] == ListedVideo("Hv2DV63EOtg.mp4", "Hv2DV63EOtg")
    captions = {path.stem for path in (shared_data / "captions" / "howto100m").glob("*.csv")}
    assert {video.video_id for video in videos} <= captions


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.csv", "video_path\nx/a.b.mp4\nc.webm\n"),
        ("list.csv", "rank,path\n1,x/a.b.mp4\n2,c.webm\n"),
        ("list.csv", "video_id,path\na.b,x/a.b.mp4\nc,c.webm\n"),
        ("vid_to_path.json", '{"a.b": "x/a.b.mp4", "c": "c.webm"}'),
    ],
)
def test_every_kind_of_list(tmp_path, name, content):
    videos = list(read_video_list(write(tmp_path, name, content)))
    assert videos == [ListedVideo("x/a.b.mp4", "a.b"), ListedVideo("c.webm", "c")]


def test_an_id_of_the_list_goes_before_the_name_of_the_file(tmp_path):
    path = write(tmp_path, "list.csv", "vid,path\nabc,x/0001.mp4\n")
    assert list(read_video_list(path)) == [ListedVideo("x/0001.mp4", "abc")]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        (
            "list.csv",
            "file\na.mp4\n",
            "line 1: no column says where the videos lie; it is named video_path or",
        ),
        ("list.csv", "file\n", "line 1: no column says where the videos lie"),
        ("list.csv", "", "line 1: no column says where the videos lie"),
        ("list.csv", "path\na.mp4\n \n", "line 3, field 'path': is empty"),
        ("list.json", '{"a": 3}', "field 'a': must be a text"),
        ("list.json", "[]", "must hold an object"),
    ],
)
def test_faults_of_lists_name_their_place(tmp_path, name, content, reason):
    with pytest.raises(AnnotationError, match=reason):
        list(read_video_list(write(tmp_path, name, content)))


@pytest.mark.shared
def test_the_published_held_out_videos(shared_data):
    path = shared_data / "annotations" / "htm_holdout_vid.txt"
    video_ids = read_video_ids(path)
    assert len(video_ids) == path.stat().st_size // 12 == 1000
    assert all(len(video_id) == 11 for video_id in video_ids)


def test_faults_of_held_out_videos_name_their_line(tmp_path):
    with pytest.raises(AnnotationError, match=r"line 3: must be one video id, got 'b c'"):
        read_video_ids(write(tmp_path, "ids.txt", "a\n\nb c\n"))
    with pytest.raises(AnnotationError, match=r"line 2: the video 'a' is there twice"):
        read_video_ids(write(tmp_path, "ids.txt", "a\na\n"))


def test_the_list_of_howto100m_with_and_without_paths(tmp_path):
    header, row = "video_id,category_1,category_2,rank,task_id", "nVbIUDjzWY4,Cars & Other Vehicles,,27,52907"
    (video,) = read_howto100m_videos(write(tmp_path, "HowTo100M_v1.csv", f"{header}\n{row}\n"))
    assert video == HowTo100MVideo("nVbIUDjzWY4", "Cars & Other Vehicles", "", 27, "52907")
    (video,) = read_howto100m_videos(write(tmp_path, "a.csv", f"{header},path\n{row},x/nVbIUDjzWY4.mp4\n"))
    assert video.path == "x/nVbIUDjzWY4.mp4"
    with pytest.raises(AnnotationError, match=r"line 2, field 'rank': must be a whole number"):
        list(read_howto100m_videos(write(tmp_path, "b.csv", f"{header}\na,b,c,d,e\n")))


def test_the_captions_of_instagram(tmp_path):
    entries = {
        "11": {"subset": "training", "caption": "a dog runs #dog"},
        "12": {"subset": "validation", "caption": " tea "},
    }
    videos = list(read_instagram(write(tmp_path, "instagram.json", json.dumps(entries))))
    assert videos == [
        InstagramVideo("11", "train", "a dog runs #dog"),
        InstagramVideo("12", "validation", "tea"),
    ]
    (tmp_path / "trimmed_resize_11.mp4").touch()
    assert locate_videos(tmp_path, videos).paths == (tmp_path / "trimmed_resize_11.mp4", None)
    for entry, field in (({"subset": "x", "caption": "a"}, "7.subset"), ({"subset": "test"}, "7.caption")):
        with pytest.raises(AnnotationError) as caught:
            list(read_instagram(write(tmp_path, "bad.json", json.dumps({"7": entry}))))
        assert caught.value.field == field
