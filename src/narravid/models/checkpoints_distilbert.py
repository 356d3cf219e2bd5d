"""The published weights of DistilBERT, with which CPD's text tower begins.

Sanh et al., DistilBERT, a distilled version of BERT, arXiv 1910.01108: `distilbert-base-uncased` of
Hugging Face, with `config.json`, `vocab.txt` and `model.safetensors` or `pytorch_model.bin`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from narravid.annotation_files import read_document
from narravid.errors import CheckpointError
from narravid.models.checkpoints_files import load_tensors_strictly, open_published
from narravid.models.cpd_text import DistilBERTTowerConfig
from narravid.models.hugging_face import HUGGING_FACE_PREFIX, fetch_model_folder
from narravid.text.word_pieces import PIECES_FILE, WordPieces

__all__ = ["PublishedDistilBERT", "read_distilbert"]

PREFIX = "distilbert."
HEAD_PREFIX = "vocab_"
"""The layers that guess masked words, which a text tower has no use for."""

POSITION_IDS = "embeddings.position_ids"
"""A constant that some releases of transformers saved."""

WEIGHTS_FILES = ("model.safetensors", "pytorch_model.bin")
SIZES = {
    "num_pieces": "vocab_size",
    "max_positions": "max_position_embeddings",
    "hidden_dim": "dim",
    "feedforward_dim": "hidden_dim",
    "num_layers": "n_layers",
    "num_heads": "n_heads",
}
"""Our name of a size -> the published one."""


@dataclass(frozen=True, slots=True, eq=False)
class PublishedDistilBERT:
    """An encoder of sentences as published.

    Attributes:
        path: The file of its weights.
        sizes: Its shape, by the names of `DistilBERTTowerConfig`.
        pieces: Its word pieces.
        tensors: Its weights.
    """

    path: Path
    sizes: dict[str, int]
    pieces: WordPieces
    tensors: dict[str, torch.Tensor]

    def shape(self, config: DistilBERTTowerConfig) -> DistilBERTTowerConfig:
        """The configuration of a tower with this encoder and the head of another."""
        return replace(config, **self.sizes)  # type: ignore[arg-type]  # sizes only

    def load_into(self, encoder: nn.Module) -> None:
        """Put the weights into the encoder of a tower of this shape.

        Raises:
            CheckpointError: If they do not fit.
        """
        load_tensors_strictly(encoder, self.tensors, path=self.path)


def read_distilbert(folder: str | Path) -> PublishedDistilBERT:
    """Read a published DistilBERT.

    Args:
        folder: The folder, or where it is on Hugging Face: `hf:distilbert/distilbert-base-uncased`.

    Returns:
        Its shape, word pieces and weights.

    Raises:
        CheckpointError: If it cannot be had, lacks a file, or holds something else.
        AnnotationError: If its configuration or list of word pieces has a fault.
    """
    name = str(folder)
    path = fetch_model_folder(name) if name.startswith(HUGGING_FACE_PREFIX) else Path(folder).expanduser()
    present = [path / name for name in WEIGHTS_FILES if (path / name).is_file()]
    if not present:
        raise CheckpointError(path, f"no published DistilBERT: there is no {' and no '.join(WEIGHTS_FILES)}")
    described = read_document(path / "config.json")
    sizes = {ours: described.integer(theirs, at_least=1) for ours, theirs in SIZES.items()}
    pieces = WordPieces.load(path / PIECES_FILE)
    if len(pieces) != sizes["num_pieces"]:
        raise CheckpointError(
            path, f"{PIECES_FILE} has {len(pieces)} word pieces, the weights are for {sizes['num_pieces']}"
        )
    tensors = {
        key.removeprefix(PREFIX): tensor
        for key, tensor in open_published(present[0]).tensors.items()
        if not key.startswith(HEAD_PREFIX)
    }
    tensors.pop(POSITION_IDS, None)
    return PublishedDistilBERT(present[0], sizes, pieces, tensors)
