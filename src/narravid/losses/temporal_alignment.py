"""The objective of the temporal aligner: which second of a long video does a sentence belong to."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from narravid.config import check_choices
from narravid.losses.alignability import alignability_labels, alignability_loss, best_scored_texts
from narravid.losses.alignment_inputs import AlignmentLogits, AlignmentWindows, check_alignment
from narravid.losses.logits import check_logits
from narravid.losses.temporal_agreement import AgreementType, agreement_target

__all__ = [
    "AlignmentLogits",
    "AlignmentLossParts",
    "AlignmentWindows",
    "TemporalAlignmentConfig",
    "TemporalAlignmentLoss",
]


@dataclass(frozen=True)
class TemporalAlignmentConfig:
    """What the loss of the temporal aligner consists of; the defaults are the published first stage.

    The published second stage is `loss_threshold=0.5`, optionally with `agreement="keep"` and the logits of
    the averaged twin.

    Attributes:
        temperature: Divides the cosines, > 0.
        loss_threshold: Share of the texts that the contrastive terms train on, those that both branches score
            best; 0 for all of them.
        agreement: How texts are moved to where both branches agree (`agreement_target`); None leaves them at
            the times of the speech.
        use_alignability_head: Whether to add the loss of the alignability head.
        alignability_layer: Layer of the joint branch that the head is read from; negative ones count from the
            last.
        optim_policy: "default" trains on everything, "bce" on the alignability head alone.
        count_padded_seconds: Whether padded seconds of a video take part as negatives, as published.

    Raises:
        ValueError: If a value is out of range, or "bce" is chosen without the head.
    """

    temperature: float = 0.07
    loss_threshold: float = 0.0
    agreement: AgreementType | None = None
    use_alignability_head: bool = False
    alignability_layer: int = 2
    optim_policy: Literal["default", "bce"] = "default"
    count_padded_seconds: bool = True

    def __post_init__(self) -> None:
        check_choices(self)
        if self.agreement not in (None, "keep", "keep-joint", "intersection", "union"):
            raise ValueError(
                "agreement must be None, 'keep', 'keep-joint', 'intersection' or 'union', "
                f"got {self.agreement!r}"
            )
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(f"temperature must be positive, got {self.temperature}")
        if not 0 <= self.loss_threshold < 1:
            raise ValueError(f"loss_threshold must lie in [0, 1), got {self.loss_threshold}")
        if self.optim_policy == "bce" and not self.use_alignability_head:
            raise ValueError("optim_policy='bce' trains the alignability head: set use_alignability_head")


@dataclass(frozen=True, slots=True)
class AlignmentLossParts:
    """The loss and what it is made of; all but `loss` are for logging.

    Attributes:
        loss: () the objective.
        dual: () contrastive loss of the dual branch, over the texts below the threshold.
        joint: () the same of the joint branch.
        dual_all: () contrastive loss of the dual branch over all texts; equal to `dual` without a threshold.
        joint_all: () the same of the joint branch.
        alignability: () loss of the head, None without it.
        alignability_accuracy: () in [0, 1], share of decided texts that the head gets right; NaN when none is
            decided, None without the head.
        confident_share: () in [0, 1], share of texts on which both branches agree with confidence; None
            without agreement.
        kept_share: () in [0, 1], share of texts that the threshold keeps; None without one.
    """

    loss: torch.Tensor
    dual: torch.Tensor
    joint: torch.Tensor
    dual_all: torch.Tensor
    joint_all: torch.Tensor
    alignability: torch.Tensor | None = None
    alignability_accuracy: torch.Tensor | None = None
    confident_share: torch.Tensor | None = None
    kept_share: torch.Tensor | None = None

    def as_dict(self) -> dict[str, torch.Tensor]:
        """By name, without what is None; everything detached but `loss`."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {
            name: value if name == "loss" else value.detach()
            for name, value in values.items()
            if value is not None
        }


