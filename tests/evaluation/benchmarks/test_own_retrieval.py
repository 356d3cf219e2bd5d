"""Retrieval on one's own list, on pixels and on features."""

from __future__ import annotations

from pathlib import Path

import pytest

from coded_archives import PlantedFeatureModel, PlantedModel, write_coded_features, write_coded_video
from narravid.bad_items import TooManyBadItemsError
from narravid.errors import AnnotationError, ConfigError, NarravidError
from narravid.evaluation.benchmarks.own_retrieval import OwnRetrieval
from narravid.evaluation.session import EvaluationSession
from watched_doubles import DirectDecoder


@pytest.fixture
def folder(tmp_path) -> Path:
    write_coded_video(tmp_path / "videos" / "a.mp4", [0, 1, 2], seconds_per_code=2)
    write_coded_video(tmp_path / "videos" / "b.mp4", [3], seconds_per_code=2)
    rows = ["videos/a.mp4,zero,0,2", "videos/a.mp4,one,2,4", "videos/a.mp4,two,4,6", "videos/b.mp4,three,,"]
    write_list(tmp_path, *rows)
    return tmp_path


def write_list(folder: Path, *rows: str) -> Path:
    path = folder / "pairs.csv"
    path.write_text("\n".join(["video_path,text,start_seconds,end_seconds", *rows, ""]))
    return path


ANSWERS = {"zero": 0, "one": 1, "two": 2, "three": 3, "five": 5}


def session_of(model, **settings) -> EvaluationSession:
    return EvaluationSession(model=model, decoder=DirectDecoder(), **settings)


def values(measures) -> dict[str, float]:
    return {measure.name: measure.value for measure in measures}


def test_a_list_of_ones_own(folder):
    result = OwnRetrieval(pairs=folder / "pairs.csv").run(session_of(PlantedModel(ANSWERS)))
    assert values(result.measures)["R@1"] == 1
    assert result.title == "Retrieval on pairs.csv"
    units = result.measures[0].outcomes.units
    assert units == ("videos/a.mp4@0-2", "videos/a.mp4@2-4", "videos/a.mp4@4-6", "videos/b.mp4")
    assert result.published == ()
    assert result.plots.keys() == {"ranks_text_to_video", "ranks_video_to_text"}
    assert all(picture.startswith(b"\x89PNG") for picture in result.plots.values())
    wrong = OwnRetrieval(pairs=folder / "pairs.csv").run(session_of(PlantedModel(ANSWERS | {"one": 5})))
    assert values(wrong.measures)["R@1"] == pytest.approx((3 + 1 / 4) / 4)  # "one" fits no clip: all four tie


def test_absent_files_of_ones_own_list_are_bad(folder):
    source = write_list(folder, "videos/a.mp4,zero,0,2", "videos/none.mp4,five,,")
    with pytest.raises(TooManyBadItemsError, match="1 of"):
        OwnRetrieval(pairs=source).run(session_of(PlantedModel(ANSWERS)))
    result = OwnRetrieval(pairs=source).run(session_of(PlantedModel(ANSWERS), max_bad_share=1.0))
    assert result.coverage.share == 0.5
    source = write_list(folder, "videos/none.mp4,five,,")
    with pytest.raises(NarravidError, match=r"none of 1 pairs could be read; .*none\.mp4: "):
        OwnRetrieval(pairs=source).run(session_of(PlantedModel(ANSWERS), max_bad_share=1.0))


def test_features_of_ones_own_list(folder, tmp_path):
    write_coded_features(tmp_path, "a", [0, 0, 1, 1, 2, 2])
    write_coded_features(tmp_path, "b", [3, 3])
    source = write_list(folder, "videos/a.mp4,zero,0,1", "videos/a.mp4,two,4,5", "b.webm,three,,")
    protocol = OwnRetrieval(pairs=source, features=(tmp_path / "2d", tmp_path / "3d"))
    result = protocol.run(session_of(PlantedFeatureModel(ANSWERS)))
    assert values(result.measures)["R@1"] == 1
    assert result.best[0].shown[0].path == str(folder / "videos" / "a.mp4")  # shown, though not looked at
    units = ("videos/a.mp4@0-1", "videos/a.mp4@4-5", "b.webm")  # as on pixels, to be compared
    assert result.measures[0].outcomes.units == units
    assert result.card["feature_files"] == [str(tmp_path / "2d"), str(tmp_path / "3d")]


def test_networks_on_features_have_no_other_backend(folder, tmp_path):
    write_coded_features(tmp_path, "b", [3, 3])
    source = write_list(folder, "b.webm,three,,")
    protocol = OwnRetrieval(pairs=source, features=(tmp_path / "2d", tmp_path / "3d"))
    with pytest.raises(ConfigError, match="openvino computes networks on clips; leave out --backend"):
        protocol.run(session_of(PlantedFeatureModel(ANSWERS), backend="openvino"))


@pytest.fixture
def twins(tmp_path) -> OwnRetrieval:
    """Two videos of one name in different folders."""
    source = write_list(tmp_path, "videos/x/1.mp4,zero,,", "videos/y/1.mp4,three,,")
    return OwnRetrieval(pairs=source, features=(tmp_path / "2d", tmp_path / "3d"))


@pytest.mark.parametrize("place", ["", "videos/"])
def test_features_lie_as_their_videos(twins, tmp_path, place):
    for name, codes in (("x/1", [0, 0]), ("y/1", [3, 3])):
        for extractor in ("2d", "3d"):
            (tmp_path / extractor / place / name).parent.mkdir(parents=True)
        write_coded_features(tmp_path, place + name, codes)
    result = twins.run(session_of(PlantedFeatureModel(ANSWERS)))
    assert values(result.measures)["R@1"] == 1
    assert result.measures[0].outcomes.units == ("videos/x/1.mp4", "videos/y/1.mp4")
    assert result.card["gallery_size"] == 2
    swapped = PlantedFeatureModel(ANSWERS | {"zero": 3, "three": 0})
    assert values(twins.run(session_of(swapped)).measures)["R@1"] == 0


@pytest.mark.parametrize("place", ["1", "x/1"])
def test_two_videos_with_one_feature_file_are_refused(twins, tmp_path, place):
    for extractor in ("2d", "3d"):
        (tmp_path / extractor / place).parent.mkdir(parents=True)
    write_coded_features(tmp_path, place, [0, 0])
    message = rf"videos/x/1\.mp4 and videos/y/1\.mp4 have the same features, .*{place}\.npy: name or place"
    with pytest.raises(AnnotationError, match=message):
        twins.run(session_of(PlantedFeatureModel(ANSWERS)))


def test_videos_without_features_are_missing_each_for_itself(twins, tmp_path):
    for extractor in ("2d", "3d"):
        (tmp_path / extractor / "x").mkdir(parents=True)
    write_coded_features(tmp_path, "x/1", [0, 0])
    write_list(tmp_path, "videos/x/1.mp4,zero,,", "../elsewhere/2.mp4,three,,")
    result = twins.run(session_of(PlantedFeatureModel(ANSWERS)))
    assert result.coverage.share == 0.5
    [missing] = result.coverage.missing
    assert missing.reason == f"there is no feature file {tmp_path / '2d' / 'elsewhere' / '2.npy'}"
