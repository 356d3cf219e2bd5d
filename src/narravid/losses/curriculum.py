"""When the text encoder joins the training of CPD."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["TextEncoderCurriculum"]


@dataclass(frozen=True)
class TextEncoderCurriculum:
    """First only the video side learns, then the pretrained text encoder is fine-tuned with it.

    The curriculum of Li & Wang, Learning Spatiotemporal Features via Video and Text Pair Discrimination,
    arXiv 2001.05691. A rule without state: a trainer asks it at the start of each epoch.

    Attributes:
        frozen_epochs: Epochs, counted from 0, before the text encoder learns (`ft_bert_ep` of the published
            program). 0 trains it from the start.
        learning_rate: Of the text encoder from then on, > 0.

    Raises:
        ValueError: If a value is out of range.
    """

    frozen_epochs: int = 150
    learning_rate: float = 3e-5

    def __post_init__(self) -> None:
        if self.frozen_epochs < 0:
            raise ValueError(f"frozen_epochs must be at least 0, got {self.frozen_epochs}")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")

    def is_frozen(self, epoch: int) -> bool:
        """Whether the text encoder takes no gradient in this epoch (>= 0)."""
        return epoch < self.frozen_epochs

    def learning_rate_at(self, epoch: int) -> float:
        """Learning rate of the text encoder in this epoch: 0 while it is frozen."""
        return 0.0 if self.is_frozen(epoch) else self.learning_rate
