"""YouCook2 on an archive in its layout: parts of videos as clips, features in folders or in a pickle."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from coded_archives import (
    NUM_CODES,
    PlantedFeatureModel,
    PlantedModel,
    write_broken_video,
    write_coded_features,
    write_coded_video,
)
from narravid.errors import AnnotationError, CheckpointError
from narravid.evaluation.benchmarks.youcook2 import Youcook2
from narravid.evaluation.session import EvaluationSession
from watched_doubles import DirectDecoder

HEADER = "end,start,task,text,video_id"
ROWS = (
    "6,0,101,cut the onion,first",
    "13,7,101,fry it,first",
    "20,14,101,add salt,first",
    "6,0,226,wash the rice,second",
    "13,7,226,boil it,second",
)
SENTENCES = [row.split(",")[3] for row in ROWS]


def write_list(folder: Path, *rows: str) -> Path:
    path = folder / "validation_youcook.csv"
    path.write_text("\n".join([HEADER, *rows, ""]))
    return path


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    """Two videos that show one clip for 7 s each after the other; the list lies beside the videos' folder."""
    folder = tmp_path_factory.mktemp("youcook2")
    write_list(folder, *ROWS)
    videos = folder / "youcook"
    write_coded_video(videos / "validation" / "101" / "first.mkv", [0, 1, 2], seconds_per_code=7)
    write_coded_video(videos / "validation" / "226" / "second.mp4", [3, 4], seconds_per_code=7)
    return videos


def answers(**mistakes: int) -> dict[str, int]:
    return {text: mistakes.get(text.split()[0], number) for number, text in enumerate(SENTENCES)}


def session_of(model, **settings) -> EvaluationSession:
    return EvaluationSession(model=model, decoder=DirectDecoder(), **settings)


def values(measures) -> dict[str, float]:
    return {measure.name: measure.value for measure in measures}


def test_parts_of_videos_are_the_clips(archive):
    session = session_of(PlantedModel(answers()))
    result = Youcook2(videos=archive, num_windows=3).run(session)
    assert values(result.measures)["R@1"] == values(result.further["video to text"])["R@1"] == 1
    assert (result.card["gallery_size"], result.card["num_texts"]) == (5, 5)
    starts = {Path(path).name: asked for path, asked in session.decoder.requests[:1]}
    assert starts == {"first.mkv": pytest.approx([0, 2.3, 4.6])}  # 6 s, clips of 1 s, 0.4 s kept free
    places = [("first.mkv", 0, 6), ("first.mkv", 7, 13), ("first.mkv", 14, 20)]
    places += [("second.mp4", 0, 6), ("second.mp4", 7, 13)]
    place_of = dict(zip(SENTENCES, places, strict=True))
    told = [*result.best, *result.worst]
    assert len(told) == len({example.title for example in told}) == 4
    for example in told:
        [right] = [shown for shown in example.shown if shown.is_right]
        span = right.span
        assert (Path(right.path).name, span.start_seconds, span.end_seconds) == place_of[example.title]


def test_known_mistakes_and_a_clip_that_is_there_twice(archive, tmp_path):
    source = write_list(tmp_path, *ROWS, "6,0,226,rinse the rice,second")
    model = PlantedModel({**answers(fry=2), "rinse the rice": 3})
    result = Youcook2(videos=archive, annotations=source, num_windows=1).run(session_of(model))
    # Each row is an entry, as published: the two of one clip tie for both of its sentences.
    assert values(result.measures)["R@1"] == pytest.approx((1 + 0 + 1 + 1 / 2 + 1 + 1 / 2) / 6)
    assert (result.card["gallery_size"], result.card["num_texts"]) == (6, 6)
    units = result.measures[0].outcomes.units
    assert len(set(units)) == 5
    assert units[3] == units[5]  # but they are drawn together for the intervals
    assert units[:4] == ("first@0-6", "first@7-13", "first@14-20", "second@0-6")  # on every machine


