"""Published text encoders of DistilBERT: both kinds of files, the guessing head left out, faults named."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from models.small_cpd import PIECES, small_cpd
from narravid.errors import AnnotationError, CheckpointError
from narravid.models.checkpoints_distilbert import read_distilbert
from narravid.models.cpd_text import DistilBERTTower, DistilBERTTowerConfig

CONFIG = {
    "vocab_size": len(PIECES),
    "max_position_embeddings": 12,
    "dim": 24,
    "hidden_dim": 20,
    "n_layers": 2,
    "n_heads": 12,
    "model_type": "distilbert",
}


@pytest.fixture
def encoder():
    return small_cpd().text.encoder


@pytest.fixture
def folder(tmp_path, encoder):
    """As published: with the layers that guess masked words, and a constant."""
    tensors = {f"distilbert.{key}": value for key, value in encoder.state_dict().items()}
    tensors |= {"vocab_projector.bias": torch.zeros(len(PIECES)), "vocab_layer_norm.weight": torch.ones(24)}
    tensors["distilbert.embeddings.position_ids"] = torch.arange(12)[None]
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    PIECES.save(tmp_path / "vocab.txt")
    return tmp_path


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_an_encoder_is_read_with_its_shape_and_pieces(folder, encoder, kind):
    if kind == "bin":
        (folder / "model.safetensors").unlink()
        torch.save(encoder.state_dict(), folder / "pytorch_model.bin")
    published = read_distilbert(str(folder))
    assert published.pieces == PIECES
    shape = published.shape(DistilBERTTowerConfig(head_dim=7, embed_dim=3))
    assert (shape.hidden_dim, shape.feedforward_dim, shape.num_layers, shape.num_heads) == (24, 20, 2, 12)
    assert (shape.num_pieces, shape.max_positions, shape.head_dim, shape.embed_dim) == (11, 12, 7, 3)
    tower = DistilBERTTower(shape)
    published.load_into(tower.encoder)
    tokens = torch.tensor([[2, 4, 5, 3, 0]])
    with torch.inference_mode():
        expected = encoder(input_ids=tokens).last_hidden_state
        assert torch.equal(tower.eval().hidden_states(tokens), expected)


def test_faults_are_named(folder, tmp_path):
    with pytest.raises(CheckpointError, match=r"there is no model\.safetensors and no pytorch_model\.bin"):
        read_distilbert(tmp_path / "none")
    (folder / "config.json").write_text(json.dumps(CONFIG | {"vocab_size": 12}))
    with pytest.raises(CheckpointError, match=r"vocab\.txt has 11 word pieces, the weights are for 12"):
        read_distilbert(folder)
    (folder / "config.json").write_text(json.dumps(CONFIG | {"n_layers": 3}))
    published = read_distilbert(folder)
    tower = DistilBERTTower(published.shape(DistilBERTTowerConfig()))
    with pytest.raises(CheckpointError, match=r"missing.*layer\.2"):
        published.load_into(tower.encoder)
    (folder / "config.json").write_text("{}")
    with pytest.raises(AnnotationError, match="vocab_size"):
        read_distilbert(folder)
