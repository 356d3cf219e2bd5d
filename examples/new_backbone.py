"""A video network of your own in place of S3D: `python examples/new_backbone.py RUN`.

A small 2-D network looks at every frame by itself. Entered among the families of models, what is trained can
be saved, loaded by `narravid.load`, indexed and evaluated like any other model.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import nn

from narravid.models.dual_encoder import S3DDualEncoder, S3DDualEncoderConfig
from narravid.models.registry import FAMILIES, Family
from narravid.recipes.milnce import MILNCERecipe
from narravid.recipes.narrated import build_model
from narravid.text.words import VOCABULARY_FILE, Vocabulary


class FrameTower(nn.Module):
    """Features of clips (B, 3, T, H, W), (B, 64), and the layer from them to embeddings."""

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.frames = nn.Sequential(nn.Conv2d(3, 32, 4, 4), nn.ReLU(), nn.Conv2d(32, 64, 2, 2), nn.ReLU())
        self.fc = nn.Linear(64, embed_dim)

    def features(self, clips: torch.Tensor) -> torch.Tensor:
        """The mean over frames and places."""
        maps = self.frames(clips.transpose(1, 2).flatten(0, 1))
        return maps.mean(dim=(2, 3)).view(len(clips), -1, 64).mean(dim=1)


class FrameEncoder(S3DDualEncoder):
    """The dual encoder with the new tower."""

    def __init__(self, config: S3DDualEncoderConfig, vocabulary: Vocabulary) -> None:
        super().__init__(config, vocabulary)
        self.video, self.feature_dim = FrameTower(config.text.embed_dim), 64


FAMILIES["frame_encoder"] = Family(
    FrameEncoder, S3DDualEncoderConfig, lambda folder: Vocabulary.load(folder / VOCABULARY_FILE)
)


@dataclass(frozen=True)
class FrameRecipe(MILNCERecipe):
    """MIL-NCE with the new network."""

    name: ClassVar[str] = "frames"

    def build_network(self, vocabulary: Vocabulary) -> FrameEncoder:
        """Random weights for the words of the captions."""
        return build_model(self.model, vocabulary, seed=self.seed, model_class=FrameEncoder)


if __name__ == "__main__":
    FrameRecipe.presets()["tiny"]().train(Path(sys.argv[1]))
