"""Labelled clips: their lists in every form, and their batches."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from data.placed_clips import PlacedClips
from narravid.data.labelled import (
    LabelledClip,
    LabelledDataset,
    read_action_splits,
    read_cpd_clips,
    read_labels_csv,
)
from narravid.data.loader import load_batches
from narravid.data.loading_report import LoadingReport
from narravid.data.order import BatchOrder
from narravid.errors import AnnotationError
from narravid.types import ClipSpec, Span

SPEC = ClipSpec(num_frames=2, fps=2.0, size_pixels=4)


def test_a_csv_names_clips_classes_and_parts(tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text(
        "video_path,label,split,start_seconds,end_seconds,scene\n"
        "a.mp4,wave,train,1.5,3,x\n"
        "sub/b.mp4,hug,test,,,y\n"
        "/far/c.mp4,wave,train,,,z\n"
    )
    found = read_labels_csv(table)
    assert found.labels == ("hug", "wave")
    assert found.train == found.samples
    assert found.train == (
        LabelledClip(tmp_path / "a.mp4", 1, Span(1.5, 3.0)),
        LabelledClip(Path("/far/c.mp4"), 1),
    )
    assert found.test == (LabelledClip(tmp_path / "sub/b.mp4", 0),)
    assert found.missing == ()


def test_every_list_numbers_classes_alike(tmp_path):
    """Those of UCF101 in which capitals matter: by plain order HammerThrow would come before Hammering."""
    names = ["HammerThrow", "Hammering", "YoYo", "archery"]
    rows = [f"{name}/v_{name}_g01_c01.mp4,{name}" for name in names]
    (tmp_path / "own.csv").write_text("video_path,label,split\n" + "".join(f"{row},train\n" for row in rows))
    (tmp_path / "ucf.csv").write_text(
        "video_id,label,split1,split2,split3\n"
        + "".join(f"{row.split(',')[0]},{number},1,1,1\n" for number, row in enumerate(rows, 1))
    )
    own = read_labels_csv(tmp_path / "own.csv")
    published = read_action_splits(tmp_path / "ucf.csv", tmp_path, dataset="ucf101")
    assert own.labels == published.labels == ("archery", "Hammering", "HammerThrow", "YoYo")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("video_path,label\na.mp4,x\n", "'split': column missing"),
        ("video_path,label,split\n", "has no row behind the header"),
        ("video_path,label,split\na.mp4,x,valid\n", "'split': must be one of 'train', 'test', got 'valid'"),
        ("video_path,label,split\na.mp4,,train\n", "'label': is empty"),
        ("video_path,label,split,start_seconds,end_seconds\na.mp4,x,train,3,1\n", "must lie after"),
        ("video_path,label,split,start_seconds\na.mp4,x,train,3\n", "'end_seconds': is missing"),
    ],
)
def test_faults_of_a_csv_name_line_and_column(tmp_path, text, message):
    table = tmp_path / "labels.csv"
    table.write_text(text)
    with pytest.raises(AnnotationError, match=message):
        read_labels_csv(table)


def test_published_splits_are_found_below_their_folder(tmp_path):
    table = tmp_path / "ucf101.csv"
    table.write_text(
        "video_id,label,split1,split2,split3\n"
        "Archery/v_Archery_g01_c01.avi,1,1,2,0\n"
        "Bowling/v_Bowling_g01_c01.avi,2,2,1,0\n"
        "Bowling/v_Bowling_g02_c01.avi,2,1,1,1\n"
        "Bowling/v_Bowling_g03_c01.avi,2,2,0,0\n"
    )
    for name in ("Archery/v_Archery_g01_c01.avi", "Bowling/v_Bowling_g01_c01.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    first = read_action_splits(table, tmp_path, dataset="ucf101")
    assert first.labels == ("Archery", "Bowling")
    assert first.train == (LabelledClip(tmp_path / "Archery/v_Archery_g01_c01.avi", 0),)
    assert first.test == (
        LabelledClip(tmp_path / "Bowling/v_Bowling_g01_c01.mp4", 1),
        LabelledClip(tmp_path / "Bowling/v_Bowling_g03_c01", 1),  # judged, as a miss
    )
    absent = [str(tmp_path / f"Bowling/v_Bowling_g0{number}_c01") for number in (2, 3)]
    assert first.missing == tuple((path, "no such file") for path in absent)
    second = read_action_splits(table, tmp_path, dataset="ucf101", split=2)
    assert [clip.label for clip in second.test] == [0]
    third = read_action_splits(table, tmp_path, dataset="ucf101", split=3)
    assert third.labels == ("Bowling",)
    assert third.samples == ()


def test_cpds_lists_number_the_classes_and_test_on_their_validation_videos(tmp_path):
    document = {
        "labels": ["wave", "hug"],
        "database": {
            "one": {"subset": "training", "annotations": {"label": "hug"}},
            "two": {"subset": "validation", "annotations": {"label": "wave"}},
        },
    }
    (tmp_path / "list.json").write_text(json.dumps(document))
    for name in ("hug/one.avi", "two.avi"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = read_cpd_clips(tmp_path / "list.json", tmp_path)
    assert found.labels == ("wave", "hug")
    assert found.train == (LabelledClip(tmp_path / "hug/one.avi", 1),)
    assert found.test == (LabelledClip(tmp_path / "two.avi", 0),)


@pytest.mark.parametrize(("name", "num_classes", "num_train"), [("ucf101", 101, 9537), ("hmdb51", 51, 3570)])
def test_published_lists_are_read_whole(shared_data, tmp_path, name, num_classes, num_train):
    found = read_action_splits(shared_data / "annotations" / f"{name}_splits.csv", tmp_path, dataset=name)
    assert len(found.labels) == num_classes
    assert found.samples == ()
    number = "01" if name == "ucf101" else "1"
    listed = read_cpd_clips(shared_data / "annotations" / f"cpd_{name}_{number}.json", tmp_path)
    assert listed.labels == found.labels  # a classifier of one list is one of the other
    assert num_train < len(found.missing) <= 13320


def test_batches_hold_the_class_of_each_clip():
    clips = [LabelledClip(Path(f"v{n}.mp4"), n % 3, Span(float(n), n + 4.0)) for n in range(6)]
    dataset = LabelledDataset(clips, PlacedClips(bad=("v4",)), spec=SPEC)
    assert len(dataset) == 6
    report = LoadingReport(max_bad_share=1.0)
    [batch] = load_batches(dataset, BatchOrder(6, 6, seed=1), epoch=0, report=report)
    shown = batch.clips[:, 0, 0, 0, 0]
    assert batch.labels.tolist() == (shown % 3).tolist()
    assert batch.video_ids == tuple(f"v{number}" for number in shown.tolist())
    assert 4 not in shown.tolist()
    inside = [(start - number).item() for start, number in zip(batch.start_seconds, shown, strict=True)]
    assert all(0 <= seconds <= 3 for seconds in inside)
    with pytest.raises(ValueError, match="at least one clip"):
        LabelledDataset([], PlacedClips(), spec=SPEC)
