"""Soft-DTW: the smoothed cost of aligning two sequences in order."""

from __future__ import annotations

import importlib.util
import os
from typing import Any, Literal, Protocol

import torch

from narravid.extras import import_extra
from narravid.losses.logits import check_logits

__all__ = [
    "Backend",
    "SoftDTWBackend",
    "check_gamma",
    "choose_backend",
    "padding_lengths",
    "refuse_second_derivative",
    "soft_dtw",
    "unchecked_soft_dtw",
]

Backend = Literal["auto", "torch", "numba", "triton"]
"""Who computes: PyTorch on any device, numba on the processor (extra `fast`), Triton on CUDA (`gpu`)."""

GAMMA_RANGE = (1e-30, 1e30)
"""Beyond, gamma itself or the value could leave the range of float32."""


class SoftDTWBackend(Protocol):
    """One way to compute soft-DTW with gamma = 1; all of them give the same numbers."""

    def __call__(
        self, cost: torch.Tensor, lengths: torch.Tensor, *, band: int, with_alignment: bool
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Values and, if asked for, their derivatives.

        Args:
            cost: (B, N, M) float32 or float64, contiguous, detached, N <= M.
            lengths: (B, 2) int64, unpadded lengths, at least 1 and on the device of `cost`.
            band: Cells with |i - j| > band are left out; at least the difference of every two lengths.
            with_alignment: Whether the second result is wanted.

        Returns:
            (B,) values, and (B, N, M) d value / d cost, which is the probability that a path drawn by
            exp(-cost) crosses the cell, 0 in padding and outside the band.
        """
        ...


def soft_dtw(
    cost: torch.Tensor,
    *,
    gamma: float,
    bandwidth: int | None = None,
    row_mask: torch.Tensor | None = None,
    column_mask: torch.Tensor | None = None,
    backend: Backend = "auto",
) -> torch.Tensor:
    """Soft-DTW of given cost matrices.

    Cuturi & Blondel, Soft-DTW: a Differentiable Loss Function for Time-Series, ICML 2017, arXiv 1703.01541,
    equation 1 and algorithms 1 and 2: -gamma log of the sum of exp(-c(path) / gamma) over all paths from
    the first cell to the last that go down, right or both at each step. All in log space.

    The gradient is computed along with the value, when `cost` needs one; backward only scales it. It can be
    taken repeatedly (retain_graph) but not be differentiated again: create_graph=True raises a RuntimeError.

    Args:
        cost: (B, N, M) floating point, N and M at least 1; cost / gamma within ±1e4, padding included.
        gamma: Smoothing, positive, in units of cost. The smaller, the closer to the cost of the best path.
        bandwidth: Sakoe-Chiba band: only cells with |i - j| <= bandwidth are crossed. None or 0: no band.
        row_mask: (B, N) bool, False in the padding at the end of each sequence; None when all are real.
        column_mask: (B, M) bool, likewise. Padding has no influence and gets no gradient.
        backend: "auto" takes Triton on CUDA and numba on the processor where installed, else PyTorch.

    Returns:
        (B,) float32, also for half-precision inputs and under autocast; float64 for float64 inputs.

    Raises:
        ValueError: If an argument has the wrong shape or range, or the band cannot reach the last cell.
        MissingExtraError: If the backend asked for is not installed.
    """
    if cost.ndim != 3 or not cost.is_floating_point() or 0 in cost.shape[1:]:
        raise ValueError(
            "cost must be (B, N, M) floating point with N and M at least 1, "
            f"got {tuple(cost.shape)} {cost.dtype}"
        )
    check_gamma(gamma)
    lengths = torch.stack(
        [
            padding_lengths("row_mask", row_mask, shape=cost.shape[:2], device=cost.device),
            padding_lengths("column_mask", column_mask, shape=cost.shape[::2], device=cost.device),
        ],
        dim=1,
    )
    band = _check_bandwidth(bandwidth, cost, lengths)
    with torch.autocast(cost.device.type, enabled=False):
        wide = cost.to(torch.promote_types(cost.dtype, torch.float32))
        if len(wide):
            extremes = torch.stack(torch.aminmax(wide.detach()))
            check_logits("costs divided by gamma", extremes / gamma)
        return unchecked_soft_dtw(wide, lengths, gamma=gamma, band=band, backend=backend)


def unchecked_soft_dtw(
    cost: torch.Tensor, lengths: torch.Tensor, *, gamma: float, band: int, backend: Backend
) -> torch.Tensor:
    """Soft-DTW of arguments that are checked already.

    Args:
        cost: (B, N, M) float32 or float64.
        lengths: (B, 2) int64, unpadded lengths, at least 1 and on the device of `cost`.
        gamma: Smoothing.
        band: Cells with |i - j| > band are left out; at least the difference of every two lengths.
        backend: As for `soft_dtw`.

    Returns:
        (B,) like `cost`, differentiable once.
    """
    if cost.shape[1] > cost.shape[2]:  # the tables of every backend are as wide as there are rows
        cost, lengths = cost.mT, lengths.flip(1)
    kernel = _KERNELS[choose_backend(backend, cost.device)]()
    value: torch.Tensor = _SoftDTW.apply(  # type: ignore[no-untyped-call]
        cost, lengths, gamma, band, kernel
    )
    return value


class _SoftDTW(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - autograd's own context
        cost: torch.Tensor,
        lengths: torch.Tensor,
        gamma: float,
        band: int,
        kernel: SoftDTWBackend,
    ) -> torch.Tensor:
        scaled = (cost / gamma).contiguous()
        value, alignment = kernel(scaled, lengths, band=band, with_alignment=ctx.needs_input_grad[0])
        if alignment is not None:
            ctx.save_for_backward(alignment)
        return gamma * value

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401 - autograd's own context
        grad_value: torch.Tensor,
    ) -> tuple[torch.Tensor, None, None, None, None]:
        refuse_second_derivative()
        (alignment,) = ctx.saved_tensors
        return grad_value[:, None, None] * alignment, None, None, None, None  # gamma cancels


def refuse_second_derivative() -> None:
    """Called in a backward pass whose result is no function of the inputs for autograd.

    Raises:
        RuntimeError: In a pass with create_graph=True, which would silently leave out a term.
    """
    if torch.is_grad_enabled():
        raise RuntimeError("soft-DTW can be differentiated once only: create_graph=True is not supported")


def choose_backend(backend: Backend, device: torch.device) -> Literal["torch", "numba", "triton"]:
    """The backend that serves a device best, or the one that was asked for.

    Raises:
        ValueError: If there is no such backend, or it does not serve the device.
    """
    if backend == "auto":
        if device.type == "cuda":
            return "triton" if importlib.util.find_spec("triton") else "torch"
        return "numba" if device.type == "cpu" and importlib.util.find_spec("numba") else "torch"
    if backend not in _KERNELS:
        raise ValueError(f"backend must be 'auto', {', '.join(map(repr, _KERNELS))}, got {backend!r}")
    if backend == "numba" and device.type != "cpu":
        raise ValueError(f"backend 'numba' computes on the processor, but the tensors are on {device}")
    # Triton itself reads this variable: with it, its kernels are interpreted on the processor, for tests.
    if backend == "triton" and device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        raise ValueError(f"backend 'triton' computes on CUDA, but the tensors are on {device}")
    return backend


def _torch_kernel() -> SoftDTWBackend:
    from narravid.losses.soft_dtw_torch import torch_soft_dtw

    return torch_soft_dtw


def _numba_kernel() -> SoftDTWBackend:
    import_extra("numba", extra="fast", feature="The numba backend of soft-DTW")
    from narravid.losses.soft_dtw_numba import numba_soft_dtw

    return numba_soft_dtw


def _triton_kernel() -> SoftDTWBackend:
    import_extra("triton", extra="gpu", feature="The Triton backend of soft-DTW")
    from narravid.losses.soft_dtw_triton import triton_soft_dtw

    return triton_soft_dtw


_KERNELS = {"torch": _torch_kernel, "numba": _numba_kernel, "triton": _triton_kernel}


def check_gamma(gamma: float) -> None:
    """Refuse a smoothing that is not positive, not a number or absurd.

    Raises:
        ValueError: Naming it.
    """
    lowest, highest = GAMMA_RANGE
    if not lowest <= gamma <= highest:  # false for NaN as well
        raise ValueError(f"gamma must lie between {lowest:g} and {highest:g}, got {gamma}")


def padding_lengths(
    name: str, mask: torch.Tensor | None, *, shape: tuple[int, ...], device: torch.device
) -> torch.Tensor:
    """Unpadded lengths of a batch of sequences.

    Args:
        name: What the mask is called, for the error.
        mask: (B, N) bool, True for each sequence's first entries, False for its padding; None without.
        shape: (B, N).
        device: Where the result is wanted.

    Returns:
        (B,) int64, at least 1.

    Raises:
        ValueError: If the mask has another shape or type, has a gap, or leaves nothing of a sequence.
    """
    if mask is None:
        return torch.full(shape[:1], shape[1], device=device)
    if mask.shape != shape or mask.dtype != torch.bool:
        raise ValueError(f"{name} must be {tuple(shape)} bool, got {tuple(mask.shape)} {mask.dtype}")
    mask = mask.to(device)
    wrong = (mask[:, 1:] & ~mask[:, :-1]).any(dim=1) | ~mask[:, 0]
    if wrong.any():
        raise ValueError(
            f"{name} must be True at the start of each sequence and False in the padding at its end, "
            f"got another order, or nothing, in sequence {int(wrong.nonzero()[0])}"
        )
    return mask.sum(dim=1)


def _check_bandwidth(bandwidth: int | None, cost: torch.Tensor, lengths: torch.Tensor) -> int:
    if bandwidth is not None and bandwidth < 0:
        raise ValueError(f"bandwidth must be at least 0, got {bandwidth}")
    if not bandwidth:
        return max(cost.shape[1:])
    narrow = (lengths[:, 0] - lengths[:, 1]).abs() > bandwidth
    if narrow.any():
        num_rows, num_columns = lengths[narrow][0].tolist()
        raise ValueError(
            f"a bandwidth of {bandwidth} cannot align sequences of lengths {num_rows} and {num_columns}: "
            f"it must be at least {abs(num_rows - num_columns)}"
        )
    return bandwidth
