"""Prompts to unit vectors."""

from __future__ import annotations

import pytest
import torch

from inference_doubles import LinearDualEncoder
from models.small_models import small_model
from narravid.errors import ConfigError
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
    assert "'...' has no words" in message
    assert "none of the words of 'zygote'" in message
    assert repr(prompts[1]) not in message
