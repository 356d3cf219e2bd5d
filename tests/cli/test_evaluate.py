"""`narravid evaluate retrieval` with a model folder and real files, from the list to the result folder."""

import hashlib
import json

import numpy as np
import pytest

from models.small_aligners import small_aligner
from narravid.cli.evaluate import EVALUATE_COMMANDS
from narravid.cli.main import main
from narravid.evaluation.benchmarks.registry import BENCHMARKS
from narravid.models.gated_embedding import GatedDualEncoder, GatedDualEncoderConfig
from narravid.models.hub import load, save_model
from narravid.text.words import Vocabulary
from narravid.types import FeatureSpec
from narravid.video.encode import write_video
from tiny_corpus import save_tiny_s3d

COLOURS = ("red", "green", "blue")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model folder, three videos and the list of what they show."""
    folder = tmp_path_factory.mktemp("evaluate")
    save_tiny_s3d(folder / "model")
    for number, color in enumerate(COLOURS):
        frames = np.zeros((12, 16, 16, 3), np.uint8)
        frames[..., number] = 255
        write_video(folder / "videos" / f"{color}.mp4", frames, fps=4)
    rows = [f"videos/{color}.mp4,a {color} square,0,2.5" for color in COLOURS]
    (folder / "pairs.csv").write_text("\n".join(["video_path,text,start_seconds,end_seconds", *rows, ""]))
    return folder


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("NARRAVID_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def words_for(folder, *more, pairs="pairs.csv", model="model"):
    return [
        "evaluate",
        "retrieval",
        *("--pairs", str(folder / pairs)),
        *("--model", str(folder / model)),
        *map(str, more),
    ]


def test_from_the_list_to_the_table_and_the_files(folder, tmp_path, home, capsys):
    output = tmp_path / "results" / "mine"
    words = words_for(folder, "--num-windows", 2, "--output", output)
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "Retrieval on pairs.csv" in printed
    assert "R@1" in printed
    assert str(output) in printed.replace("\n", "")
    assert (home / "embeddings").is_dir()

    result = json.loads((output / "result.json").read_text())
    card = result["card"]
    assert card["gallery_size"] == card["num_texts"] == 3
    assert card["weights_hash"] == load(folder / "model").weights_hash
    assert card["files"]["pairs"]["sha256"] == hashlib.sha256((folder / "pairs.csv").read_bytes()).hexdigest()
    assert (card["model"], card["num_windows"]) == (str(folder / "model"), 2)
    assert card["text"] == {"max_words": 20, "lower_case": True, "settings": "the model's own"}
    names = {path.name for path in output.iterdir()}
    assert {"result.json", "table.md", "ranks_text_to_video.png", "ranks_video_to_text.png"} <= names
    assert any(name.endswith(".html") for name in names)

    assert main(words) == 0  # from the cache this time, over the result that is there
    assert json.loads((output / "result.json").read_text()) == result


def test_missing_videos_are_said_and_all_missing_is_an_error(folder, capsys):
    some = folder / "some.csv"
    some.write_text("video_path,text\nvideos/red.mp4,red\nvideos/absent.mp4,green\n")
    assert main(words_for(folder, "--max-bad-share", 1, "--no-cache", pairs="some.csv")) == 0
    printed = capsys.readouterr().out
    assert "50" in printed
    assert "videos/absent.mp4" in printed
    assert "nothing is written; --output FOLDER" in printed

    (folder / "none.csv").write_text("video_path,text\nvideos/absent.mp4,green\n")
    assert main(words_for(folder, "--max-bad-share", 1, pairs="none.csv")) == 2
    assert "none of 1 pairs could be read; " in capsys.readouterr().err


def test_a_list_of_which_too_much_is_missing_stops_the_evaluation(folder, tmp_path, capsys):
    (folder / "half.csv").write_text("video_path,text\nvideos/red.mp4,red\nvideos/absent.mp4,green\n")
    words = words_for(folder, pairs="half.csv")
    assert main([*words, "--output", str(tmp_path / "result")]) == 2
    said = capsys.readouterr().err
    assert "items met so far are bad, more than 5%: 1 x " in said
    assert "absent.mp4. Bring the videos back, or let more be missing (--max-bad-share)" in said
    assert not (tmp_path / "result").exists()
    assert main([*words, "--max-bad-share", "7"]) == 2
    assert "max_bad_share must be from 0 to 1, got 7.0" in capsys.readouterr().err


def test_features_in_place_of_pixels(folder, tmp_path, capsys):
    spec = FeatureSpec(("resnet152-imagenet", "resnext101-kinetics"), (3, 2))
    config = GatedDualEncoderConfig(feature_spec=spec, word_dim=4, sentence_dim=5, embed_dim=6)
    save_model(GatedDualEncoder(config, Vocabulary(["a", "square", *COLOURS])), tmp_path / "model")
    for place, dim in (("2d", 3), ("3d", 2)):
        (tmp_path / place).mkdir()
        for number, colour in enumerate(COLOURS):
            steps = np.full((4, dim), number + 1, np.float16)
            np.save(tmp_path / place / f"{colour}.npy", steps, allow_pickle=False)
    words = words_for(folder, "--features", tmp_path / "2d", tmp_path / "3d", "--output", tmp_path / "out")
    words[words.index("--model") + 1] = str(tmp_path / "model")
    assert main(words) == 0
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["card"]["features"] == {"resnet152-imagenet": 3, "resnext101-kinetics": 2}

    without = words[: words.index("--features")]
    assert main(without) == 2
    assert (
        "works on extracted features of resnet152-imagenet and resnext101-kinetics" in capsys.readouterr().err
    )


def test_the_wrong_kind_of_model_is_told_what_would_do(folder, tmp_path, capsys):
    save_model(small_aligner(), tmp_path / "model")
    words = words_for(folder)
    words[words.index("--model") + 1] = str(tmp_path / "model")
    assert main(words) == 2
    said = capsys.readouterr().err
    assert f"{tmp_path / 'model'}: a TemporalAligner does not do here; this needs a pixel dual enc" in said
    assert said.count("\n") == 1


def test_mistakes_are_one_line(folder, tmp_path, capsys):
    assert main(words_for(folder, model="none")) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"narravid: {folder / 'none'}: no such file or folder")
    assert captured.err.count("\n") == 1

    (folder / "bad.csv").write_text("video_path,text\nred.mp4,\n")
    assert main(words_for(folder, pairs="bad.csv")) == 2
    assert capsys.readouterr().err == f"narravid: {folder / 'bad.csv'}, line 2, field 'text': is empty\n"

    assert main(words_for(folder, "--cache", tmp_path, "--no-cache")) == 2
    assert "contradict each other" in capsys.readouterr().err


def test_an_output_that_cannot_be_a_folder_is_refused_before_any_work(folder, tmp_path, capsys):
    words = words_for(folder, model="none")
    (tmp_path / "file").write_text("")
    assert main([*words, "--output", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err == f"narravid: {tmp_path / 'file'} is a file; --output needs a folder\n"
    assert main([*words, "--output", str(tmp_path / "result.json")]) == 2
    assert "--output names a folder, in which result.json is one file" in capsys.readouterr().err


def test_every_benchmark_has_a_command_and_help_of_every_option(capsys):
    assert EVALUATE_COMMANDS.keys() == BENCHMARKS.keys()
    assert main(["evaluate", "--help"]) == 0
    overview = capsys.readouterr().out
    for name, benchmark in BENCHMARKS.items():
        assert f"  {name}" in overview
        assert (benchmark.__doc__ or "").split("\n")[0].strip() in overview
    assert main(["evaluate", "retrieval", "--help"]) == 0
    text = capsys.readouterr().out
    options = "pairs model output num-windows batch-size device dtype backend workers cache no-cache"
    for option in (*options.split(), "max-bad-share", "seed", "features", "similarity", "max-words", "case"):
        assert f"--{option}" in text
    assert "--no-no-cache" not in text
    assert "(default: 10)" in text
    assert "Windows per clip, equally spaced" in text  # documented in the class that benchmarks build on
