"""Giving models away: the folder with its card, and Hugging Face, played by a server of this machine.

The library reads its settings once, so that what talks to the server runs in a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import narravid
from hub_server import COMMIT, TOKEN, HubServer, serve_hub
from models.small_models import small_model
from narravid.models.model_card import model_card


def test_a_saved_folder_opens_and_has_a_card(tmp_path, model):
    folder = narravid.save_pretrained(model, tmp_path / "model", licence="MIT")
    assert narravid.load(folder).weights_hash == model.weights_hash
    card = (folder / "README.md").read_text()
    header, _, text = card.removeprefix("---\n").partition("---\n")
    assert "license: mit\n" in header
    assert "library_name: narravid\n" in header
    for fact in (
        "S3DDualEncoder",
        "| family | s3d_dual_encoder |",
        "| fps | 5.0 |",
        "| mean | 0.4, 0.5, 0.6 |",
    ):
        assert fact in text
    assert f"{sum(parameter.numel() for parameter in model.parameters()):,}" in text
    assert model.weights_hash in text
    assert "under the licence MIT" in text
    narravid.save_pretrained(small_model(seed=9), folder)  # a model folder may be replaced
    assert "license: other\n" in (folder / "README.md").read_text()


def test_a_card_says_when_no_licence_is_stated(model):
    assert "No licence is stated for these weights" in model_card(model)


def test_a_thing_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot save a Linear"):
        narravid.save_pretrained(torch.nn.Linear(1, 1), tmp_path / "model")
    assert not (tmp_path / "model").exists()


SCRIPT = """
import json, os, sys
import huggingface_hub
import narravid
from pathlib import Path
from narravid.errors import NarravidError
from narravid.models.transfer import AddressError
from narravid.models.transfer_hugging_face import fetch_hugging_face_file
for line in sys.stdin:
    kind, *words = json.loads(line)
    try:
        if kind == "push":
            said = narravid.push_to_hub(narravid.load(words[0]), words[1], private=True, licence="MIT")
        elif kind == "load":
            said = narravid.load(words[0]).weights_hash
        elif kind == "file":
            fetch_hugging_face_file(words[0], words[1], Path(words[2]))
            said = Path(words[2]).read_text()
        elif kind == "token":
            os.environ["HF_TOKEN"] = said = words[0]
        elif kind == "offline":
            huggingface_hub.constants.HF_HUB_OFFLINE = said = words[0]
    except (NarravidError, AddressError) as error:
        said = f"{type(error).__name__}: {error}"
    print(json.dumps(said), flush=True)
"""


class Talk:
    """A process that does as it is told, one line at a time."""

    def __init__(self, hub: HubServer, home: Path) -> None:
        environment = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
        environment |= {
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(home),
            "HF_TOKEN": TOKEN,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }
        self.hub = hub
        self.process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )

    def __call__(self, *step: object) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(step) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    with serve_hub() as hub:
        talk = Talk(hub, tmp_path_factory.mktemp("home"))
        yield talk
        talk.process.communicate(timeout=60)
    assert talk.process.returncode == 0


@pytest.mark.slow
def test_what_is_pushed_can_be_loaded_by_name_also_without_a_connection(talk, tmp_path, model):
    narravid.save_pretrained(model, tmp_path / "model")
    commit = talk("push", str(tmp_path / "model"), "somebody/toy")
    assert commit == f"{talk.hub.url}/somebody/toy/commit/{COMMIT}"
    for name in ("hf:somebody/toy", "hf:somebody/toy@main"):
        assert talk("load", name) == model.weights_hash
    files = talk.hub.repositories["somebody/toy"]
    assert {"README.md", "config.json", "model.safetensors", "vocabulary.json"} <= set(files)
    assert b"license: mit" in files["README.md"]
    assert b'narravid.load("hf:somebody/toy")' in files["README.md"]
    assert "somebody/toy" in talk.hub.private
    num_requests = len(talk.hub.requests)
    talk("offline", True)
    assert talk("load", "hf:somebody/toy") == model.weights_hash
    said = talk("load", "hf:somebody/never-seen")
    assert said.startswith("CheckpointError: hf:somebody/never-seen: cannot be fetched: ")
    assert len(talk.hub.requests) == num_requests
    talk("offline", False)


MISTAKES = [
    ("hf:somebody/absent", "no such repository on Hugging Face, or a private one"),
    ("hf:somebody/other", "holds no model folder of Narravid"),
    ("hf:somebody/gated", "its owner asks for an account"),
    ("hf:somebody/broken", "unreadable; was it cut short?"),
    ("hf:somebody", "expected hf:organisation/name"),
    ("hf:some body/toy", "hf:some body/toy: "),
]


@pytest.mark.parametrize(("name", "message"), MISTAKES)
def test_what_cannot_be_loaded_says_why(talk, tmp_path, model, name, message):
    narravid.save_pretrained(model, tmp_path / "model")
    whole = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    talk.hub.repositories["somebody/other"] = {
        "weights.bin": b"x",
        "model-00001-of-00030.safetensors": b"x",
        "config.json": b"{}",
    }
    talk.hub.repositories["somebody/gated"] = {"config.json": b"{}"}
    talk.hub.gated.add("somebody/gated")
    talk.hub.repositories["somebody/broken"] = {**whole, "model.safetensors": b"cut"}
    said = talk("load", name)
    assert message in said
    assert "\n" not in said
    assert not any("weights.bin" in request or "00001" in request for request in talk.hub.requests)


def test_what_cannot_be_pushed_says_why(talk, tmp_path, model):
    narravid.save_pretrained(model, tmp_path / "model")
    folder = str(tmp_path / "model")
    assert "some body/toy could not be put on Hugging Face: " in talk("push", folder, "some body/toy")
    talk("token", "hf_wrong")
    assert "a/b could not be put on Hugging Face: " in talk("push", folder, "a/b")
    talk("token", TOKEN)
    assert "a/b" not in talk.hub.repositories


def test_one_file_of_a_repository(talk, tmp_path):
    talk.hub.repositories["somebody/weights"] = {"folder/vocab.txt": b"a word", "unused.pth": b"x"}
    talk.hub.repositories["somebody/gated"] = {"vocab.txt": b"x"}
    talk.hub.gated.add("somebody/gated")
    part = str(tmp_path / "part")
    assert talk("file", "somebody/weights", "folder/vocab.txt", part) == "a word"
    assert [path.name for path in tmp_path.iterdir()] == ["part"]
    assert "its owner asks for an account" in talk("file", "somebody/gated", "vocab.txt", part)
    for repository, name in (("somebody/weights", "absent.txt"), ("somebody/absent", "vocab.txt")):
        said = talk("file", repository, name, part)
        assert said.startswith("AddressError: ")
        assert "404" in said
