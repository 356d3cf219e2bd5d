"""Model folders: what is written comes back bit for bit, and damage of any part is noticed."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import narravid
from models.small_aligners import small_aligner
from models.small_cpd import small_cpd, small_extractor
from models.small_models import small_config, small_model
from models.small_viclip import small_viclip
from narravid.errors import AnnotationError, CheckpointError, ConfigError
from narravid.models.hub import save_model


@pytest.fixture
def folder(tmp_path: Path, model) -> Path:
    save_model(model, tmp_path / "model")
    return tmp_path / "model"


def edit_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("temperature", [None, 0.07])
def test_a_saved_model_comes_back_bit_for_bit(tmp_path, temperature, generator):
    model = small_model(small_config(temperature=temperature, similarity="cosine", stem="plain"))
    save_model(model.train(), tmp_path / "deep" / "model")
    opened = narravid.load(tmp_path / "deep" / "model")
    assert not opened.training
    assert opened.config == model.config
    assert opened.vocabulary == model.vocabulary
    assert opened.weights_hash == model.weights_hash
    saved, read = model.state_dict(), opened.state_dict()
    assert list(saved) == list(read)
    assert all(torch.equal(saved[key], read[key]) for key in saved)
    trained = [p.requires_grad for p in model.parameters()]
    assert [p.requires_grad for p in opened.parameters()] == trained
    clips = torch.randint(0, 256, (2, 3, 4, 16, 16), generator=generator, dtype=torch.uint8)
    model.eval()
    with torch.inference_mode():
        assert torch.equal(model.encode_video(clips), opened.encode_video(clips))
        assert torch.equal(model.encode_text(["add oil"]), opened.encode_text(["add oil"]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_model_keeps_its_precision(tmp_path, dtype):
    model = small_model(small_config()).to(dtype)
    save_model(model, tmp_path / "model")
    opened = narravid.load(tmp_path / "model")
    assert opened.weights_hash == model.weights_hash
    saved, read = model.state_dict(), opened.state_dict()
    assert {key: tensor.dtype for key, tensor in read.items()} == {
        key: tensor.dtype for key, tensor in saved.items()
    }
    assert all(torch.equal(saved[key], read[key]) for key in saved)


def test_the_folder_holds_three_files_and_nothing_is_left_beside_it(folder):
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "model.safetensors",
        "vocabulary.json",
    ]
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_a_run_folder_gives_its_model(folder, model):
    (folder.parent / "config.json").write_text("{}")
    assert narravid.load(str(folder.parent)).weights_hash == model.weights_hash


def test_saving_again_replaces(folder):
    other = small_model(seed=9)
    save_model(other, folder)
    assert narravid.load(folder).weights_hash == other.weights_hash
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_a_folder_of_other_things_is_not_replaced(tmp_path, model):
    (tmp_path / "holiday.jpg").write_text("x")
    with pytest.raises(ValueError, match="is no model folder"):
        save_model(model, tmp_path)
    assert (tmp_path / "holiday.jpg").exists()


def test_a_failed_save_leaves_the_old_model(folder, model, monkeypatch):
    def full_disk(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("narravid.models.hub.write_json", full_disk)
    with pytest.raises(OSError, match="no space"):
        save_model(small_model(seed=9), folder)
    assert narravid.load(folder).weights_hash == model.weights_hash
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


KILLED_WHILE_SAVING = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from models.small_models import small_model
from narravid.models import hub, registry

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

hub.write_json = die
hub.save_model(small_model(seed=9), Path(sys.argv[1]))
"""


def test_a_killed_save_leaves_the_old_model(folder, model):
    tests = Path(__file__).resolve().parent.parent
    done = subprocess.run(
        [sys.executable, "-c", KILLED_WHILE_SAVING, str(folder), str(tests)], check=False, timeout=60
    )
    assert done.returncode == -signal.SIGKILL
    assert narravid.load(folder).weights_hash == model.weights_hash


def test_a_model_that_a_killed_save_had_set_aside_is_named(folder):
    folder.rename(folder.with_name(".model.77.previous"))
    for path in (folder, folder.parent):
        with pytest.raises(CheckpointError, match=r"a save was killed .*\.model\.77\.previous, to model"):
            narravid.load(path)


def test_all_files_may_be_read_by_whom_the_umask_says(folder):
    assert len({path.stat().st_mode for path in folder.iterdir()}) == 1


