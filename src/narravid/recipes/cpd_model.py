"""The dual encoder that a run of CPD's pre-training begins with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch

from narravid.models.checkpoints_distilbert import PublishedDistilBERT, read_distilbert
from narravid.models.cpd import CPDConfig, CPDDualEncoder
from narravid.recipes.cpd_config import CPDModelConfig
from narravid.text.word_pieces import WordPieces

__all__ = ["build_cpd_model"]


def build_cpd_model(config: CPDModelConfig, captions: Iterable[str], *, seed: int) -> CPDDualEncoder:
    """A new dual encoder: random weights, but for the text encoder where published ones are given.

    Args:
        config: Its shape.
        captions: Give the word pieces where there is no list of them.
        seed: Seed of the weights; the caller's own random state is left as it was.

    Raises:
        CheckpointError: If the published text encoder cannot be had or does not fit.
        AnnotationError: If the list of word pieces has a fault.
        ValueError: If the sizes contradict each other.
    """
    published = None if config.text_init is None else read_distilbert(config.text_init)
    pieces = _pieces(config, published, captions)
    text = replace(config.text, num_pieces=len(pieces)) if published is None else published.shape(config.text)
    whole = CPDConfig(
        video=config.video,
        text=text,
        clip_spec=config.clip_spec,
        max_tokens=config.max_tokens,
        dropout=config.dropout,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CPDDualEncoder(whole, pieces)
    if published is not None:
        published.load_into(model.text.encoder)
    return model


def _pieces(
    config: CPDModelConfig, published: PublishedDistilBERT | None, captions: Iterable[str]
) -> WordPieces:
    if published is not None:
        return published.pieces
    if config.word_pieces is not None:
        return WordPieces.load(config.word_pieces)
    return WordPieces.from_texts(captions)
