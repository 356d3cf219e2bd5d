"""HTM-Align on small archives: models of all kinds, on pixels and features, both views, what is missing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from models.small_aligners import small_aligner
from narravid.bad_items import TooManyBadItemsError
from narravid.data.annotations.htm_align import read_htm_align
from narravid.data.feature_files import MemoryTracks
from narravid.data.feature_storage import write_features
from narravid.data.featured import FeatureTrack
from narravid.errors import AnnotationError, CheckpointError, ConfigError, NarravidError
from narravid.evaluation.alignment import AlignmentProtocol, evaluate_alignment
from narravid.evaluation.benchmarks.htm_align import HtmAlign
from narravid.evaluation.result_comparison import compare_results
from narravid.evaluation.session import EvaluationSession
from narravid.types import ClipSpec, FeatureSpec, Span, VideoAlignment
from narravid.video.decode import decode_clips
from narravid.video.transforms import to_channels_first
from planned_videos import PlannedEncoder, write_planned_video
from tiny_corpus import make_tiny_s3d, save_tiny_s3d
from watched_doubles import DirectDecoder

SECONDS = {"cooking": 24, "drilling": 20}
SENTENCES = {  # [alignable, start, end, text]
    "cooking": [
        [0, 0.5, 2.0, "hello now stir"],
        [1, 3.0, 6.0, "add oil"],
        [1, 9.0, 11.0, "cut tomato"],
        [0, 12.0, 15.0, "so did my mother cut"],
        [1, 18.0, 22.0, "stir the pan"],
    ],
    "drilling": [[1, 2.0, 5.0, "drill a pan"], [0, 8.0, 11.0, "thanks for the oil"]],
    "broken": [[1, 0.0, 3.0, "add oil"]],
    "absent": [[1, 0.0, 3.0, "add oil"]],
    "silent": [],
}
TRUTH = {
    number: [(text, Span(start, end)) for shown, start, end, text in SENTENCES[name] if shown]
    for number, name in enumerate(SECONDS)
}
SHORT = {"window_seconds": 16, "step_seconds": 4}


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("htm_align")
    for number, (name, seconds) in enumerate(SECONDS.items()):
        write_planned_video(root / f"{name}.mp4", number, seconds=seconds)
    (root / "broken.mp4").write_bytes(b"no video at all")
    (root / "htm_align.json").write_text(json.dumps(SENTENCES))
    return root


def session_of(model, **options) -> EvaluationSession:
    options = {"decoder": DirectDecoder(), "max_bad_share": 1.0} | options
    return EvaluationSession(model, **options)


def values_of(result) -> dict[str, float]:
    return {measure.name: measure.value for measure in result.measures}


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


def test_what_no_window_sees_is_a_miss(archive):
    # Windows of 64 s leave out videos of up to 32 s.
    result = HtmAlign(videos=archive).run(session_of(PlannedEncoder(TRUTH)))
    assert values_of(result)["R@1 windows"] == 0.0
    assert values_of(result)["ROC-AUC windows"] == 0.5
    assert values_of(result)["R@1 global"] == 1.0
    assert result.card["sentences"]["windows"]["alignable_never_shown_to_the_model"] == 4
    assert all(picture.startswith(b"\x89PNG") for picture in result.plots.values())


class PointingAligner:
    """Sentence number n of a video fits the second that `places` says, counted by the features."""

    embed_dim = 1
    max_positions = 100
    alignability_layer = 0
    feature_spec = FeatureSpec(("seconds",), (1,))
    weights_hash = "pointing"
    device = torch.device("cpu")

    def __init__(self, places: dict[str, float]) -> None:
        self._places = places

    def encode_text(self, sentences: Sequence[str]) -> torch.Tensor:
        return torch.tensor([[self._places.get(sentence, -50.0)] for sentence in sentences])

    def align(
        self, features: torch.Tensor, text: torch.Tensor, *, interpolate_from: int | None = None
    ) -> VideoAlignment:
        layer = -(features[0] - text[0].T).abs()[None, None]
        return VideoAlignment(dual=layer, joint=layer)


@pytest.fixture(scope="module")
def features(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("features")
    for name, seconds in SECONDS.items():
        np.save(root / f"{name}.mp4.npy", np.arange(float(seconds), dtype=np.float16)[:, None])
    (root / "broken.mp4.npy").write_bytes(b"no array at all")
    (root / "htm_align.json").write_text(json.dumps(SENTENCES))
    return root


def test_an_aligner_takes_feature_files(features, archive):
    places = {text: span.start_seconds for belief in TRUTH.values() for text, span in belief}
    benchmark = HtmAlign(features=(features,), videos=archive, **SHORT)
    result = benchmark.run(session_of(PointingAligner(places)))
    assert set(values_of(result).values()) == {1.0}
    assert result.best[0].shown[0].path == str(archive / "cooking.mp4")  # examples can be shown
    reasons = {Path(item.path).name: item.reason for item in result.coverage.missing}
    assert reasons["absent.npy"] == "there is no such feature file"
    assert "not a whole .npy array" in reasons["broken.mp4.npy"]
    places["cut tomato"] = 12.0  # its span ends at 11 s
    result = HtmAlign(features=(features,), view="global").run(session_of(PointingAligner(places)))
    assert values_of(result)["R@1 global"] == 0.75


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


def test_the_same_features_elsewhere_are_measured_the_same_way(features, tmp_path):
    shutil.copytree(features, tmp_path / "copy")
    session = session_of(PointingAligner({}))
    results = {
        str(folder): HtmAlign(features=(folder,), view="global").run(session)
        for folder in (features, tmp_path / "copy")
    }
    assert compare_results(results).protocol == ()


def test_features_at_another_rate_than_an_aligner_takes_are_refused(tmp_path):
    (tmp_path / "htm_align.json").write_text(json.dumps(SENTENCES))
    np.save(tmp_path / "drilling.npy", np.arange(20, dtype=np.float16)[:, None])
    stated = np.arange(0, 24, 0.5, dtype=np.float16)[:, None]
    write_features(tmp_path / "cooking.npy", stated, {"features_per_second": 2.0})
    places = {text: span.start_seconds for belief in TRUTH.values() for text, span in belief}
    benchmark = HtmAlign(features=(tmp_path,), view="global")
    result = benchmark.run(session_of(PointingAligner(places)))
    assert values_of(result)["R@1 global"] == 1.0
    assert result.coverage.num_measured == 1
    reasons = {Path(item.path).name: item.reason for item in result.coverage.missing}
    assert "holds 2 features per second, and an aligner takes one" in reasons["cooking"]
    assert result.card["features_per_second"] == [[1.0]]


def test_a_name_that_no_file_can_have_costs_one_video(features, tmp_path):
    annotations = tmp_path / "htm_align.json"
    annotations.write_text(json.dumps({"../x": SENTENCES["broken"], "drilling": SENTENCES["drilling"]}))
    benchmark = HtmAlign(features=(features,), annotations=annotations, view="global")
    result = benchmark.run(session_of(PointingAligner({"drill a pan": 2.0}), max_bad_share=0.0))
    [missing] = result.coverage.missing
    assert missing.path == "../x"
    assert "lies outside the folder of the features" in missing.reason
    assert values_of(result)["R@1 global"] == 1.0


def test_too_many_broken_feature_files_stop_it(features):
    session = session_of(PointingAligner({}), max_bad_share=0.3)
    with pytest.raises(TooManyBadItemsError, match="more than 30%"):
        HtmAlign(features=(features,)).run(session)


class SecondsByName:
    """Features are one-hot seconds; sentence "at N" is second N."""

    embed_dim = 30
    similarity = "dot"
    feature_spec = FeatureSpec(("resnet152-imagenet", "resnext101-kinetics"), (30, 2))
    weights_hash = "named"
    device = torch.device("cpu")
    config = None

    def encode_features(self, features: torch.Tensor) -> torch.Tensor:
        return features[:, :30]

    def encode_text(self, sentences: Sequence[str]) -> torch.Tensor:
        return torch.nn.functional.one_hot(torch.tensor([int(s.split()[1]) for s in sentences]), 30).float()


def test_a_dual_encoder_on_features_sees_each_second_alone(tmp_path):
    sentences = [[1, float(second), float(second), f"at {second}"] for second in (0, 7, 19)]
    annotations = tmp_path / "htm_align.json"
    annotations.write_text(json.dumps({"v": [*sentences, [0, 5.0, 6.0, "at 25"]]}))
    for name, array in {"2d": np.eye(20, 30), "3d": np.ones((30, 2))}.items():
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "v.npy", array.astype(np.float16))
    benchmark = HtmAlign(features=(tmp_path / "2d", tmp_path / "3d"), **SHORT)
    result = benchmark.run(session_of(SecondsByName()))
    assert set(values_of(result).values()) == {1.0}
    assert result.card["second"].startswith("the largest value")
    assert result.card["features_per_second"] == [[1.0, 1.5]]
    with pytest.raises(ConfigError, match="--features needs 2 folders"):
        HtmAlign(features=(tmp_path / "2d",)).run(session_of(SecondsByName()))


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
