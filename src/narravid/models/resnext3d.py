"""ResNeXt-101 in 3-D, the motion features of HowTo100M.

Hara et al., CVPR 2018, arXiv 1711.09577; Xie et al., CVPR 2017, arXiv 1611.05431 (32 groups);
used by Miech et al., ICCV 2019, arXiv 1906.03327.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from narravid.config import check_choices
from narravid.models.resnet3d_layers import Bottleneck3D, ResidualTrunk3D, Shortcut

__all__ = ["ResNeXt3D", "ResNeXt3DConfig"]

WIDTH_FACTOR, EXPANSION = 2, 2
"""Width of layer 1's bottlenecks for each channel of the stem; output channels for each of the width."""


@dataclass(frozen=True)
class ResNeXt3DConfig:
    """Shape of a `ResNeXt3D`; the defaults are the published one's.

    Attributes:
        num_blocks: Blocks in each of the four layers; (3, 4, 23, 3) makes 101 layers with weights.
        num_groups: Groups of the 3×3×3 convolutions.
        stem_channels: Channels of the stem; bottlenecks of layer i have 2^i times as many.
        shortcut: A or B (published).

    Raises:
        ValueError: If a value is out of range or the groups do not divide the channels.
    """

    num_blocks: tuple[int, int, int, int] = (3, 4, 23, 3)
    num_groups: int = 32
    stem_channels: int = 64
    shortcut: Shortcut = "B"

    def __post_init__(self) -> None:
        check_choices(self)
        if len(self.num_blocks) != 4 or min(self.num_blocks) < 1:
            raise ValueError(f"num_blocks must be four numbers of at least 1, got {self.num_blocks}")
        if self.stem_channels < 1 or self.num_groups < 1:
            raise ValueError(
                f"stem_channels and num_groups must be at least 1, got {self.stem_channels} and "
                f"{self.num_groups}"
            )
        if WIDTH_FACTOR * self.stem_channels % self.num_groups:
            raise ValueError(
                f"num_groups ({self.num_groups}) must divide {WIDTH_FACTOR} x stem_channels "
                f"({self.stem_channels})"
            )


class ResNeXt3D(ResidualTrunk3D):
    """Clips to features; time is halved by the pool and by layers 2 to 4.

    Args:
        config: The network's shape.

    Attributes:
        config: As given.
        feature_dim: F, 2048 with the published width.
    """

    def __init__(self, config: ResNeXt3DConfig | None = None) -> None:
        config = config or ResNeXt3DConfig()
        layers, channels = [], config.stem_channels
        for number, blocks in enumerate(config.num_blocks):
            width = WIDTH_FACTOR * config.stem_channels * 2**number
            layer = nn.Sequential()
            for block in range(blocks):
                layer.append(
                    Bottleneck3D(
                        channels,
                        EXPANSION * width,
                        width=width,
                        stride=(2, 2, 2) if number > 0 and block == 0 else (1, 1, 1),
                        temporal_kernels=(1, 3),
                        num_groups=config.num_groups,
                        shortcut=config.shortcut,
                    )
                )
                channels = EXPANSION * width
            layers.append(layer)
        super().__init__(
            layers, stem_channels=config.stem_channels, stem_frames=7, pool_frames=3, feature_dim=channels
        )
        self.config = config
