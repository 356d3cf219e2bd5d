"""The alignment task: a temporal aligner learns which seconds of a long video a sentence belongs to."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from narravid.batches import WindowBatch
from narravid.distributed import gather, gather_with_gradient, largest
from narravid.losses.alignment_inputs import AlignmentLogits, AlignmentWindows
from narravid.losses.temporal_alignment import TemporalAlignmentLoss
from narravid.models.aligner import TemporalAligner
from narravid.models.aligner_outputs import AlignerEmbeddings, cosines
from narravid.models.momentum import MomentumTwin
from narravid.models.positions import draw_position_start
from narravid.tasks.task import Embeddings, Task

__all__ = ["AlignmentTask"]

BRANCH_AXES = (None, 1, None, 2)
"""Where N stands in what a network gives: dual seconds, dual sentences, joint seconds, joint sentences."""

ALIGNABILITY_AXIS = 2


class AlignmentTask(Task[WindowBatch]):
    """Trains an aligner on windows of videos and the sentences spoken in them.

    Han et al., Temporal Alignment Networks for Long-term Video, CVPR 2022, arXiv 2204.02968, section 3. In
    the first stage windows begin at random positions. The second keeps a moving average of the weights, which
    says where sentences belong if the loss has an `agreement`.

    Args:
        model: The aligner to train.
        loss: Over the global batch.
        random_positions: Whether windows begin at a position that is drawn for each step, the same for all
            items of all processes; otherwise at the first one.
        momentum: Of the moving average of the weights, in [0, 1]; None keeps none.

    Attributes:
        network: The aligner, or the twin of it and its moving average.
        loss: As given.

    Raises:
        ValueError: If the momentum is out of range, or the loss trains a head that the aligner has not.
    """

    def __init__(
        self,
        model: TemporalAligner,
        loss: TemporalAlignmentLoss,
        *,
        random_positions: bool = True,
        momentum: float | None = None,
    ) -> None:
        super().__init__()
        if loss.config.use_alignability_head and not model.config.alignability_head:
            raise ValueError(
                "the loss trains an alignability head, and the aligner has none; give it one with "
                "alignability_head"
            )
        self.network: TemporalAligner | MomentumTwin[TemporalAligner] = model
        if momentum is not None:
            self.network = MomentumTwin(model, momentum=momentum)
        self.loss = loss
        self._random_positions = random_positions
        self._positions_seed = 0

    @property
    def model(self) -> TemporalAligner:
        """The aligner that is trained."""
        return self.network.online if isinstance(self.network, MomentumTwin) else self.network

    def begin_step(self, step: int, *, seed: int) -> None:
        """Settle at which position the windows of this step begin."""
        self._positions_seed = int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0])

    def end_step(self) -> None:
        """Move the average of the weights, where there is one."""
        if isinstance(self.network, MomentumTwin):
            self.network.update()

    def embed(self, batch: WindowBatch) -> Embeddings:
        """Unit vectors of the seconds and sentences of each window, by layer.

        Args:
            batch: B windows of T seconds with up to N sentences.

        Returns:
            Of the dual branch (B, S, T, D) and (B, N, D), of the joint one (B, S', T, D) and (B, S', N, D);
            with the loss of the head its logits (B, S', N); with an agreement that a moving average judges
            the four of its last layers, without a gradient.
        """
        starts = self._position_starts(batch.features.shape[1])
        text = self.model.encode_tokens(batch.tokens)
        embedded = self._encode(self.model, batch, text, starts)
        tensors = [embedded.dual_video, embedded.dual_text, embedded.joint_video, embedded.joint_text]
        if embedded.alignability_joint is not None and self.loss.config.use_alignability_head:
            tensors.append(embedded.alignability_joint)
        if isinstance(self.network, MomentumTwin) and self._twin_judges:
            with torch.no_grad():  # on the sentence embeddings of the network in training, as published
                judge = self._encode(self.network.target, batch, text, starts)
            tensors += [judge.dual_video[:, -1:], judge.dual_text]
            tensors += [judge.joint_video[:, -1:], judge.joint_text[:, -1:]]
        return tuple(tensors)

    def objective(self, embeddings: Embeddings, batch: WindowBatch) -> dict[str, torch.Tensor]:
        """The loss of one batch, over the windows of all processes.

        Args:
            embeddings: As `embed` gives them.
            batch: The windows.

        Returns:
            `loss` and its parts, see `AlignmentLossParts`.
        """
        num_sentences = largest(batch.text_mask.shape[1])
        axes = [*BRANCH_AXES]
        if self.loss.config.use_alignability_head:
            axes.append(ALIGNABILITY_AXIS)
        num_trained = len(axes)
        padded = [
            tensor if axis is None else _padded(tensor, num_sentences, axis=axis)
            for tensor, axis in zip(embeddings, [*axes, *BRANCH_AXES], strict=False)
        ]
        trained = [gather_with_gradient(tensor) for tensor in padded[:num_trained]]
        judging = [gather(tensor.detach()) for tensor in padded[num_trained:]]
        head = trained[len(BRANCH_AXES)] if num_trained > len(BRANCH_AXES) else None
        parts = self.loss.parts(
            AlignmentLogits(cosines(*trained[:2]), cosines(*trained[2:4]), head),
            self._windows(batch, num_sentences, device=trained[0].device),
            target_logits=AlignmentLogits(cosines(*judging[:2]), cosines(*judging[2:])) if judging else None,
        )
        return parts.as_dict()

    @property
    def _twin_judges(self) -> bool:
        return self.loss.config.agreement is not None

    @staticmethod
    def _encode(
        model: TemporalAligner, batch: WindowBatch, text: torch.Tensor, starts: tuple[int, int]
    ) -> AlignerEmbeddings:
        masks = (batch.feature_mask, batch.text_mask)
        return model.encode(batch.features, text, masks=masks, position_starts=starts)

    # What is compiled for the seed of one step fits no other step.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _position_starts(self, num_seconds: int) -> tuple[int, int]:
        """Where the seconds and the sentences begin.

        The sentences' is drawn as that of the seconds: how many sentences there are differs from piece to
        piece of the global batch, and must change nothing.
        """
        if not self._random_positions:
            return 0, 0
        generator = torch.Generator().manual_seed(self._positions_seed)
        first, second = (
            draw_position_start(num_seconds, self.model.max_positions, generator=generator) for _ in range(2)
        )
        return first, second

    @staticmethod
    def _windows(batch: WindowBatch, num_sentences: int, *, device: torch.device) -> AlignmentWindows:
        """Those of all processes, on the device of the embeddings."""
        positives, text_mask, text_positions = (
            gather(_padded(tensor.to(device), num_sentences, axis=1))
            for tensor in (batch.positives, batch.text_mask, batch.text_positions)
        )
        return AlignmentWindows(positives, gather(batch.feature_mask.to(device)), text_mask, text_positions)


def _padded(tensor: torch.Tensor, size: int, *, axis: int) -> torch.Tensor:
    """Filled up with zeros (False) to a size along an axis."""
    missing = size - tensor.shape[axis]
    if missing == 0:
        return tensor
    return F.pad(tensor, [0, 0] * (tensor.ndim - 1 - axis) + [0, missing])
