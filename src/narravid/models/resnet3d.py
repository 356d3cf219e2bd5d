"""The 3-D ResNets of CPD, "slow only": space is reduced, time never, and only layers 3 and 4 look along it.

Li and Wang, Learning Spatiotemporal Features via Video and Text Pair Discrimination, arXiv 2001.05691; the
network is the slow path of Feichtenhofer et al., ICCV 2019, arXiv 1812.03982. Shortcut A lets its gradient
flow and shortcut B strides space only; the published code does neither, with the same forward numbers where
it runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

from narravid.config import check_choices
from narravid.models.resnet3d_layers import BasicBlock3D, Bottleneck3D, ResidualTrunk3D, Shortcut

__all__ = ["BLOCKS_OF_DEPTH", "Depth", "ResNet3D", "ResNet3DConfig"]

Depth = Literal[10, 18, 34, 50]

BLOCKS_OF_DEPTH: dict[Depth, tuple[bool, tuple[int, int, int, int]]] = {
    10: (False, (1, 1, 1, 1)),
    18: (False, (2, 2, 2, 2)),
    34: (False, (3, 4, 6, 3)),
    50: (True, (3, 4, 6, 3)),
}
"""Of each depth: whether its blocks are bottlenecks, and how many there are in each layer."""

EXPANSION = 4
"""Output channels of a bottleneck for each channel of its width."""

TEMPORAL_KERNELS = (1, 1, 3, 3)
"""Frames that the first convolution of a block sees, by layer."""


@dataclass(frozen=True)
class ResNet3DConfig:
    """Shape of a `ResNet3D`; the defaults are the published one's.

    Attributes:
        depth: 10, 18, 34 or 50 layers with weights, the classifier counted.
        shortcut: A (published) or B.
        stem_channels: Channels of the stem; layer i has 2^(i-1) times as many, bottlenecks put out four times
            that.

    Raises:
        ValueError: If a value is out of range.
    """

    depth: Depth = 50
    shortcut: Shortcut = "A"
    stem_channels: int = 64

    def __post_init__(self) -> None:
        check_choices(self)
        if self.stem_channels < 1:
            raise ValueError(f"stem_channels must be at least 1, got {self.stem_channels}")


class ResNet3D(ResidualTrunk3D):
    """Clips to features.

    Args:
        config: The network's shape.

    Attributes:
        config: As given.
        feature_dim: F: 2048 for depth 50, 512 for the others, with the published width.
    """

    def __init__(self, config: ResNet3DConfig | None = None) -> None:
        config = config or ResNet3DConfig()
        _, num_blocks = BLOCKS_OF_DEPTH[config.depth]
        layers, channels = [], config.stem_channels
        for number, blocks in enumerate(num_blocks):
            layer = nn.Sequential()
            for position in range(blocks):
                block = _block(config, channels, layer=number, first=position == 0)
                layer.append(block)
                channels = block.out_channels
            layers.append(layer)
        super().__init__(
            layers, stem_channels=config.stem_channels, stem_frames=1, pool_frames=1, feature_dim=channels
        )
        self.config = config


def _block(
    config: ResNet3DConfig, in_channels: int, *, layer: int, first: bool
) -> BasicBlock3D | Bottleneck3D:
    """A block of a layer, counted from 0; from layer 1 on the first one halves rows and columns."""
    space = 2 if first and layer > 0 else 1
    stride = (1, space, space)
    width = config.stem_channels * 2**layer
    frames = TEMPORAL_KERNELS[layer]
    bottleneck, _ = BLOCKS_OF_DEPTH[config.depth]
    if not bottleneck:
        return BasicBlock3D(
            in_channels, width, stride=stride, temporal_kernel=frames, shortcut=config.shortcut
        )
    return Bottleneck3D(
        in_channels,
        EXPANSION * width,
        width=width,
        stride=stride,
        temporal_kernels=(frames, 1),
        num_groups=1,
        shortcut=config.shortcut,
    )
