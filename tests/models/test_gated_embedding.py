"""The HowTo100M model: features and sentences in one space, with word vectors or without."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import narravid
from narravid.errors import CheckpointError, NarravidError
from narravid.models.checkpoints import load_published
from narravid.models.checkpoints_howto100m import published_howto100m_state_dict
from narravid.models.gated_embedding import GatedDualEncoder, GatedDualEncoderConfig
from narravid.models.hub import save_model
from narravid.protocols import FeatureDualEncoder, Model, PixelDualEncoder
from narravid.text.word_vectors import WordVectors
from narravid.text.words import Vocabulary
from narravid.types import FeatureSpec

WORDS = Vocabulary(["add", "oil", "Pan"])
CONFIG = GatedDualEncoderConfig(
    feature_spec=FeatureSpec(("resnet152-imagenet", "resnext101-kinetics"), (4, 4)),
    word_dim=6,
    sentence_dim=10,
    embed_dim=12,
    max_words=5,
)


def word_vectors(*, word_dim: int = 6, seed: int = 1) -> WordVectors:
    generator = torch.Generator().manual_seed(seed)
    return WordVectors(WORDS, torch.randn(4, word_dim, generator=generator))


def gated_model(*, words: bool = True, config: GatedDualEncoderConfig = CONFIG) -> GatedDualEncoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = GatedDualEncoder(config)
    if words:
        model.attach_words(word_vectors())
    return model.eval()


def write(folder: Path, model: GatedDualEncoder) -> Path:
    torch.save(published_howto100m_state_dict(model), folder / "howto100m_pt_model.pth")
    return folder / "howto100m_pt_model.pth"


def write_word2vec(path: Path, words: WordVectors) -> None:
    rows = words.table[1:].numpy()
    entries = (word.encode() + b" " + row.tobytes() for word, row in zip(words.vocabulary, rows, strict=True))
    path.write_bytes(f"{len(rows)} {rows.shape[1]}\n".encode() + b"".join(entries))


def test_keeps_its_protocols():
    model = gated_model()
    assert isinstance(model, FeatureDualEncoder)
    assert isinstance(model, Model)
    assert not isinstance(model, PixelDualEncoder)
    assert (model.embed_dim, model.similarity, model.device) == (12, "dot", torch.device("cpu"))
    assert model.feature_spec.feature_dim == 8


def test_the_published_network_takes_the_features_of_two_extractors():
    spec = GatedDualEncoderConfig().feature_spec
    assert (spec.extractors, spec.feature_dim) == (("resnet152-imagenet", "resnext101-kinetics"), 4096)


def test_numbers_of_the_formulas(generator):
    model = gated_model()
    features = torch.randn(3, 8, generator=generator)
    hidden = features @ model.video.fc.weight.T + model.video.fc.bias
    gates = 1 / (1 + torch.exp(-(hidden @ model.video.gating.fc.weight.T + model.video.gating.fc.bias)))
    expected = hidden * gates / (hidden * gates).square().sum(dim=1, keepdim=True).sqrt()
    torch.testing.assert_close(model.encode_features(features), expected)
    # "Add" is not "add": words count as they are written, and five are read.
    vectors = word_vectors().table
    rows = torch.stack([vectors[2], vectors[3], *torch.zeros(3, 6)])
    hidden = torch.stack([F.relu(model.text.fc(row)) for row in rows]).amax(dim=0)
    torch.testing.assert_close(model.encode_text(["Add oil, Pan"])[0], model.text.unit(hidden[None])[0])


def test_embeddings_have_length_one_and_their_products_are_the_similarity(generator):
    model = gated_model()
    video, text = (
        model.encode_features(torch.randn(3, 8, generator=generator)),
        model.encode_text(["add", "oil"]),
    )
    for embeddings in (video, text):
        assert embeddings.dtype == torch.float32
        torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(len(embeddings)))
    similarity = model.similarity_matrix(video, text)
    assert similarity.shape == (3, 2)
    torch.testing.assert_close(similarity, F.cosine_similarity(video[:, None], text[None], dim=-1))


def test_zeros_fill_short_sentences_whatever_the_table_has_for_padding():
    model = gated_model()
    assert word_vectors().table[0].any()
    assert not model.word_table[0].any()
    others = gated_model(words=False)
    others.attach_words(WordVectors(WORDS, torch.cat([torch.zeros(1, 6), word_vectors().table[1:]])))
    assert torch.equal(others.encode_text(["oil"]), model.encode_text(["oil"]))


def test_sentences_are_their_tokens_and_do_not_see_their_batch(monkeypatch):
    model = gated_model()
    sentences = ["add oil", "oil add add Pan", "Pan"]
    together = model.encode_text(sentences)
    assert torch.equal(model.encode_tokens(model.tokenizer(sentences).view(1, 3, 5))[0], together)
    monkeypatch.setattr("narravid.models.gated_embedding.SENTENCES_AT_ONCE", 2)
    torch.testing.assert_close(model.encode_text(sentences), together, rtol=1e-6, atol=1e-7)
    assert model.encode_text([]).shape == (0, 12)


def test_warns_once_of_a_sentence_without_known_words():
    model = gated_model()
    with pytest.warns(UserWarning, match="'pan'"):
        model.encode_text(["add", "pan"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.encode_text(["pan"])


def test_without_word_vectors_features_are_encoded_and_text_says_what_to_give(generator):
    model = gated_model(words=False)
    assert model.encode_features(torch.randn(2, 8, generator=generator)).shape == (2, 12)
    for encode, argument in ((model.encode_text, ["add"]), (model.encode_tokens, torch.ones(1, 5).long())):
        with pytest.raises(
            NarravidError, match=r"GoogleNews-vectors-negative300.bin.*dict.npy.*word2vec.pth"
        ):
            encode(argument)


def test_word_vectors_of_another_size_are_refused():
    with pytest.raises(ValueError, match="of size 6, got 7"):
        gated_model(words=False).attach_words(word_vectors(word_dim=7))


@pytest.mark.parametrize(
    "features", [torch.zeros(2, 7), torch.zeros(8), torch.zeros(2, 8, dtype=torch.int64)], ids=str
)
def test_features_that_do_not_fit_are_refused(features):
    with pytest.raises(ValueError, match=r"float \(B, 8\), those of resnet152-imagenet and resnext101"):
        gated_model().encode_features(features)


@pytest.mark.parametrize("name", ["word_dim", "sentence_dim", "embed_dim", "max_words"])
def test_sizes_below_one_are_refused(name):
    with pytest.raises(ValueError, match=name):
        dataclasses.replace(CONFIG, **{name: 0})


@pytest.mark.parametrize("words", [False, True])
def test_a_model_folder_with_and_without_words(tmp_path, generator, words):
    model = gated_model(words=words)
    save_model(model, tmp_path / "model")
    names = {"config.json", "model.safetensors"} | ({"vocabulary.json"} if words else set())
    assert {path.name for path in (tmp_path / "model").iterdir()} == names
    opened = narravid.load(tmp_path / "model")
    assert (opened.config, opened.vocabulary) == (model.config, model.vocabulary)
    assert opened.weights_hash == model.weights_hash
    features = torch.randn(2, 8, generator=generator)
    assert torch.equal(opened.encode_features(features), model.encode_features(features))
    if words:
        assert torch.equal(opened.encode_text(["add oil"]), model.encode_text(["add oil"]))


def test_hash_names_weights_words_and_vectors():
    models = [gated_model(words=False), gated_model(), gated_model()]
    models[2].attach_words(word_vectors(seed=2))
    reordered = gated_model(words=False)
    reordered.attach_words(WordVectors(Vocabulary(["oil", "add", "Pan"]), word_vectors().table))
    settings = gated_model(config=dataclasses.replace(CONFIG, lower_case=True))
    assert len({model.weights_hash for model in (*models, reordered, settings)}) == 5
    assert gated_model().weights_hash == models[1].weights_hash


def test_everything_but_words_and_the_unused_normalisation_is_trained(generator):
    model = gated_model().train()
    loss = model.similarity_matrix(
        model.encode_features(torch.randn(2, 8, generator=generator)), model.encode_text(["add", "oil Pan"])
    )
    loss.square().sum().backward()
    assert len(list(model.parameters())) == 10
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_a_checkpoint_alone_opens_without_words(tmp_path, generator):
    model = gated_model(words=False)
    opened = load_published(write(tmp_path, model))
    assert opened.config == dataclasses.replace(model.config, max_words=20)
    assert opened.vocabulary is None
    features = torch.randn(2, 8, generator=generator)
    assert torch.equal(opened.encode_features(features), model.encode_features(features))


def test_word_vectors_beside_a_checkpoint_or_given_are_read(tmp_path):
    words = word_vectors()
    apart, table, both = (tmp_path / name for name in ("apart", "table", "both"))
    for folder in (apart, table, both):
        folder.mkdir()
    path = write(tmp_path, gated_model(words=False))
    words.vocabulary.save(table / "dict.npy")
    torch.save(words.table, table / "word2vec.pth")
    write_word2vec(apart / "vectors.bin", words)
    write_word2vec(both / "GoogleNews-vectors-negative300.bin", words)
    np.save(both / "dict.npy", np.array(["Pan", "stir", "oil"]))  # restricts what is kept
    expected = gated_model(config=dataclasses.replace(CONFIG, max_words=20)).encode_text(["oil Pan"])
    beside = [write(folder, gated_model(words=False)) for folder in (table, both)]
    opened = [
        load_published(path, apart / "vectors.bin"),
        load_published(path, table / "dict.npy"),
        *(load_published(path) for path in beside),
    ]
    for model in opened:
        torch.testing.assert_close(model.encode_text(["oil Pan"]), expected, rtol=1e-6, atol=1e-7)
    assert [model.vocabulary.words for model in opened] == [("add", "oil", "Pan")] * 3 + [("oil", "Pan")]


def test_files_that_do_not_fit_are_refused(tmp_path):
    model = gated_model(words=False)
    tensors = published_howto100m_state_dict(model)
    path = tmp_path / "model.pth"
    cases = [
        ({"GU_video.fc.weight": torch.zeros(12, 7)}, "takes 7 features"),
        ({"text_pooling.fc.weight": torch.zeros(3)}, "expected matrices"),
        ({"GU_text.cg.batch_norm.weight": torch.zeros(3)}, r"GU_text.cg.batch_norm.weight is \(3,\)"),
        ({"GU_text.bn.weight": torch.zeros(3)}, r"unexpected keys \(1\): GU_text.bn.weight"),
    ]
    for change, message in cases:
        torch.save({**tensors, **change}, path)
        with pytest.raises(CheckpointError, match=message):
            load_published(path)
    del tensors["GU_video.cg.fc.bias"]
    torch.save(tensors, path)
    with pytest.raises(CheckpointError, match=r"missing keys \(1\): GU_video.cg.fc.bias"):
        load_published(path)
    write_word2vec(tmp_path / "GoogleNews-vectors-negative300.bin", word_vectors(word_dim=7))
    write(tmp_path, model)
    with pytest.raises(CheckpointError, match="of size 6, got 7"):
        load_published(tmp_path / "howto100m_pt_model.pth")


def test_a_model_in_double_precision_gives_float64(generator):
    features = torch.randn(2, 8, generator=generator)
    model = gated_model()
    expected = (model.encode_features(features), model.encode_text(["add"]))
    model.double()
    for embeddings, wanted in zip(
        (model.encode_features(features), model.encode_text(["add"])), expected, strict=True
    ):
        assert embeddings.dtype == torch.float64
        torch.testing.assert_close(embeddings, wanted.double(), rtol=1e-5, atol=1e-6)


def test_other_words_for_the_same_vectors_are_another_model():
    model, words = gated_model(), word_vectors()
    model.attach_words(words)
    first = model.weights_hash
    model.attach_words(WordVectors(Vocabulary(["cut", "the", "Pan"]), words.table))
    assert model.weights_hash != first


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_embeddings_of_half_precision_weights_have_length_one(generator, dtype):
    model = gated_model().to(dtype)
    with torch.inference_mode():
        features = model.encode_features(torch.randn(3, 8, generator=generator))
        embeddings = torch.cat([features, model.encode_text(["add oil", "Pan"])])
    assert embeddings.dtype == torch.float32
    torch.testing.assert_close(embeddings.norm(dim=-1), torch.ones(5))


@pytest.mark.parametrize("tokens", [torch.zeros(2, 0, dtype=torch.int64), torch.zeros(2, 3)])
def test_tokens_that_do_not_fit_are_refused(tokens):
    with pytest.raises(ValueError, match=r"tokens must be \(..., L\) int64"):
        gated_model().encode_tokens(tokens)
