"""HMDB51 and UCF101 by the published annotation files, cut to the videos that are there."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from coloured_actions import ColourModel, session_of, values, write_plain_video
from narravid.data.annotations.action_splits import read_hmdb51_splits, read_ucf101_splits
from narravid.errors import CheckpointError
from narravid.evaluation.benchmarks.action_classifiers import Hmdb51Finetuned, Ucf101Finetuned
from narravid.evaluation.benchmarks.action_lists import read_published_set
from narravid.evaluation.benchmarks.action_probes import Hmdb51, Ucf101
from narravid.evaluation.benchmarks.action_zero_shots import Hmdb51ZeroShot
from narravid.video.watched import WatchedDecoder

COLOUR_OF = {"brush_hair": "red", "cartwheel": "green", "wave": "blue"}


@pytest.fixture(scope="module")
def decoder():
    with WatchedDecoder() as decoder:
        yield decoder


def write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_own_archive(folder: Path) -> Path:
    """Nine videos: in every split two of a class to learn from and one to judge by."""
    rows = []
    for label, colour in COLOUR_OF.items():
        for number in range(3):
            name = f"Clip_{label}_u_nm_np1_ba_goo_{number}.avi"
            write_plain_video(folder / label / name, colour, mark=number)
            splits = {f"split{split}": "2" if number == split - 1 else "1" for split in (1, 2, 3)}
            rows.append({"video_id": name, "label": f"{label}_test", **splits})
    rows.append(
        {"video_id": "unused_wave.avi", "label": "wave_test", "split1": "0", "split2": "0", "split3": "0"}
    )
    write_rows(folder.parent / "hmdb51.csv", rows)
    return folder


def test_three_splits_by_a_model_that_sees_colours(tmp_path, decoder):
    folder = write_own_archive(tmp_path / "videos")
    result = Hmdb51(videos=folder).run(session_of(ColourModel(), decoder))
    assert values(result.measures) == {"top-1": 1.0}
    assert result.card["splits"] == [
        {"name": f"split {number}", "train": 6, "test": 3} for number in (1, 2, 3)
    ]
    assert result.coverage.num_expected == 9  # what no split uses is not asked for
    assert [row.model for row in result.published][:1] == ["MIL-NCE S3D"]
    assert result.title == "HMDB51, mean of splits 1, 2, 3"


def test_names_of_classes_and_a_classifier(tmp_path, decoder):
    folder = write_own_archive(tmp_path / "videos")
    # No class is named after its colour, so every video is at chance: one of three, by expectation.
    result = Hmdb51ZeroShot(videos=folder).run(session_of(ColourModel(), decoder))
    assert values(result.measures)["top-1"] == pytest.approx(1 / 3)
    assert result.card["class_words"] == ["brush hair", "cartwheel", "wave"]
    model = ColourModel(classes=["red", "green", "blue"])
    result = Hmdb51Finetuned(videos=folder, split=2, temporal_crops=2).run(session_of(model, decoder))
    assert values(result.measures) == {"top-1": 1.0}
    assert result.title == "HMDB51, split 2"


@pytest.mark.shared
def test_the_published_hmdb51_table_cut_to_the_videos_that_are_there(shared_data, tmp_path, decoder):
    """One real video, and videos of one colour in the places of six others of the real table."""
    table = shared_data / "annotations" / "hmdb51_splits.csv"
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    real = "RATRACE_wave_f_nm_np1_fr_goo_37"
    kept = [row for row in rows if real in row["video_id"]]
    assert len(kept) == 1
    for label, colour in COLOUR_OF.items():
        of_class = [row for row in rows if row["label"] == f"{label}_test" and row["split1"] == "1"][:2]
        of_class += [row for row in rows if row["label"] == f"{label}_test" and row["split1"] == "2"][:1]
        kept += [row for row in of_class if row not in kept]
        for row in of_class:
            if real not in row["video_id"]:
                write_plain_video(tmp_path / "videos" / label / row["video_id"], colour)
    shutil.copy(shared_data / "videos" / f"hmdb51_{real}.avi", tmp_path / "videos" / "wave" / f"{real}.avi")
    write_rows(tmp_path / "hmdb51.csv", kept)
    result = Hmdb51(videos=tmp_path / "videos", splits=(1,)).run(session_of(ColourModel(), decoder))
    assert (result.coverage.share, result.coverage.num_expected) == (
        1.0,
        sum(row["split1"] == "2" for row in kept),
    )
    assert result.measures[0].value >= 3 / 4  # the three of one colour; the real one is anyone's guess
    assert result.measures[0].outcomes.values.size in (3, 4)


@pytest.mark.slow
@pytest.mark.shared
def test_the_published_lists_as_they_are(shared_data, tmp_path):
    folder = shared_data / "annotations"
    expected = {
        "ucf101": (13320, 101, (9537, 3783)),
        "hmdb51": (6371, 51, (3570, 1530)),
    }  # 395 of 6,766 are unused
    for dataset, (num_videos, num_classes, split) in expected.items():
        found = read_published_set(dataset, folder / f"{dataset}_splits.csv", tmp_path)
        assert len(found.labels) == num_classes
        assert len(found.items) == len(found.absent) == num_videos
        assert (len(found.splits[0].train), len(found.splits[0].test)) == split
        assert [len(part.test) > 0 for part in found.splits] == [True] * 3
    read = {"ucf101": read_ucf101_splits, "hmdb51": read_hmdb51_splits}
    for dataset, name in (("ucf101", "cpd_ucf101_01.json"), ("hmdb51", "cpd_hmdb51_1.json")):
        listed = read_published_set(dataset, folder / name, tmp_path, splits=(1,))
        table = read_published_set(dataset, folder / f"{dataset}_splits.csv", tmp_path, splits=(1,))
        assert len(listed.labels) == len(table.labels)
        # CPD's list is the first official split, and its classes are in the order of their numbers.
        assert len(listed.splits[0].test) == sum(
            video.splits[0] == "test" for video in read[dataset](folder / f"{dataset}_splits.csv")
        )
        assert listed.labels == table.labels


@pytest.mark.shared
def test_a_real_video_of_ucf101_by_cpds_list(shared_data, tmp_path, decoder):
    listed = json.loads((shared_data / "annotations" / "cpd_ucf101_01.json").read_text())
    real = "v_ApplyEyeMakeup_g01_c01"
    training = [name for name, entry in listed["database"].items() if entry["subset"] == "training"]
    chosen = {name: listed["database"][name] for name in (real, *training[:1], *training[-1:])}
    (tmp_path / "ucf101_01.json").write_text(json.dumps({"labels": listed["labels"], "database": chosen}))
    videos = tmp_path / "videos"
    for name, colour in zip(chosen, ("red", "green", "blue"), strict=True):
        write_plain_video(videos / chosen[name]["annotations"]["label"] / f"{name}.avi", colour)
    target = videos / "ApplyEyeMakeup" / f"{real}.avi"
    target.unlink()
    shutil.copy(shared_data / "videos" / f"ucf101_{real}.avi", target)
    probe = Ucf101(videos=videos, splits=(1,)).run(session_of(ColourModel(), decoder))
    assert [measure.name for measure in probe.measures] == ["top-1", "top-5"]
    assert probe.card["fits"][0]["classes_without_training"] == 99
    assert probe.coverage.share == 1.0
    benchmark = Ucf101Finetuned(videos=videos, temporal_crops=2)
    with pytest.raises(
        CheckpointError, match=r"scores 3 classes, and UCF101, the split of ucf101_01\.json has 101"
    ):
        benchmark.run(session_of(ColourModel(), decoder))
