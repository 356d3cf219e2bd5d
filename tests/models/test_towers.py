"""Towers: plain networks with named inputs and outputs."""

from __future__ import annotations

import pytest
import torch

from models.forms import FORMS, clips_for, outputs_of
from models.small_aligners import small_aligner
from models.small_cpd import small_cpd
from models.small_models import small_model
from models.small_viclip import small_viclip
from narravid.models.tower_files import example_inputs
from narravid.models.towers import TensorSpec, Tower, towers_of, video_tower

METHODS = {"embedding": "encode_video", "feature": "video_features", "logits": "class_logits"}


def given_by(tower: Tower, *inputs: torch.Tensor) -> dict[str, torch.Tensor]:
    with torch.inference_mode():
        outputs = tower.module(*inputs)
    named = dict(zip([spec.name for spec in tower.outputs], outputs, strict=True))
    for spec in tower.outputs:
        fixed = [(size, dim) for size, dim in zip(named[spec.name].shape, spec.shape, strict=True)]
        assert all(size == dim for size, dim in fixed if isinstance(dim, int))
    return named


@pytest.mark.parametrize("name", FORMS)
def test_a_video_tower_gives_the_numbers_of_the_model(name: str):
    model = FORMS[name][0]()
    clips = clips_for(name, 2)
    expected = outputs_of(model, clips)
    given = given_by(video_tower(model, size=FORMS[name][1]), clips)
    assert {METHODS[output] for output in given} == set(expected)
    for output, numbers in given.items():
        wanted = expected[METHODS[output]]
        assert (numbers - wanted).abs().max() <= 1e-5 * wanted.abs().max()


def test_a_text_tower_reads_what_the_tokenizer_gives():
    for model in (small_model(), small_cpd(), small_viclip(), small_aligner()):
        tower = towers_of(model)[1]
        tokens = model.tokenizer(["add the oil", "cut"])
        assert tuple(tokens.shape) == (2, tower.inputs[0].shape[1])
        assert int(tokens.max()) < tower.inputs[0].below
        torch.testing.assert_close(given_by(tower, tokens)["embedding"], model.encode_tokens(tokens))


def test_an_aligner_without_a_head_has_no_alignability():
    for head in (True, False):
        model = small_aligner(alignability_head=head)
        tower = towers_of(model)[0]
        features, text = example_inputs(tower)
        assert len({features.shape[1], text.shape[1], features.shape[0]}) == 3
        given, expected = given_by(tower, features, text), model.align(features, text)
        assert ("alignability_joint" in given) is head
        for name, numbers in given.items():
            torch.testing.assert_close(numbers, getattr(expected, name))


def test_the_model_stays_as_it_is():
    model = small_model().train()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    video, text = towers_of(model)
    assert model.training
    assert not video.module.training
    assert not text.module.training
    with torch.no_grad():
        for tensor in (*video.module.state_dict().values(), *text.module.state_dict().values()):
            tensor.zero_()
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


def test_random_inputs_are_of_their_kind():
    generator = torch.Generator().manual_seed(1)
    ids = TensorSpec("tokens", "int64", ("sentences", 50), below=7).random({"sentences": 40}, generator)
    assert ids.shape == (40, 50)
    assert ids.dtype == torch.int64
    assert set(ids.flatten().tolist()) == set(range(7))
    pixels = TensorSpec("clips", "uint8", ("batch", 3, 40)).random({"batch": 60}, generator)
    assert pixels.dtype == torch.uint8
    assert (int(pixels.min()), int(pixels.max())) == (0, 255)
