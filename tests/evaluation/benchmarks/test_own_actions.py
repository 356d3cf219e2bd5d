"""Labelled videos of one's own: whole videos and parts of them, in probes, classifiers and by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from coloured_actions import COLOURS, ColourConfig, ColourModel, session_of, values
from narravid.bad_items import TooManyBadItemsError
from narravid.errors import AnnotationError, CheckpointError, NarravidError
from narravid.evaluation.benchmarks.action_classifiers import OwnClassifier
from narravid.evaluation.benchmarks.action_probes import OwnProbe
from narravid.evaluation.benchmarks.action_zero_shots import OwnZeroShot
from narravid.types import Span
from narravid.video.encode import write_video
from narravid.video.watched import WatchedDecoder

HEADER = "video_path,label,split,start_seconds,end_seconds\n"


@pytest.fixture(scope="module")
def decoder():
    with WatchedDecoder() as decoder:
        yield decoder


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two videos of three seconds of each colour one behind the other, and one that is none."""
    folder = tmp_path_factory.mktemp("own")
    for name in ("a", "b"):
        frames = [np.full((24, 32, 3), colour, np.uint8) for colour in COLOURS.values() for _ in range(30)]
        write_video(folder / f"{name}.mp4", iter(frames), fps=10.0)
    (folder / "broken.mp4").write_text("none")
    return folder


def write_labels(folder: Path, rows: list[str], name: str = "labels.csv") -> Path:
    path = folder / name
    path.write_text(HEADER + "\n".join(rows) + "\n")
    return path


def rows_of(name: str, part: str, shift: int = 0) -> list[str]:
    labels = list(COLOURS)
    return [f"{name}.mp4,{labels[(n + shift) % 3]},{part},{3 * n},{3 * n + 3}" for n in range(3)]


def test_parts_of_videos_are_probed(folder, decoder):
    labels = write_labels(folder, [*rows_of("a", "train"), *rows_of("b", "test")])
    # Windows lie within their part: 8 frames of 30.
    result = OwnProbe(labels=labels, num_frames=8, num_windows=3).run(session_of(ColourModel(), decoder))
    (top1,) = result.measures
    assert top1.value == 1.0
    assert top1.num_units == 1  # parts of one video are no independent evidence
    assert top1.outcomes.units == ("b.mp4",) * 3
    parts = {(shown.path, shown.span) for example in result.best for shown in example.shown}
    assert parts == {(str(folder / "b.mp4"), Span(start, start + 3)) for start in (0, 3, 6)}
    assert result.card["files"]["labels"]["sha256"]


def test_classes_by_name_and_by_a_classifier(folder, decoder):
    labels = write_labels(folder, [*rows_of("a", "test"), *rows_of("b", "test", shift=1)], "test.csv")
    found = OwnZeroShot(labels=labels, num_windows=2).run(session_of(ColourModel(), decoder))
    assert values(found.measures)["top-1"] == pytest.approx(1 / 2)
    model = ColourModel(classes=sorted(COLOURS))  # classes are numbered by name
    found = OwnClassifier(labels=labels, temporal_crops=2).run(session_of(model, decoder))
    assert values(found.measures)["top-1"] == pytest.approx(1 / 2)


def test_what_is_broken_absent_or_behind_the_end_is_told(folder, decoder):
    rows = [
        *rows_of("a", "train"),
        *rows_of("b", "test"),
        "broken.mp4,red,test,0,1",
        "gone.mp4,red,test,0,1",
        "b.mp4,red,train,20,21",
    ]
    labels = write_labels(folder, rows, "partly.csv")
    session = session_of(ColourModel(), decoder, max_bad_share=1.0)
    result = OwnProbe(labels=labels, num_frames=8, num_windows=1).run(session)
    assert values(result.measures)["top-1"] == 1.0
    assert (result.coverage.num_measured, result.coverage.num_expected) == (3, 5)
    reasons = {Path(item.path).name: item.reason for item in result.coverage.missing}
    assert "No such file" in reasons["gone.mp4"]
    assert set(reasons) == {"gone.mp4", "broken.mp4"}
    (told,) = result.card["fits"][0]["first_missing"].values()
    assert "no frame there, the video ends at 9.00 s" in told


def test_lists_that_do_not_make_a_probe(folder, decoder):
    session = session_of(ColourModel(), decoder)
    only_train = write_labels(folder, rows_of("a", "train"), "train.csv")
    with pytest.raises(AnnotationError, match="has no row whose split is test"):
        OwnProbe(labels=only_train).run(session)
    one_class = write_labels(folder, [rows_of("a", "train")[0], *rows_of("b", "test")], "one.csv")
    with pytest.raises(AnnotationError, match=r"one\.csv: has training videos of 1 class in one"):
        OwnProbe(labels=one_class, num_frames=8).run(session)
    gone = [rows_of("a", "train")[0], "a.mp4,blue,train,20,21", *rows_of("b", "test")]
    one_read = write_labels(folder, gone, "one_read.csv")
    with pytest.raises(NarravidError, match="at least two classes, and 1 could be read"):
        OwnProbe(labels=one_read, num_frames=8).run(session_of(ColourModel(), decoder, max_bad_share=1.0))
    gone = ["gone.mp4,red,train,,", "gone2.mp4,blue,train,,"]
    absent = write_labels(folder, [*gone, *rows_of("b", "test")], "absent.csv")
    with pytest.raises(TooManyBadItemsError):
        OwnProbe(labels=absent).run(session)
    for wrong in ({"cost": 0.0}, {"num_windows": 0}, {"clips": "other"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            OwnProbe(labels=only_train, **wrong)


def test_a_test_clip_that_is_a_training_clip_is_refused(folder, decoder):
    session = session_of(ColourModel(), decoder)
    for row in ("a.mp4,green,test,3,6", "./a.mp4,red,test,,", "a.mp4,red,test,0,4"):
        labels = write_labels(folder, [*rows_of("a", "train"), row], "twice.csv")
        with pytest.raises(AnnotationError, match=r"twice\.csv: has a\.mp4 in both parts of twice"):
            OwnProbe(labels=labels, num_frames=8).run(session)
    labels = write_labels(folder, [*rows_of("a", "train")[:2], rows_of("a", "test")[2]], "parts.csv")
    result = OwnProbe(labels=labels, num_frames=8, num_windows=1).run(session)  # different parts may be
    assert result.coverage.num_expected == 1


@dataclass(frozen=True)
class NamedConfig(ColourConfig):
    """With the names of the classes."""

    class_names: tuple[str, ...] = ("blue", "green", "red")


def test_a_list_without_a_class_is_judged_by_a_classifier_that_knows_names(folder, decoder):
    labels = write_labels(folder, [row for row in rows_of("a", "test") if "green" not in row], "two.csv")
    model = ColourModel(classes=["blue", "green", "red"])
    with pytest.raises(CheckpointError, match="scores 3 classes, and Labelled videos of two.csv has 2"):
        OwnClassifier(labels=labels).run(session_of(model, decoder))
    model.config = NamedConfig()
    result = OwnClassifier(labels=labels, temporal_crops=1).run(session_of(model, decoder))
    (top1,) = result.measures
    assert (top1.value, top1.chance) == (1.0, pytest.approx(1 / 3))
    model.config = NamedConfig(class_names=("blue", "green", "orange"))
    with pytest.raises(CheckpointError, match="does not know 1 of the 2 classes .*'red'; its own are blue"):
        OwnClassifier(labels=labels).run(session_of(model, decoder))
