"""CPD's video-text model: pixels and sentences in, embeddings of length 1 out, nothing lost on the way."""

from __future__ import annotations

import copy
import dataclasses
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

import narravid
from models.small_cpd import PIECES, small_cpd, small_cpd_config
from narravid.errors import AnnotationError, MissingExtraError
from narravid.models.cpd import CPDConfig, CPDDualEncoder
from narravid.models.hub import save_model
from narravid.protocols import Model, PixelDualEncoder
from narravid.text.word_pieces import WordPieces

SENTENCES = ["add oil to the pan", "the pans", ""]
Shape = tuple[int, ...]


@pytest.fixture
def model() -> CPDDualEncoder:
    return small_cpd()


def random_clips(generator: torch.Generator, shape: Shape = (3, 3, 4, 32, 32)) -> torch.Tensor:
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


def test_it_is_a_pixel_dual_encoder(model):
    assert isinstance(model, PixelDualEncoder)
    assert isinstance(model, Model)
    assert (model.embed_dim, model.feature_dim, model.similarity) == (6, 32, "cosine")
    assert model.device == torch.device("cpu")


def test_published_settings():
    spec = CPDConfig().clip_spec
    assert (spec.num_frames, spec.fps, spec.size_pixels) == (8, 7.5, 224)
    assert (spec.mean, spec.std) == ((0.45,) * 3, (0.225,) * 3)
    assert CPDConfig().max_tokens == 64
    assert not CPDConfig().text.attention_mask


def test_clips_are_normalised_by_the_model(model, generator):
    clips = random_clips(generator)
    with torch.inference_mode():
        embeddings = model.encode_video(clips)
        torch.testing.assert_close(model.encode_video(clips.float() / 255), embeddings)
        features = model.video((clips.double() / 255).sub(0.45).div(0.225).float())
        torch.testing.assert_close(model.video_features(clips), features, rtol=1e-4, atol=1e-5)
        expected = F.normalize(model.video_head(features), dim=-1)
    torch.testing.assert_close(embeddings, expected, rtol=1e-4, atol=1e-5)
    assert embeddings.dtype == torch.float32
    torch.testing.assert_close(embeddings.norm(dim=-1), torch.ones(3))


@pytest.mark.parametrize(
    "shape", [(1, 3, 4, 32, 32), (2, 3, 1, 32, 32), (1, 3, 1, 32, 32), (1, 3, 3, 17, 40)]
)
def test_one_clip_and_one_frame_keep_their_axes(model, generator, shape):
    clips = random_clips(generator, shape)
    with torch.inference_mode():
        embeddings = model.encode_video(clips)
        assert embeddings.shape == (shape[0], 6)
        apart = torch.cat([model.encode_video(clip[None]) for clip in clips])
    torch.testing.assert_close(embeddings, apart, rtol=1e-4, atol=1e-5)


def test_sentences(model):
    with torch.inference_mode():
        embeddings = model.encode_text(SENTENCES)
        assert embeddings.dtype == torch.float32
        torch.testing.assert_close(embeddings.norm(dim=-1), torch.ones(3))
        for sentence, embedding in zip(SENTENCES, embeddings, strict=True):
            torch.testing.assert_close(model.encode_text([sentence])[0], embedding, rtol=1e-4, atol=1e-5)
        assert model.encode_text([]).shape == (0, 6)
        tokens = model.tokenizer(SENTENCES)
        torch.testing.assert_close(model.encode_tokens(tokens), embeddings)
        candidates = model.encode_tokens(tokens.reshape(1, 3, 8))
    torch.testing.assert_close(candidates, embeddings[None])


