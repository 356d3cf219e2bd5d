"""The demo on a very small world: everything happens, nothing is learned."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from narravid.errors import ConfigError
from narravid.recipes.demo import DemoRecipe
from narravid.recipes.demo_measures import (
    QueryAnswer,
    attribute_chance,
    draw_queries,
    held_out_gallery,
)
from narravid.recipes.demo_training import demo_training
from narravid.synthetic.camera import SceneConfig
from narravid.synthetic.steps import StepSpace
from narravid.synthetic.world import ToyWorld, preset
from narravid.types import Hit, Span

TINY_WORLD = replace(
    preset("demo"),
    num_train_videos=16,
    num_test_repetitions=2,
    steps_per_video=4,
    space=StepSpace(colours=("red", "blue"), shapes=("circle", "cross"), motions=("left", "spin")),
    scene=SceneConfig(width=64, height=48, min_step_seconds=2.0, max_step_seconds=2.5),
)
TINY = DemoRecipe(seed=1, num_steps=2, num_queries=3, world=TINY_WORLD)


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    TINY.run(folder)
    return folder


def test_metrics_have_the_promised_form(output: Path) -> None:
    metrics = json.loads((output / "metrics.json").read_text())
    retrieval = metrics["retrieval"]
    assert retrieval["gallery_size"] == 8
    for name in ("trained", "untrained", "control", "chance"):
        assert {"R@1", "R@5", "R@10", "MedR"} <= set(retrieval[name])
        assert all(0 <= retrieval[name][key] <= 1 for key in ("R@1", "R@5", "R@10"))
    assert len(metrics["queries"]) == 3
    for query in metrics["queries"]:
        assert set(query) == {"text", "true_spans", "hits", "correct"}
        assert len(query["true_spans"]) == 2
        assert query["correct"] == any(hit["right"] for hit in query["hits"])
        assert all(Path(place["path"]).exists() for place in query["true_spans"] + query["hits"])
    assert metrics["seconds"]["total"] == pytest.approx(
        sum(value for name, value in metrics["seconds"].items() if name != "total")
    )


def test_report_shows_every_part(output: Path) -> None:
    html = (output / "report.html").read_text()
    metrics = json.loads((output / "metrics.json").read_text())
    for title in ("What there is to learn from", "Training", "per attribute", "Similarity", "Search in the"):
        assert title in html
    assert all(query["text"] in html for query in metrics["queries"])
    assert html.count("data:image/jpeg") == sum(len(query["hits"]) for query in metrics["queries"])
    assert html.count("data:image/png") == 3


def test_run_again_it_finds_everything_done(output: Path) -> None:
    models = {path: path.stat().st_mtime_ns for path in output.glob("runs/*/checkpoints/*")}
    before = json.loads((output / "metrics.json").read_text())
    again = TINY.run(output).metrics
    assert {path: path.stat().st_mtime_ns for path in output.glob("runs/*/checkpoints/*")} == models
    assert again["retrieval"] == before["retrieval"]
    assert again["queries"] == before["queries"]


def test_another_seed_in_the_same_folder_is_refused(output: Path) -> None:
    with pytest.raises(ConfigError, match="other options"):
        replace(TINY, seed=2).run(output)


def test_control_learns_from_one_true_sentence_at_a_time(tmp_path: Path) -> None:
    heard = demo_training(tmp_path, captions=None, num_steps=10, seed=0)
    true = demo_training(tmp_path, captions=tmp_path / "true", num_steps=10, seed=0)
    assert heard.data.sampling.num_candidates == 4
    assert true.data.sampling.num_candidates == 1
    assert heard.model == true.model
    assert heard.optim == true.optim
    assert heard.data.augmentation.flip_probability == 0  # left and right are told apart


def test_gallery_holds_each_step_once_at_a_time_it_happens(tmp_path: Path) -> None:
    world = ToyWorld(TINY_WORLD, seed=0)
    gallery = held_out_gallery(world, tmp_path)
    assert gallery.steps == world.steps
    videos = {video.video_id: video for video in world.split("test")}
    for step, pair in zip(gallery.steps, gallery.pairs, strict=True):
        video = videos[Path(pair.path).stem]
        assert any(timed.step == step and timed.span == pair.span for timed in video.steps)
    with pytest.raises(ValueError, match="never happen"):
        held_out_gallery(ToyWorld(replace(TINY_WORLD, num_test_repetitions=0), seed=0), tmp_path)


def test_attribute_chance_is_the_share_of_each_value() -> None:
    gallery = held_out_gallery(ToyWorld(preset("demo"), seed=0), Path())
    assert attribute_chance(gallery) == pytest.approx({"colour": 1 / 5, "shape": 1 / 4, "motion": 1 / 6})


def test_queries_are_distinct_and_follow_the_seed() -> None:
    world = ToyWorld(preset("demo"), seed=0)
    first = draw_queries(world, 10, seed=0)
    assert len(set(first)) == 10
    assert draw_queries(world, 10, seed=0) == first
    assert draw_queries(world, 10, seed=1) != first


def test_an_answer_counts_only_its_first_five_hits() -> None:
    hit = Hit("video.mp4", Span(0, 1), 0.5)
    answer = QueryAnswer("a", (("video.mp4", Span(0, 1)),), (hit,) * 6, (*[False] * 5, True))
    assert not answer.correct
    assert replace(answer, right=(*[False] * 4, True, False)).correct


def test_bad_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="num_queries"):
        DemoRecipe(num_queries=0)


def test_numbers_below_their_least_are_refused_before_any_work() -> None:
    with pytest.raises(ValueError, match="num_steps must be at least 1, got 0"):
        DemoRecipe(num_steps=0)


def test_other_options_in_the_same_folder_are_refused_before_any_work(output: Path) -> None:
    before = sorted(output.rglob("*"))
    with pytest.raises(ConfigError, match="other options"):
        replace(TINY, num_steps=3).run(output)
    assert sorted(output.rglob("*")) == before


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("mine")
    with pytest.raises(ConfigError, match="report.html"):
        TINY.run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
