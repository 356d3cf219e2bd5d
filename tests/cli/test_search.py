"""`narravid search`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from narravid.cli.main import main
from narravid.inference.index import VideoIndex
from tiny_corpus import make_tiny_s3d, save_tiny_s3d, write_colour_videos


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, videos and their index."""
    folder = tmp_path_factory.mktemp("corpus")
    save_tiny_s3d(folder / "model")
    write_colour_videos(folder / "videos")
    arguments = ["index", str(folder / "videos"), "--model", str(folder / "model")]
    assert main([*arguments, "--index", str(folder / "index")]) == 0
    return folder


def search(corpus: Path, text: str, *options: str) -> int:
    return main(["search", text, "--index", str(corpus / "index"), *options])


def test_json_is_one_array_of_moments_best_first(corpus: Path, capsys: pytest.CaptureFixture[str]):
    capsys.readouterr()
    assert search(corpus, "Red moves left", "--json", "--top", "4") == 0
    hits = json.loads(capsys.readouterr().out)
    assert 1 <= len(hits) <= 4
    assert all(set(hit) == {"path", "start_seconds", "end_seconds", "score"} for hit in hits)
    assert [hit["score"] for hit in hits] == sorted((hit["score"] for hit in hits), reverse=True)
    assert all(Path(hit["path"]).is_file() for hit in hits)
    assert all(0 <= hit["start_seconds"] < hit["end_seconds"] <= 4.01 for hit in hits)


def test_the_best_hit_is_the_window_most_similar_by_hand(corpus: Path, capsys: pytest.CaptureFixture[str]):
    capsys.readouterr()
    search(corpus, "green", "--json", "--top", "1")
    (hit,) = json.loads(capsys.readouterr().out)
    rows = VideoIndex.open(corpus / "index").rows()
    text = make_tiny_s3d().encode_text(["green"]).detach().numpy()[0]
    scores = rows.vectors @ (text / np.linalg.norm(text))
    best = int(scores.argmax())
    assert hit["path"] == rows.paths[rows.path_numbers[best]]
    assert hit["start_seconds"] <= rows.start_seconds[best]
    assert hit["end_seconds"] >= rows.end_seconds[best] - 1e-3
    assert hit["score"] == pytest.approx(scores[best], abs=1e-6)


def test_the_table_shows_rank_score_times_and_file(corpus: Path, capsys: pytest.CaptureFixture[str]):
    capsys.readouterr()
    assert search(corpus, "blue", "--top", "2") == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["score", "from", "to", "video"]
    assert 1 <= len(rows) <= 2
    rank, _, start, end, path = rows[0].split()
    assert rank == "1"
    assert ":" in start
    assert ":" in end
    assert path.startswith(str(corpus / "videos"))


def test_unknown_words_are_named(corpus: Path, capsys: pytest.CaptureFixture[str]):
    capsys.readouterr()
    assert search(corpus, "a red zebra", "--json") == 0
    captured = capsys.readouterr()
    assert captured.err == "left out, not in the model's vocabulary: a, zebra\n"
    json.loads(captured.out)


def test_a_query_without_a_known_word_is_one_clear_line(corpus: Path, capsys: pytest.CaptureFixture[str]):
    capsys.readouterr()
    assert search(corpus, "zebra crossing") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("narravid: the model knows none of the words of 'zebra crossing'")
    assert captured.err.count("\n") == 1


def test_another_model_is_refused(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    other = save_tiny_s3d(tmp_path / "other", seed=1)
    capsys.readouterr()
    assert search(corpus, "red", "--model", str(other)) == 2
    assert "was made by the model" in capsys.readouterr().err


def test_a_model_that_moved_is_asked_for_and_taken(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    shutil.copytree(corpus, tmp_path / "copy")
    moved = tmp_path / "copy" / "moved"
    (tmp_path / "copy" / "model").rename(moved)
    description = tmp_path / "copy" / "index" / "index.json"
    description.write_text(description.read_text().replace(str(corpus), str(tmp_path / "copy")))
    capsys.readouterr()
    assert search(tmp_path / "copy", "red") == 2
    assert "which is gone; say where it is: --model" in capsys.readouterr().err
    assert search(tmp_path / "copy", "red", "--model", str(moved)) == 0


def test_mistakes_are_one_clear_line(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    capsys.readouterr()
    assert main(["search", "red", "--index", str(tmp_path)]) == 2
    assert "is not an index (no index.json)" in capsys.readouterr().err
    assert search(corpus, "red", "--top", "0") == 2
    assert capsys.readouterr().err == "narravid: top must be at least 1, got 0\n"
