"""HTM-Align on small archives: models of all kinds on pixels, both views, what is missing."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from htm_align_archive import (
    SENTENCES,
    SHORT,
    TRUTH,
    PointingAligner,
    session_of,
    values_of,
    write_archive,
    write_feature_files,
)
from models.small_aligners import small_aligner
from narravid.data.annotations.htm_align import read_htm_align
from narravid.data.feature_files import MemoryTracks
from narravid.data.featured import FeatureTrack
from narravid.errors import AnnotationError, CheckpointError, ConfigError, NarravidError
from narravid.evaluation.alignment import AlignmentProtocol, evaluate_alignment
from narravid.evaluation.benchmarks.htm_align import HtmAlign
from narravid.evaluation.result_files import read_result, write_result
from narravid.types import ClipSpec, FeatureSpec, Span
from narravid.video.decode import decode_clips
from narravid.video.transforms import to_channels_first
from planned_videos import PlannedEncoder
from tiny_corpus import make_tiny_s3d, save_tiny_s3d
from watched_doubles import DirectDecoder


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    return write_archive(tmp_path_factory.mktemp("htm_align"))


@pytest.fixture(scope="module")
def features(tmp_path_factory) -> Path:
    return write_feature_files(tmp_path_factory.mktemp("features"))


def test_a_model_on_pixels_that_knows_all_places_all(archive):
    result = HtmAlign(videos=archive, **SHORT).run(session_of(PlannedEncoder(TRUTH)))
    assert values_of(result) == {
        "R@1 windows": 1.0,
        "ROC-AUC windows": 1.0,
        "R@1 global": 1.0,
        "ROC-AUC global": 1.0,
    }
    assert (result.coverage.num_measured, result.coverage.num_expected) == (2, 4)
    missing = {Path(item.path).stem: item.reason for item in result.coverage.missing}
    assert missing.keys() == {"broken", "absent"}
    assert missing["absent"] == "no such file"
    assert result.card["sentences"]["windows"] == {
        "sentences": 7,
        "alignable": 4,
        "never_shown_to_the_model": 0,
        "alignable_never_shown_to_the_model": 0,
    }
    # [3, 6], [9, 11] and [18, 22] of 24 s, [2, 5] of 20 s
    assert result.measures[2].chance == pytest.approx((4 / 24 + 3 / 24 + 5 / 24 + 4 / 20) / 4)
    assert set(result.plots) == {"timeline_best_windows", "timeline_worst_windows"}


def test_a_model_that_errs_is_told_by_how_much(archive):
    beliefs = {0: [*TRUTH[0][:2], ("stir the pan", Span(1, 2)), ("hello now stir", Span(0, 1))], 1: TRUTH[1]}
    result = HtmAlign(videos=archive, view="global").run(session_of(PlannedEncoder(beliefs)))
    # One of four sentences is misplaced; one of three that are not shown scores as high as those that are.
    assert values_of(result)["R@1 global"] == 0.75
    assert values_of(result)["ROC-AUC global"] == pytest.approx(1 - 1 / 3 / 2)
    assert [example.title for example in result.best] == ["drilling"]
    assert [shown.is_right for shown in result.worst[0].shown] == [True, True, False]


def test_a_model_that_knows_nothing_is_at_chance(archive):
    result = HtmAlign(videos=archive, **SHORT).run(session_of(PlannedEncoder({})))
    for measure in result.measures:
        assert measure.value == pytest.approx(measure.chance)


def test_an_area_of_one_label_is_not_defined_for_a_reason(archive, tmp_path):
    annotations = tmp_path / "htm_align.json"
    annotations.write_text(json.dumps({"cooking": [row for row in SENTENCES["cooking"] if row[0]]}))
    session = session_of(PlannedEncoder(TRUTH))
    result = HtmAlign(videos=archive, annotations=annotations, view="global").run(session)
    recall, area = result.measures
    assert (recall.value, recall.reason) == (1.0, "")
    assert math.isnan(area.value)
    assert "positive" in area.reason
    write_result(result, tmp_path / "out", decoder=DirectDecoder())
    again = read_result(tmp_path / "out").measures[1]
    assert (again.name, again.reason) == ("ROC-AUC global", area.reason)
    assert f"ROC-AUC global is not defined: {area.reason}" in (tmp_path / "out" / "table.md").read_text()
    annotations.write_text(json.dumps({"cooking": [row for row in SENTENCES["cooking"] if not row[0]]}))
    with pytest.raises(NarravidError, match="no video that could be measured has an alignable sentence"):
        HtmAlign(videos=archive, annotations=annotations, view="global").run(session)


def test_what_no_window_sees_is_a_miss(archive):
    # Windows of 64 s leave out videos of up to 32 s.
    result = HtmAlign(videos=archive).run(session_of(PlannedEncoder(TRUTH)))
    assert values_of(result)["R@1 windows"] == 0.0
    assert values_of(result)["ROC-AUC windows"] == 0.5
    assert values_of(result)["R@1 global"] == 1.0
    assert result.card["sentences"]["windows"]["alignable_never_shown_to_the_model"] == 4
    assert all(picture.startswith(b"\x89PNG") for picture in result.plots.values())


def test_an_aligner_takes_videos_with_what_extracts_its_features(archive, tmp_path):
    extractor = make_tiny_s3d()
    folder = save_tiny_s3d(tmp_path / "s3d")
    spec = FeatureSpec((str(folder),), (extractor.feature_dim,))
    aligner = small_aligner(feature_spec=spec, max_positions=20)
    annotations = tmp_path / "htm_align.json"
    annotations.write_text(json.dumps({"drilling": SENTENCES["drilling"]}))
    benchmark = HtmAlign(videos=archive, annotations=annotations, view="global", num_frames=4, fps=4.0)
    result = benchmark.run(session_of(aligner))
    assert result.card["features"]["weights_hash"] == extractor.weights_hash

    clips = ClipSpec(num_frames=4, fps=4.0, size_pixels=32)  # a clip is its second
    frames = [clip.frames for clip in decode_clips(archive / "drilling.mp4", list(range(20)), clips)]
    with torch.no_grad():
        vectors = extractor.video_features(torch.stack([to_channels_first(one) for one in frames]))
    tracks = MemoryTracks({"drilling": (FeatureTrack(vectors, 1.0),)})
    expected = evaluate_alignment(
        aligner, read_htm_align(annotations), tracks, protocol=AlignmentProtocol(view="global")
    )
    assert values_of(result)["R@1 global"] == expected.metrics.recall
    assert values_of(result)["ROC-AUC global"] == pytest.approx(expected.metrics.roc_auc.value)

    other = small_aligner()  # takes features of another size
    with pytest.raises(CheckpointError, match="name another --feature-model"):
        HtmAlign(videos=archive, feature_model=str(folder)).run(session_of(other))


def test_what_does_not_fit_is_refused(archive, features, tmp_path):
    planned = session_of(PlannedEncoder(TRUTH))
    with pytest.raises(ConfigError, match="works on pixels and takes no features"):
        HtmAlign(features=(features,)).run(planned)
    with pytest.raises(ConfigError, match="with --videos"):
        HtmAlign(annotations=archive / "htm_align.json").run(planned)
    with pytest.raises(ConfigError, match="one folder of features, one per second"):
        HtmAlign(features=(features,), feature_rates=(2.0,)).run(session_of(PointingAligner({})))
    with pytest.raises(CheckpointError, match="needs an aligner, such as TAN, or a dual encoder"):
        HtmAlign(videos=archive).run(session_of(torch.nn.Linear(1, 1)))
    with pytest.raises(NarravidError, match="none of 4 videos could be measured"):
        HtmAlign(videos=tmp_path, annotations=archive / "htm_align.json").run(planned)
    (tmp_path / "htm_align.json").write_text('{"a": []}')
    with pytest.raises(AnnotationError, match="has no video with a sentence"):
        HtmAlign(videos=tmp_path).run(planned)
    with pytest.raises(ValueError, match="step_seconds must be at least 1"):
        HtmAlign(videos=archive, step_seconds=0)
    with pytest.raises(ValueError, match="a rate for each folder"):
        HtmAlign(features=(features,), feature_rates=(1.0, 2.0))
