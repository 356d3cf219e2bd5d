"""The dual encoder that a run begins with: random weights and words of the captions, or one that is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self, cast

import torch
from torch import nn

from narravid.errors import CheckpointError
from narravid.models.hub import save_model
from narravid.models.kinds import load_pixel_dual_encoder
from narravid.protocols import Model
from narravid.recipes.narrated import TrainableDualEncoder
from narravid.text.words import Vocabulary

__all__ = ["INITIAL_FOLDER", "StartingPoint"]

VOCABULARY_NAME = "vocabulary.json"
Build = Callable[[Vocabulary], TrainableDualEncoder]
"""Makes a dual encoder with random weights for some words."""

INITIAL_FOLDER = "initial_model"
"""The weights that a run was begun with, in its folder, so that it goes on wherever they came from."""


@dataclass(frozen=True, slots=True)
class StartingPoint:
    """A dual encoder as a run begins with it.

    Attributes:
        model: The dual encoder.
        vocabulary: Its words where they were found for this run; None where the model brought its own.
    """

    model: TrainableDualEncoder
    vocabulary: Vocabulary | None

    @classmethod
    def random(cls, vocabulary: Vocabulary, build: Build) -> Self:
        """Random weights for the words that were found for this run."""
        return cls(build(vocabulary), vocabulary)

    @classmethod
    def of_weights(cls, init: str | Path, *, device: torch.device) -> Self:
        """What `narravid.load` gives for a name or path.

        Raises:
            CheckpointError: If it gives no dual encoder of pixels that can be trained.
        """
        model = load_pixel_dual_encoder(init, device=device)
        if not isinstance(model, TrainableDualEncoder) or not isinstance(model, nn.Module):
            raise CheckpointError(
                init,
                f"a {type(model).__name__} cannot learn from captions: it lacks tokenizer or encode_tokens",
            )
        return cls(model, None)

    @classmethod
    def of_run(cls, run: Path, build: Build, *, init: str | None, device: torch.device) -> Self:
        """What a run was begun with, from its folder.

        Raises:
            NarravidError: If the folder lacks it.
        """
        if init is not None:
            return cls.of_weights(run / INITIAL_FOLDER, device=device)
        return cls.random(Vocabulary.load(run / VOCABULARY_NAME), build)

    def save(self, run: Path) -> None:
        """Write what `of_run` needs into a run folder."""
        if self.vocabulary is not None:
            self.vocabulary.save(run / VOCABULARY_NAME)
        else:
            save_model(cast(Model, self.model), run / INITIAL_FOLDER)
