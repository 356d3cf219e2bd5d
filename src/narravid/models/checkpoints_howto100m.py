"""The published HowTo100M joint embedding: key names, sizes, and where its word vectors are looked for.

The file is a flat dictionary of `text_pooling.*`, `GU_text.*` and `GU_video.*`. Its word vectors, word2vec's
GoogleNews, are published by others, so a checkpoint may be opened without them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from narravid.errors import CheckpointError
from narravid.models.checkpoints_files import PublishedFamily, PublishedFile, load_tensors_strictly
from narravid.models.gated_embedding import GatedDualEncoder, GatedDualEncoderConfig
from narravid.text.word_vectors import WordVectors, load_word_vectors, read_word2vec
from narravid.text.words import Vocabulary
from narravid.types import FeatureSpec

__all__ = ["HOWTO100M_FAMILY", "published_howto100m_state_dict"]

KEY_MAP = {
    "text.fc.": "text_pooling.fc.",
    "text.unit.gating.": "GU_text.cg.",
    "text.unit.": "GU_text.",
    "video.gating.": "GU_video.cg.",
    "video.": "GU_video.",
}
"""Start of a key here -> start of the published key; the first that fits counts."""

SENTENCE_KEY, TEXT_KEY, VIDEO_KEY = "text_pooling.fc.weight", "GU_text.fc.weight", "GU_video.fc.weight"

GOOGLE_NEWS_NAMES = ("GoogleNews-vectors-negative300.bin", "GoogleNews-vectors-negative300.bin.gz")
WORD_LIST_NAME, TABLE_NAME = "dict.npy", "word2vec.pth"
"""What MIL-NCE publishes: the words of HowTo100M's captions and their GoogleNews vectors."""


def _recognises(tensors: Mapping[str, torch.Tensor]) -> bool:
    return {SENTENCE_KEY, TEXT_KEY, VIDEO_KEY} <= tensors.keys()


def _build(file: PublishedFile) -> GatedDualEncoder:
    """The feature dual encoder of a HowTo100M file, with word vectors if some are given or lie beside it.

    It reads 20 words as written, as the published evaluation does.
    """
    with torch.device("meta"):  # no time spent on initial values that are replaced at once
        model = GatedDualEncoder(_config_of(file))
    ours = {_published_key(key): key for key in model.state_dict()}
    load_tensors_strictly(model, file.tensors, path=file.path, names=ours)
    words = _find_words(file)
    if words is not None:
        try:
            model.attach_words(words)
        except ValueError as error:
            raise CheckpointError(file.path, str(error)) from error
    return model.eval()


HOWTO100M_FAMILY = PublishedFamily("HowTo100M joint embedding of features and text", _recognises, _build)


def published_howto100m_state_dict(model: GatedDualEncoder) -> dict[str, torch.Tensor]:
    """The model's tensors under their published names and in the published order, word vectors left out."""
    return {_published_key(key): tensor for key, tensor in model.state_dict().items() if key != "word_table"}


def _published_key(key: str) -> str:
    start = next(start for start in KEY_MAP if key.startswith(start))
    return KEY_MAP[start] + key.removeprefix(start)


def _config_of(file: PublishedFile) -> GatedDualEncoderConfig:
    sentence, text, video = (file.tensors[key] for key in (SENTENCE_KEY, TEXT_KEY, VIDEO_KEY))
    if not sentence.ndim == text.ndim == video.ndim == 2:
        raise CheckpointError(file.path, f"expected matrices for {SENTENCE_KEY}, {TEXT_KEY}, {VIDEO_KEY}")
    default = GatedDualEncoderConfig()
    half, odd = divmod(video.shape[1], 2)
    if odd:
        raise CheckpointError(
            file.path,
            f"{VIDEO_KEY} takes {video.shape[1]} features; two of one size side by side were expected",
        )
    return GatedDualEncoderConfig(
        feature_spec=FeatureSpec(default.feature_spec.extractors, (half, half)),
        word_dim=sentence.shape[1],
        sentence_dim=sentence.shape[0],
        embed_dim=video.shape[0],
    )


def _find_words(file: PublishedFile) -> WordVectors | None:
    """The word vectors given or beside the file: word2vec's binary, or a word list with its table."""
    if file.asset_path is not None:
        if file.asset_path.suffix in (".bin", ".gz"):
            return read_word2vec(file.asset_path)
        return _table_of(file.asset_path, file.asset_path.parent / TABLE_NAME)
    folder = file.path.parent
    word_list = folder / WORD_LIST_NAME
    if word_list.is_file() and (folder / TABLE_NAME).is_file():
        return _table_of(word_list, folder / TABLE_NAME)
    for name in GOOGLE_NEWS_NAMES:
        if (folder / name).is_file():
            wanted = Vocabulary.load(word_list) if word_list.is_file() else None
            return read_word2vec(folder / name, wanted)
    return None


def _table_of(word_list: Path, table: Path) -> WordVectors:
    vocabulary = Vocabulary.load(word_list)
    return WordVectors(vocabulary, load_word_vectors(table, vocabulary))
