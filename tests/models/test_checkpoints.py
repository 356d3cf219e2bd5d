"""Published checkpoints: what is opened, and how everything else is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from narravid.errors import AnnotationError, CheckpointError
from narravid.models.checkpoints import load_published
from narravid.models.checkpoints_files import load_tensors_strictly
from narravid.models.checkpoints_reading import read_checkpoint
from narravid.models.checkpoints_s3d import published_state_dict
from narravid.models.dual_encoder import S3DDualEncoder, S3DDualEncoderConfig
from narravid.models.s3d import S3DConfig
from narravid.models.text_encoders import SentenceTowerConfig
from narravid.text.words import Vocabulary
from narravid.types import ClipSpec

WORDS = ("add", "oil", "pan")
Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def published() -> Callable[[str], Tensors]:
    """The tensors, under published names, of a full S3D with a small sentence tower; one per stem."""
    made: dict[str, Tensors] = {}

    def tensors_of(stem: str) -> Tensors:
        if stem not in made:
            config = S3DDualEncoderConfig(
                video=S3DConfig(stem=stem, embed_dim=8),
                text=SentenceTowerConfig(num_embeddings=4, word_dim=5, hidden_dim=6, embed_dim=8),
                clip_spec=ClipSpec(num_frames=4, fps=5.0, size_pixels=32),
            )
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(2)
                made[stem] = published_state_dict(S3DDualEncoder(config, Vocabulary(WORDS)))
        return dict(made[stem])

    return tensors_of


def write(folder: Path, content: object, *, words: tuple[str, ...] | None = WORDS) -> Path:
    path = folder / "weights.pth"
    torch.save(content, path)
    if words is not None:
        np.save(folder / "s3d_dict.npy", np.array(words))
    return path


def prefixed(tensors: Tensors) -> Tensors:
    return {f"module.{key}": tensor for key, tensor in tensors.items()}


@pytest.mark.parametrize("stem", ["space_to_depth", "plain"])
@pytest.mark.parametrize("container", ["flat", "flat prefixed", "nested prefixed", "nested"])
def test_every_container_with_either_stem(tmp_path, published, stem, container):
    tensors = published(stem)
    content = prefixed(tensors) if "prefixed" in container else tensors
    path = write(tmp_path, {"epoch": 7, "state_dict": content} if "nested" in container else content)
    model = load_published(path)
    assert model.config.video.stem == stem
    assert (model.config.max_words, model.config.lower_case) == (
        (30, False) if "prefixed" in container else (16, True)
    )
    reopened = published_state_dict(model)
    assert list(reopened) == list(tensors)
    assert all(torch.equal(reopened[key], tensors[key]) for key in tensors)
    assert not model.training


def test_the_opened_model_can_be_trained_on(tmp_path, published):
    model = load_published(write(tmp_path, published("plain"))).train()
    model.encode_video(torch.rand(2, 3, 2, 16, 16)).sum().backward()
    assert model.video.conv1.conv1.weight.grad.abs().sum() > 0
    assert not model.text.word_embedding.weight.requires_grad


def test_missing_and_unexpected_keys_are_listed(tmp_path, published):
    tensors = published("plain")
    del tensors["mixed_4c.gating_b2.fc.bias"]
    tensors["mixed_9z.weight"] = torch.zeros(1)
    with pytest.raises(CheckpointError) as caught:
        load_published(write(tmp_path, prefixed(tensors)))
    assert caught.value.missing == ("mixed_4c.gating_b2.fc.bias",)
    assert caught.value.unexpected == ("mixed_9z.weight",)
    assert "mixed_4c.gating_b2.fc.bias" in str(caught.value)
    assert "mixed_9z.weight" in str(caught.value)


def test_a_missing_tower_is_named(tmp_path, published):
    tensors = {key: value for key, value in published("plain").items() if "text_module" not in key}
    with pytest.raises(CheckpointError) as caught:
        load_published(write(tmp_path, tensors))
    assert "text_module.fc1.weight" in caught.value.missing


def test_a_wrong_shape_is_named_with_both_shapes(tmp_path, published):
    tensors = published("plain")
    tensors["gating.fc.bias"] = torch.zeros(5)
    with pytest.raises(CheckpointError, match=r"gating.fc.bias is \(5,\), expected \(192,\)"):
        load_published(write(tmp_path, tensors))


@pytest.mark.parametrize("shape", [(64, 4, 3, 7, 7), (64, 3)])
def test_an_unknown_stem_is_named(tmp_path, published, shape):
    tensors = published("plain")
    tensors["conv1.conv1.weight"] = torch.zeros(shape)
    with pytest.raises(CheckpointError, match=r"conv1.conv1.weight is \(64, "):
        load_published(write(tmp_path, tensors))


def test_sizes_are_read_off_matrices_only(tmp_path, published):
    tensors = published("plain")
    tensors["fc.weight"] = torch.zeros(3)
    with pytest.raises(CheckpointError, match="expected matrices"):
        load_published(write(tmp_path, tensors))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": {"a": torch.zeros(1)}}, "its keys begin with a"),
        ({"state_dict": {"layer.weight": torch.zeros(1)}}, "its keys begin with layer.weight"),
        ({"state_dict": 3}, "begin with: state_dict"),
        ({}, "begin with: nothing"),
        (torch.zeros(3), "found a Tensor"),
        ([1, 2], "found a list"),
    ],
)
def test_other_families_are_refused(tmp_path, content, message):
    with pytest.raises(CheckpointError, match=message):
        load_published(write(tmp_path, content))


def test_entries_that_are_no_tensors_are_refused(tmp_path, published):
    with pytest.raises(CheckpointError) as caught:
        load_published(write(tmp_path, {**published("plain"), "notes": "hello"}))
    assert caught.value.unexpected == ("notes",)


def test_the_word_list_must_be_there(tmp_path, published):
    path = write(tmp_path, published("plain"), words=None)
    with pytest.raises(CheckpointError, match=r"s3d_dict.npy or dict.npy.*or give vocabulary_path"):
        load_published(path)
    elsewhere = tmp_path / "words" / "list.json"
    Vocabulary(WORDS).save(elsewhere)
    assert load_published(path, elsewhere).vocabulary == Vocabulary(WORDS)


def test_a_word_list_of_another_size_is_refused(tmp_path, published):
    path = write(tmp_path, published("plain"), words=("add", "oil"))
    with pytest.raises(CheckpointError, match="has 2 words, the weights have vectors for 3"):
        load_published(path)


def test_a_pickled_word_list_is_refused(tmp_path, published):
    path = write(tmp_path, published("plain"), words=None)
    np.save(tmp_path / "dict.npy", np.array([*WORDS, None], dtype=object), allow_pickle=True)
    with pytest.raises(AnnotationError, match=r"dict\.npy"):
        load_published(path)


class Intruder:
    """Runs a command when it is unpickled carelessly."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("legacy", [False, True])
