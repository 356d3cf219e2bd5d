"""MIL-NCE against the numbers of the published program."""

import numpy as np
import pytest
import torch

from fidelity.fill import filled_input, golden_arrays
from narravid.losses import MILNCELoss

# (loss, grad_video, grad_text): absolute tolerances of the published cases, beside a relative one of 1e-4.
TOLERANCES = {
    "milnce_b4_c1": (6e-6, 2e-6, 2e-6),
    "milnce_b4_c4": (5e-6, 2e-6, 2e-6),
    "milnce_b8_c1": (1e-5, 3e-6, 3e-6),
    "milnce_b8_c4": (7e-6, 2e-6, 4e-6),
}


@pytest.mark.parametrize("case", TOLERANCES)
def test_mil_nce_gives_the_published_loss_and_gradients(case):
    arrays = golden_arrays("losses", case)
    num_clips, dim = arrays["grad_video"].shape
    video = torch.from_numpy(filled_input(f"losses/{case}/video", (num_clips, dim), "normal"))
    text = torch.from_numpy(filled_input(f"losses/{case}/text", arrays["grad_text"].shape, "normal"))
    video.requires_grad_()
    text.requires_grad_()

    loss = MILNCELoss()(video, text.view(num_clips, -1, dim))
    loss.backward()

    results = {"loss": loss.detach(), "grad_video": video.grad, "grad_text": text.grad}
    for (name, value), atol in zip(results.items(), TOLERANCES[case], strict=True):
        np.testing.assert_allclose(value.numpy(), arrays[name], rtol=1e-4, atol=atol, err_msg=name)
