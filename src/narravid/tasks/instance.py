"""CPD's pre-training task: a dual encoder that tells each sample of the data set from all others."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from narravid.batches import CaptionedBatch
from narravid.losses import MemoryBank, MemoryBankNCELoss
from narravid.tasks.task import Embeddings, Task

__all__ = ["InstanceTask"]


class InstanceTask(Task[CaptionedBatch]):
    """Recognises the caption of each clip, and the clip of each caption, among samples drawn from memory.

    Li & Wang, Learning Spatiotemporal Features via Video and Text Pair Discrimination, arXiv 2001.05691. The
    memory is refreshed once in each step, in `end_step`, in however many pieces the batch was scored.

    Args:
        model: The dual encoder to train, with `encode_video`, `encode_tokens` and `embed_dim`.
        bank: The memory, with a row for each sample of the training set; part of the task's state.
        num_negatives: K, samples drawn for each clip and each caption; 16,392 as published for 300,000.
        temperature: Divides the cosines.

    Raises:
        ValueError: If the model lacks something, or bank and model differ in size.
    """

    def __init__(
        self,
        model: nn.Module,
        bank: MemoryBank,
        *,
        num_negatives: int = 16_392,
        temperature: float = 0.07,
    ) -> None:
        super().__init__()
        missing = [
            name for name in ("encode_video", "encode_tokens", "embed_dim") if not hasattr(model, name)
        ]
        if missing:
            raise ValueError(
                f"{type(model).__name__} cannot be trained by discrimination: it has no {missing}"
            )
        if num_negatives < 1:
            raise ValueError(f"num_negatives must be at least 1, got {num_negatives}")
        if bank.video_memory.shape[1] != model.embed_dim:
            raise ValueError(
                f"the memory bank is {bank.video_memory.shape[1]} wide, the model's embeddings"
                f" {model.embed_dim}"
            )
        self.model = model
        self.loss = MemoryBankNCELoss(bank, temperature=temperature, deferred=True)
        self._num_negatives = num_negatives
        self._noise = torch.Generator()
        self.begin_step(0, seed=0)

    def begin_step(self, step: int, *, seed: int) -> None:
        """Draw the noise of this step from its own stream, the same on every process."""
        state = np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)
        self._noise.manual_seed(int(state[0]))
        self.loss.forget()

    def embed(self, batch: CaptionedBatch) -> Embeddings:
        """Embeddings of the clips and of their captions, both (B, D)."""
        video: torch.Tensor = self.model.encode_video(batch.clips)  # type: ignore[operator]
        text: torch.Tensor = self.model.encode_tokens(batch.tokens)  # type: ignore[operator]
        return video, text

    def objective(self, embeddings: Embeddings, batch: CaptionedBatch) -> dict[str, torch.Tensor]:
        """The loss of one batch against the memory.

        Args:
            embeddings: As `embed` gives them.
            batch: B clips with one caption each.

        Returns:
            `loss`: () float32, the objective over the batches of all processes; the four terms that it is the
            sum of, detached.
        """
        video, text = embeddings
        negatives = self.loss.draw_negatives(
            len(video), num_negatives=self._num_negatives, generator=self._noise
        )
        parts = self.loss.parts(video, text, batch.indices.to(video.device), negatives=negatives)
        return {
            "loss": parts.loss,
            "video_positive": parts.video_positive.detach(),
            "video_negative": parts.video_negative.detach(),
            "text_positive": parts.text_positive.detach(),
            "text_negative": parts.text_negative.detach(),
        }

    def end_step(self) -> None:
        """Refresh the memory with what the step has embedded."""
        self.loss.remember()
