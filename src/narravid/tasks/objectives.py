"""The losses that any dual encoder of clips and captions can be trained with, behind one signature.

Each objective maps embeddings of the global batch, clips (G, D) and their caption candidates (G, P, D), to a
scalar. The task has normalised and scaled them already, so that dot products are the similarities.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import nn

from narravid.config import check_choices
from narravid.losses import (
    InfoNCELoss,
    MaxMarginRankingLoss,
    MILNCELoss,
    S2DTWLoss,
    TemporalAugmentation,
)

__all__ = [
    "InfoNCEObjective",
    "MaxMarginConfig",
    "MaxMarginObjective",
    "ObjectiveConfig",
    "S2DTWConfig",
    "S2DTWObjective",
    "build_objective",
]


@dataclass(frozen=True)
class MaxMarginConfig:
    """Settings of the max-margin ranking loss.

    Attributes:
        margin: By how much a right pair must win.
        hard_negative_rate: Share in [0, 1] of the weight on pairs within a video; matters with several clips
            per video only.
        weight_negatives: Whether pairs within a video and between videos are weighted at all.

    Raises:
        ValueError: If a number is out of range.
    """

    margin: float = 0.1
    hard_negative_rate: float = 0.5
    weight_negatives: bool = True

    def __post_init__(self) -> None:
        self.build(clips_per_video=1)

    def build(self, *, clips_per_video: int) -> MaxMarginRankingLoss:
        """The loss, for batches of whole videos of so many clips each."""
        return MaxMarginRankingLoss(
            margin=self.margin,
            clips_per_video=clips_per_video,
            hard_negative_rate=self.hard_negative_rate,
            weight_negatives=self.weight_negatives,
        )


@dataclass(frozen=True)
class S2DTWConfig:
    """Settings of S2DTW.

    Attributes:
        gamma: Smoothing of the minimum, positive.
        skip_cost: What a step costs that passes a clip or a sentence by without matching it.
        augmentation: Temporal data augmentation: the clips and the sentences of a video are reordered a
            little, the likelier the more alike they are. The paper has it, the published program does not.
        max_shift: How far the augmentation moves a clip or a sentence, in positions.
        sharpness: How fast the probability of an order falls with the change it makes.

    Raises:
        ValueError: If a number is out of range.
    """

    gamma: float = 0.1
    skip_cost: float = 0.5
    augmentation: bool = False
    max_shift: int = 2
    sharpness: float = 50.0

    def __post_init__(self) -> None:
        if self.max_shift < 0 or not 0 <= self.sharpness < math.inf:
            raise ValueError(
                f"max_shift and sharpness must not be negative, got {self.max_shift} and {self.sharpness}"
            )
        self.build()

    def build(self) -> S2DTWLoss:
        """The loss."""
        augmentation = TemporalAugmentation(self.max_shift, self.sharpness) if self.augmentation else None
        return S2DTWLoss(gamma=self.gamma, skip_cost=self.skip_cost, augmentation=augmentation)


@dataclass(frozen=True)
class ObjectiveConfig:
    """What is minimised.

    Attributes:
        loss: mil-nce offers each clip several captions; info-nce, max-margin and s2dtw take one caption per
            clip (one candidate); s2dtw compares whole sequences, the clips and captions of a video in order.
        similarity: How embeddings are compared in training: as the model says, by dot product, or by cosine.
        temperature: Divides similarities and stays fixed. None takes the one that the model learns, or none
            where it learns none; 1 leaves similarities as they are.
        max_margin: Settings of max-margin.
        s2dtw: Settings of s2dtw.

    Raises:
        ValueError: If a choice is unknown or a number out of range.
    """

    loss: Literal["mil-nce", "info-nce", "max-margin", "s2dtw"] = "mil-nce"
    similarity: Literal["model", "dot", "cosine"] = "model"
    temperature: float | None = None
    max_margin: MaxMarginConfig = field(default_factory=MaxMarginConfig)
    s2dtw: S2DTWConfig = field(default_factory=S2DTWConfig)

    def __post_init__(self) -> None:
        check_choices(self)
        if self.temperature is not None and not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature must be positive, got {self.temperature}")

    def check_sampling(self, *, clips_per_video: int, num_candidates: int) -> None:
        """Make sure that the batches are such that the loss has something to compare.

        Raises:
            ValueError: If not; says what to set.
        """
        if self.loss != "mil-nce" and num_candidates != 1:
            raise ValueError(
                f"{self.loss} takes one caption per clip, got num_candidates={num_candidates}; set"
                " --data.sampling.num-candidates 1, or --objective.loss mil-nce"
            )
        if self.loss == "s2dtw" and clips_per_video < 2:
            raise ValueError(
                f"s2dtw compares sequences, got clips_per_video={clips_per_video}; set"
                " --data.sampling.clips-per-video to 2 or more, and --data.sampling.captions consecutive"
            )


def build_objective(config: ObjectiveConfig, *, clips_per_video: int) -> nn.Module:
    """The loss of a configuration.

    Args:
        config: Which one, and its settings.
        clips_per_video: Clips of one video, which lie side by side in a batch.

    Returns:
        A module that maps clips (G, D) and captions (G, P, D) to a scalar. One with a method
        `begin_step(step, seed=...)` draws, and is to be told of each step.
    """
    if config.loss == "mil-nce":
        return MILNCELoss()
    if config.loss == "info-nce":
        return InfoNCEObjective()
    if config.loss == "max-margin":
        return MaxMarginObjective(config.max_margin.build(clips_per_video=clips_per_video))
    return S2DTWObjective(config.s2dtw.build(), clips_per_video=clips_per_video)


class InfoNCEObjective(nn.Module):
    """`InfoNCELoss` of clips and their only captions; similarity and temperature are the task's."""

    def __init__(self) -> None:
        super().__init__()
        self.loss = InfoNCELoss(cosine=False, temperature=1.0)

    def forward(self, video: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """The loss, (), of clips (G, D) and captions (G, 1, D)."""
        loss: torch.Tensor = self.loss(video, _only_caption(text))
        return loss


class MaxMarginObjective(nn.Module):
    """`MaxMarginRankingLoss` of the similarities of clips and their only captions.

    Args:
        loss: Ranks a matrix of similarities.
    """

    def __init__(self, loss: MaxMarginRankingLoss) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, video: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """The loss, (), of clips (G, D) and captions (G, 1, D)."""
        with torch.autocast(video.device.type, enabled=False):
            loss: torch.Tensor = self.loss(video @ _only_caption(text).T)
        return loss


class S2DTWObjective(nn.Module):
    """`S2DTWLoss` of whole videos, the clips of each in order.

    Where the loss reorders sequences, what it draws follows from the step and the seed of the run alone, and
    is the same on every process of a run.

    Args:
        loss: Compares sequences.
        clips_per_video: Length of a sequence.
    """

    def __init__(self, loss: S2DTWLoss, *, clips_per_video: int) -> None:
        super().__init__()
        self.loss = loss
        self.clips_per_video = clips_per_video
        self._step_and_seed = (0, 0)

    def begin_step(self, step: int, *, seed: int) -> None:
        """Draw for a step of a run from now on."""
        self._step_and_seed = step, seed

    def forward(self, video: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """The loss, (), of clips (G, D) and captions (G, 1, D), those of a video side by side.

        Raises:
            ValueError: If the batch does not consist of whole videos.
        """
        if len(video) % self.clips_per_video:
            raise ValueError(
                f"a batch of {len(video)} clips does not consist of whole videos of"
                f" {self.clips_per_video} clips"
            )
        shape = (-1, self.clips_per_video, video.shape[-1])
        sequences = video.view(shape), _only_caption(text).reshape(shape)
        loss: torch.Tensor = self.loss(*sequences, generator=self._generator())
        return loss

    def _generator(self) -> torch.Generator | None:
        """A new one for each call, so that calling twice in a step draws the same."""
        if self.loss.augmentation is None or not self.training:
            return None
        step, seed = self._step_and_seed
        state = np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)
        return torch.Generator().manual_seed(int(state[0]))


def _only_caption(text: torch.Tensor) -> torch.Tensor:
    """(G, 1, D) to (G, D)."""
    if text.shape[1] != 1:
        raise ValueError(f"this loss takes one caption per clip, got {text.shape[1]} candidates")
    return text[:, 0]
