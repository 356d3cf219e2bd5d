"""3-D ResNets and ResNeXt: what sees time, which shortcut does what, every size of clip."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from narravid.models.resnet3d import BLOCKS_OF_DEPTH, ResNet3D, ResNet3DConfig
from narravid.models.resnet3d_layers import BasicBlock3D, ResidualTrunk3D, SubsampledShortcut
from narravid.models.resnext3d import ResNeXt3D, ResNeXt3DConfig

SMALL_RESNEXT = ResNeXt3DConfig(num_blocks=(1, 1, 2, 1), num_groups=4, stem_channels=8)


def make(config: ResNet3DConfig | ResNeXt3DConfig) -> ResidualTrunk3D:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        return (ResNet3D(config) if isinstance(config, ResNet3DConfig) else ResNeXt3D(config)).eval()


def layer_map(network: ResidualTrunk3D, clips: torch.Tensor, num_layers: int = 4) -> torch.Tensor:
    """The map behind a layer."""
    x = network.pool(F.relu(network.bn1(network.conv1(clips))))
    for layer in (network.layer1, network.layer2, network.layer3, network.layer4)[:num_layers]:
        x = layer(x)
    return x


ALL = [
    *[ResNet3DConfig(depth, shortcut, 4) for depth in BLOCKS_OF_DEPTH for shortcut in ("A", "B")],
    SMALL_RESNEXT,
]


@pytest.mark.parametrize("config", ALL, ids=str)
@pytest.mark.parametrize("shape", [(2, 3, 8, 64, 64), (1, 3, 1, 32, 32), (1, 3, 5, 45, 71), (1, 3, 2, 1, 1)])
def test_every_size_of_clip(config, shape, generator):
    network = make(config)
    clips = torch.randn(shape, generator=generator)
    with torch.inference_mode():
        features = network(clips)
        last = layer_map(network, clips)
    assert features.shape == (shape[0], network.feature_dim)
    time = shape[2] if isinstance(config, ResNet3DConfig) else math.ceil(shape[2] / 16)
    window = (time, math.ceil(shape[3] / 32), math.ceil(shape[4] / 32))  # of the published last pool
    assert last.shape[2:] == window
    torch.testing.assert_close(features, F.avg_pool3d(last, window).flatten(1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_only_layers_3_and_4_look_along_time(depth, shortcut, generator):
    network = make(ResNet3DConfig(depth, shortcut, 4))
    clips = torch.randn((1, 3, 4, 32, 32), generator=generator)
    with torch.inference_mode():
        alone = torch.cat([layer_map(network, frame, 2) for frame in clips.split(1, dim=2)], dim=2)
        torch.testing.assert_close(layer_map(network, clips, 2), alone, rtol=1e-4, atol=1e-5)
        still = torch.cat([layer_map(network, frame, 3) for frame in clips.split(1, dim=2)], dim=2)
        assert (layer_map(network, clips, 3) - still).abs().max() > 0.1


@pytest.mark.parametrize("config", ALL[:8:3], ids=str)
def test_evaluation_and_training_mode_return_the_network(config):
    network = make(config)
    assert network.eval() is network
    assert network.train() is network


def test_shortcut_a_against_loops(generator):
    x = torch.randn((2, 3, 5, 6, 7), generator=generator, requires_grad=True)
    out = SubsampledShortcut(5, (2, 2, 3))(x)
    expected = torch.zeros(2, 5, 3, 3, 3)
    for frame in range(3):
        for row in range(3):
            for column in range(3):
                expected[:, :3, frame, row, column] = x[:, :, 2 * frame, 2 * row, 3 * column].detach()
    assert torch.equal(out, expected)
    out.sum().backward()
    assert x.grad.sum() == out[:, :3].numel()  # a gradient of 1 from each place that was taken


@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_the_gradient_flows_through_the_shortcut(shortcut, generator):
    block = BasicBlock3D(3, 6, stride=(1, 2, 2), temporal_kernel=3, shortcut=shortcut).eval()
    torch.nn.init.zeros_(block.bn2.weight)  # the way through the convolutions is closed
    x = torch.rand((1, 3, 3, 4, 4), generator=generator, requires_grad=True)
    block(x).sum().backward()
    if shortcut == "A":
        taken = x.grad[:, :, :, ::2, ::2]
        assert torch.equal(taken, torch.ones_like(taken))
    assert x.grad[:, :, :, ::2, ::2].abs().sum() > 0
    assert x.grad.count_nonzero() <= 3 * 3 * 4


def test_a_block_that_keeps_its_shape_has_no_shortcut_of_its_own():
    keys = ResNet3D(ResNet3DConfig(18, "B", 4)).state_dict()
    assert {key.split(".downsample")[0] for key in keys if "downsample" in key} == {
        "layer2.0",
        "layer3.0",
        "layer4.0",
    }
    keys = ResNet3D(ResNet3DConfig(50, "B", 4)).state_dict()
    assert "layer1.0.downsample.0.weight" in keys  # bottlenecks put out four times the stem's channels


@pytest.mark.parametrize(("depth", "num_convolutions"), [(10, 9), (18, 17), (34, 33), (50, 49)])
def test_depth_counts_the_layers_with_weights(depth, num_convolutions):
    with torch.device("meta"):
        network = ResNet3D(ResNet3DConfig(depth))
    assert sum(isinstance(part, torch.nn.Conv3d) for part in network.modules()) == num_convolutions
    assert network.feature_dim == (2048 if depth == 50 else 512)


def test_a_resnext_with_one_group_a_channel_works_on_channels_apart(generator):
    config = ResNeXt3DConfig(num_blocks=(1, 1, 1, 1), num_groups=8, stem_channels=4)
    block = make(config).layer1[0]
    x = torch.randn((1, 8, 4, 5, 5), generator=generator)
    with torch.inference_mode():
        whole = block.conv2(x)
        for channel in range(8):
            part = F.conv3d(x[:, channel : channel + 1], block.conv2.weight[channel : channel + 1], padding=1)
            torch.testing.assert_close(whole[:, channel : channel + 1], part, rtol=1e-5, atol=1e-6)


def test_training_moves_every_weight(generator):
    for config in (ResNet3DConfig(10, "A", 4), ResNet3DConfig(10, "B", 4), SMALL_RESNEXT):
        network = make(config).train()
        network(torch.randn((2, 3, 8, 32, 32), generator=generator)).square().sum().backward()
        still = [name for name, weight in network.named_parameters() if not weight.grad.any()]
        assert still == []


@pytest.mark.parametrize(
    ("clips", "message"),
    [
        (torch.zeros(3, 4, 8, 8), r"\(B, 3, T, H, W\)"),
        (torch.zeros(1, 4, 4, 8, 8), r"\(B, 3, T, H, W\)"),
        (torch.zeros((1, 3, 4, 8, 8), dtype=torch.uint8), "uint8"),
        (torch.zeros(1, 3, 0, 8, 8), "at least one"),
        (torch.zeros(0, 3, 4, 8, 8), "at least one"),
    ],
)
def test_other_clips_are_refused(clips, message):
    with pytest.raises(ValueError, match=message):
        make(ResNet3DConfig(10, "A", 4))(clips)


@pytest.mark.parametrize(
    ("make_config", "message"),
    [
        (lambda: ResNet3DConfig(depth=11), "depth must be one of 10, 18, 34, 50, got 11"),
        (lambda: ResNet3DConfig(shortcut="C"), "shortcut must be one of 'A', 'B', got 'C'"),
        (lambda: ResNet3DConfig(stem_channels=0), "stem_channels"),
        (lambda: ResNeXt3DConfig(shortcut="C"), "shortcut"),
        (lambda: ResNeXt3DConfig(num_blocks=(1, 1, 1)), "four numbers"),
        (lambda: ResNeXt3DConfig(num_blocks=(1, 1, 1, 0)), "four numbers"),
        (lambda: ResNeXt3DConfig(num_groups=0), "num_groups"),
        (lambda: ResNeXt3DConfig(num_groups=3), r"num_groups \(3\) must divide 2 x stem_channels \(64\)"),
    ],
)
def test_other_shapes_are_refused(make_config, message):
    with pytest.raises(ValueError, match=message):
        make_config()
