"""`narravid score` from the words of the command to the files: real small videos, a real small S3D."""

from __future__ import annotations

import csv
import html
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch

from fidelity.fill import GOLDEN, s3d_state_dict
from lossless_copies import LOSSLESS, decoded_frames, write_lossless
from models.small_models import small_model
from models.small_viclip import small_viclip
from narravid.cli.main import main
from narravid.cli.options import parse_options
from narravid.cli.score import Score
from narravid.inference import trajectory_timeline
from narravid.inference.trajectories import prepare_trajectory
from narravid.models.hub import save_model
from narravid.models.resnext3d import ResNeXt3DConfig
from narravid.models.video_classifier import ResNeXtExtractor, ResNeXtExtractorConfig
from narravid.recipes.toy_motions import train_motion_model
from narravid.text.words import Vocabulary
from narravid.types import ClipSpec
from tiny_corpus import make_tiny_s3d, save_tiny_s3d, write_colour_video, write_colour_videos

PROMPTS = ("red moves left", "a green thing", "blue")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """Three videos of one colour each (20, 30 and 40 frames), a model, and lists of both."""
    folder = tmp_path_factory.mktemp("score")
    save_tiny_s3d(folder / "model")
    extractor = ResNeXtExtractorConfig(
        video=ResNeXt3DConfig((1, 1, 1, 1), num_groups=2, stem_channels=2),
        clip_spec=ClipSpec(16, 24.0, 32),
    )
    save_model(ResNeXtExtractor(extractor), folder / "extractor")
    write_colour_videos(folder / "videos")
    (folder / "videos.txt").write_text("videos/red.mp4\nvideos/green.mp4\n\nvideos/blue.mp4\n")
    (folder / "prompts.txt").write_text("\n".join(PROMPTS) + "\n")
    return folder


