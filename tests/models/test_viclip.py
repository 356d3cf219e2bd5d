"""ViCLIP as a pixel dual encoder: what it takes, gives and refuses, and its published files."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from models.small_viclip import PAIRS, SMALL_VICLIP, small_viclip
from narravid.errors import CheckpointError
from narravid.models.checkpoints import load_published
from narravid.models.checkpoints_viclip import published_key
from narravid.models.hub import load, save_model
from narravid.models.viclip import ViCLIP, ViCLIPConfig
from narravid.models.viclip_towers import TextTowerConfig, VideoTowerConfig
from narravid.protocols import PixelDualEncoder
from narravid.text.byte_pairs import MERGES_FILE, BytePairTokenizer


@pytest.fixture
def model() -> ViCLIP:
    return small_viclip()


@pytest.fixture
def clips(generator) -> torch.Tensor:
    return torch.randint(0, 256, (3, 3, 4, 16, 16), dtype=torch.uint8, generator=generator)


def write_published(folder: Path, model: ViCLIP, **changes: torch.Tensor | None) -> Path:
    tensors = {published_key(key): tensor for key, tensor in model.state_dict().items()}
    tensors = {key: tensor for key, tensor in {**tensors, **changes}.items() if tensor is not None}
    path = folder / "ViCLIP.pth"
    torch.save({"model": tensors}, path)
    BytePairTokenizer(PAIRS).save(folder / MERGES_FILE)
    return path


def test_it_is_a_pixel_dual_encoder(model, clips):
    assert isinstance(model, PixelDualEncoder)
    with torch.no_grad():
        video, text = model.encode_video(clips), model.encode_text(["cut the", ""])
        features = model.video_features(clips)
        scores = model.similarity_matrix(video, text)
    assert (video.shape, text.shape, features.shape) == ((3, 12), (2, 12), (3, 64))
    assert {video.dtype, text.dtype, features.dtype} == {torch.float32}
    expected = torch.nn.functional.cosine_similarity(video[:, None], text[None], dim=-1)
    torch.testing.assert_close(scores, expected)


def test_pixels_as_bytes_and_as_floats_are_the_same(model, clips):
    with torch.no_grad():
        torch.testing.assert_close(model.encode_video(clips), model.encode_video(clips / 255))


def test_clips_do_not_influence_one_another_and_the_order_of_frames_counts(model, clips):
    with torch.no_grad():
        alone, together = model.encode_video(clips[:1]), model.encode_video(clips)[:1]
        backwards = model.encode_video(clips[:1].flip(2))
    torch.testing.assert_close(alone, together)
    assert (alone - backwards).abs().max() > 1e-3


def test_the_end_of_a_sentence_sees_what_stands_before_and_nothing_behind(model):
    tokens = model.tokenizer(["cut the", "the cut"])
    behind = tokens.clone()
    behind[:, 5:] = 7  # smaller than the end's id, and behind it
    with torch.no_grad():
        first, second = model.encode_tokens(tokens)
        torch.testing.assert_close(model.encode_tokens(behind), torch.stack([first, second]))
    assert (first - second).abs().max() > 1e-3


def test_many_axes_of_tokens(model):
    tokens = model.tokenizer(["cut", "the", "cut the", ""])
    with torch.no_grad():
        flat, nested = model.encode_tokens(tokens), model.encode_tokens(tokens.view(2, 2, -1))
    torch.testing.assert_close(nested, flat.view(2, 2, 12))


def test_temperature(model):
    assert model.logit_scale.item() == pytest.approx(100)
    with torch.no_grad():
        model.temperature.fill_(1e-9)
    assert model.logit_scale.item() == pytest.approx(1000)
    assert model.temperature.item() == pytest.approx(1e-9), "reading must not write"


def test_everything_is_trained(model, clips):
    scores = model.similarity_matrix(model.encode_video(clips), model.encode_text(["cut", "the", ""]))
    (scores * model.logit_scale).diagonal().sum().backward()
    assert not [name for name, parameter in model.named_parameters() if parameter.grad is None]


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 3, 3, 16, 16), "4 frames, or 1, got 3"),
        ((1, 3, 4, 16, 24), r"\(B, 3, T, 16, 16\), got \(1, 3, 4, 16, 24\)"),
    ],
)
def test_other_clips_are_refused(model, shape, message):
    with pytest.raises(ValueError, match=message):
        model.encode_video(torch.zeros(shape))


@pytest.mark.parametrize(
    "tokens",
    [torch.zeros(1, 10, dtype=torch.int64), torch.zeros(1, 4), torch.zeros(1, 0, dtype=torch.int64)],
)
def test_other_tokens_are_refused(model, tokens):
    with pytest.raises(ValueError, match="1 <= L <= 9"):
        model.encode_tokens(tokens)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VideoTowerConfig(patch_pixels=15), "must divide"),
        (lambda: VideoTowerConfig(num_layers=0), "at least 1"),
        (lambda: TextTowerConfig(dim=0), "at least 1"),
        (lambda: ViCLIPConfig(text=TextTowerConfig(embed_dim=5)), "same embed_dim"),
        (lambda: ViCLIPConfig(temperature=0.0), r"within \[0.001, 0.5\]"),
        (lambda: dataclasses.replace(SMALL_VICLIP, clip_spec=ViCLIPConfig().clip_spec), "224 pixels.*16"),
        (
            lambda: dataclasses.replace(
                SMALL_VICLIP, clip_spec=dataclasses.replace(SMALL_VICLIP.clip_spec, num_frames=5)
            ),
            "5 frames.*4",
        ),
        (lambda: ViCLIP(SMALL_VICLIP, BytePairTokenizer(PAIRS[:2])), "516 ids.*518"),
    ],
)
def test_parts_that_do_not_fit_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_published_file_opens(tmp_path, model, clips):
    opened = load_published(write_published(tmp_path, model))
    assert isinstance(opened, ViCLIP)
    assert opened.config == SMALL_VICLIP
    assert not opened.training
    with torch.no_grad():
        torch.testing.assert_close(opened.encode_video(clips), model.encode_video(clips), rtol=0, atol=0)
        torch.testing.assert_close(opened.encode_text(["cut"]), model.encode_text(["cut"]), rtol=0, atol=0)


def test_a_model_folder_gives_the_same_model(tmp_path, model, clips):
    save_model(model, tmp_path / "model")
    opened = load(tmp_path / "model")
    assert opened.weights_hash == model.weights_hash
    with torch.no_grad():
        torch.testing.assert_close(opened.encode_video(clips), model.encode_video(clips), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vision_encoder.proj": None}, r"missing keys \(1\): vision_encoder.proj"),
        ({"text_encoder.ln_final.bias": None}, r"missing keys \(1\): text_encoder.ln_final.bias"),
        ({"vision_encoder.more": torch.zeros(1)}, r"unexpected keys \(1\): vision_encoder.more"),
        ({"vision_encoder.proj": torch.zeros(3)}, r"vision_encoder.proj is \(3,\), expected 2 dimensions"),
        ({"text_encoder.text_projection": torch.zeros(128, 5)}, "same embed_dim, got 12"),
        ({"vision_encoder.class_embedding": torch.zeros(5)}, r"class_embedding is \(5,\), expected \(64,\)"),
        ({"vision_encoder.positional_embedding": torch.zeros(7, 64)}, r"is \(7, 64\), expected \(5, 64\)"),
    ],
)
def test_published_files_that_do_not_fit_are_refused(tmp_path, model, changes, message):
    path = write_published(tmp_path, model, **changes)
    with pytest.raises(CheckpointError, match=message):
        load_published(path)


def test_the_byte_pairs_must_be_there(tmp_path, model):
    path = write_published(tmp_path, model)
    (tmp_path / MERGES_FILE).rename(tmp_path / "elsewhere.txt.gz")
    with pytest.raises(CheckpointError, match=f"put {MERGES_FILE}"):
        load_published(path)
    assert isinstance(load_published(path, tmp_path / "elsewhere.txt.gz"), ViCLIP)
