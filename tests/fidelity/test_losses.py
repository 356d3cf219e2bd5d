"""MIL-NCE, max-margin ranking and CPD's memory bank against the numbers of the published programs."""

import numpy as np
import pytest
import torch

from fidelity.fill import filled_input, golden_arrays
from narravid.losses import (
    MaxMarginRankingLoss,
    MemoryBank,
    MemoryBankNCELoss,
    MILNCELoss,
    noise_contrastive_terms,
)

# (loss, grad_video, grad_text): absolute tolerances of the published cases, beside a relative one of 1e-4.
MIL_NCE = {
    "milnce_b4_c1": (6e-6, 2e-6, 2e-6),
    "milnce_b4_c4": (5e-6, 2e-6, 2e-6),
    "milnce_b8_c1": (1e-5, 3e-6, 3e-6),
    "milnce_b8_c4": (7e-6, 2e-6, 4e-6),
}
# (clips per video, weighted, share of hard negatives, margin), (loss, grad).
MAX_MARGIN = {
    "maxmargin_b6_p1_u_h0.5_m1.0": ((1, False, 0.5, 1.0), (3e-6, 3e-7)),
    "maxmargin_b6_p1_w_h0.5_m0.1": ((1, True, 0.5, 0.1), (2e-6, 3e-7)),
    "maxmargin_b4_p2_u_h0.5_m0.1": ((2, False, 0.5, 0.1), (2e-6, 3e-7)),
    "maxmargin_b4_p2_w_h0.5_m0.1": ((2, True, 0.5, 0.1), (2e-6, 3e-7)),
    "maxmargin_b4_p2_w_h0.3_m1.0": ((2, True, 0.3, 1.0), (2e-6, 2e-7)),
    "maxmargin_b3_p4_w_h0.5_m1.0": ((4, True, 0.5, 1.0), (3e-6, 4e-7)),
    "maxmargin_b3_p4_w_h0.3_m0.1": ((4, True, 0.3, 0.1), (2e-6, 2e-7)),
    "maxmargin_b3_p4_u_h0.3_m1.0": ((4, False, 0.3, 1.0), (3e-6, 2e-7)),
}
# (draws, samples of the data set), (loss_pos, loss_neg, grad).
NCE = {
    "nce_b3_m8": ((8, 100), (3e-7, 2e-5, 3e-6)),
    "nce_b2_m32": ((32, 1000), (5e-7, 2e-4, 7e-6)),
}
MEMORY = {
    "vis_memory_0": 5e-7,
    "text_memory_0": 5e-7,
    "Z_initial": 1e-6,
    "vis_out1": 3e-6,
    "text_out1": 4e-6,
    "Z_v1": 3e-2,
    "Z_t1": 2e-2,
    "loss1": 3e-5,
    "grad_video1": 7e-7,
    "grad_text1": 1e-6,
    "vis_memory_1": 1e-6,
    "text_memory_1": 6e-7,
    "vis_out2": 6e-7,
    "text_out2": 6e-6,
    "Z_v2": 3e-2,
    "Z_t2": 2e-2,
    "loss2": 2e-5,
    "grad_video2": 2e-6,
    "grad_text2": 2e-6,
    "vis_memory_2": 1e-6,
    "text_memory_2": 6e-7,
}


def filled(name, shape, kind="normal"):
    return torch.from_numpy(filled_input(f"losses/{name}", shape, kind))


def close(value, expected, atol, name):
    np.testing.assert_allclose(value.detach().numpy(), expected, rtol=1e-4, atol=atol, err_msg=name)


@pytest.mark.parametrize("case", MIL_NCE)
def test_mil_nce_gives_the_published_loss_and_gradients(case):
    arrays = golden_arrays("losses", case)
    num_clips, dim = arrays["grad_video"].shape
    video = filled(f"{case}/video", (num_clips, dim)).requires_grad_()
    text = filled(f"{case}/text", arrays["grad_text"].shape).requires_grad_()

    loss = MILNCELoss()(video, text.view(num_clips, -1, dim))
    loss.backward()

    results = {"loss": loss, "grad_video": video.grad, "grad_text": text.grad}
    for (name, value), atol in zip(results.items(), MIL_NCE[case], strict=True):
        close(value, arrays[name], atol, name)