def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path, published, legacy):
    marker = tmp_path / "it ran"
    path = tmp_path / "weights.pth"
    content = {**published("plain"), "extra": Intruder(marker)}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(CheckpointError, match="refused: it holds more than tensors") as caught:
        load_published(path)
    assert not marker.exists()
    assert "weights_only" not in str(caught.value)
    torch.load(path, weights_only=False)  # the same file is dangerous to a careless reader
    assert marker.exists()


@pytest.mark.parametrize("content", [b"", b"abc", b"\x80\x02.", b"PK\x03\x04" + bytes(200), b"\x80\x02N."])
def test_bytes_that_are_no_checkpoint(tmp_path, content):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"weights\.pth"):
        read_checkpoint(path)


def test_every_cut_of_a_checkpoint_is_refused(tmp_path):
    path = tmp_path / "whole.pth"
    torch.save({"a": torch.arange(50.0)}, path)
    content = path.read_bytes()
    cut = tmp_path / "cut.pth"
    for length in range(0, len(content) - 1, 37):
        cut.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=r"cut\.pth"):
            read_checkpoint(cut)


@pytest.mark.shared
def test_the_truncated_published_file(shared_data):
    path = shared_data / "odd" / "truncated_s3d_howto100m.pth"
    with pytest.raises(CheckpointError, match=r"was the download cut short\? \(327680 bytes"):
        load_published(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(CheckpointError, match="there is no such file"):
        read_checkpoint(tmp_path / "absent.pth")


def test_loading_keeps_what_is_trained_and_what_is_not():
    with torch.device("meta"):
        model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    model[0].bias.requires_grad_(False)
    source = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2)).state_dict()
    load_tensors_strictly(model, source, path=Path("x"))
    assert {n: p.requires_grad for n, p in model.named_parameters()} == {
        "0.weight": True,
        "0.bias": False,
        "1.weight": True,
        "1.bias": True,
    }
    assert torch.equal(model[0].weight, source["0.weight"])


def test_precision_is_the_models_unless_that_of_the_file_is_kept():
    source = {"weight": torch.ones(2, 2, dtype=torch.float16), "bias": torch.ones(2, dtype=torch.int64)}
    for keep_precision, expected in ((False, torch.float32), (True, torch.float16)):
        model = torch.nn.Linear(2, 2)
        load_tensors_strictly(model, source, path=Path("x"), keep_precision=keep_precision)
        assert (model.weight.dtype, model.bias.dtype) == (expected, torch.float32)


PEAK = """
import resource, sys
from pathlib import Path
from narravid.models.checkpoints_files import open_published
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
file = open_published(Path(sys.argv[1]))
assert file.tensors["weight"].sum() == 1000
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory as Linux counts it")
def test_what_nobody_asks_for_costs_no_memory(tmp_path):
    path = tmp_path / "epoch3.pth.tar"
    moments = torch.zeros(50_000_000)  # 200 MB, as of an optimizer
    torch.save({"state_dict": {"weight": torch.ones(1000)}, "optimizer": {"moments": moments}}, path)
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert int(done.stdout) < path.stat().st_size / 4
