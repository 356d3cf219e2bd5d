"""How much faster S2DTW and soft-DTW are than the textbook way, and how much less memory they take.

    python benchmarks/losses.py [--device cuda] [--rounds 15]

The textbook way is what the published program does, written from the recurrence: all B² pairs of a batch
expanded to (B², n, D), one small matrix product for each, their interleaved cost matrices, and then a
compiled loop over pairs and cells, forward (Cuturi & Blondel, algorithm 1) and backward (algorithm 2), in
float64 and in one thread; what comes before and after it is PyTorch with all its threads. On CUDA the costs
are built there and travel to the processor for the recursion and back.

Losses and gradients are compared first. Then each round times every way in turn: the table gives the medians
of the times and of the rounds' ratios, and the ratio of the fastest times, which other work on the machine
disturbs least. Memory is what one step adds at its peak to a process that has warmed up with two videos.

Expected on two cores, from the 9.9 x and 12.3 x of a trial in C with SIMD over pairs: 10 x at B = 32 and
12 x at B = 64. Got 12 x and 14 to 17 x on a quiet machine, at 1/26 and 1/36 of the memory: with exp and log
vectorised too, the recursion takes 1 and 3 ms in one thread, and what remains is one matrix product forward
and two backward. Soft-DTW of 512 x 512 costs: 9 x. Below B = 32 most of a step is calls from Python.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table

from narravid.losses import S2DTWLoss, soft_dtw

GAMMA, SKIP_COST = 0.1, 0.5
NUM_CLIPS, DIM = 8, 512
MEBIBYTE = 1024**2
Step = Callable[[], tuple[torch.Tensor, ...]]


@numba.njit(cache=True)
def textbook_forward(costs: np.ndarray, gamma: float) -> np.ndarray:
    """Algorithm 1 for each of (P, N, M) cost matrices: tables (P, N + 2, M + 2)."""
    num_pairs, num_rows, num_columns = costs.shape
    tables = np.full((num_pairs, num_rows + 2, num_columns + 2), np.inf)
    tables[:, 0, 0] = 0
    for p in range(num_pairs):
        for j in range(1, num_columns + 1):
            for i in range(1, num_rows + 1):
                a = -tables[p, i - 1, j - 1] / gamma
                b = -tables[p, i - 1, j] / gamma
                c = -tables[p, i, j - 1] / gamma
                high = max(a, b, c)
                total = np.exp(a - high) + np.exp(b - high) + np.exp(c - high)
                tables[p, i, j] = costs[p, i - 1, j - 1] - gamma * (np.log(total) + high)
    return tables


@numba.njit(cache=True)
def textbook_backward(costs: np.ndarray, tables: np.ndarray, gamma: float) -> np.ndarray:
    """Algorithm 2: d value / d cost of each pair."""
    num_pairs, num_rows, num_columns = costs.shape
    result = np.zeros(costs.shape)
    for p in range(num_pairs):
        padded = np.zeros((num_rows + 2, num_columns + 2))
        padded[1:-1, 1:-1] = costs[p]
        table = tables[p].copy()
        table[:, -1] = -np.inf
        table[-1, :] = -np.inf
        table[-1, -1] = table[-2, -2]
        flow = np.zeros((num_rows + 2, num_columns + 2))
        flow[-1, -1] = 1
        for j in range(num_columns, 0, -1):
            for i in range(num_rows, 0, -1):
                a = np.exp((table[i + 1, j] - table[i, j] - padded[i + 1, j]) / gamma)
                b = np.exp((table[i, j + 1] - table[i, j] - padded[i, j + 1]) / gamma)
                c = np.exp((table[i + 1, j + 1] - table[i, j] - padded[i + 1, j + 1]) / gamma)
                flow[i, j] = flow[i + 1, j] * a + flow[i, j + 1] * b + flow[i + 1, j + 1] * c
        result[p] = flow[1:-1, 1:-1]
    return result


class TextbookSoftDTW(torch.autograd.Function):
    """The compiled loops as a differentiable function of costs (P, N, M)."""

    @staticmethod
    def forward(ctx: Any, costs: torch.Tensor, gamma: float) -> torch.Tensor:  # noqa: ANN401 - autograd's
        """Values (P,)."""
        wide = costs.detach().cpu().double().numpy()
        tables = textbook_forward(wide, gamma)
        ctx.save_for_backward(costs, torch.from_numpy(tables))
        ctx.gamma = gamma
        return torch.from_numpy(tables[:, -2, -2].copy()).to(costs)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:  # noqa: ANN401 - autograd's
        """By the costs."""
        costs, tables = ctx.saved_tensors
        flow = textbook_backward(costs.cpu().double().numpy(), tables.numpy(), ctx.gamma)
        return grad[:, None, None] * torch.from_numpy(flow).to(costs), None


def textbook_s2dtw(video: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """The loss of all pairs, expanded."""
    batch_size, num_clips, dim = video.shape
    expanded = (batch_size, batch_size, num_clips, dim)
    videos = video[None].expand(expanded).reshape(-1, num_clips, dim)
    texts = text[:, None].expand(expanded).reshape(-1, num_clips, dim)
    similarity = torch.bmm(videos, texts.transpose(1, 2))
    powers = F.pad(torch.exp(similarity / GAMMA), (1, 0, 1, 0))
    powers[:, 0, 0] = 3.0  # the first cell starts with three predecessors of similarity 0
    total = powers[:, 1:, :-1] + powers[:, :-1, 1:] + powers[:, :-1, :-1]
    local = -similarity - GAMMA * torch.log(total)
    costs = local.new_full((len(local), 2 * num_clips + 1, 2 * num_clips + 1), SKIP_COST)
    costs[:, 1::2, 1::2] = local
    cost = TextbookSoftDTW.apply(costs, GAMMA).view(batch_size, batch_size)
    return (torch.logsumexp(-cost, dim=1) + cost.diagonal()).mean()


def s2dtw_step(way: str, batch_size: int, device: str) -> Step:
    """Forward and backward of one way; gives the loss and the gradients."""
    generator = torch.Generator().manual_seed(0)
    video, text = (
        F.normalize(torch.randn(batch_size, NUM_CLIPS, DIM, generator=generator), dim=-1)
        .to(device)
        .requires_grad_()
        for _ in range(2)
    )
    loss_of = (
        textbook_s2dtw if way == "textbook" else S2DTWLoss(gamma=GAMMA, skip_cost=SKIP_COST, backend=way)
    )

    def step() -> tuple[torch.Tensor, ...]:
        video.grad = text.grad = None
        loss = loss_of(video, text)
        loss.backward()
        return loss.detach(), video.grad, text.grad

    return step


def soft_dtw_step(way: str, batch_size: int, device: str) -> Step:
    """The same for given costs, 512 x 512."""
    cost = torch.rand(batch_size, 512, 512, generator=torch.Generator().manual_seed(0)).to(device)
    cost.requires_grad_()

    def step() -> tuple[torch.Tensor, ...]:
        cost.grad = None
        if way == "textbook":
            value = TextbookSoftDTW.apply(cost, GAMMA)
        else:
            value = soft_dtw(cost, gamma=GAMMA, backend=way)
        value.sum().backward()
        return value.detach(), cost.grad

    return step


SETTINGS = {
    "S2DTW, B = 8": (s2dtw_step, 8),
    "S2DTW, B = 16": (s2dtw_step, 16),
    "S2DTW, B = 32": (s2dtw_step, 32),
    "S2DTW, B = 64": (s2dtw_step, 64),
    "soft-DTW, 16 x 512²": (soft_dtw_step, 16),
}


def milliseconds(step: Step, device: str) -> float:
    """Of one step, after one that wakes its threads and fills the caches."""
    for _ in range(2):
        started = time.perf_counter()
        step()
        if device == "cuda":
            torch.cuda.synchronize()
    return 1000 * (time.perf_counter() - started)


def check_equal(steps: dict[str, Step]) -> None:
    """Every way gives the textbook's numbers: float32 against a recursion in float64."""
    expected = steps["textbook"]()
    for step in steps.values():
        for ours, theirs in zip(step(), expected, strict=True):
            scale = float(theirs.abs().max())
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4 * scale)


