"""Prompts to unit vectors."""

from __future__ import annotations

import pytest
import torch

from inference_doubles import LinearDualEncoder
from models.small_models import small_model
from narravid.errors import ConfigError, NarravidError
from narravid.inference.prompt_vectors import encode_prompts, unknown_words


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_vectors_have_length_one_whatever_the_models_similarity(similarity: str):
    model = LinearDualEncoder(similarity=similarity)
    prompts = ["open the door", "close it"]
    vectors = encode_prompts(model, prompts)
    expected = model.encode_text(prompts)
    assert vectors.dtype == torch.float32
    torch.testing.assert_close(vectors, expected / expected.norm(dim=1, keepdim=True))


def test_words_that_the_model_leaves_out_are_named():
    model = small_model()
    known = model.vocabulary.words[:2]
    prompts = [" ".join(known), f"xylophone {known[0]} quark xylophone"]
    assert unknown_words(model, prompts) == {prompts[1]: ("xylophone", "quark")}
    assert encode_prompts(model, prompts).shape == (2, model.embed_dim)
    assert unknown_words(LinearDualEncoder(), prompts) == {}  # no list of words


def test_prompts_of_which_nothing_is_known_are_all_named():
    model = small_model()
    prompts = ["xylophone quark", model.vocabulary.words[0], "...", "zygote"]
    with pytest.raises(ConfigError) as caught:
        encode_prompts(model, prompts)
    message = str(caught.value)
    assert "none of the words of 'xylophone quark'" in message
    assert "the prompt '...' has no words" in message
    assert "none of the words of 'zygote'" in message
    assert repr(prompts[1]) not in message


def test_many_prompts_go_through_the_model_in_parts(monkeypatch: pytest.MonkeyPatch):
    model = LinearDualEncoder()
    prompts = [f"prompt {number}" for number in range(7)]
    expected = encode_prompts(model, prompts)
    sizes: list[int] = []
    encode = model.encode_text
    monkeypatch.setattr(model, "encode_text", lambda texts: sizes.append(len(texts)) or encode(texts))
    monkeypatch.setattr("narravid.inference.prompt_vectors.PROMPTS_AT_ONCE", 3)
    assert torch.equal(encode_prompts(model, prompts), expected)
    assert sizes == [3, 3, 1]
    assert encode_prompts(model, []).shape == (0, model.embed_dim)


def test_a_prompt_without_direction_is_named(monkeypatch: pytest.MonkeyPatch):
    model = LinearDualEncoder()
    encode = model.encode_text
    rows = torch.tensor([[1.0], [0.0]])
    monkeypatch.setattr(model, "encode_text", lambda texts: encode(texts) * rows)
    with pytest.raises(NarravidError, match="a zero vector for 'close it'"):
        encode_prompts(model, ["open the door", "close it"])
