"""What the loss of the temporal aligner looks at, and whether its shapes fit together."""

from __future__ import annotations

from dataclasses import dataclass

import torch

__all__ = ["AlignmentLogits", "AlignmentWindows", "check_alignment"]


@dataclass(frozen=True, slots=True)
class AlignmentLogits:
    """What an aligner says about a batch of B videos of T seconds with N texts each.

    Attributes:
        dual: (B, S, T, B, N) floating point, cosines of every second of every video (first axis) with every
            text of every video (fourth axis), in each of the S layers of the dual branch.
        joint: (B, S', T, B, N) floating point, the same of the joint branch.
        alignability: (B, S', N) floating point, logits of the alignability head on each layer of the joint
            branch; None without a head.
    """

    dual: torch.Tensor
    joint: torch.Tensor
    alignability: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class AlignmentWindows:
    """When the texts of a batch are spoken, and what of it is real rather than padding.

    Attributes:
        positives: (B, N, T) bool, the seconds of each text (`window_mask`); padded texts do not count.
        video_mask: (B, T) bool, False at padded seconds.
        text_mask: (B, N) bool, False at padded texts.
        text_positions: (B, N, 2) floating point in [0, 1], start and end of each text relative to the whole
            video it is cut from; None if the alignability head is to ignore them.
    """

    positives: torch.Tensor
    video_mask: torch.Tensor
    text_mask: torch.Tensor
    text_positions: torch.Tensor | None = None


def check_alignment(
    logits: AlignmentLogits,
    windows: AlignmentWindows,
    target_logits: AlignmentLogits | None,
    *,
    head_layer: int | None,
) -> None:
    """Refuse shapes that do not belong together.

    Args:
        logits: Of the network in training.
        windows: The batch.
        target_logits: Of its averaged twin, if there is one.
        head_layer: Layer of the alignability head that is needed, if one is.

    Raises:
        ValueError: Naming the first thing that does not fit.
    """
    if windows.positives.ndim != 3 or windows.positives.numel() == 0:
        raise ValueError(f"positives must be (B, N, T) and not empty, got {tuple(windows.positives.shape)}")
    num_videos, num_texts, num_seconds = windows.positives.shape
    for name, shape in (
        ("positives", (num_videos, num_texts, num_seconds)),
        ("video_mask", (num_videos, num_seconds)),
        ("text_mask", (num_videos, num_texts)),
    ):
        mask = getattr(windows, name)
        if mask.shape != shape or mask.dtype != torch.bool:
            raise ValueError(f"{name} must be {shape} bool, got {tuple(mask.shape)} {mask.dtype}")
    positions = windows.text_positions
    if positions is not None and positions.shape != (num_videos, num_texts, 2):
        raise ValueError(f"text_positions must be {(num_videos, num_texts, 2)}, got {tuple(positions.shape)}")
    for owner, pair in (("", logits), ("target ", target_logits)):
        for name in ("dual", "joint") if pair is not None else ():
            _check_branch(f"{owner}{name}", getattr(pair, name), (num_videos, num_texts, num_seconds))
    if head_layer is not None:
        _check_head(logits, head_layer, num_texts)


def _check_branch(name: str, branch: torch.Tensor, sizes: tuple[int, int, int]) -> None:
    num_videos, num_texts, num_seconds = sizes
    expected = (num_videos, num_seconds, num_videos, num_texts)
    layers = branch.shape[1] if branch.ndim == 5 else 0
    if layers == 0 or (branch.shape[0], *branch.shape[2:]) != expected:
        raise ValueError(
            f"{name} logits must be (B, S, T, B, N) = ({num_videos}, S >= 1, {num_seconds}, {num_videos}, "
            f"{num_texts}), got {tuple(branch.shape)}"
        )


def _check_head(logits: AlignmentLogits, layer: int, num_texts: int) -> None:
    if logits.alignability is None:
        raise ValueError("use_alignability_head needs logits.alignability, which is None")
    num_videos, num_layers = logits.joint.shape[:2]
    expected = (num_videos, num_layers, num_texts)
    if logits.alignability.shape != expected:
        raise ValueError(
            f"alignability logits must be (B, S, N) = {expected}, got {tuple(logits.alignability.shape)}"
        )
    if not -num_layers <= layer < num_layers:
        raise ValueError(
            f"alignability_layer={layer} does not exist: the joint branch has {num_layers} layers, 0 to "
            f"{num_layers - 1}"
        )
