"""A loss of your own in place of MIL-NCE: `python examples/new_loss.py RUN`.

The sigmoid loss (Zhai et al., 2023, arXiv 2303.15343) asks of each pair whether it belongs together.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import nn
from torch.nn.functional import logsigmoid

from narravid.recipes.milnce import MILNCERecipe


class SigmoidLoss(nn.Module):
    """Sum over all captions of -log sigmoid(±(similarity + bias)), mean over clips; the bias is learned."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor(-5.0))

    def forward(self, video: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """The loss, (), of clips (G, D) and captions (G, P, D), gathered from all processes and scaled."""
        num_clips, num_candidates, _ = text.shape
        logits = video @ text.flatten(0, 1).T + self.bias
        own = torch.eye(num_clips, device=video.device).repeat_interleave(num_candidates, dim=1)
        return -logsigmoid((2 * own - 1) * logits).sum(dim=1).mean()


@dataclass(frozen=True)
class SigmoidRecipe(MILNCERecipe):
    """MIL-NCE's data, network and schedule with the sigmoid loss."""

    name: ClassVar[str] = "sigmoid"

    def build_loss(self) -> nn.Module:
        """The loss."""
        return SigmoidLoss()


if __name__ == "__main__":
    SigmoidRecipe.presets()["tiny"]().train(Path(sys.argv[1]))