def test_missing_and_broken_videos(archive, tmp_path):
    source = write_list(tmp_path, *ROWS, "5,1,101,serve,third", "5,1,101,eat,fourth", "95,90,226,rest,second")
    write_broken_video(tmp_path / "101" / "fourth.webm")
    for place in ("validation/101/first.mkv", "validation/226/second.mp4"):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).symlink_to(archive / place)
    model = PlantedModel(answers() | {"serve": 5, "eat": 6, "rest": 7})
    result = Youcook2(videos=tmp_path, annotations=source).run(session_of(model, max_bad_share=0.5))
    assert values(result.measures)["R@1"] == 1
    assert (result.coverage.num_expected, result.coverage.num_measured) == (8, 5)
    assert sorted(Path(item.path).stem for item in result.coverage.missing) == ["fourth", "second", "third"]


def test_features_in_folders(archive, tmp_path):
    write_coded_features(tmp_path, "first", [0] * 7 + [1] * 7 + [2] * 7)
    write_coded_features(tmp_path, "second", [3] * 7 + [4] * 7)
    protocol = Youcook2(
        annotations=archive.parent / "validation_youcook.csv", features=(tmp_path / "2d", tmp_path / "3d")
    )
    result = protocol.run(session_of(PlantedFeatureModel(answers(boil=3))))
    assert values(result.measures)["R@1"] == pytest.approx(4 / 5)
    on_pixels = Youcook2(videos=archive, num_windows=1).run(session_of(PlantedModel(answers())))
    assert result.measures[0].outcomes.units == on_pixels.measures[0].outcomes.units  # to be compared


def write_pickle(folder: Path, sentences: list[str], *, dim_3d: int = 2) -> Path:
    clips = [
        {
            "2d": np.eye(NUM_CODES, dtype=np.float32)[number],
            "3d": np.ones(dim_3d, np.float32),
            "caption": text,
            "id": "one video",
        }
        for number, text in enumerate(sentences)
    ]
    path = folder / "youcook_val.pkl"
    path.write_bytes(pickle.dumps(clips))
    return path


def test_the_published_pickle_of_features(tmp_path):
    path = write_pickle(tmp_path, SENTENCES)
    result = Youcook2(features=(path,)).run(session_of(PlantedFeatureModel(answers(add=0, boil=0))))
    assert values(result.measures)["R@1"] == pytest.approx(3 / 5)
    assert result.card["files"]["features"]["path"] == str(path)
    assert result.card["gallery_size"] == 5  # one id may name several clips

    with pytest.raises(CheckpointError, match="this needs a feature dual encoder"):
        Youcook2(features=(path,)).run(session_of(PlantedModel(answers())))
    write_pickle(tmp_path, SENTENCES, dim_3d=3)
    with pytest.raises(AnnotationError, match=r"features of \[16, 3\], the model takes \[16, 2\]"):
        Youcook2(features=(path,)).run(session_of(PlantedFeatureModel(answers())))
    write_pickle(tmp_path, [])
    with pytest.raises(AnnotationError, match="holds no clip"):
        Youcook2(features=(path,)).run(session_of(PlantedFeatureModel(answers())))


@pytest.mark.shared
def test_the_published_list_cut_to_two_videos(shared_data, tmp_path):
    lines = (shared_data / "annotations" / "youcook2_validation.csv").read_text().splitlines()
    names = list(dict.fromkeys(line.rsplit(",", 1)[1] for line in lines[1:]))[:2]
    rows = [line for line in lines[1:] if line.rsplit(",", 1)[1] in names]
    source = tmp_path / "youcook2_validation.csv"
    source.write_text("\n".join([lines[0], *rows, ""]))
    codes = {}
    for name in names:
        seconds = np.zeros(1000, int)
        for line in (line for line in rows if line.endswith(name)):
            end, start, task, text, _ = line.split(",")
            codes[text] = 1 + len(codes)
            seconds[int(start) : int(end)] = codes[text]
        write_coded_video(tmp_path / "validation" / task / f"{name}.mp4", seconds[:300].tolist())
    assert len(codes) == len(rows) < NUM_CODES
    result = Youcook2(videos=tmp_path, num_windows=4).run(session_of(PlantedModel(codes)))
    assert values(result.measures)["R@1"] == 1
    assert result.coverage.share == 1
    assert any("HowTo100M" in row.model for row in result.published)
