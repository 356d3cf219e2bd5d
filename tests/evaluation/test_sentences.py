"""Sentences as embeddings: with the model's own text settings, with others, and what cannot be used."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from coded_archives import PlantedModel
from narravid.errors import ConfigError, NarravidError
from narravid.evaluation.sentences import TextSettings, encode_sentences, text_card
from tiny_corpus import make_tiny_s3d

SENTENCES = ["red moves left", "red moves", "RED moves"]


def test_the_models_own_settings_are_what_it_does_by_itself():
    model = make_tiny_s3d()
    found = encode_sentences(model, SENTENCES)
    assert found.dtype == np.float32
    with torch.no_grad():
        np.testing.assert_array_equal(found, model.encode_text(SENTENCES).numpy())
    assert encode_sentences(model, []).shape == (0, 16)


def test_other_settings_read_other_words():
    model = make_tiny_s3d()
    two = encode_sentences(model, SENTENCES, settings=TextSettings(max_words=2))
    np.testing.assert_array_equal(two[0], two[1])
    np.testing.assert_array_equal(two[1], two[2])
    # Ids of "red", "moves", "left" are 1, 4, 5; a word that keeps its capitals is unknown and dropped.
    ids = torch.tensor([[1, 4], [1, 4], [4, 0]])
    kept = encode_sentences(model, SENTENCES, settings=TextSettings(max_words=2, lower_case=False))
    with torch.no_grad():
        np.testing.assert_allclose(kept, model.encode_tokens(ids).numpy(), atol=1e-6)
    own_words = encode_sentences(model, SENTENCES, settings=TextSettings(lower_case=False))
    with torch.no_grad():
        np.testing.assert_allclose(own_words[:2], model.encode_text(SENTENCES[:2]).numpy(), atol=1e-6)
    assert model.tokenizer.max_words == 20  # the model itself stays


def test_many_sentences_go_in_parts(monkeypatch):
    model = make_tiny_s3d()
    whole = encode_sentences(model, SENTENCES)
    monkeypatch.setattr("narravid.evaluation.sentences.SENTENCES_PER_BATCH", 2)
    np.testing.assert_allclose(encode_sentences(model, SENTENCES), whole, atol=1e-6)


def test_the_card_says_which_settings_were_used():
    model = make_tiny_s3d()
    assert text_card(model, TextSettings()) == {
        "max_words": 20,
        "lower_case": True,
        "settings": "the model's own",
    }
    assert text_card(model, TextSettings(lower_case=False)) == {
        "max_words": 20,
        "lower_case": False,
        "settings": "changed for this measurement",
    }


def test_what_cannot_be_is_named():
    with pytest.raises(ConfigError, match="this PlantedModel has no list of words"):
        encode_sentences(PlantedModel({"a": 0}), ["a"], settings=TextSettings(max_words=3))
    with pytest.raises(ValueError, match="max_words must be at least 1, got 0"):
        TextSettings(max_words=0)
    model = make_tiny_s3d()
    with torch.no_grad():
        model.text.fc1.weight.fill_(float("nan"))
    with pytest.raises(NarravidError, match="NaN or infinity for a sentence"):
        encode_sentences(model, SENTENCES)
