"""Kinetics-400 on an archive in its layout: two tables, clips below `train` and `val` or not."""

from __future__ import annotations

from pathlib import Path

import pytest

from coloured_actions import ColourModel, session_of, values, write_plain_video
from narravid.errors import AnnotationError, NarravidError
from narravid.evaluation.benchmarks.action_probes import Kinetics400
from narravid.evaluation.benchmarks.action_zero_shots import Kinetics400ZeroShot
from narravid.video.watched import WatchedDecoder

CLASSES = {"painting red walls": "red", "mowing green grass": "green", "swimming in blue water": "blue"}
HEADER = "label,youtube_id,time_start,time_end,split,is_cc\n"


@pytest.fixture(scope="module")
def decoder():
    with WatchedDecoder() as decoder:
        yield decoder


def write_part(folder: Path, part: str, *, per_class: int, wrong: int = 0) -> str:
    """Clips of a part, `wrong` of the first class in the colour of the second; returns the table."""
    lines = []
    for place, (label, colour) in enumerate(CLASSES.items()):
        for number in range(per_class):
            video_id, start = f"{part}_{place}-{number:05}"[:11].ljust(11, "x"), 10 * number
            shown = "green" if place == 0 and number < wrong else colour
            name = f"{video_id}_{start:06}_{start + 10:06}.mp4"
            write_plain_video(folder / label.replace(" ", "_") / name, shown, mark=number)
            lines.append(f"{label},{video_id},{start},{start + 10},{part},0\n")
    return HEADER + "".join(lines)


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("k400")
    (folder / "train.csv").write_text(write_part(folder / "videos" / "train", "train", per_class=2))
    (folder / "val.csv").write_text(write_part(folder / "videos" / "val", "val", per_class=4, wrong=3))
    return folder


def test_a_probe_learns_from_one_table_and_is_judged_by_the_other(archive, decoder):
    result = Kinetics400(videos=archive / "videos").run(session_of(ColourModel(), decoder))
    assert values(result.measures)["top-1"] == pytest.approx(9 / 12)
    assert {name: Path(file["path"]).name for name, file in result.card["files"].items()} == {
        "annotations": "val.csv",
        "train_annotations": "train.csv",
    }
    (fit,) = result.card["fits"]
    assert (fit["train_videos"], fit["test_videos"]) == (6, 12)
    titles = [example.title for example in result.worst]
    assert titles == ["painting red walls, taken for mowing green grass"] * 3


def test_names_of_classes_need_no_training_table(archive, decoder, tmp_path):
    videos = archive / "videos" / "val"
    benchmark = Kinetics400ZeroShot(videos=videos, annotations=archive / "val.csv")
    result = benchmark.run(session_of(ColourModel(), decoder))
    assert values(result.measures)["top-1"] == pytest.approx(9 / 12)
    assert result.coverage.num_expected == 12


def test_one_table_of_all_parts_is_parted_by_its_column(archive, decoder, tmp_path):
    train, val = ((archive / f"{part}.csv").read_text() for part in ("train", "val"))
    both = tmp_path / "both.csv"
    both.write_text(train + val.removeprefix(HEADER))
    session = session_of(ColourModel(), decoder)
    result = Kinetics400(videos=archive / "videos", annotations=both, train_annotations=both).run(session)
    assert result.card["splits"] == [{"name": "validation", "train": 6, "test": 12}]
    assert result.card["solver"] == "lbfgs"
    with pytest.raises(AnnotationError, match=r"train\.csv, field 'split': has only clips of training"):
        Kinetics400ZeroShot(videos=archive / "videos", annotations=archive / "train.csv").run(session)
    leaking = tmp_path / "leaking.csv"
    leaking.write_text(train.replace(",train,", ",val,"))
    benchmark = Kinetics400(
        videos=archive / "videos", annotations=leaking, train_annotations=archive / "train.csv"
    )
    with pytest.raises(AnnotationError, match=r"lists train_0-000_000000_000010, which .*train\.csv has"):
        benchmark.run(session)


def test_tables_that_are_not_there_or_have_no_labels(archive, decoder, tmp_path):
    session = session_of(ColourModel(), decoder)
    with pytest.raises(AnnotationError, match=r"no train\.csv or .*--train-annotations"):
        Kinetics400(videos=tmp_path, annotations=archive / "val.csv").run(session)
    unlabelled = tmp_path / "test.csv"
    unlabelled.write_text("youtube_id,time_start,time_end,split\nabcdefghijk,0,10,test\n")
    with pytest.raises(AnnotationError, match="no clip with a label"):
        Kinetics400ZeroShot(videos=tmp_path, annotations=unlabelled).run(session)
    with pytest.raises(NarravidError, match=r"none of the 12 videos to judge by"):
        Kinetics400ZeroShot(videos=tmp_path, annotations=archive / "val.csv").run(session)
