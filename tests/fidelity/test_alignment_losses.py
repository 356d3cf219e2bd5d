"""The losses of the temporal aligner and of its end-to-end training, against the published numbers."""

import numpy as np
import pytest
import torch

from fidelity.fill import filled_input, golden_arrays
from narravid.losses import (
    AlignmentLogits,
    AlignmentWindows,
    InfoNCELoss,
    TemporalAlignmentConfig,
    TemporalAlignmentLoss,
    pad_windows,
    window_mask,
)
from narravid.losses.temporal_agreement import MIN_IOU, circulant

STARTS = [[0, 3, 6, 9, 12], [1, 5.5, 8]]
ENDS = [[3, 6, 9, 12, 16], [5.5, 8, 15]]
NUM_VIDEOS, NUM_LAYERS, NUM_SECONDS, NUM_TEXTS = 2, 3, 16, 5

INFO_NCE = {
    "loss_cos": (True, (8e-6, 4e-6, 4e-6, 2e-7, 2e-7, 8e-7, 8e-7)),
    "loss_dot": (False, (2e-5, 6e-6, 7e-6, 4e-7, 2e-7, 2e-6, 2e-6)),
}

# Name of each part in the published program. With a threshold its plain names mean the kept texts.
PUBLISHED_PARTS = {
    "loss": "loss",
    "loss_dual": "dual",
    "loss_joint": "joint",
    "loss_dual_all": "dual_all",
    "loss_joint_all": "joint_all",
    "loss_joint_bce": "alignability",
    "alignability_top1": "alignability_accuracy",
    "confidence_ratio": "confident_share",
}
# Settings; whether a twin gives the targets; whether positions of the texts are given; absolute tolerances of
# the losses, the gradients of the cosines, and the head's loss and gradient, beside a relative one of 1e-4.
ALIGNMENT = {
    "loss_init": (TemporalAlignmentConfig(), "none", (8e-6, 4e-7, 0, 0)),
    "loss_init_th": (TemporalAlignmentConfig(loss_threshold=0.5), "none", (7e-6, 5e-7, 0, 0)),
    "loss_cotrain_keep": (TemporalAlignmentConfig(agreement="keep"), "twin", (7e-6, 5e-7, 0, 0)),
    "loss_cotrain_keep_th": (
        TemporalAlignmentConfig(agreement="keep", loss_threshold=0.5),
        "twin",
        (7e-6, 7e-7, 0, 0),
    ),
    "loss_cotrain_i_th": (
        TemporalAlignmentConfig(agreement="intersection", loss_threshold=0.5),
        "twin",
        (1e-5, 1e-5, 0, 0),
    ),
    "loss_cotrain_u_th": (
        TemporalAlignmentConfig(agreement="union", loss_threshold=0.5),
        "twin",
        (1e-5, 1e-5, 0, 0),
    ),
    "loss_cotrain_keepjoint_th": (
        TemporalAlignmentConfig(agreement="keep-joint", loss_threshold=0.5),
        "twin",
        (8e-6, 8e-7, 0, 0),
    ),
    "loss_init_head": (
        TemporalAlignmentConfig(use_alignability_head=True),
        "none",
        (7e-6, 5e-7, 9e-7, 2e-7),
    ),
    "loss_cotrain_head_bce": (
        TemporalAlignmentConfig(use_alignability_head=True, agreement="keep", optim_policy="bce"),
        "twin",
        (2e-6, 1e-9, 2e-6, 3e-7),
    ),
    "loss_init_head_pos": (
        TemporalAlignmentConfig(use_alignability_head=True),
        "positions",
        (7e-6, 5e-7, 2e-6, 6e-7),
    ),
}


def filled(name, shape, kind="normal"):
    return torch.from_numpy(filled_input(f"tan_aligner/{name}", shape, kind))


def close(value, expected, atol, name):
    np.testing.assert_allclose(value.detach().numpy(), expected, rtol=1e-4, atol=atol, err_msg=name)


@pytest.mark.parametrize("case", INFO_NCE)
def test_info_nce_gives_the_published_parts_and_gradients(case):
    cosine, tolerances = INFO_NCE[case]
    arrays = golden_arrays("tan_e2e", case)
    shape = arrays["grad_video"].shape
    video, text = (
        torch.from_numpy(filled_input(f"tan_e2e/{case}/{side}", shape, "normal")).requires_grad_()
        for side in ("video", "text")
    )

    parts = InfoNCELoss(cosine=cosine).parts(video, text)
    parts.loss.backward()

    # The published "per text" is the choice of a text for each video.
    results = {
        "loss": parts.loss,
        "loss_per_text": parts.video_to_text,
        "loss_per_video": parts.text_to_video,
        "top1_per_text": parts.top1_video_to_text,
        "top1_per_video": parts.top1_text_to_video,
        "grad_video": video.grad,
        "grad_text": text.grad,
    }
    assert arrays.keys() == results.keys()
    for (name, value), atol in zip(results.items(), tolerances, strict=True):
        close(value, arrays[name], atol, name)