def plain_hidden_states(model: CPDDualEncoder, tokens: torch.Tensor, *, masked: bool) -> torch.Tensor:
    """DistilBERT written out for one sentence and one head after the other."""
    weights = model.text.encoder.state_dict()

    def linear(name: str, x: torch.Tensor) -> torch.Tensor:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(name: str, x: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], eps=1e-12)

    heads = model.config.text.num_heads
    rows = []
    for row in tokens:
        x = weights["embeddings.word_embeddings.weight"][row]
        x = norm("embeddings.LayerNorm", x + weights["embeddings.position_embeddings.weight"][: len(row)])
        for layer in range(model.config.text.num_layers):
            start = f"transformer.layer.{layer}"
            q, k, v = (linear(f"{start}.attention.{part}_lin", x).chunk(heads, dim=-1) for part in "qkv")
            mixed = []
            for one_q, one_k, one_v in zip(q, k, v, strict=True):
                scores = one_q @ one_k.T / one_q.shape[-1] ** 0.5
                if masked:
                    scores[:, row == 0] = float("-inf")
                mixed.append(scores.softmax(dim=-1) @ one_v)
            attended = linear(f"{start}.attention.out_lin", torch.cat(mixed, dim=-1))
            x = norm(f"{start}.sa_layer_norm", x + attended)
            middle = F.gelu(linear(f"{start}.ffn.lin1", x))
            x = norm(f"{start}.output_layer_norm", x + linear(f"{start}.ffn.lin2", middle))
        rows.append(x)
    return torch.stack(rows)


@pytest.mark.parametrize("masked", [False, True])
def test_the_text_encoder_against_distilbert_written_out(masked):
    model = small_cpd(small_cpd_config(attention_mask=masked))
    tokens = model.tokenizer(["add oils to the pan", "pan"])
    with torch.inference_mode():
        expected = plain_hidden_states(model, tokens, masked=masked)
        torch.testing.assert_close(model.text.hidden_states(tokens), expected, rtol=1e-4, atol=1e-5)
        means = [row[ids != 0].mean(dim=0) for row, ids in zip(expected, tokens, strict=True)]
        torch.testing.assert_close(model.text.pooled(tokens), torch.stack(means), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("masked", [False, True])
def test_the_mask_decides_whether_padding_matters(masked):
    model = small_cpd(small_cpd_config(attention_mask=masked))
    short = torch.tensor([[2, 4, 5, 3]])
    with torch.inference_mode():
        difference = model.encode_tokens(short) - model.encode_tokens(F.pad(short, (0, 6)))
    assert bool(difference.abs().max() < 1e-5) is masked


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("length", [1, 5])
def test_nothing_but_padding_has_an_embedding_and_a_gradient(masked, length):
    model = small_cpd(small_cpd_config(attention_mask=masked))
    tokens = torch.zeros((2, length), dtype=torch.int64)
    tokens[1, 0] = 4
    embeddings = model.encode_tokens(tokens)
    assert embeddings.isfinite().all()
    torch.testing.assert_close(model.text.pooled(tokens)[0], model.text.hidden_states(tokens)[0, 0])
    embeddings[:, 0].sum().backward()
    assert all(weight.grad.isfinite().all() for weight in model.text.parameters())


@pytest.mark.parametrize(
    "tokens",
    [
        torch.zeros(4, dtype=torch.int64),
        torch.zeros((1, 0), dtype=torch.int64),
        torch.zeros((1, 13), dtype=torch.int64),
        torch.zeros((1, 4)),
    ],
)
def test_other_tokens_are_refused(model, tokens):
    with pytest.raises(ValueError, match=r"\(N, L\) int64 with L from 1 to 12"):
        model.text(tokens)


def test_similarity_is_the_cosine(model, generator):
    video, text = torch.randn(3, 6, generator=generator), torch.randn(4, 6, generator=generator)
    expected = F.cosine_similarity(video[:, None], text[None], dim=-1)
    torch.testing.assert_close(model.similarity_matrix(video, text), expected)


def test_dropout_before_the_head_works_in_training_only(generator):
    model = small_cpd(small_cpd_config(dropout=0.5))
    features = torch.rand((1, 32), generator=generator).expand(8, 32)
    with torch.inference_mode(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        assert model.embed_features(features).unique(dim=0).shape[0] == 1
        assert model.train().embed_features(features).unique(dim=0).shape[0] == 8


def test_every_weight_is_trained(model, generator):
    model.train()
    video = model.encode_video(random_clips(generator))
    text = model.encode_text(SENTENCES)
    weights = torch.randn((2, 3, 6), generator=generator)
    ((video * weights[0]) + (text * weights[1])).sum().backward()
    still = [name for name, weight in model.named_parameters() if weight.grad is None]
    assert still == []


def test_a_model_folder_gives_the_same_model(model, tmp_path, generator):
    save_model(model, tmp_path / "model")
    assert (tmp_path / "model" / "vocab.txt").read_text().splitlines() == list(PIECES.pieces)
    opened = narravid.load(tmp_path / "model")
    assert isinstance(opened, CPDDualEncoder)
    assert not opened.training
    assert opened.config == model.config
    assert opened.weights_hash == model.weights_hash
    clips = random_clips(generator)
    with torch.inference_mode():
        assert torch.equal(opened.encode_video(clips), model.encode_video(clips))
        assert torch.equal(opened.encode_text(SENTENCES), model.encode_text(SENTENCES))


def test_a_model_folder_with_a_damaged_list_is_refused(model, tmp_path):
    save_model(model, tmp_path / "model")
    (tmp_path / "model" / "vocab.txt").write_text("[PAD]\n")
    with pytest.raises(AnnotationError, match=r"vocab\.txt"):
        narravid.load(tmp_path / "model")


def test_the_hash_names_weights_pieces_and_settings(model):
    first = model.weights_hash
    assert first == small_cpd().weights_hash == copy.deepcopy(model).weights_hash
    reordered = CPDDualEncoder(model.config, WordPieces((*PIECES.pieces[:-2], ",", "pan")))
    reordered.load_state_dict(model.state_dict())
    masked = small_cpd(small_cpd_config(attention_mask=True))
    hashes = {first, small_cpd(seed=4).weights_hash, reordered.weights_hash, masked.weights_hash}
    assert len(hashes) == 4


def test_a_model_in_double_precision_gives_the_same_in_double_precision(model, generator):
    clips = random_clips(generator)
    with torch.inference_mode():
        video, text = model.encode_video(clips), model.encode_text(SENTENCES)
        model.double()
        torch.testing.assert_close(model.encode_video(clips), video.double(), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(model.encode_text(SENTENCES), text.double(), rtol=1e-4, atol=1e-5)
        assert model.encode_text([]).shape == (0, 6)


def test_a_list_of_pieces_of_another_size_is_refused():
    with pytest.raises(ValueError, match="there are 12 word pieces, the configuration says 11"):
        CPDDualEncoder(small_cpd_config(), WordPieces((*PIECES.pieces, "more")))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_tokens": 13}, r"max_positions \(12\), got 13"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"dropout": 1.0}, "dropout"),
    ],
)
def test_wrong_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(small_cpd_config(), **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"num_heads": 5}, r"num_heads \(5\) must divide"), ({"num_layers": 0}, "num_layers")],
)
def test_wrong_shapes_of_the_text_tower_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(small_cpd_config().text, **change)


