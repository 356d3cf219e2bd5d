"""The script that measures whether scores find the right sentence: how it ranks, what it prints."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from narravid.synthetic.steps import StepSpace
from tiny_models import TinyDualEncoder

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def script():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield importlib.import_module("trajectories")
    finally:
        sys.path.remove(str(BENCHMARKS))


def test_the_right_prompt_is_ranked_among_nineteen_drawn_others(script) -> None:
    steps = tuple(script.motion_world().space.steps())
    generator = np.random.default_rng(5)
    similarity = generator.integers(0, 30, (40, len(steps))).astype(np.float32)  # with ties
    own = [steps[int(number)] for number in generator.integers(len(steps), size=40)]
    ranks = script.ranks_among_drawn(similarity, own, steps, seed=8)
    draws = np.random.default_rng(8)
    for row, step, rank in zip(similarity, own, ranks, strict=True):
        others = [number for number in range(len(steps)) if steps[number] != step]
        drawn = draws.choice(others, 19, replace=False)
        assert len({*drawn, steps.index(step)}) == 20
        assert rank == 1 + sum(row[number] >= row[steps.index(step)] for number in drawn)
    best = np.full((1, len(steps)), 0.5, dtype=np.float32)
    assert script.ranks_among_drawn(best, own[:1], steps, seed=0).tolist() == [20]  # ties count against it
    best[0, steps.index(own[0])] = 0.6
    assert script.ranks_among_drawn(best, own[:1], steps, seed=0).tolist() == [1]


def test_the_table_has_shares_intervals_chance_and_minutes(script) -> None:
    ranks = np.array([1] * 13 + [2] * 3 + [3] * 2 + [9] * 2)
    lines = script.table(script.Findings(ranks, {"training": 1.26, "scoring": 0.5})).splitlines()
    assert lines[0] == "| the right one of 20 prompts is | of 20 clips | 95 % interval | chance |"
    assert lines[2].startswith("| first | 65.0 % | ")
    assert lines[2].endswith(" | 5 % |")
    assert lines[3].startswith("| among the first three | 90.0 % | ")
    assert lines[3].endswith(" | 15 % |")
    assert lines[-1] == "Minutes of processor time: training 1.3, scoring 0.5."


def test_clips_show_one_step_each(script) -> None:
    world = script.ToyWorld(script.single_steps(2), seed=script.TEST_SEED)
    assert {len(video.steps) for video in world.videos} == {1}
    shown = [video.steps[0].step for video in world.videos]
    assert {shown.count(step) for step in world.steps} == {2}
    for video in world.videos:
        assert video.steps[0].span.start_seconds == 0
        assert video.duration_seconds == video.steps[0].span.end_seconds


def test_files_are_scored_against_the_steps_that_they_show(script, tmp_path) -> None:
    config = replace(script.single_steps(1), space=StepSpace(("red",), ("square",), ("left", "up", "grow")))
    world = script.ToyWorld(config, seed=4)
    script.write_world(world, tmp_path)
    written = {
        video["path"]: video["steps"] for video in json.loads((tmp_path / "truth.json").read_text())["videos"]
    }
    paths = [str(tmp_path / path) for path in reversed(written)]
    shown = script.steps_shown(world, paths)
    assert [[step.sentence] for step in shown] == [
        [told["sentence"] for told in steps] for steps in reversed(written.values())
    ]
    assert len({*shown}) == 3


@pytest.mark.slow
def test_clips_are_scored_as_files(script, tmp_path) -> None:
    model = TinyDualEncoder(num_words=12)
    ranks = script.measure(model, tmp_path, repetitions=1)
    assert len(list((tmp_path / "test").glob("*.mp4"))) == 72
    world = script.ToyWorld(script.single_steps(1), seed=script.TEST_SEED)
    with script.WatchedDecoder() as decoder:
        scores = script.score_trajectories(
            script.read_trajectories([str(tmp_path / "test")]),
            [script.ListedPrompt(step.sentence) for step in world.steps],
            encoder=script.ClipEncoder(model),
            decoder=decoder,
        )
    written = {
        video["video_id"]: video["steps"]
        for video in json.loads((tmp_path / "truth.json").read_text())["videos"]
    }
    sentences = [step.sentence for step in world.steps]
    own = [
        world.steps[sentences.index(written[Path(scored.listed.path).stem][0]["sentence"])]
        for scored in scores.trajectories
    ]
    expected = script.ranks_among_drawn(scores.similarity, own, world.steps, seed=script.TEST_SEED)
    assert ranks.tolist() == expected.tolist()
