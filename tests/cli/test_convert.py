"""`narravid convert`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import narravid
from models.published_files import WORDS_FILE, write_published_s3d
from narravid.cli.main import main


def test_it_says_what_it_recognised(tmp_path: Path, capsys):
    path = write_published_s3d(tmp_path / "published")
    words = ["convert", str(path), "--output", str(tmp_path / "model")]
    assert main([*words, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    model = narravid.load(tmp_path / "model")
    assert facts["recognised_as"] == "S3D text-video network"
    assert facts["class"] == "S3DDualEncoder"
    assert facts["num_parameters"] == sum(parameter.numel() for parameter in model.parameters())
    assert facts["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert facts["num_bytes"] == path.stat().st_size
    assert facts["output"] == str(tmp_path / "model")
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert f"{facts['num_parameters']:,}" in shown
    assert facts["sha256"] in shown


def test_the_word_list_may_lie_elsewhere(tmp_path: Path, capsys):
    path = write_published_s3d(tmp_path / "published")
    elsewhere = tmp_path / "words.npy"
    (path.parent / WORDS_FILE).rename(elsewhere)
    words = ["convert", str(path), "--output", str(tmp_path / "model")]
    assert main(words) == 2
    assert "its word list is not beside it" in capsys.readouterr().err
    assert main([*words, "--vocabulary", str(elsewhere)]) == 0
    assert (tmp_path / "model" / "vocabulary.json").exists()


def test_mistakes_are_one_line(tmp_path: Path, capsys):
    path = write_published_s3d(tmp_path / "published")
    cut = tmp_path / "cut.pth"
    cut.write_bytes(path.read_bytes()[:100_000])
    for file, message in (
        (tmp_path, "is a folder; name the published checkpoint file in it"),
        (tmp_path / "absent.pth", "there is no such file"),
        (cut, "was the download cut short? (100000 bytes"),
    ):
        assert main(["convert", str(file), "--output", str(tmp_path / "model")]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert message in said
    assert not (tmp_path / "model").exists()
