"""The examples in `examples/`: short, and doing what docs/extending.md says of them."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import narravid
from narravid.models.registry import FAMILIES
from narravid.recipes.narrated_config import NarratedDataConfig
from narravid.training.logging import read_log
from small_corpus import small_recipe, write_narrated_videos

FOLDER = Path(__file__).parent.parent / "examples"
EXAMPLES = ("new_loss", "new_dataset", "new_backbone")
MAX_LINES_OF_CODE = 40
NUM_STEPS = 3


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    return write_narrated_videos(tmp_path_factory.mktemp("videos"))


@pytest.fixture(autouse=True)
def families_as_before():
    before = dict(FAMILIES)
    yield
    FAMILIES.clear()
    FAMILIES.update(before)


def example(name):
    spec = importlib.util.spec_from_file_location(f"example_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def small(recipe_class, root, **options):
    """The example's recipe with the settings of the small one."""
    recipe = small_recipe(root, num_steps=NUM_STEPS, log_every_steps=1, checkpoint_every_steps=1)
    fields = {field.name: getattr(recipe, field.name) for field in dataclasses.fields(recipe)}
    return recipe_class(**{**fields, **options})


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_short(name):
    source = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    prose = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            prose |= set(range(node.lineno, node.end_lineno + 1))
    lines = enumerate(source.splitlines(), start=1)
    assert sum(bool(line.strip()) and number not in prose for number, line in lines) <= MAX_LINES_OF_CODE


def test_the_sigmoid_loss_is_that_of_every_pair():
    generator = torch.Generator().manual_seed(1)
    video, text = torch.randn(3, 4, generator=generator), torch.randn(3, 2, 4, generator=generator)
    loss = example("new_loss").SigmoidLoss()
    expected = 0.0
    for row in range(3):
        for column in range(3):
            for candidate in range(2):
                logit = float(video[row] @ text[column, candidate]) - 5
                expected += math.log1p(math.exp(-logit if row == column else logit)) / 3
    assert float(loss(video, text).detach()) == pytest.approx(expected, rel=1e-5)


def test_a_run_with_the_new_loss_trains_its_bias_and_goes_on(tmp_path, videos):
    recipe = small(example("new_loss").SigmoidRecipe, videos)
    recipe.train(tmp_path / "whole")
    last = max((tmp_path / "whole" / "checkpoints").iterdir())
    assert float(torch.load(last, weights_only=True)["model"]["loss.bias"]) != -5
    assert (tmp_path / "whole" / "config.json").read_text().startswith('{\n  "recipe": "sigmoid"')
    weights = load_file(tmp_path / "whole" / "model" / "model.safetensors")
    last.unlink()
    recipe.train(tmp_path / "whole", resume=True)
    again = load_file(tmp_path / "whole" / "model" / "model.safetensors")
    assert all(torch.equal(tensor, again[name]) for name, tensor in weights.items())


def test_notes_become_captions_and_absent_videos_are_counted(tmp_path, videos):
    notes = videos / "notes.csv"
    lines = [
        f"{path.name};{second};a note of {path.stem}" for path in videos.glob("*.mp4") for second in (0, 1)
    ]
    notes.write_text("\n".join([*lines, "gone.mp4;0;not here"]), encoding="utf-8")
    recipe = small(example("new_dataset").NotesRecipe, videos)
    data = replace(recipe.data, captions=notes, max_bad_share=0.5)
    replace(recipe, data=data).train(tmp_path)
    assert [entry["step"] for entry in read_log(tmp_path)] == [1, 2, 3]
    assert 'gone.mp4,"there are notes for it' in (tmp_path / "bad_items.csv").read_text()
    vocabulary = (tmp_path / "initial_model" / "vocabulary.json").read_text()
    assert '"note"' in vocabulary
    assert '"ground"' not in vocabulary  # a word of the transcripts beside the videos
    assert isinstance(recipe.data, NarratedDataConfig)


def test_a_model_with_the_new_backbone_is_loaded_like_any_other(tmp_path, videos):
    module = example("new_backbone")
    recipe = small(module.FrameRecipe, videos)
    recipe.train(tmp_path)
    max((tmp_path / "checkpoints").iterdir()).unlink()
    recipe.train(tmp_path, resume=True)
    model = narravid.load(tmp_path)
    assert isinstance(model, module.FrameEncoder)
    clips = torch.randint(0, 256, (2, 3, 4, 16, 16), dtype=torch.uint8)
    mean_first = model.encode_video(clips[:, :, :2]) + model.encode_video(clips[:, :, 2:])
    torch.testing.assert_close(mean_first / 2, model.encode_video(clips))  # it looks at frames one by one
