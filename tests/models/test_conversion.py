"""Published checkpoint in, model folder out."""

from __future__ import annotations

import hashlib
import json

import pytest
import torch
from safetensors.torch import save_file

import narravid
from models.published_files import S3D_FILE, s3d_tensors, write_published_s3d
from narravid.errors import CheckpointError
from narravid.models.conversion import convert_published


def test_the_folder_opens_as_the_model_of_the_file(tmp_path, generator):
    path = write_published_s3d(tmp_path / "published")
    converted = convert_published(path, tmp_path / "model")
    assert sorted(file.name for file in (tmp_path / "model").iterdir()) == [
        "config.json",
        "model.safetensors",
        "vocabulary.json",
    ]
    original, opened = narravid.load(path), narravid.load(tmp_path / "model")
    assert original.weights_hash == opened.weights_hash == converted.model.weights_hash
    clips = torch.rand(1, 3, 4, 32, 32, generator=generator)
    with torch.inference_mode():
        assert torch.equal(original.encode_video(clips), opened.encode_video(clips))
        assert torch.equal(original.encode_text(["add oil"]), opened.encode_text(["add oil"]))


def test_the_folder_says_where_it_comes_from(tmp_path):
    path = write_published_s3d(tmp_path / "published")
    converted = convert_published(path, tmp_path / "model")
    expected = {
        "file_name": S3D_FILE,
        "num_bytes": path.stat().st_size,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "recognised_as": "S3D text-video network",
    }
    assert json.loads((tmp_path / "model" / "config.json").read_text())["source"] == expected
    assert vars(converted.source) == expected


def test_published_names_in_a_safetensors_file(tmp_path):
    path = write_published_s3d(tmp_path / "published")
    renamed = path.with_suffix(".safetensors")
    save_file({key: tensor.clone() for key, tensor in s3d_tensors().items()}, renamed)
    assert (
        convert_published(renamed, tmp_path / "a").model.weights_hash
        == convert_published(path, tmp_path / "b").model.weights_hash
    )
    renamed.write_bytes(renamed.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match="unreadable; was it cut short"):
        convert_published(renamed, tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_what_training_adds_is_left_behind(tmp_path):
    path = write_published_s3d(tmp_path / "published")
    tensors = s3d_tensors()
    moments = {number: {"exp_avg": torch.zeros(3)} for number in range(4)}
    content = {"epoch": 3, "state_dict": tensors, "best_acc": 0.5, "optimizer": {"state": moments}}
    trained = path.with_name("epoch3.pth.tar")
    torch.save(content, trained)
    assert (
        convert_published(trained, tmp_path / "a").model.weights_hash
        == convert_published(path, tmp_path / "b").model.weights_hash
    )


def test_other_files_are_not_overwritten(tmp_path):
    path = write_published_s3d(tmp_path / "published")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")
    with pytest.raises(ValueError, match="is no model folder"):
        convert_published(path, tmp_path / "notes")
    assert (tmp_path / "notes" / "a.txt").read_text() == "mine"


def test_a_file_within_the_folder_to_be_replaced_is_kept(tmp_path):
    path = write_published_s3d(tmp_path / "published")
    convert_published(path, tmp_path / "model")
    again = write_published_s3d(tmp_path / "model")
    with pytest.raises(ValueError, match="lies in .*; the model needs a folder of its own"):
        convert_published(again, tmp_path / "model")
    assert again.exists()
