"""MSR-VTT 1k-A on an archive in its layout: planted models give the scores that are known beforehand."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from coded_archives import (
    PlantedFeatureModel,
    PlantedModel,
    write_broken_video,
    write_coded_features,
    write_coded_video,
)
from narravid.bad_items import TooManyBadItemsError
from narravid.errors import AnnotationError, CheckpointError, ConfigError, NarravidError
from narravid.evaluation.benchmarks.msrvtt import Msrvtt
from narravid.evaluation.embedding_cache import EmbeddingCache
from narravid.evaluation.session import EvaluationSession
from narravid.video.watched import WatchedDecoder
from tiny_corpus import make_tiny_s3d
from watched_doubles import DirectDecoder

SENTENCES = {f"video{9770 + number}": f"somebody does thing {number}" for number in range(6)}


def write_list(folder: Path, sentences: dict[str, str], name: str = "MSRVTT_JSFUSION_test.csv") -> Path:
    rows = [
        f"ret{number},{video.replace('video', 'msr')},{video},{text}"
        for number, (video, text) in enumerate(sentences.items())
    ]
    path = folder / name
    path.write_text("\n".join(["key,vid_key,video_id,sentence", *rows, ""]))
    return path


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    """Video n shows clip n; some lie in the folder of the test set, as in one of the archives about."""
    folder = tmp_path_factory.mktemp("msrvtt") / "videos"
    for number, name in enumerate(SENTENCES):
        place = folder / "TestVideo" if number % 2 else folder
        write_coded_video(place / f"{name}.mp4", [number], seconds_per_code=3)
    write_list(folder, SENTENCES)
    return folder


def answers(**mistakes: int) -> dict[str, int]:
    """What the model takes each sentence for; mistaken for those named by their video."""
    return {text: mistakes.get(name, number) for number, (name, text) in enumerate(SENTENCES.items())}


def session_of(model, **settings) -> EvaluationSession:
    return EvaluationSession(model=model, decoder=DirectDecoder(), model_name="planted", **settings)


def values(measures) -> dict[str, float]:
    return {measure.name: measure.value for measure in measures}


def test_a_perfect_model_scores_everything(archive):
    result = Msrvtt(videos=archive).run(session_of(PlantedModel(answers())))
    perfect = {"R@1": 1, "R@5": 1, "R@10": 1, "MedR": 1, "MeanR": 1}
    assert values(result.measures) == perfect
    assert values(result.further["video to text"]) == perfect
    assert [(measure.low, measure.high) for measure in result.measures] == [(1, 1)] * 5
    assert result.coverage.share == 1
    assert result.coverage.missing == ()


def test_a_blind_model_is_at_chance(archive):
    result = Msrvtt(videos=archive).run(session_of(PlantedModel({}, blind=True)))
    # Six clips that cannot be told apart: rank 3.5, found at depth 1 in one of six orders.
    expected = {"R@1": 1 / 6, "R@5": 5 / 6, "R@10": 1, "MedR": 3.5, "MeanR": 3.5}
    for measures in (result.measures, result.further["video to text"]):
        assert values(measures) == pytest.approx(expected)
        assert {measure.name: measure.chance for measure in measures} == pytest.approx(expected)


def test_a_model_with_known_mistakes_scores_what_they_leave(archive):
    # Two sentences are taken for each other's, so each has one better clip and ties with the other four.
    model = PlantedModel(answers(video9771=2, video9772=1))
    result = Msrvtt(videos=archive).run(session_of(model))
    # Better: 1; tied: all 5 others, its own included. Rank 1 + 6 / 2 = 4; within 5 in 4 of 5 orders.
    found = values(result.measures)
    assert found["R@1"] == pytest.approx(4 / 6)
    assert found["R@5"] == pytest.approx((4 + 2 * 4 / 5) / 6)
    assert found["MedR"] == 1
    assert found["MeanR"] == pytest.approx((4 * 1 + 2 * 4) / 6)
    assert values(result.further["video to text"])["R@1"] == pytest.approx(4 / 6)
    low, high = next((m.low, m.high) for m in result.measures if m.name == "R@1")
    assert 0 < low < 4 / 6 < high <= 1

    assert {example.title for example in result.worst[:2]} == {SENTENCES["video9771"], SENTENCES["video9772"]}
    assert not any(example.good for example in result.worst[:2])
    worst = next(example for example in result.worst if example.title == SENTENCES["video9771"])
    assert worst.note == "its clip has rank 4 of 6"
    assert Path(worst.shown[0].path).stem == "video9772"
    assert not worst.shown[0].is_right
    assert [Path(shown.path).stem for shown in worst.shown if shown.is_right] == ["video9771"]
    assert all(example.good and example.shown[0].is_right for example in result.best)
    assert not {example.title for example in result.best} & {example.title for example in result.worst}


def test_missing_videos_are_told_and_broken_ones_too(archive, tmp_path):
    names = {**SENTENCES, "video1": "is not there", "video2": "is broken", "video3": "is half there"}
    write_list(tmp_path, names)
    for number, name in enumerate(SENTENCES):
        write_coded_video(tmp_path / "all" / f"{name}.mp4", [number], seconds_per_code=2)
    write_broken_video(tmp_path / "all" / "video2.mp4")
    write_broken_video(tmp_path / "all" / "video3.mp4.part")
    knows = answers() | dict.fromkeys(("is not there", "is broken", "is half there"), 15)
    # One of the seven that are there is bad; the two that are absent do not count.
    with pytest.raises(TooManyBadItemsError, match="1 x cannot be opened as a video"):
        Msrvtt(videos=tmp_path).run(session_of(PlantedModel(knows)))
    result = Msrvtt(videos=tmp_path).run(session_of(PlantedModel(knows), max_bad_share=0.5))
    assert values(result.measures)["R@1"] == 1
    assert (result.coverage.num_expected, result.coverage.num_measured) == (9, 6)
    assert result.coverage.share == pytest.approx(6 / 9)
    assert result.card["gallery_size"] == 6
    reasons = {Path(item.path).name: item.reason for item in result.coverage.missing}
    assert reasons.keys() == {"video1", "video2.mp4", "video3"}
    assert reasons["video1"] == "no such file"


def test_nothing_there_is_an_error(archive, tmp_path):
    path = write_list(tmp_path, SENTENCES)
    with pytest.raises(NarravidError, match=r"none of 6 clips has a video in .*6 x no such file; the first "):
        Msrvtt(videos=tmp_path).run(session_of(PlantedModel(answers())))
    path.write_text("key,vid_key,video_id,sentence\n")
    with pytest.raises(AnnotationError, match="lists no clip"):
        Msrvtt(videos=tmp_path).run(session_of(PlantedModel(answers())))


def test_the_card_repeats_the_protocol(archive):
    model = PlantedModel(answers())
    card = Msrvtt(videos=archive, num_windows=3, similarity="cosine").run(session_of(model)).card
    source = archive / "MSRVTT_JSFUSION_test.csv"
    assert card["benchmark"] == "msrvtt"
    assert card["files"]["annotations"] == {
        "path": str(source),
        "sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
    }
    assert (card["model"], card["weights_hash"]) == ("planted", model.weights_hash)
    assert (card["gallery_size"], card["num_texts"], card["num_windows"]) == (6, 6, 3)
    assert card["clip"]["num_frames"] == 2
    assert card["clip"]["crop"] == "center"
    assert card["clip"]["mean"] == [0, 0, 0]
    assert card["similarity"] == "cosine"
    assert card["window_mean"] == "of L2-normalised embeddings"
    assert card["text"] == {"max_words": 30, "lower_case": False, "settings": "the model's own"}
    assert card["dtype"] == "float32"
    assert card["backend"] == "torch"
    assert card["test_time_tricks"].startswith("none")


def test_windows_lie_all_over_the_video(archive):
    session = session_of(PlantedModel(answers()))
    Msrvtt(videos=archive, num_windows=2).run(session)
    # 3 s of video, clips of 1 s: the last starts at 3 - 1 - 0.4 s.
    assert [starts for _, starts in session.decoder.requests] == [pytest.approx([0.0, 1.6])] * 6


def test_windows_may_be_others_than_the_models_own(archive):
    session = session_of(PlantedModel(answers()))
    result = Msrvtt(videos=archive, num_windows=2, num_frames=4, fps=4.0, size_pixels=12).run(session)
    clip = result.card["clip"]
    assert (clip["num_frames"], clip["fps"], clip["size_pixels"]) == (4, 4.0, 12)
    assert clip["duration_seconds"] == 1
    assert values(result.measures)["R@1"] == 1
    longer = session_of(PlantedModel(answers()))
    Msrvtt(videos=archive, num_windows=2, num_frames=4).run(longer)
    assert [starts for _, starts in longer.decoder.requests] == [pytest.approx([0.0, 0.6])] * 6  # 2 s each


def test_a_second_run_decodes_nothing(archive, tmp_path):
    with EmbeddingCache(tmp_path) as cache:
        first = Msrvtt(videos=archive).run(session_of(PlantedModel(answers()), cache=cache))
        again = session_of(PlantedModel(answers()), cache=cache)
        second = Msrvtt(videos=archive, similarity="cosine").run(again)
    assert (again.decoder.requests, again.decoder.probed) == ([], [])
    assert values(first.measures) == values(second.measures)


def test_features_in_place_of_videos(archive, tmp_path):
    for number, name in enumerate(SENTENCES):
        write_coded_features(tmp_path, name, [number] * 3)
    folders = (tmp_path / "2d", tmp_path / "3d")
    model = PlantedFeatureModel(answers(video9771=2))
    result = Msrvtt(videos=archive, features=folders).run(session_of(model))
    assert values(result.measures)["R@1"] == pytest.approx(5 / 6)
    assert result.card["features"] == {"resnet152-imagenet": 16, "resnext101-kinetics": 2}
    assert Path(result.best[0].shown[0].path).suffix == ".mp4"  # shown, though not looked at
    assert set(result.measures[0].outcomes.units) == SENTENCES.keys()

    (tmp_path / "3d" / "video9773.npy").unlink()
    without_videos = Msrvtt(annotations=archive / "MSRVTT_JSFUSION_test.csv", features=folders)
    partial = without_videos.run(session_of(model))
    assert partial.coverage.num_measured == 5
    [missing] = partial.coverage.missing
    assert "there is no feature file" in missing.reason


def test_the_wrong_kind_of_model_is_told_what_would_do(archive, tmp_path):
    with pytest.raises(ConfigError, match="planted works on extracted features of resnet152-imagenet and"):
        Msrvtt(videos=archive).run(session_of(PlantedFeatureModel(answers())))
    (tmp_path / "2d").mkdir()
    with pytest.raises(CheckpointError, match="a PlantedModel does not do here; this needs a feature dual"):
        Msrvtt(videos=archive, features=(tmp_path / "2d",)).run(session_of(PlantedModel(answers())))
    with pytest.raises(ConfigError, match="--features needs 2 folders in this order, got 1"):
        Msrvtt(videos=archive, features=(tmp_path / "2d",)).run(session_of(PlantedFeatureModel(answers())))
    with pytest.raises(ConfigError, match="has no list of words"):
        Msrvtt(videos=archive, max_words=3).run(session_of(PlantedModel(answers())))


def test_a_list_that_is_nowhere_is_asked_for(tmp_path):
    with pytest.raises(
        AnnotationError, match=r"there is no msrvtt_test\.csv or MSRVTT_JSFUSION_test\.csv or "
    ):
        Msrvtt(videos=tmp_path).run(session_of(PlantedModel(answers())))
    with pytest.raises(AnnotationError, match="name it with --annotations"):
        Msrvtt().run(session_of(PlantedModel(answers())))
    with pytest.raises(AnnotationError, match="there is no such file"):
        Msrvtt(videos=tmp_path, annotations=tmp_path / "none.csv").run(session_of(PlantedModel(answers())))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_windows": 0}, "num_windows must be at least 1"),
        ({"num_frames": 0}, "num_frames must be at least 1"),
        ({"size_pixels": 0}, "size_pixels must be at least 1"),
        ({"fps": 0.0}, "fps must be positive"),
        ({"similarity": "euclid"}, "similarity must be 'dot' or 'cosine'"),
        ({"case": "upper"}, "case must be 'lower' or 'keep'"),
        ({"max_words": 0}, "max_words must be at least 1"),
        ({"feature_rates": (1.0,)}, "a rate for each folder"),
        ({"features": (Path("a"),), "feature_rates": (0.0,)}, "feature_rates must be positive"),
    ],
)
def test_mistakes_in_the_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        Msrvtt(**settings)


def test_other_text_settings_change_what_is_read_and_the_card_says_so(archive, tmp_path):
    model, sentences = (
        make_tiny_s3d(),
        ("red moves left", "red moves", "red blue", "red", "left", "green red"),
    )
    source = write_list(tmp_path, dict(zip(SENTENCES, sentences, strict=True)))
    protocol = Msrvtt(videos=archive, annotations=source, num_windows=1, max_words=2, case="keep")
    card = protocol.run(session_of(model)).card
    assert card["text"] == {"max_words": 2, "lower_case": False, "settings": "changed for this measurement"}


@pytest.mark.shared
def test_the_published_list_with_the_one_video_that_is_here(shared_data, tmp_path):
    source = shared_data / "annotations" / "msrvtt" / "MSRVTT_JSFUSION_test.csv"
    (tmp_path / "video7500.mp4").symlink_to(shared_data / "videos" / "msrvtt_video7500.mp4")
    model = PlantedModel({"a soccer team walking out on the field": 5})
    with WatchedDecoder() as decoder:
        session = EvaluationSession(model=model, decoder=decoder)
        result = Msrvtt(videos=tmp_path, annotations=source, num_windows=2).run(session)
    assert (result.coverage.num_expected, result.coverage.num_measured) == (1000, 1)
    assert len(result.coverage.missing) == 999
    assert result.coverage.missing[0].reason == "no such file"
    assert result.published, "the published rows stand beside what was measured"