def score(
    corpus: Path,
    *words: object,
    trajectories: object = None,
    prompts: object = None,
    model: object = None,
) -> int:
    """Run the command with the corpus's model and lists where no others are given."""
    return main(
        [
            "score",
            *("-t", str(trajectories or corpus / "videos.txt")),
            *("-p", str(prompts or corpus / "prompts.txt")),
            *("--model", str(model or corpus / "model"), "--workers", "1"),
            *map(str, words),
        ]
    )


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def rows_of(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def cosines_by_hand(corpus: Path, names: list[str], texts: list[str]) -> np.ndarray:
    """What the scores must be: frames decoded one by one, taken, scaled, rounded; cosines by definition."""
    model = make_tiny_s3d()
    with torch.no_grad():
        videos = []
        for name in names:
            frames = torch.from_numpy(np.stack(decoded_frames(corpus / "videos" / f"{name}.mp4")))
            clip = prepare_trajectory(frames, 4, size_pixels=32)
            videos.append(model.encode_video((clip * 255).round().to(torch.uint8))[0].numpy())
        words = model.encode_text(texts).numpy()
    videos = np.stack(videos)
    return (videos @ words.T) / np.outer(np.linalg.norm(videos, axis=1), np.linalg.norm(words, axis=1))


def test_lists_of_videos_and_prompts_become_a_heat_map_tables_and_a_page(corpus, capsys):
    assert score(corpus, "-e", "colours", "-o", "out") == 0
    similarity = np.load("out/colours/similarities.npy")
    assert (similarity.shape, similarity.dtype) == ((3, 3), np.float32)
    expected = cosines_by_hand(corpus, ["red", "green", "blue"], list(PROMPTS))
    np.testing.assert_allclose(similarity, expected, atol=2e-3)
    header, *rows = rows_of(Path("out/colours/similarities.csv"))
    assert header[-3:] == list(PROMPTS)
    assert [row[0] for row in rows] == ["red", "green", "blue"]
    np.testing.assert_allclose(np.array([row[-3:] for row in rows], dtype=float), similarity, atol=1e-6)
    assert Path("out/colours.png").read_bytes().startswith(b"\x89PNG")
    assert "red moves left" in Path("out/colours/page.html").read_text(encoding="utf-8")
    said = capsys.readouterr()
    assert "left out of 'a green thing', not in the model's vocabulary: a, thing" in said.err
    assert "out/colours.png" in said.out
    assert "out/colours/page.html" in said.out
    best = [PROMPTS[place] for place in similarity.argmax(axis=1)]
    for name, prompt in zip(("red", "green", "blue"), best, strict=True):
        (line,) = [line for line in said.out.splitlines() if f"│ {name} " in line]
        assert prompt[:10] in line


@pytest.mark.parametrize("kind", LOSSLESS)
def test_a_lossless_copy_in_another_container_has_the_same_scores(corpus, kind, tmp_path):
    frames = decoded_frames(corpus / "videos" / "red.mp4")
    odd = [frame[:47, :61] for frame in frames]
    write_lossless(tmp_path / "first.mkv", odd, kind="ffv1.mkv", fps=10)
    write_lossless(tmp_path / kind, odd, kind=kind, fps=15)
    (tmp_path / "list.txt").write_text(f"first.mkv\n{kind}\n")
    assert score(corpus, "-e", "copies", trajectories="list.txt") == 0
    first, copy = np.load("copies/similarities.npy")
    np.testing.assert_allclose(copy, first, atol=1e-6)


def test_folders_globs_and_prompts_in_words(corpus, capsys):
    words = ["-t", str(corpus / "videos" / "*e*.mp4"), str(corpus / "videos" / "red.mp4")]
    words += ["-p", "red moves", "-p", "blue left", "--experiment", "words", "--model", str(corpus / "model")]
    assert main(["score", *words]) == 0
    document = json.loads(Path("words/similarities.json").read_text())
    assert [video["name"] for video in document["trajectories"]] == ["blue", "green", "red"]
    assert [prompt["text"] for prompt in document["prompts"]] == ["red moves", "blue left"]


def test_subfolders_are_groups_and_so_are_paraphrases(corpus, tmp_path, capsys):
    for group, name in (("warm", "red"), ("cold", "green"), ("cold", "blue")):
        (tmp_path / "runs" / group).mkdir(parents=True, exist_ok=True)
        (tmp_path / "runs" / group / f"{name}.mp4").symlink_to(corpus / "videos" / f"{name}.mp4")
    (tmp_path / "prompts.csv").write_text(
        'prompt,group\nred,fire\nred moves,fire\n"blue, or green",water\n', encoding="utf-8"
    )
    assert score(corpus, "-e", "groups", trajectories="runs", prompts="prompts.csv") == 0
    similarity = np.load("groups/similarities.npy").astype(np.float64)
    assert (similarity.shape, "cold" in capsys.readouterr().out) == ((3, 3), True)
    rows = rows_of(Path("groups/groups.csv"))
    means = {(row[0], row[1]): (float(row[3]), float(row[4])) for row in rows[1:]}
    expected = {
        ("cold", "fire"): similarity[:2, :2],
        ("cold", "water"): similarity[:2, 2:],
        ("warm", "fire"): similarity[2:, :2],
        ("warm", "water"): similarity[2:, 2:],
    }
    assert means == {
        pair: (pytest.approx(block.mean(), abs=1e-6), pytest.approx(block.std(), abs=1e-6))
        for pair, block in expected.items()
    }
    assert Path("groups/groups.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("form", "alpha"), [("projected", 0.25), ("original", 1.0)])
def test_a_baseline_regularises(corpus, form, alpha):
    words = ["--baseline", "green moves", "--alpha", alpha, "--regularisation", form]
    assert score(corpus, "-e", "base", *words) == 0
    model = make_tiny_s3d()
    with torch.no_grad():
        prompts = model.encode_text([*PROMPTS, "green moves"]).numpy().astype(np.float64)
    prompts /= np.linalg.norm(prompts, axis=1, keepdims=True)
    goals, start = prompts[:-1], prompts[-1]
    ways = (goals - start) / np.linalg.norm(goals - start, axis=1, keepdims=True)
    similarity, scores = np.load("base/similarities.npy"), np.load("base/scores.npy")
    if form == "projected":
        # Linear in the video, which three cosines give: those with the prompt and with the baseline.
        assert score(corpus, "-e", "start", prompts="green moves") == 0
        with_start = np.load("start/similarities.npy")
        along = (similarity - with_start) / np.linalg.norm(goals - start, axis=1)
        np.testing.assert_allclose(scores, 0.75 * similarity + 0.25 * along, atol=1e-4)
    else:
        # Only what lies along the way counts: 1 - (difference along it)^2 / 2.
        assert score(corpus, "-e", "start", prompts="green moves") == 0
        along = (similarity - np.load("start/similarities.npy")) / np.linalg.norm(goals - start, axis=1)
        np.testing.assert_allclose(scores, 1 - (along - (goals * ways).sum(axis=1)) ** 2 / 2, atol=1e-4)
    assert (np.abs(scores) <= 1).all()


def test_scores_over_time(corpus, capsys):
    words = ["--over-time", "--window-seconds", "1", "--stride-seconds", "0.5"]
    assert score(corpus, "-e", "when", *words) == 0
    said = capsys.readouterr().out
    assert "when each prompt fits best" in said
    (table,) = Path("when").rglob("*red*.csv")
    header, *rows = rows_of(table)
    assert len(rows) == 3  # windows of a second in a video of two, half a second apart
    assert header[-3:] == list(PROMPTS)
    assert [float(row[0]) for row in rows] == [0.0, 0.5, 1.0]
    assert all(-1 <= float(value) <= 1 for row in rows for value in row[-3:])


@pytest.mark.slow
def test_verbose_shows_every_frame_and_score(corpus, capsys):
    (Path("many.txt")).write_text("\n".join(f"{'red ' * number}moves" for number in range(1, 31)))
    assert score(corpus, "-e", "many", "-v", "--n-frames", "2", prompts="many.txt") == 0
    said = capsys.readouterr().out
    assert "red: frames 0 19 of 20" in said
    assert "blue: frames 0 39 of 40" in said
    similarity = np.load("many/similarities.npy")
    shown = [float(word) for word in said.replace("│", " ").split() if re.fullmatch(r"-?0\.\d+", word)]
    assert np.abs(similarity.reshape(-1, 1) - np.array(shown)).min(axis=1).max() <= 0.0051


def test_a_short_video_repeats_frames_and_says_so_or_is_left_out(corpus, tmp_path, capsys):
    write_colour_video(tmp_path / "short.mp4", (10, 200, 10), seconds=0.3)
    (tmp_path / "list.txt").write_text(f"short.mp4\n{corpus / 'videos' / 'red.mp4'}\n")
    assert score(corpus, "-e", "even", trajectories="list.txt") == 0
    assert "frames repeated: short has 3, and 4 were to be taken" in capsys.readouterr().out
    assert np.load("even/similarities.npy").shape == (2, 3)
    assert score(corpus, "-e", "step", "--frames", "published", trajectories="list.txt") == 0
    said = capsys.readouterr().out
    assert "short.mp4: has 3 frames, of which the published rule cannot take 4" in said
    assert np.load("step/similarities.npy").shape == (1, 3)


def test_a_broken_video_is_left_out_and_named(corpus, tmp_path, capsys):
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    (tmp_path / "list.txt").write_text(f"broken.mp4\n{corpus / 'videos' / 'red.mp4'}\n")
    assert score(corpus, "-e", "some", trajectories="list.txt") == 0
    assert "left out: broken.mp4: cannot be opened as a video" in capsys.readouterr().out
    assert np.load("some/similarities.npy").shape == (1, 3)
    assert rows_of(Path("some/bad_items.csv"))[1][0] == "broken.mp4"
    assert score(corpus, "-e", "none", trajectories="broken.mp4") == 2
    said = capsys.readouterr().err
    assert "the video could not be used: broken.mp4: cannot be opened as a video" in said
    assert said.count("narravid: ") == 1
    assert not Path("none").exists()


@pytest.mark.slow
def test_a_video_that_is_scored_but_not_over_time_is_not_left_out(corpus, monkeypatch, capsys):
    monkeypatch.setattr(trajectory_timeline, "MAX_WINDOWS", 3)
    red, blue = (corpus / "videos" / f"{name}.mp4" for name in ("red", "blue"))
    Path("list.txt").write_text(f"{red}\n{blue}\n")
    words = ["--over-time", "--window-seconds", "2", "--stride-seconds", "1"]
    assert score(corpus, "-e", "some", *words, trajectories="list.txt", prompts="red") == 0
    said = capsys.readouterr().out
    assert f"no timeline: {blue}: over time: windows every 1 seconds are 4, more than 3" in said
    assert "2 videos scored against 1 prompt, 0 left out, 1 not over time" in said
    assert "left out:" not in said
    assert len(list(Path("some/timelines").glob("*.csv"))) == 1


@pytest.mark.slow
def test_a_second_run_of_one_name_leaves_nothing_of_the_first(corpus, tmp_path):
    words = ["--baseline", "green moves", "--over-time"]
    red = corpus / "videos" / "red.mp4"
    assert score(corpus, "-e", "twice", *words, trajectories=red) == 0
    assert Path("twice/scores.csv").exists()
    assert score(corpus, "-e", "twice", prompts="red") == 0
    assert np.load("twice/similarities.npy").shape == (3, 1)
    assert not Path("twice/scores.csv").exists()
    assert not list(Path("twice").rglob("*red*"))


@pytest.mark.slow
@pytest.mark.parametrize("resize", ["published_half", "published_square", "published_square_unclamped"])
def test_published_sizes(corpus, resize):
    assert score(corpus, "-e", resize, "--resize", resize, "--frames", "published") == 0
    similarity = np.load(f"{resize}/similarities.npy")
    assert (np.abs(similarity) <= 1).all()
    document = json.loads(Path(f"{resize}/similarities.json").read_text())
    assert document["card"]["resize"] == resize
    assert document["trajectories"][0]["frame_numbers"] == [0, 5, 10, 15]


@pytest.mark.slow
def test_another_kind_of_model_with_its_own_pixels(corpus, tmp_path):
    save_model(small_viclip(), tmp_path / "viclip")
    words = ["-e", "viclip", "--resize", "published_square_unclamped", "--over-time"]
    red = corpus / "videos" / "red.mp4"
    assert score(corpus, *words, trajectories=red, model="viclip") == 0
    similarity = np.load("viclip/similarities.npy")
    assert (similarity.shape, bool((np.abs(similarity) <= 1).all())) == ((1, 3), True)
    save_model(small_model(), tmp_path / "pixels")
    assert score(corpus, "-e", "other", trajectories=red, prompts="cut the tomato", model="pixels") == 0
    document = json.loads(Path("other/similarities.json").read_text())
    assert document["card"]["similarity"] == "cosine"  # though the model compares by dot product
    assert (np.abs(np.load("other/similarities.npy")) <= 1).all()


def test_returns_of_a_table_are_correlated_with_the_scores_of_each_prompt(corpus, tmp_path, capsys):
    names = ("red", "green", "blue")
    for number, name in enumerate((*names, *names)):
        (tmp_path / f"{number}.mp4").symlink_to(corpus / "videos" / f"{name}.mp4")
        if number >= len(names):
            (tmp_path / f"{number}.mp4").unlink()
            write_colour_video(tmp_path / f"{number}.mp4", (40 * number, 90, 10 * number), seconds=1)
    assert score(corpus, "-e", "plain", trajectories="*.mp4", prompts="red") == 0
    order = np.load("plain/similarities.npy")[:, 0].argsort().argsort()
    lines = [f"{number}.mp4,{10.0 * place}" for number, place in enumerate(order)]
    (tmp_path / "list.csv").write_text("\n".join(["path,return", *lines]))
    assert score(corpus, "-e", "returns", trajectories="list.csv", prompts="red") == 0
    said = capsys.readouterr().out
    assert "red: rank correlation 1.00 over 6 episodes" in said
    assert "1.0" in Path("returns/rank_correlations.csv").read_text()


MISTAKES = [
    (
        ["-e", "a/b"],
        r"--experiment \(-e\) must be a name for files, .* got 'a/b'; --output \(-o\) says in wh",
    ),
    (["-e", ".."], r"--experiment \(-e\) must be a name for files"),
    (["-e", "x" * 300], r"of at most 180 bytes"),
    (["-o", "file"], r"file is a file, and a result would go there"),
    (["-o", "file/below"], r"nothing can be written to .*file"),
    (["-o", "/proc/results"], r"nothing can be written to /proc"),
    (["-t", "gone.txt"], r"gone\.txt.*No such file"),
    (["-t", "gone.mp4"], r"there is no 'gone\.mp4'; give a list"),
    (["-t", "*.gone"], r"\*\.gone"),
    (["-t", "list.txt"], r"list\.txt, line 2.*gone\.mp4"),
    (["-t", "empty.txt"], r"empty\.txt.*lists no video"),
    (["-p", " "], r"a prompt is empty"),
    (["-p", "gone.txt"], r"gone\.txt.*No such file"),
    (["-p", "half.csv"], r"a prompt has no group, others have one|half\.csv, line 3, field 'group'"),
    (["-p", "zebra crossing"], r"knows none of the words of 'zebra crossing'"),
    (["-t"], r"--trajectories \(-t\) must name at least one source"),
    (["-p"], r"--prompts \(-p\) must name at least one source"),
    (["--n-frames", "0"], r"num_frames must be at least 1, got 0"),
    (["--n-frames", "3"], r"takes frames in pairs .* must be even, got 3"),
    (["--alpha", "0.3"], r"--alpha needs --baseline"),
    (["--regularisation", "original"], r"--regularisation needs --baseline"),
    (["--baseline", " "], r"the baseline is empty"),
    (["--baseline", "red", "--alpha", "2"], r"alpha must be in \[0, 1\], got 2"),
    (["--baseline", "zebra"], r"knows none of the words of 'zebra'"),
    (["--baseline", "blue"], r"the baseline says the same as the prompt 'blue'"),
    (["--window-seconds", "1"], r"--window-seconds needs --over-time"),
    (["--over-time", "--window-seconds", "0"], r"window_seconds must be a positive number of seconds"),
    (["--over-time", "--stride-seconds", "9"], r"stride_seconds is 9 and a window has 1 seconds"),
    (["--over-time", "--stride-seconds", "1e-7"], r"stride_seconds is 1e-07, shorter than any frame"),
    (["--normalise"], r"--normalise is for groups, and neither videos nor prompts have any"),
    (
        ["--backend", "openvino", "--resize", "published_half"],
        r"--backend openvino takes pixels as bytes, and --resize published_half does not",
    ),
    (["--batch-size", "0"], r"--batch-size must be at least 1, got 0"),
    (["--workers", "0"], r"--workers must be at least 1, got 0"),
    (["--model", "gone"], r"gone: no such file or folder"),
    (["--model", "s3d-howto100m"], r"s3d-howto100m: not in the cache .* `narravid download s3d-howto100m`"),
    (["--model", "extractor"], r"a \w+ does not do here; this needs a pixel dual encoder"),
    (["--frames", "odd"], r"--frames.*even.*published"),
    (["--device", "cuda:999"], r"device 'cuda:999' cannot be used"),
]


@pytest.mark.parametrize(("words", "message"), MISTAKES, ids=lambda value: None)
def test_a_mistake_is_one_line_before_any_work(corpus, tmp_path, words, message, capsys, monkeypatch):
    monkeypatch.setenv("NARRAVID_HOME", str(tmp_path / "cache"))
    (tmp_path / "file").touch()
    (tmp_path / "empty.txt").write_text("\n\n")
    (tmp_path / "list.txt").write_text(f"{corpus / 'videos' / 'red.mp4'}\ngone.mp4\n")
    (tmp_path / "half.csv").write_text("prompt,group\nred,warm\nblue,\n")
    (tmp_path / "extractor").symlink_to(corpus / "extractor")
    before = sorted(tmp_path.rglob("*"))
    given = {"-t": [str(corpus / "videos.txt")], "-p": [str(corpus / "prompts.txt")], "-e": ["name"]}
    given["--model"] = [str(corpus / "model")]
    key = None
    for word in words:
        if word.startswith("-"):
            key, given[word] = word, []
        else:
            given[key].append(word)
    assert main(["score", *(word for name, values in given.items() for word in (name, *values))]) == 2
    said = capsys.readouterr().err
    assert re.search(message, said), said
    assert [line for line in said.splitlines() if not line.startswith("left out of")] == [
        line for line in said.splitlines() if line.startswith("narravid: ")
    ]
    assert said.count("narravid: ") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_a_model_that_does_not_take_such_clips_is_told(corpus, tmp_path, capsys):
    save_model(small_viclip(), tmp_path / "viclip")
    words = ["-e", "half", "--resize", "published_half"]
    assert score(corpus, *words, model="viclip") == 2
    assert "the model does not take clips of 4 x 24 x 32" in capsys.readouterr().err
    assert score(corpus, "-e", "frames", "--n-frames", "6", model="viclip") == 2
    assert "this network takes 4 frames or 1, not 6" in capsys.readouterr().err


@pytest.mark.slow
def test_another_backend_gives_the_same(corpus, monkeypatch):
    pytest.importorskip("openvino")
    monkeypatch.setenv("NARRAVID_HOME", str(Path.cwd() / "cache"))
    assert score(corpus, "-e", "torch") == 0
    assert score(corpus, "-e", "openvino", "--backend", "openvino") == 0
    ours, theirs = np.load("torch/similarities.npy"), np.load("openvino/similarities.npy")
    np.testing.assert_allclose(theirs, ours, atol=1e-4)


def test_real_recordings_of_agents(shared_data, corpus, capsys):
    folder = shared_data / "trajectories"
    names = ("mountain_car", "button-human")
    Path("list.txt").write_text("\n".join(str(folder / f"{name}.gif") for name in names))
    assert score(corpus, "-e", "agents", "--over-time", trajectories="list.txt") == 0
    similarity = np.load("agents/similarities.npy")
    assert (similarity.shape, bool((np.abs(similarity) <= 1).all())) == ((2, 3), True)
    document = json.loads(Path("agents/similarities.json").read_text())
    lengths = [video["num_video_frames"] for video in document["trajectories"]]
    assert lengths == [98, 16]  # as FFmpeg counts them
    assert len(list(Path("agents").rglob("*mountain_car*.csv"))) == 1


@pytest.mark.slow
def test_the_published_s3d_on_recordings_and_lossless_copies(shared_data, tmp_path):
    """With the weights of the fidelity cases, in the published container, as `--model FILE.pth`."""
    words = json.loads((GOLDEN / "vocabulary.json").read_text(encoding="utf-8"))
    words += [f"filling{number}" for number in range(66249 - len(words))]
    Vocabulary(words).save(tmp_path / "s3d_dict.npy")
    torch.save(s3d_state_dict("s3d_howto100m"), tmp_path / "s3d_howto100m.pth")
    source = shared_data / "trajectories" / "button-human.gif"
    frames = decoded_frames(source)
    for kind in LOSSLESS:
        write_lossless(tmp_path / kind, frames, kind=kind, fps=20)
    names = [str(source), *LOSSLESS, str(shared_data / "trajectories" / "human_opening_door.gif")]
    (tmp_path / "list.txt").write_text("\n".join(names))
    prompts = " ".join(words[:3]), " ".join(words[3:5])
    given = ["-t", "list.txt", "-p", *prompts, "-e", "s3d", "--model", "s3d_howto100m.pth"]
    assert main(["score", *given]) == 0
    similarity = np.load("s3d/similarities.npy")
    assert (similarity.shape, bool((np.abs(similarity) <= 1).all())) == ((5, 2), True)
    assert np.abs(similarity[1:4] - similarity[0]).max() <= 0.02
    document = json.loads(Path("s3d/similarities.json").read_text())
    assert {len(video["frame_numbers"]) for video in document["trajectories"]} == {32}
    assert {video["num_video_frames"] for video in document["trajectories"]} == {16, 26}


@pytest.fixture(scope="module")
def motion_model(tmp_path_factory) -> Path:
    """A model that was trained on the toy world, for a few steps."""
    return train_motion_model(tmp_path_factory.mktemp("motions"), num_steps=3, seed=0)


MOTION_PROMPTS = ("the red square moves to the left", "the blue circle grows", "the green triangle spins")


@pytest.mark.slow
def test_a_trained_model_scores_all_recordings(shared_data, motion_model):
    folder = shared_data / "trajectories"
    given = ["-t", str(folder), "-p", *MOTION_PROMPTS, "-e", "all", "--model", str(motion_model)]
    assert main(["score", *given]) == 0
    similarity = np.load("all/similarities.npy")
    recordings = sorted(folder.glob("*.gif"))
    assert similarity.shape == (len(recordings), 3)
    assert len(recordings) == 11
    assert np.abs(similarity).max() <= 1
    assert similarity.std() > 0
    document = json.loads(Path("all/similarities.json").read_text(encoding="utf-8"))
    assert [video["name"] for video in document["trajectories"]] == [path.stem for path in recordings]
    assert document["card"]["unknown_words"] == {}
    assert rows_of(Path("all/bad_items.csv"))[1:] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["button-human", "pusher", "drawer-open-human2"])
def test_a_trained_model_scores_lossless_copies_of_recordings_alike(shared_data, motion_model, name):
    source = shared_data / "trajectories" / f"{name}.gif"
    frames = decoded_frames(source)
    for kind in LOSSLESS:
        write_lossless(Path(kind), frames, kind=kind, fps=20)
    given = ["-t", str(source), *LOSSLESS, "-p", *MOTION_PROMPTS, "-e", "copies"]
    assert main(["score", *given, "--model", str(motion_model)]) == 0
    similarity = np.load("copies/similarities.npy")
    assert similarity.shape == (4, 3)
    assert np.abs(similarity[1:] - similarity[0]).max() <= 0.02


def test_the_page_tells_the_command_that_makes_it_again(corpus):
    Path("it's here").mkdir()
    words = ["-e", "again", "-o", "it's here", "--n-frames", 2, "--baseline", "green moves", "--verbose"]
    assert score(corpus, *words, prompts="red") == 0
    page = html.unescape(Path("it's here/again/page.html").read_text(encoding="utf-8"))
    (command,) = re.findall(r"narravid score --trajectories .*--workers 1", page)
    first = parse_options(Score, ["-t", str(corpus / "videos.txt"), *_rest(corpus, words)], program="p")
    assert parse_options(Score, shlex.split(command)[2:], program="p") == first


def test_the_command_of_the_page_holds_where_values_begin_like_options(corpus):
    given = ["-t", str(corpus / "videos" / "red.mp4"), "-p=-red", "-p=blue", "-e=-dash", "--workers", "1"]
    assert main(["score", *given, "--model", str(corpus / "model")]) == 0
    page = html.unescape(Path("-dash/page.html").read_text(encoding="utf-8"))
    (command,) = re.findall(r"narravid score --trajectories .*--workers 1", page)
    again = parse_options(Score, shlex.split(command)[2:], program="p")
    assert [word for words in again.prompts for word in words] == ["-red", "blue"]
    assert (again.experiment, again.workers) == ("-dash", 1)


def _rest(corpus: Path, words: list) -> list[str]:
    return ["-p", "red", "--model", str(corpus / "model"), "--workers", "1", *map(str, words)]
