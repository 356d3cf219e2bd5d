"""The temporal aligner: its settings, its sentences, its model folder, and the inputs it refuses."""

from __future__ import annotations

import warnings

import pytest
import torch

import narravid
from models.small_aligners import (
    FEATURE_DIM,
    TEXT_DIM,
    WORDS,
    small_aligner,
    small_aligner_config,
    small_inputs,
)
from narravid.models.aligner import TemporalAligner
from narravid.models.aligner_config import TemporalAlignerConfig
from narravid.models.hub import save_model
from narravid.models.text_encoders import SentenceTowerConfig
from narravid.protocols import Aligner
from narravid.text.words import Vocabulary


@pytest.fixture
def aligner() -> TemporalAligner:
    return small_aligner()


def test_keeps_the_protocol(aligner):
    assert isinstance(aligner, Aligner)
    assert aligner.device == torch.device("cpu")
    assert (aligner.embed_dim, aligner.max_positions, aligner.alignability_layer) == (16, 20, 2)
    assert aligner.feature_spec.feature_dim == FEATURE_DIM


def test_the_published_shape_is_the_default():
    config = TemporalAlignerConfig(text=SentenceTowerConfig(num_embeddings=66250))
    assert (config.num_encoder_layers, config.num_joint_layers, config.num_heads) == (6, 6, 8)
    assert (config.embed_dim, config.max_positions, config.max_words) == (512, 1024, 32)
    assert (config.feature_spec.extractors, config.feature_spec.dims) == (("s3d-howto100m",), (1024,))


# ---------------------------------------------------------------- sentences


def test_sentences_are_lower_cased_and_unknown_words_kept_in_place(aligner):
    tokens = aligner.tokenizer(["Add the OIL", "stir stir stir stir stir oil"])
    assert tokens.tolist() == [[1, 0, 2, 0, 0], [6, 6, 6, 6, 6]]


def test_unknown_words_have_no_say(aligner):
    with torch.inference_mode():
        embeddings = aligner.encode_text(["add oil", "Add the OIL", "stir"])
    assert embeddings.shape == (3, TEXT_DIM)
    assert embeddings.dtype == torch.float32
    torch.testing.assert_close(embeddings[0], embeddings[1])
    assert not torch.allclose(embeddings[0], embeddings[2], atol=1e-2)


def test_warns_once_of_a_sentence_without_known_words(aligner):
    with pytest.warns(UserWarning, match="'xyzzy'"):
        aligner.encode_text(["add oil", "xyzzy"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        aligner.encode_text(["xyzzy"])


def test_tokens_keep_their_leading_axes(aligner):
    sentences = ["add oil", "cut tomato"]
    tokens = aligner.tokenizer(sentences).view(1, 2, 5)
    with torch.inference_mode():
        assert torch.equal(aligner.encode_tokens(tokens)[0], aligner.encode_text(sentences))


def test_no_sentences_give_no_embeddings(aligner):
    assert aligner.encode_text([]).shape == (0, TEXT_DIM)


# ---------------------------------------------------------------- names and folders


@pytest.mark.parametrize("changes", [{}, {"positions": "sine"}, {"text_positions": True}])
def test_a_saved_aligner_comes_back_bit_for_bit(tmp_path, generator, changes):
    aligner = small_aligner(**changes)
    save_model(aligner, tmp_path / "model")
    opened = narravid.load(tmp_path / "model")
    assert isinstance(opened, TemporalAligner)
    assert opened.config == aligner.config
    assert opened.vocabulary == aligner.vocabulary
    assert opened.weights_hash == aligner.weights_hash
    features, text = small_inputs(generator)
    with torch.inference_mode():
        assert torch.equal(opened.align(features, text).joint, aligner.align(features, text).joint)
        assert torch.equal(opened.encode_text(["add oil"]), aligner.encode_text(["add oil"]))


def test_hash_names_weights_words_and_settings(aligner):
    first = aligner.weights_hash
    assert first == small_aligner().weights_hash
    reordered = TemporalAligner(aligner.config, Vocabulary(WORDS[::-1]))
    reordered.load_state_dict(aligner.state_dict())
    others = {small_aligner(seed=6).weights_hash, small_aligner(max_words=6).weights_hash}
    assert len({first, reordered.weights_hash} | others) == 4


# ---------------------------------------------------------------- wrong inputs


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"features": torch.zeros(9, FEATURE_DIM)}, r"features must be \(B, steps, 12\)"),
        ({"features": torch.zeros(2, 9, 5)}, r"got \(2, 9, 5\)"),
        ({"features": torch.zeros(2, 9, FEATURE_DIM, dtype=torch.int64)}, "int64"),
        ({"features": torch.zeros(2, 0, FEATURE_DIM)}, "at least a second long"),
        ({"features": torch.zeros(3, 9, FEATURE_DIM)}, "of the same videos"),
        ({"text": torch.zeros(2, 4, 7)}, r"text must be \(B, steps, 10\)"),
        ({"feature_mask": torch.ones(2, 8).bool()}, r"feature_mask must be \(2, 9\) bool"),
        ({"feature_mask": torch.ones(2, 9)}, "float32"),
        ({"text_mask": torch.ones(2, 5).bool()}, r"text_mask must be \(2, 4\) bool"),
        (
            {"feature_mask": torch.tensor([[True] * 9, [False] * 9])},
            "video 1 of the batch has no real second",
        ),
    ],
)
def test_wrong_inputs_are_named(aligner, generator, change, named):
    features, text = small_inputs(generator)
    given = {"features": features, "text": text} | change
    with pytest.raises(ValueError, match=named):
        aligner(**given)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"positions": "rotary"}, "positions"),
        ({"embed_dim": 0}, "embed_dim"),
        ({"num_joint_layers": 0}, "num_joint_layers"),
        ({"num_encoder_layers": -1}, "num_encoder_layers"),
        ({"num_heads": 3}, "num_heads must divide embed_dim"),
        ({"max_positions": 0}, "max_positions"),
        ({"max_words": 0}, "max_words"),
        ({"embed_dim": 5, "num_heads": 5, "positions": "sine"}, "even embed_dim"),
        ({"alignability_layer": 3}, "3 joint layers"),
        ({"alignability_layer": -1}, "alignability_layer"),
    ],
)
def test_wrong_settings_are_refused(changes, named):
    with pytest.raises(ValueError, match=named):
        small_aligner_config(**changes)


def test_the_layer_to_read_alignability_at_matters_only_with_the_head():
    assert small_aligner_config(num_joint_layers=1, alignability_head=False).alignability_layer == 2


def test_a_vocabulary_of_another_size_is_refused():
    with pytest.raises(ValueError, match="7 words and needs num_embeddings = 8"):
        TemporalAligner(small_aligner_config(), Vocabulary([*WORDS, "pour"]))