def test_nothing_at_the_path(tmp_path):
    with pytest.raises(CheckpointError, match="no such file or folder"):
        narravid.load(tmp_path / "absent")
    with pytest.raises(CheckpointError, match="neither a model folder"):
        narravid.load(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "vocabulary.json"])
def test_a_missing_part(folder, name):
    (folder / name).unlink()
    with pytest.raises((CheckpointError, AnnotationError), match=re.escape(name)):
        narravid.load(folder)


@pytest.mark.parametrize("length", [0, 5, 100, 2000])
def test_cut_weights(folder, length):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(CheckpointError, match="unreadable; was it cut short"):
        narravid.load(folder)


def test_weights_of_another_model_are_noticed(folder, tmp_path):
    save_model(small_model(seed=9), tmp_path / "other")
    shutil.copy(tmp_path / "other" / "model.safetensors", folder)
    with pytest.raises(CheckpointError, match="do not belong together"):
        narravid.load(folder)


def test_weights_of_another_network_are_listed(folder, tmp_path):
    save_model(small_model(small_config(temperature=0.1)), tmp_path / "other")
    shutil.copy(tmp_path / "other" / "model.safetensors", folder)
    with pytest.raises(CheckpointError) as caught:
        narravid.load(folder)
    assert caught.value.unexpected == ("log_scale",)


def test_words_of_another_model_are_noticed(folder):
    path = folder / "vocabulary.json"
    words = json.loads(path.read_text())
    path.write_text(json.dumps(words[::-1]))
    with pytest.raises(CheckpointError, match="do not belong together"):
        narravid.load(folder)
    path.write_text(json.dumps([*words, "pour"]))
    with pytest.raises(CheckpointError, match="7 words"):
        narravid.load(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "something"}, "not the configuration of a model folder"),
        ({"format_version": 2}, "format version 2"),
        ({"family": "resnet"}, "unknown family 'resnet'; known are: s3d_dual_encoder"),
    ],
)
def test_configurations_of_other_programs(folder, changes, message):
    edit_config(folder, **changes)
    with pytest.raises(CheckpointError, match=message):
        narravid.load(folder)


def test_a_wrong_entry_of_the_configuration_is_named(folder):
    config = json.loads((folder / "config.json").read_text())["config"]
    edit_config(folder, config={**config, "max_word": 3})
    with pytest.raises(ConfigError, match="did you mean 'max_words'"):
        narravid.load(folder)
    edit_config(folder, config={**config, "max_words": "many"})
    with pytest.raises(ConfigError, match="max_words"):
        narravid.load(folder)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 200_000])
def test_a_broken_configuration(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        narravid.load(folder)


@pytest.mark.parametrize("changes", [{"family": []}, {"family": {}}, {"config": None}, {"config": [3]}])
def test_entries_of_another_kind(folder, changes):
    edit_config(folder, **changes)
    with pytest.raises(CheckpointError, match=r"unknown family|config must be an object"):
        narravid.load(folder)


LARGE = 8_000_000_000


@pytest.mark.parametrize(
    ("make", "place"),
    [
        (small_aligner, ("num_encoder_layers",)),
        (small_aligner, ("embed_dim",)),
        (small_viclip, ("text", "num_layers")),
        (small_cpd, ("text", "num_layers")),
        (small_cpd, ("text", "max_positions")),
        (small_cpd, ("video", "stem_channels")),
        (small_extractor, ("video", "num_blocks")),
    ],
)
@pytest.mark.parametrize("size", [LARGE, 20_000])
def test_no_network_is_built_that_its_weights_cannot_fill(tmp_path, make, place, size):
    save_model(make(), tmp_path / "model")
    described = json.loads((tmp_path / "model" / "config.json").read_text())
    entry = described["config"]
    for key in place[:-1]:
        entry = entry[key]
    entry[place[-1]] = [size] * 4 if place[-1] == "num_blocks" else size
    edit_config(tmp_path / "model", config=described["config"])
    started = time.monotonic()
    with pytest.raises(CheckpointError, match=f"{place[-1]}.*tensors in|wrong shape|Storage size"):
        narravid.load(tmp_path / "model")
    assert time.monotonic() - started < 5


def test_incomplete_configuration(folder):
    path = folder / "config.json"
    described = json.loads(path.read_text())
    del described["weights_hash"]
    path.write_text(json.dumps(described))
    with pytest.raises(CheckpointError, match="weights_hash"):
        narravid.load(folder)