def test_an_absent_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"text tower of CPD needs transformers.*narravid\[text\]"):
        small_cpd()


def test_opening_another_model_loads_neither_transformers_nor_tokenizers():
    probe = (
        "import sys, narravid.models.hub; "
        "print(sorted({'transformers', 'tokenizers'} & {name.split('.')[0] for name in sys.modules}))"
    )
    result = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("masked", [False, True])
def test_a_cuda_device_gives_the_same_embeddings(masked, generator):
    model = small_cpd(small_cpd_config(attention_mask=masked))
    clips = random_clips(generator)
    with torch.inference_mode():
        video, text = model.encode_video(clips), model.encode_text(SENTENCES)
        model.to("cuda")
        assert model.device.type == "cuda"
        # TensorFloat-32 convolutions, PyTorch's default there, keep about three digits.
        torch.testing.assert_close(model.encode_video(clips).cpu(), video, rtol=1e-2, atol=1e-2)
        torch.testing.assert_close(model.encode_text(SENTENCES).cpu(), text, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_embeddings_of_half_precision_weights_have_length_one(model, generator, dtype):
    model.to(dtype)
    with torch.inference_mode():
        embeddings = torch.cat([model.encode_video(random_clips(generator)), model.encode_text(SENTENCES)])
    assert embeddings.dtype == torch.float32
    torch.testing.assert_close(embeddings.norm(dim=-1), torch.ones(6))


def test_sentences_without_a_token_are_refused(model):
    with pytest.raises(ValueError, match=r"tokens must be \(N, L\) int64.*got \(2, 0\)"):
        model.encode_tokens(torch.zeros(2, 0, dtype=torch.int64))
