"""The losses on a CUDA device give the numbers of the processor, without a word about devices."""

from __future__ import annotations

import pytest
import torch

from narravid.losses import (
    AlignmentLogits,
    AlignmentWindows,
    InfoNCELoss,
    MaxMarginRankingLoss,
    MemoryBank,
    MemoryBankNCELoss,
    MILNCELoss,
    TemporalAlignmentConfig,
    TemporalAlignmentLoss,
    window_mask,
)

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def assert_same_on_cuda(criterion: torch.nn.Module, *inputs: torch.Tensor, **rest: torch.Tensor) -> None:
    """Loss, gradients and state after the call; float64, so that only the order of sums differs."""
    outcomes = []
    start = {name: value.clone() for name, value in criterion.state_dict().items()}
    for device in ("cpu", "cuda"):
        criterion.load_state_dict(start)
        criterion.to(device)
        placed = [tensor.to(device).requires_grad_(tensor.is_floating_point()) for tensor in inputs]
        loss = criterion(*placed, **{name: tensor.to(device) for name, tensor in rest.items()})
        assert loss.device.type == device
        gradients = torch.autograd.grad(loss, [tensor for tensor in placed if tensor.requires_grad])
        state = [value.cpu().clone() for value in criterion.state_dict().values()]
        outcomes.append([loss.detach().cpu(), *(gradient.cpu() for gradient in gradients), *state])
    for on_cpu, on_cuda in zip(*outcomes, strict=True):
        torch.testing.assert_close(on_cuda, on_cpu, rtol=1e-9, atol=1e-12)


def test_mil_nce():
    assert_same_on_cuda(MILNCELoss(), draw(8, 16), draw(8, 4, 16, seed=1))


def test_max_margin():
    assert_same_on_cuda(MaxMarginRankingLoss(clips_per_video=2), draw(8, 8))


@pytest.mark.parametrize("cosine", [True, False])
def test_info_nce(cosine):
    assert_same_on_cuda(InfoNCELoss(cosine=cosine), draw(8, 16), draw(8, 16, seed=1))


@pytest.mark.parametrize("weighted", [False, True])
def test_memory_bank(weighted):
    bank = MemoryBank(20, 16, generator=torch.Generator().manual_seed(0)).double()
    criterion = MemoryBankNCELoss(bank, noise_weights=draw(20).abs() + 0.1 if weighted else None)
    negatives = criterion.draw_negatives(4, num_negatives=6, generator=torch.Generator().manual_seed(3))
    # Sample 5 comes twice: the last one wins there too.
    indices = torch.tensor([5, 2, 5, 11])
    assert_same_on_cuda(criterion, draw(4, 16), draw(4, 16, seed=1), indices, negatives=negatives)
    on_cuda = torch.Generator("cuda").manual_seed(3)
    drawn = criterion.draw_negatives(4, num_negatives=6, generator=on_cuda)
    assert drawn.shape == (4, 6)
    assert drawn.device == bank.video_memory.device


@pytest.mark.parametrize("agreement", [None, "keep", "union"])
def test_temporal_alignment(agreement):
    start = draw(2, 5).sigmoid() * 12
    windows = AlignmentWindows(
        window_mask(start, start + 3, num_seconds=16),
        torch.ones(2, 16, dtype=torch.bool),
        draw(2, 5, seed=1) < 1,
        draw(2, 5, 2).sigmoid(),
    )
    config = TemporalAlignmentConfig(
        loss_threshold=0.5, agreement=agreement, use_alignability_head=True, count_padded_seconds=False
    )
    windows.video_mask[1, 13:] = False
    outcomes = []
    for device in ("cpu", "cuda"):
        leaves = [
            draw(*shape, seed=seed).tanh().to(device).requires_grad_()
            for seed, shape in enumerate([(2, 3, 16, 2, 5), (2, 3, 16, 2, 5), (2, 3, 5)])
        ]
        placed = AlignmentWindows(
            windows.positives.to(device),
            windows.video_mask.to(device),
            windows.text_mask.to(device),
            windows.text_positions.to(device),
        )
        loss = TemporalAlignmentLoss(config)(AlignmentLogits(*leaves), placed)
        gradients = torch.autograd.grad(loss, leaves)
        outcomes.append([loss.detach().cpu(), *(gradient.cpu() for gradient in gradients)])
    for on_cpu, on_cuda in zip(*outcomes, strict=True):
        torch.testing.assert_close(on_cuda, on_cpu, rtol=1e-9, atol=1e-12)