class TemporalAlignmentLoss(nn.Module):
    """Multiple-instance contrast of every second with every sentence of a batch of long videos.

    Han et al., Temporal Alignment Networks for Long-term Video, CVPR 2022, arXiv 2204.02968, section 3. With
    x = cosine / temperature, positives being the seconds of a text in its own video, and per layer

        row term of a second = logsumexp over all texts of x - logsumexp over its positive texts
        column term of a text = logsumexp over all seconds of x - logsumexp over its positive seconds

    a branch's loss is half the mean of the row terms plus half the mean of the column terms, over layers and
    over the seconds and texts that have positives; the contrastive loss is the mean of the two branches. A
    threshold restricts the means to the kept texts and to seconds with a kept positive. The alignability loss
    is added. Whatever finds nothing to average contributes 0 with a gradient of 0.

    Args:
        config: What takes part.
    """

    def __init__(self, config: TemporalAlignmentConfig | None = None) -> None:
        super().__init__()
        self.config = TemporalAlignmentConfig() if config is None else config

    def forward(
        self,
        logits: AlignmentLogits,
        windows: AlignmentWindows,
        *,
        target_logits: AlignmentLogits | None = None,
    ) -> torch.Tensor:
        """The loss of one batch.

        Args:
            logits: Cosines of the network in training. Nothing here is changed.
            windows: When each text is spoken, and what is real.
            target_logits: Cosines of the averaged twin, from which the agreement is read; None reads it from
                `logits`. Gets no gradient.

        Returns:
            () float32, also for half-precision inputs and under autocast; float64 for float64 inputs.

        Raises:
            ValueError: If the shapes do not fit, the alignability head or its layer is missing, or a cosine
                over the temperature is NaN or beyond ±1e4.
        """
        return self.parts(logits, windows, target_logits=target_logits).loss

    def parts(
        self,
        logits: AlignmentLogits,
        windows: AlignmentWindows,
        *,
        target_logits: AlignmentLogits | None = None,
    ) -> AlignmentLossParts:
        """The same with its terms, for logging.

        Args:
            logits: As in `forward`.
            windows: As in `forward`.
            target_logits: As in `forward`.

        Returns:
            All of it; `.loss` is what `forward` returns.

        Raises:
            ValueError: As in `forward`.
        """
        head_layer = self.config.alignability_layer if self.config.use_alignability_head else None
        check_alignment(logits, windows, target_logits, head_layer=head_layer)
        with torch.autocast(logits.dual.device.type, enabled=False):
            return self._parts(logits, windows, target_logits)

    def _parts(
        self, logits: AlignmentLogits, windows: AlignmentWindows, target_logits: AlignmentLogits | None
    ) -> AlignmentLossParts:
        config = self.config
        branches = [self._scaled(name, getattr(logits, name)) for name in ("dual", "joint")]
        valid = windows.text_mask
        positives = windows.positives & valid[..., None]
        confident_share = None
        if config.agreement is not None:
            source = logits if target_logits is None else target_logits
            dual, joint = (
                _within_videos(self._scaled(name, getattr(source, name)[:, -1:]).detach())[:, 0]
                for name in ("dual", "joint")
            )
            agreed = agreement_target(
                (dual, joint),
                positives,
                video_mask=windows.video_mask,
                text_mask=windows.text_mask,
                agreement=config.agreement,
                temperature=config.temperature,
            )
            positives = agreed.positives
            confident_share = _masked_mean(agreed.confident.to(dual.dtype), valid)
        if not config.count_padded_seconds:
            positives = positives & windows.video_mask[:, None, :]
            valid = valid & windows.video_mask.any(dim=1)[:, None]  # others have no second to be ranked by

        scores = [self._best_over_time(branch.detach(), windows) for branch in branches]
        kept = valid
        if config.loss_threshold > 0:
            kept = best_scored_texts(*scores, valid=valid, share=config.loss_threshold)
        (dual, dual_all), (joint, joint_all) = (
            self._branch_loss(branch, positives, windows, kept) for branch in branches
        )
        loss = (dual + joint) / 2
        alignability = accuracy = None
        if config.use_alignability_head and logits.alignability is not None:
            head = self._checked("alignability", logits.alignability[:, config.alignability_layer])
            labels = alignability_labels(*scores, valid=valid, text_positions=windows.text_positions)
            alignability, accuracy = alignability_loss(head, *labels)
            loss = alignability if config.optim_policy == "bce" else loss + alignability
        kept_share = _masked_mean(kept.to(loss.dtype), valid) if config.loss_threshold > 0 else None
        return AlignmentLossParts(
            loss, dual, joint, dual_all, joint_all, alignability, accuracy, confident_share, kept_share
        )

    def _scaled(self, name: str, cosines: torch.Tensor) -> torch.Tensor:
        cosines = cosines.to(torch.promote_types(cosines.dtype, torch.float32))
        return self._checked(name, cosines / self.config.temperature)

    def _checked(self, name: str, logits: torch.Tensor) -> torch.Tensor:
        check_logits(f"{name} logits", logits)
        return logits.to(torch.promote_types(logits.dtype, torch.float32))

    def _best_over_time(self, branch: torch.Tensor, windows: AlignmentWindows) -> torch.Tensor:
        """(B, N), the best logit of each text in the last layer within its video."""
        last = _within_videos(branch[:, -1:])[:, 0]
        if not self.config.count_padded_seconds:
            last = last.masked_fill(~windows.video_mask[..., None], -torch.inf)
        return last.amax(dim=1)

    def _branch_loss(
        self, branch: torch.Tensor, positives: torch.Tensor, windows: AlignmentWindows, kept: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Contrastive loss of one branch over the kept texts, and over all of them."""
        own, positive = _within_videos(branch), positives.mT[:, None]  # (B, S, T, N), (B, 1, T, N)
        row_positives = _masked_logsumexp(own, positive, dim=3)  # (B, S, T)
        column_positives = _masked_logsumexp(own, positive, dim=2)  # (B, S, N)

        text_counts = windows.text_mask[None, None, None]
        rows = _masked_logsumexp(branch, text_counts, dim=(3, 4)) - row_positives
        second_counts = torch.ones_like(windows.video_mask)
        if not self.config.count_padded_seconds:
            second_counts = windows.video_mask
        columns = _masked_logsumexp(branch, second_counts[:, None, :, None, None], dim=(0, 2))  # (S, B, N)
        columns = columns.transpose(0, 1) - column_positives

        losses = []
        for counted in (positives & kept[..., None], positives):
            row_mean = _masked_mean(rows, counted.any(dim=1)[:, None])
            losses.append((row_mean + _masked_mean(columns, counted.any(dim=2)[:, None])) / 2)
        return losses[0], losses[1]


def _within_videos(branch: torch.Tensor) -> torch.Tensor:
    """(B, S, T, B, N) to (B, S, T, N): each video with its own texts."""
    return branch.diagonal(dim1=0, dim2=3).movedim(-1, 0)


def _masked_logsumexp(
    values: torch.Tensor, mask: torch.Tensor, *, dim: int | tuple[int, ...]
) -> torch.Tensor:
    """Over the entries where `mask` holds; finite, with a finite gradient, also where it holds nowhere."""
    if bool(mask.all()):
        return values.logsumexp(dim=dim)
    somewhere = mask.any(dim=dim, keepdim=True)
    return values.masked_fill(~mask & somewhere, -torch.inf).logsumexp(dim=dim)


def _masked_mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean over the entries where `mask` (broadcast) holds, 0 where it holds nowhere."""
    mask = mask.expand_as(values)
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp_min(1)
