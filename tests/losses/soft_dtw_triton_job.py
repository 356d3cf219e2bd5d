"""What test_soft_dtw_triton.py runs in Triton's interpreter, which is chosen before Triton is imported.

Prints, as JSON, the largest differences from the PyTorch backend.
"""

from __future__ import annotations

import json
import os
import sys

import torch

from narravid.losses import S2DTWLoss, soft_dtw

# (B, N, M), bandwidth, unpadded rows of each sequence or None
CASES = {
    "one cell": ((2, 1, 1), None, None),
    "one row": ((1, 1, 6), None, None),
    "square": ((2, 4, 4), None, None),
    "wide": ((2, 3, 7), None, None),
    "tall": ((1, 7, 1), None, None),
    "several blocks": ((1, 10, 13), None, None),
    "band over several blocks": ((1, 14, 12), 5, None),
    "padding": ((3, 7, 6), None, (7, 1, 4)),
    "padding and band": ((2, 8, 7), 2, (8, 5)),
}


def differences(
    shape: tuple[int, int, int], bandwidth: int | None, rows: tuple[int, ...] | None
) -> list[float]:
    """Of value, gradient and value without gradient, in float64."""
    mask = None if rows is None else torch.arange(shape[1]) < torch.tensor(rows)[:, None]
    cost = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    results = []
    for backend in ("torch", "triton"):
        leaf = cost.clone().requires_grad_()
        value = soft_dtw(leaf, gamma=0.3, bandwidth=bandwidth, row_mask=mask, backend=backend)
        value.backward(torch.arange(1.0, shape[0] + 1, dtype=torch.float64))
        alone = soft_dtw(cost, gamma=0.3, bandwidth=bandwidth, row_mask=mask, backend=backend)
        results.append((value.detach(), leaf.grad, alone))
    return [float((ours - theirs).abs().max()) for theirs, ours in zip(*results, strict=True)]


def single_precision() -> tuple[str, float]:
    """The type and the error of float32."""
    cost = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(1))
    value = soft_dtw(cost, gamma=0.3, backend="triton")
    return str(value.dtype), float((value - soft_dtw(cost.double(), gamma=0.3, backend="torch")).abs().max())


def s2dtw_difference() -> float:
    generator = torch.Generator().manual_seed(2)
    video, text = (
        torch.nn.functional.normalize(torch.randn(2, 2, 4, generator=generator, dtype=torch.float64), dim=-1)
        for _ in range(2)
    )
    gradients = []
    for backend in ("torch", "triton"):
        leaf = video.clone().requires_grad_()
        S2DTWLoss(backend=backend)(leaf, text).backward()
        gradients.append(leaf.grad)
    return float((gradients[0] - gradients[1]).abs().max())


if __name__ == "__main__":
    assert os.environ["TRITON_INTERPRET"] == "1"
    from narravid.losses import soft_dtw_triton

    soft_dtw_triton.MAX_BLOCK = 4  # so that short sequences have several blocks
    report = {
        "double": {name: differences(*case) for name, case in CASES.items()},
        "single": single_precision(),
        "s2dtw": s2dtw_difference(),
    }
    json.dump(report, sys.stdout)