def peak_mebibytes(setting: str, way: str, device: str) -> float:
    """Memory that a step adds at its peak, measured in a process of its own."""
    command = [sys.executable, __file__, "--device", device, "--peak", setting, way]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(result.stdout))


def print_peak(setting: str, way: str, device: str) -> None:
    """What the process of `peak_mebibytes` does."""
    make_step, batch_size = SETTINGS[setting]
    make_step(way, 2, device)()
    step = make_step(way, batch_size, device)
    if device == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        print((torch.cuda.max_memory_allocated() - before) / MEBIBYTE)
        return
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    before = resident_kibibytes("VmRSS")
    step()
    print((resident_kibibytes("VmHWM") - before) / 1024)


def resident_kibibytes(field: str) -> int:
    """A line of this process's status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--peak", nargs=2, metavar=("SETTING", "WAY"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        print_peak(*options.peak, options.device)
        return
    compiled = "numba" if options.device == "cpu" else "triton"
    ways = ("textbook", compiled, "torch")
    table = Table(title=f"Forward + backward, n = {NUM_CLIPS}, D = {DIM}, {torch.get_num_threads()} threads")
    table.add_column("")
    for column in (
        "textbook ms",
        f"{compiled} ms",
        "torch ms",
        f"{compiled} faster",
        "(fastest)",
        "torch faster",
    ):
        table.add_column(column, justify="right")
    for column in ("textbook MiB", f"{compiled} MiB", "less memory"):
        table.add_column(column, justify="right")
    for setting, (make_step, batch_size) in SETTINGS.items():
        steps = {way: make_step(way, batch_size, options.device) for way in ways}
        check_equal(steps)
        rounds = [
            {way: milliseconds(step, options.device) for way, step in steps.items()}
            for _ in range(options.rounds)
        ]
        times = [statistics.median(times[way] for times in rounds) for way in ways]
        ratios = [statistics.median(times["textbook"] / times[way] for times in rounds) for way in ways[1:]]
        fastest = min(times["textbook"] for times in rounds) / min(times[compiled] for times in rounds)
        peaks = [peak_mebibytes(setting, way, options.device) for way in ways[:2]]
        table.add_row(
            setting,
            *(f"{value:.1f}" for value in times),
            *(f"{value:.1f} x" for value in (ratios[0], fastest, ratios[1])),
            *(f"{value:.1f}" for value in peaks),
            f"{peaks[0] / peaks[1]:.1f} x",
        )
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
