"""The dual encoder: what it makes of pixels and sentences, and what names its weights."""

from __future__ import annotations

import copy
import dataclasses
import math
import warnings

import pytest
import torch
import torch.nn.functional as F

from models.small_models import WORDS, small_config, small_model
from narravid.models.dual_encoder import S3DDualEncoder
from narravid.protocols import PixelDualEncoder
from narravid.text.words import Vocabulary


def random_clips(generator: torch.Generator, count: int = 2) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, 4, 16, 16), generator=generator, dtype=torch.uint8)


def test_keeps_the_protocol(model):
    assert isinstance(model, PixelDualEncoder)
    assert model.device == torch.device("cpu")
    assert (model.embed_dim, model.similarity, model.clip_spec.num_frames) == (16, "dot", 4)


def test_bytes_and_unit_floats_are_the_same_clips(model, generator):
    clips = random_clips(generator)
    with torch.inference_mode():
        embeddings = model.encode_video(clips)
        assert torch.equal(embeddings, model.encode_video(clips.float() / 255))
    assert embeddings.shape == (2, 16)
    assert embeddings.dtype == torch.float32


def test_the_models_own_mean_and_deviation_are_applied(model, generator):
    clips = random_clips(generator)
    mean = torch.tensor(model.clip_spec.mean).view(3, 1, 1, 1)
    std = torch.tensor(model.clip_spec.std).view(3, 1, 1, 1)
    with torch.inference_mode():
        expected = model.video((clips.float() / 255 - mean) / std)
        torch.testing.assert_close(model.encode_video(clips), expected)


def test_embedding_is_the_last_layer_of_the_feature(model, generator):
    clips = random_clips(generator)
    with torch.inference_mode():
        features = model.video_features(clips)
        assert features.shape == (2, model.feature_dim)
        assert torch.equal(model.embed_features(features), model.encode_video(clips))


def test_integers_other_than_bytes_are_refused(model):
    with pytest.raises(ValueError, match="int64"):
        model.encode_video(torch.zeros((1, 3, 4, 16, 16), dtype=torch.int64))


def test_a_sentence_does_not_see_its_batch(model):
    sentences = ["add oil", "Stir, stir, STIR", "cut the tomato in the pan and add oil"]
    with torch.inference_mode():
        together = model.encode_text(sentences)
        alone = torch.cat([model.encode_text([sentence]) for sentence in sentences])
    assert together.shape == (3, 16)
    torch.testing.assert_close(together, alone, rtol=1e-6, atol=1e-7)
    assert not torch.allclose(together[0], together[1])


def test_sentences_are_their_tokens(model):
    sentences = ["add oil", "cut tomato"]
    with torch.inference_mode():
        candidates = model.encode_tokens(model.tokenizer(sentences).view(1, 2, 5))
        assert torch.equal(candidates[0], model.encode_text(sentences))
    assert candidates.shape == (1, 2, 16)


def test_no_sentences_give_no_embeddings(model):
    assert model.encode_text([]).shape == (0, 16)


def test_warns_once_of_a_sentence_without_known_words(model):
    with pytest.warns(UserWarning, match="'xyzzy'"):
        first = model.encode_text(["add oil", "xyzzy"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.testing.assert_close(model.encode_text(["xyzzy"])[0], first[1])
    with pytest.warns(UserWarning, match="'plugh'"):
        model.encode_text(["plugh"])


def test_similarity_matrix_honours_the_models_measure(generator):
    video, text = torch.randn(3, 16, generator=generator), torch.randn(4, 16, generator=generator)
    torch.testing.assert_close(small_model().similarity_matrix(video, text), video @ text.T)
    cosine = small_model(small_config(similarity="cosine")).similarity_matrix(video, text)
    torch.testing.assert_close(cosine, F.cosine_similarity(video[:, None], text[None], dim=-1))


def test_learned_temperature(model):
    assert model.logit_scale is None
    assert "log_scale" not in model.state_dict()
    warm = small_model(small_config(temperature=0.07))
    assert warm.logit_scale.item() == pytest.approx(1 / 0.07)
    warm.logit_scale.backward()
    assert warm.log_scale.grad.item() == pytest.approx(1 / 0.07)


def test_hash_names_weights_words_and_settings():
    model = small_model()
    first = model.weights_hash
    assert len(first) == 64
    assert first == model.weights_hash == small_model().weights_hash == copy.deepcopy(model).weights_hash
    others = {
        "seed": small_model(seed=4),
        "setting": small_model(small_config(similarity="cosine")),
        "size": small_model(
            dataclasses.replace(
                small_config(), clip_spec=dataclasses.replace(small_config().clip_spec, fps=6.0)
            )
        ),
    }
    reordered = S3DDualEncoder(model.config, Vocabulary(WORDS[::-1]))
    reordered.load_state_dict(model.state_dict())
    others["words"] = reordered
    assert len({first, *(other.weights_hash for other in others.values())}) == 5


@pytest.mark.parametrize("where", ["video.fc.bias", "video.mixed_3b.conv_b0.bn1.running_mean"])
def test_hash_follows_every_change_of_a_tensor(model, where):
    first = model.weights_hash
    tensor = model.state_dict()[where]
    with torch.no_grad():
        tensor[0] += 1
        changed = model.weights_hash
        tensor[0] -= 1
    assert changed != first
    model.load_state_dict(small_model(seed=8).state_dict())
    assert model.weights_hash == small_model(seed=8).weights_hash


def test_hash_follows_an_optimiser_step(model):
    first = model.weights_hash
    model.encode_tokens(torch.tensor([[1, 2]])).sum().backward()
    torch.optim.SGD(model.text.parameters(), lr=0.1).step()
    assert model.weights_hash != first


def test_hash_of_weights_made_in_inference_mode():
    with torch.inference_mode():
        model = small_model()
        assert model.weights_hash == small_model().weights_hash
        model.video.fc.bias += 1
        assert model.weights_hash != small_model().weights_hash


def test_a_model_in_double_precision_still_gives_float32(model, generator):
    clips = random_clips(generator)
    with torch.inference_mode():
        expected = model.encode_video(clips)
        embeddings = model.double().encode_video(clips)
    assert embeddings.dtype == torch.float32
    torch.testing.assert_close(embeddings, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"max_words": 0}, "max_words"),
        ({"similarity": "euclid"}, "similarity"),
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": math.nan}, "temperature"),
    ],
)
def test_wrong_settings_are_refused(change, named):
    with pytest.raises(ValueError, match=named):
        dataclasses.replace(small_config(), **change)


def test_towers_of_different_size_are_refused():
    config = small_config()
    with pytest.raises(ValueError, match="16 \\(video\\) and 8 \\(text\\)"):
        dataclasses.replace(config, text=dataclasses.replace(config.text, embed_dim=8))


def test_a_vocabulary_of_another_size_is_refused():
    with pytest.raises(ValueError, match="7 words and needs num_embeddings = 8"):
        S3DDualEncoder(small_config(), Vocabulary([*WORDS, "pour"]))


def test_sentences_without_a_token_are_refused(model):
    with pytest.raises(ValueError, match=r"tokens must be \(N, L\) int64.*got \(2, 0\)"):
        model.encode_tokens(torch.zeros(2, 0, dtype=torch.int64))
