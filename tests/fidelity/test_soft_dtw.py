"""Soft-DTW, S2DTW and temporal augmentation against the numbers of the published program."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fidelity.fill import filled_input, golden_arrays
from narravid.losses import (
    S2DTWLoss,
    bounded_permutations,
    interleave,
    local_cost,
    pair_costs,
    permutation_probabilities,
    soft_dtw,
)

BACKENDS = ["torch", "numba"]

# (shape, gamma, bandwidth, absolute tolerance of value and grad): the relative one is 1e-4 beside it.
SOFT_DTW = {
    "softdtw_7x7_g0.1_bw0": ((3, 7, 7), 0.1, 0, 2e-5, 7e-5),
    "softdtw_7x7_g1.0_bw0": ((3, 7, 7), 1.0, 0, 2e-5, 6e-6),
    "softdtw_7x7_g0.1_bw3": ((3, 7, 7), 0.1, 3, 1e-5, 5e-5),
    "softdtw_7x7_g1.0_bw3": ((3, 7, 7), 1.0, 3, 2e-5, 5e-6),
    "softdtw_5x9_g0.1_bw0": ((2, 5, 9), 0.1, 0, 8e-6, 5e-5),
    "softdtw_5x9_g1.0_bw0": ((2, 5, 9), 1.0, 0, 2e-5, 3e-6),
    "softdtw_5x9_g1.0_bw5": ((2, 5, 9), 1.0, 5, 2e-5, 5e-6),
}
# Absolute tolerances of loss, grad_video, grad_text, pair_cost, local_cost.
S2DTW = {
    "s2dtw_b2_n8": (7e-7, 4e-6, 4e-6, 3e-6, 2e-6),
    "s2dtw_b4_n8": (4e-6, 3e-6, 5e-6, 4e-6, 8e-7),
}
# Shape, whether the clips are near each other, relative and absolute tolerance of the probabilities.
DISTRIBUTIONS = {
    "tda_dist_n8_spread": ((2, 8, 16), False, 1e-4, 1e-6),
    "tda_dist_n8_near": ((2, 8, 16), True, 1e-4, 9e-7),
    "tda_dist_n4_spread": ((3, 4, 16), False, 1e-4, 1e-6),
    "tda_dist_n4_near": ((3, 4, 16), True, 1e-3, 2e-5),
}
IDENTITY_ATOL = {
    "tda_dist_n8_spread": 1e-6,
    "tda_dist_n8_near": 8e-7,
    "tda_dist_n4_spread": 1e-6,
    "tda_dist_n4_near": 9e-6,
}


def drawn(case, name, shape):
    return torch.from_numpy(filled_input(f"losses/{case}/{name}", shape, "normal"))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", SOFT_DTW)
def test_soft_dtw_gives_the_published_values_and_gradients(case, backend):
    shape, gamma, bandwidth, value_atol, grad_atol = SOFT_DTW[case]
    arrays = golden_arrays("losses", case)
    for suffix, dtype, rtol, atols in (
        ("", torch.float32, 1e-4, (value_atol, grad_atol)),
        ("_f64", torch.float64, 1e-9, (1e-11, 1e-11)),
    ):
        cost = drawn(case, "cost", shape).to(dtype).requires_grad_()
        value = soft_dtw(cost, gamma=gamma, bandwidth=bandwidth, backend=backend)
        value.sum().backward()
        np.testing.assert_allclose(value.detach().numpy(), arrays[f"value{suffix}"], rtol=rtol, atol=atols[0])
        np.testing.assert_allclose(cost.grad.numpy(), arrays[f"grad{suffix}"], rtol=rtol, atol=atols[1])


def test_a_band_that_cannot_reach_the_end_raises_where_the_published_program_gives_infinity():
    cost = drawn("softdtw_5x9_g0.1_bw3", "cost", (2, 5, 9))
    with pytest.raises(ValueError, match="a bandwidth of 3 cannot align sequences of lengths 5 and 9"):
        soft_dtw(cost, gamma=0.1, bandwidth=3)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", S2DTW)
def test_s2dtw_gives_the_published_costs_loss_and_gradients(case, backend):
    arrays = golden_arrays("losses", case)
    shape = arrays["grad_video"].shape
    video, text = (
        F.normalize(drawn(case, name, shape), dim=-1).requires_grad_() for name in ("video", "text")
    )

    loss = S2DTWLoss(backend=backend)(video, text)
    loss.backward()

    similarity = (video[0] @ text[0].T).detach()
    results = {
        "loss": loss.detach(),
        "grad_video": video.grad,
        "grad_text": text.grad,
        "pair_cost": pair_costs(video, text, gamma=0.1, skip_cost=0.5, backend=backend).detach(),
        "local_cost": interleave(local_cost(similarity, gamma=0.1), skip_cost=0.5),
    }
    for (name, value), atol in zip(results.items(), S2DTW[case], strict=True):
        np.testing.assert_allclose(value.numpy(), arrays[name], rtol=1e-4, atol=atol, err_msg=name)


@pytest.mark.parametrize("num_clips", [4, 8])
def test_the_permutations_are_the_published_ones_in_their_order(num_clips):
    arrays = golden_arrays("losses", f"tda_perm_n{num_clips}")
    permutations = bounded_permutations(num_clips, max_shift=2)
    assert len(permutations) == arrays["count"]
    np.testing.assert_array_equal(permutations.numpy(), arrays["permutations"])


@pytest.mark.parametrize("case", DISTRIBUTIONS)
def test_permutations_have_the_published_probabilities(case):
    shape, near, rtol, atol = DISTRIBUTIONS[case]
    arrays = golden_arrays("losses", case)
    embeddings = drawn(case, "embd", shape)
    embeddings = F.normalize(1 + 0.1 * embeddings if near else embeddings, dim=-1)
    probabilities = permutation_probabilities(embeddings, bounded_permutations(shape[1]), scale=50.0)
    np.testing.assert_allclose(probabilities.numpy(), arrays["probs"], rtol=rtol, atol=atol)
    np.testing.assert_allclose(
        probabilities[:, 0].numpy(), arrays["identity_prob"], rtol=1e-4, atol=IDENTITY_ATOL[case]
    )
