"""MIL-NCE against the numbers of the published program; inputs and results lie in golden/losses.npz."""

from pathlib import Path

import numpy as np
import pytest
import torch

from narravid.losses import MILNCELoss

GOLDEN = Path(__file__).parent / "golden" / "losses.npz"

# (loss, grad_video, grad_text): absolute tolerances of the published cases, beside a relative one of 1e-4.
TOLERANCES = {
    "milnce_b4_c1": (6e-6, 2e-6, 2e-6),
    "milnce_b4_c4": (5e-6, 2e-6, 2e-6),
    "milnce_b8_c1": (1e-5, 3e-6, 3e-6),
    "milnce_b8_c4": (7e-6, 2e-6, 4e-6),
}


@pytest.mark.parametrize("case", TOLERANCES)
def test_mil_nce_gives_the_published_loss_and_gradients(case):
    with np.load(GOLDEN, allow_pickle=False) as golden:
        arrays = {key.split("/")[1]: golden[key] for key in golden.files if key.startswith(f"{case}/")}
    num_clips, dim = arrays["video"].shape
    video = torch.from_numpy(arrays["video"]).requires_grad_()
    text = torch.from_numpy(arrays["text"]).requires_grad_()

    loss = MILNCELoss()(video, text.view(num_clips, -1, dim))
    loss.backward()

    results = {"loss": loss.detach(), "grad_video": video.grad, "grad_text": text.grad}
    for (name, value), atol in zip(results.items(), TOLERANCES[case], strict=True):
        np.testing.assert_allclose(value.numpy(), arrays[name], rtol=1e-4, atol=atol, err_msg=name)
