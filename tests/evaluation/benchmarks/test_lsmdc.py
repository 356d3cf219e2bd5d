"""LSMDC on an archive in its layout: whole extracted clips, or the part that was aligned by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from coded_archives import (
    PlantedFeatureModel,
    PlantedModel,
    write_broken_video,
    write_coded_features,
    write_coded_video,
)
from narravid.evaluation.benchmarks.lsmdc import Lsmdc
from narravid.evaluation.session import EvaluationSession
from watched_doubles import DirectDecoder

# Clip, aligned start and end, extracted start and end, sentence. The second was extracted from a second
# before to a second behind what was aligned; the fourth was aligned elsewhere.
ROWS = (
    ("1001_Film_00.00.10.000-00.00.14.000", "10.000", "14.000", "10.000", "14.000", "SOMEONE drives."),
    ("1001_Film_00.00.21.000-00.00.23.000", "21.000", "23.000", "20.000", "24.000", 'SOMEONE says "go".'),
    ("2002_Other_00.00.30.000-00.00.34.000", "30.000", "34.000", "30.000", "34.000", "SOMEONE waits."),
    ("2002_Other_00.00.40.000-00.00.44.000", "50.000", "52.000", "40.000", "44.000", "SOMEONE leaves."),
)
SENTENCES = [row[-1] for row in ROWS]


def write_list(folder: Path, rows=ROWS) -> Path:
    path = folder / "LSMDC16_challenge_1000_publictect.csv"
    lines = ["\t".join([row[0], *(f"00.00.{time}" for time in row[1:5]), row[5]]) for row in rows]
    path.write_text("\n".join([*lines, ""]))
    return path


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    """Clips of 4 s in folders of their films, one beside them; the second shows another one at both ends."""
    folder = tmp_path_factory.mktemp("lsmdc")
    write_list(folder)
    names = [row[0] for row in ROWS]
    write_coded_video(folder / "1001_Film" / f"{names[0]}.avi", [0] * 4)
    write_coded_video(folder / "1001_Film" / f"{names[1]}.avi", [2, 1, 1, 2])
    write_coded_video(folder / "2002_Other" / f"{names[2]}.avi", [2] * 4)
    write_coded_video(folder / f"{names[3]}.avi", [3] * 4)
    return folder


def session_of(model, **settings) -> EvaluationSession:
    return EvaluationSession(model=model, decoder=DirectDecoder(), **settings)


def answers() -> dict[str, int]:
    return {text: number for number, text in enumerate(SENTENCES)}


def values(measures) -> dict[str, float]:
    return {measure.name: measure.value for measure in measures}


def test_whole_extracted_clips_as_published(archive):
    session = session_of(PlantedModel(answers()))
    result = Lsmdc(videos=archive, num_windows=2).run(session)
    assert values(result.measures)["R@1"] == 1
    assert [asked for _, asked in session.decoder.requests] == [pytest.approx([0.0, 2.6])] * 4
    assert result.card["gallery"] == "whole files of clips, as published"
    assert result.best[0].title in SENTENCES


def test_only_the_aligned_part(archive):
    session = session_of(PlantedModel(answers()))
    result = Lsmdc(videos=archive, num_windows=1, part="aligned").run(session)
    assert values(result.measures)["R@1"] == 1
    # Where the clip and what was aligned do not meet, all of the clip is taken.
    assert [asked for _, asked in session.decoder.requests] == [[0.0], [1.0], [0.0], [0.0]]
    assert result.card["clips_aligned_elsewhere_taken_whole"] == 1
    # Seen from its beginning, the second clip shows what the third one does.
    whole = Lsmdc(videos=archive, num_windows=1).run(session_of(PlantedModel(answers())))
    assert values(whole.measures)["R@1"] < 1
    assert "clips_aligned_elsewhere_taken_whole" not in whole.card
    with pytest.raises(ValueError, match="part must be 'extracted' or 'aligned'"):
        Lsmdc(part="half")


def test_missing_and_broken_clips(archive, tmp_path):
    rows = [*ROWS, (ROWS[0][0].replace("1001", "1003"), *ROWS[0][1:5], "SOMEONE sings.")]
    source = write_list(tmp_path, rows)
    for row in ROWS[:3]:
        film = row[0].split("_00")[0]
        (tmp_path / film).mkdir(exist_ok=True)
        (tmp_path / film / f"{row[0]}.avi").symlink_to(archive / film / f"{row[0]}.avi")
    write_broken_video(tmp_path / f"{ROWS[3][0]}.avi")
    model = PlantedModel(answers() | {"SOMEONE sings.": 9})
    result = Lsmdc(videos=tmp_path, annotations=source).run(session_of(model, max_bad_share=0.5))
    assert values(result.measures)["R@1"] == 1
    assert (result.coverage.num_expected, result.coverage.num_measured) == (5, 3)
    assert {Path(item.path).name.split("_")[0] for item in result.coverage.missing} == {"1003", "2002"}


def test_features_named_after_clips(archive, tmp_path):
    for number, row in enumerate(ROWS):
        write_coded_features(tmp_path, row[0], [number] * 4)
    protocol = Lsmdc(videos=archive, features=(tmp_path / "2d", tmp_path / "3d"))
    result = protocol.run(session_of(PlantedFeatureModel(answers() | {"SOMEONE waits.": 0})))
    assert values(result.measures)["R@1"] == pytest.approx(3 / 4)


def test_names_that_lead_out_of_the_folder_are_missing(archive, tmp_path):
    rows = [*ROWS[:2], ("../../etc/1001_00.00.10.000-00.00.14.000", *ROWS[0][1:5], "SOMEONE hides.")]
    source = write_list(tmp_path, rows)
    model = PlantedModel(answers() | {"SOMEONE hides.": 9})
    on_pixels = Lsmdc(videos=archive, annotations=source).run(session_of(model))
    assert [item.reason for item in on_pixels.coverage.missing] == ["unusable name"]
    for number, row in enumerate(ROWS[:2]):
        write_coded_features(tmp_path, row[0], [number] * 4)
    protocol = Lsmdc(annotations=source, features=(tmp_path / "2d", tmp_path / "3d"))
    on_features = protocol.run(session_of(PlantedFeatureModel(answers() | {"SOMEONE hides.": 9})))
    [missing] = on_features.coverage.missing
    assert "lies outside the folder of the features" in missing.reason