def test_windows_of_padded_lists_cover_the_published_seconds():
    arrays = golden_arrays("tan_aligner", "mask_from_time")
    start, end, text_mask = pad_windows(STARTS, ENDS, num_seconds=NUM_SECONDS)
    mask = window_mask(start, end, num_seconds=NUM_SECONDS)
    np.testing.assert_array_equal(mask, arrays["mask"])
    np.testing.assert_allclose(start, arrays["start"], rtol=1e-6)
    np.testing.assert_allclose(end, arrays["end"], rtol=1e-6)
    assert text_mask.tolist() == [[True] * 5, [True] * 3 + [False] * 2]


def test_rotations_are_the_published_ones():
    arrays = golden_arrays("tan_aligner", "circulant")
    np.testing.assert_allclose(circulant(filled("circulant/x", (2, 5))), arrays["out"], rtol=1e-6)


def twin_cosines(case, side):
    """Smooth over time, so that windows of several seconds stand out."""
    shape = (NUM_VIDEOS, NUM_LAYERS, NUM_SECONDS, NUM_VIDEOS, NUM_TEXTS)
    mixed = 0.8 * filled(f"{case}/ema_common", shape) + 0.2 * filled(f"{case}/ema_logits_{side}", shape)
    cosines = mixed.tanh()
    return (cosines + cosines.roll(1, dims=2) + cosines.roll(2, dims=2)) / 10


def alignment_inputs(case, *, has_head, extra):
    shape = (NUM_VIDEOS, NUM_LAYERS, NUM_SECONDS, NUM_VIDEOS, NUM_TEXTS)
    dual, joint = (
        (0.5 * filled(f"{case}/logits_{side}", shape)).tanh().requires_grad_() for side in ("dual", "joint")
    )
    head = None
    if has_head:
        head = (
            filled(f"{case}/align_joint", (NUM_VIDEOS, NUM_LAYERS, NUM_TEXTS, 1)).squeeze(3).requires_grad_()
        )
    start, end, text_mask = pad_windows(STARTS, ENDS, num_seconds=NUM_SECONDS)
    video_mask = torch.ones(NUM_VIDEOS, NUM_SECONDS, dtype=torch.bool)
    video_mask[1, 14:] = False
    positions = None
    if extra == "positions":
        positions = filled(f"{case}/abs_pos", (NUM_VIDEOS, NUM_TEXTS, 2), "uniform").sort(dim=2).values
    windows = AlignmentWindows(
        window_mask(start, end, num_seconds=NUM_SECONDS), video_mask, text_mask, positions
    )
    twin = None
    if extra == "twin":
        twin = AlignmentLogits(twin_cosines(case, "dual"), twin_cosines(case, "joint"))
    return AlignmentLogits(dual, joint, head), windows, twin


@pytest.mark.parametrize("case", ALIGNMENT)
def test_temporal_alignment_gives_the_published_parts_and_gradients(case):
    config, extra, (loss_atol, gradient_atol, head_atol, head_gradient_atol) = ALIGNMENT[case]
    arrays = golden_arrays("tan_aligner", case)
    logits, windows, twin = alignment_inputs(case, has_head=config.use_alignability_head, extra=extra)

    parts = TemporalAlignmentLoss(config).parts(logits, windows, target_logits=twin)
    parts.loss.backward()

    results = {name: (getattr(parts, ours), loss_atol) for name, ours in PUBLISHED_PARTS.items()}
    results["loss_joint_bce"] = (parts.alignability, head_atol)
    results["alignability_top1"] = (parts.alignability_accuracy, 5e-7)
    results["confidence_ratio"] = (parts.confident_share, 4e-7)
    results["loss_total"] = ((parts.dual_all + parts.joint_all) / 2, loss_atol)
    results["iou_threshold"] = (torch.tensor(MIN_IOU), 5e-7)
    for side, cosines in (("dual", logits.dual), ("joint", logits.joint)):
        gradient = torch.zeros_like(cosines) if cosines.grad is None else cosines.grad
        results[f"grad_{side}"] = (gradient.flatten()[::7], gradient_atol)
    if logits.alignability is not None:
        results["grad_align_joint"] = (logits.alignability.grad[..., None], head_gradient_atol)
    for name, expected in arrays.items():
        value, atol = results[name]
        close(value, expected, atol, name)
