"""`narravid evaluate retrieval` with a model folder and real files, from the list to the result file."""

import hashlib
import json

import numpy as np
import pytest
import torch

from narravid.cli.evaluate import EvaluateRetrieval
from narravid.cli.main import main
from narravid.errors import NarravidError
from narravid.models.dual_encoder import S3DDualEncoder, S3DDualEncoderConfig
from narravid.models.hub import load, save_model
from narravid.models.s3d import S3DConfig
from narravid.models.text_encoders import SentenceTowerConfig
from narravid.text.words import Vocabulary
from narravid.types import ClipSpec
from narravid.video.encode import write_video

WORDS = ("red", "green", "blue", "square")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model folder, three videos and the list of what they show."""
    folder = tmp_path_factory.mktemp("evaluate")
    config = S3DDualEncoderConfig(
        video=S3DConfig(width_multiplier=0.125, num_inception_blocks=2, embed_dim=8),
        text=SentenceTowerConfig(num_embeddings=len(WORDS) + 1, word_dim=4, hidden_dim=8, embed_dim=8),
        clip_spec=ClipSpec(num_frames=4, fps=4.0, size_pixels=16),
        max_words=6,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_model(S3DDualEncoder(config, Vocabulary(WORDS)), folder / "model")
    for number, color in enumerate(WORDS[:3]):
        frames = np.zeros((12, 16, 16, 3), np.uint8)
        frames[..., number] = 255
        write_video(folder / "videos" / f"{color}.mp4", frames, fps=4)
    rows = [f"videos/{color}.mp4,a {color} square,0,2.5" for color in WORDS[:3]]
    (folder / "pairs.csv").write_text("\n".join(["video_path,text,start_seconds,end_seconds", *rows, ""]))
    return folder


def test_from_the_list_to_the_table_and_the_file(folder, capsys):
    output = folder / "results" / "result.json"
    command = EvaluateRetrieval(
        pairs=folder / "pairs.csv", model=str(folder / "model"), output=output, num_windows=2
    )
    assert command.run() == 0
    printed = capsys.readouterr().out
    assert "retrieval among 3 clips, 3 sentences" in printed
    assert str(output) in printed.replace("\n", "")

    result = json.loads(output.read_text())
    assert result["gallery_size"] == result["num_texts"] == 3
    assert result["missing"] == []
    for direction in ("text_to_video", "video_to_text", "chance"):
        assert result[direction].keys() == {"R@1", "R@5", "R@10", "MedR", "MeanR"}
        assert result[direction]["R@5"] == 1
    card = result["card"]
    assert card["model_hash"] == load(folder / "model").weights_hash
    assert card["pairs_sha256"] == hashlib.sha256((folder / "pairs.csv").read_bytes()).hexdigest()
    assert (card["model"], card["num_windows"]) == (str(folder / "model"), 2)
    assert card["text"] == {"max_words": 6, "lower_case": True}

    assert command.run() == 0
    assert json.loads(output.read_text()) == result


def test_missing_videos_are_said_and_all_missing_is_an_error(folder, capsys):
    some = folder / "some.csv"
    some.write_text("video_path,text\nvideos/red.mp4,red\nvideos/absent.mp4,green\n")
    command = EvaluateRetrieval(pairs=some, model=str(folder / "model"), num_windows=1, max_bad_share=1.0)
    assert command.run() == 0
    printed = capsys.readouterr().out
    assert "1 of 2 pairs are missing from the gallery; the numbers are of the other 50.0%:" in printed
    assert "videos/absent.mp4: " in printed
    assert "result written" not in printed

    none = folder / "none.csv"
    none.write_text("video_path,text\nvideos/absent.mp4,green\n")
    with pytest.raises(NarravidError, match=r"none of 1 pairs could be read; .*absent\.mp4: "):
        EvaluateRetrieval(pairs=none, model=str(folder / "model"), max_bad_share=1.0).run()


def test_a_list_of_which_too_much_is_missing_stops_the_evaluation(folder, tmp_path, capsys):
    some, output = folder / "half.csv", tmp_path / "result.json"
    some.write_text("video_path,text\nvideos/red.mp4,red\nvideos/absent.mp4,green\n")
    words = ["evaluate", "retrieval", "--pairs", str(some), "--model", str(folder / "model")]
    assert main([*words, "--output", str(output)]) == 2
    said = capsys.readouterr().err
    assert "1 of 1 items met so far are bad, more than 5%: 1 x " in said
    assert "absent.mp4. Bring the videos back, or let more be missing (--max-bad-share)" in said
    assert not output.exists()
    assert main([*words, "--max-bad-share", "7"]) == 2
    assert "max_bad_share must be from 0 to 1, got 7.0" in capsys.readouterr().err


def test_mistakes_are_one_line(folder, capsys):
    words = ["evaluate", "retrieval", "--pairs", str(folder / "pairs.csv"), "--model", str(folder / "none")]
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"narravid: {folder / 'none'}: no such file or folder")
    assert captured.err.count("\n") == 1

    bad = folder / "bad.csv"
    bad.write_text("video_path,text\nred.mp4,\n")
    assert main(["evaluate", "retrieval", "--pairs", str(bad), "--model", str(folder / "model")]) == 2
    assert capsys.readouterr().err == f"narravid: {bad}, line 2, field 'text': is empty\n"


def test_help_shows_every_option(capsys):
    assert main(["evaluate", "retrieval", "--help"]) == 0
    text = capsys.readouterr().out
    for option in ("pairs", "model", "output", "num-windows", "batch-size", "device", "dtype", "workers"):
        assert f"--{option}" in text
    assert "(default: 10)" in text


def test_an_output_that_is_a_folder_is_refused_before_any_work(folder, tmp_path, capsys):
    arguments = ["evaluate", "retrieval", "--pairs", str(folder / "pairs.csv"), "--model", "none"]
    assert main([*arguments, "--output", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"narravid: {tmp_path} is a folder; the result needs a file\n"