@pytest.mark.parametrize("case", MAX_MARGIN)
def test_max_margin_gives_the_published_loss_gradient_and_weights(case):
    (clips_per_video, weighted, hard_negative_rate, margin), tolerances = MAX_MARGIN[case]
    arrays = golden_arrays("losses", case)
    similarity = filled(f"{case}/sim", arrays["grad"].shape).requires_grad_()
    criterion = MaxMarginRankingLoss(
        margin=margin,
        clips_per_video=clips_per_video,
        hard_negative_rate=hard_negative_rate,
        weight_negatives=weighted,
    )

    loss = criterion(similarity)
    loss.backward()

    for name, value, atol in zip(("loss", "grad"), (loss, similarity.grad), tolerances, strict=True):
        close(value, arrays[name], atol, name)
    assert ("mask" in arrays) == (clips_per_video > 1)
    if "mask" in arrays:
        weights = criterion.video_weights(len(similarity) // clips_per_video)
        ones = torch.ones(clips_per_video, clips_per_video, dtype=weights.dtype)
        close(torch.kron(weights, ones), arrays["mask"], 2e-6, "mask")


@pytest.mark.parametrize("case", NCE)
def test_noise_contrast_gives_the_published_terms_and_gradient(case):
    (num_negatives, num_samples), tolerances = NCE[case]
    arrays = golden_arrays("losses", case)
    scores = filled(f"{case}/score", arrays["grad"].shape).requires_grad_()
    assert scores.shape[1] == num_negatives + 1

    positive, negative = noise_contrastive_terms(scores, noise_probability=1 / num_samples)
    (positive + negative).backward()

    # The published gradient is that of exp(score); ours is that of the score.
    results = {"loss_pos": positive, "loss_neg": negative, "grad": scores.grad / scores.detach().exp()}
    for (name, value), atol in zip(results.items(), tolerances, strict=True):
        close(value, arrays[name], atol, name)


def test_memory_bank_gives_the_published_losses_gradients_and_states():
    case = "cpd_memory_b4"
    arrays = golden_arrays("losses", case)
    num_samples, dim = arrays["vis_memory_0"].shape
    bank = MemoryBank(num_samples, dim, generator=torch.Generator().manual_seed(0))
    bound = 1 / (dim / 3) ** 0.5
    state = bank.state_dict()
    for ours, published in (("video", "vis_memory"), ("text", "text_memory")):
        start = filled(f"{case}/{published}", (num_samples, dim), "uniform")
        state[f"{ours}_memory"] = 2 * bound * start - bound
    bank.load_state_dict(state)
    criterion = MemoryBankNCELoss(bank)
    results = {
        "vis_memory_0": bank.video_memory.clone(),
        "text_memory_0": bank.text_memory.clone(),
        "Z_initial": bank.video_normaliser.clone(),
    }
    for step in (1, 2):
        video = filled(f"{case}/video{step}", (4, dim)).requires_grad_()
        text = filled(f"{case}/text{step}", (4, dim)).requires_grad_()
        indices = (3 * torch.arange(4) + step) % num_samples
        selected = filled(f"{case}/noise{step}", (4, 7), "uint8").long() % num_samples
        selected[:, 0] = indices
        np.testing.assert_array_equal(indices, arrays[f"idx{step}"])
        np.testing.assert_array_equal(selected, arrays[f"selected{step}"])
        video_memory, text_memory = bank.video_memory.clone(), bank.text_memory.clone()

        loss = criterion(video, text, indices, negatives=selected[:, 1:])
        loss.backward()

        # What the published program calls its output: the exponential scores over their normaliser.
        for name, own, memory, normaliser in (
            ("vis_out", video, text_memory, bank.video_normaliser),
            ("text_out", text, video_memory, bank.text_normaliser),
        ):
            unit = torch.nn.functional.normalize(own.detach(), dim=1)
            cosines = torch.einsum("bkd,bd->bk", memory[selected], unit)
            results[f"{name}{step}"] = (cosines / criterion.temperature).exp() / normaliser
        results |= {
            f"Z_v{step}": bank.video_normaliser.clone(),
            f"Z_t{step}": bank.text_normaliser.clone(),
            f"loss{step}": loss,
            f"grad_video{step}": video.grad,
            f"grad_text{step}": text.grad,
            f"vis_memory_{step}": bank.video_memory.clone(),
            f"text_memory_{step}": bank.text_memory.clone(),
        }
    assert results.keys() == MEMORY.keys()
    assert arrays.keys() == results.keys() | {"idx1", "idx2", "selected1", "selected2"}
    for name, value in results.items():
        close(value, arrays[name], MEMORY[name], name)
