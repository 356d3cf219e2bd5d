"""Frames reach the ResNet-152 extractor as the published feature extraction normalises them."""

from __future__ import annotations

import numpy as np
import torch

from fidelity.fill import filled_input, golden_arrays
from narravid.models.resnet2d import ResNet2DConfig, ResNet2DExtractor


def test_frames_are_normalised_as_published():
    model = ResNet2DExtractor(
        ResNet2DConfig(num_blocks=(1, 1, 1, 1), layer_dims=(4, 4, 4, 4), stem_dim=4, num_classes=1)
    ).eval()
    seen: list[torch.Tensor] = []
    model.trunk.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    frames = filled_input("videocnn_resnext101/preprocess/frames", (18, 3, 112, 112), "uint8")
    with torch.inference_mode():
        model.frame_features(torch.from_numpy(frames))
    expected = golden_arrays("videocnn_resnext101", "preprocess")["twod_slice"]
    # The published divisor is the deviation plus 1e-8, which is below float32's resolution.
    np.testing.assert_allclose(seen[0][::6, :, ::28, ::28].numpy(), expected, rtol=1e-6)
