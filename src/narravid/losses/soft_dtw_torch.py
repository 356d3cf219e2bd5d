"""Soft-DTW in plain PyTorch, for every device: one step per anti-diagonal, over the whole batch at once."""

from __future__ import annotations

import torch
import torch.nn.functional as F

__all__ = ["FAR", "torch_soft_dtw"]

FAR = 1e30
"""Stands for infinity in the tables of every backend, so that no difference of two of them is NaN."""


def torch_soft_dtw(
    cost: torch.Tensor, lengths: torch.Tensor, *, band: int, with_alignment: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The PyTorch backend of `soft_dtw.SoftDTWBackend`."""
    num_sequences, num_rows, _ = cost.shape
    diagonals = _by_diagonal(cost)
    inside = _by_diagonal(_allowed(cost, lengths, band))
    # Line d + 2 holds anti-diagonal d, column i + 1 its row i; the rest is the border in front of the matrix.
    lines = [cost.new_full((num_sequences, num_rows + 1), FAR) for _ in range(2)]
    lines[0][:, 0] = 0
    ends = lengths.sum(dim=1)  # the line of the last cell
    value = cost.new_empty(num_sequences)
    for diagonal in range(len(diagonals)):
        before = _predecessors(lines, diagonal)
        cells = diagonals[diagonal] - torch.logsumexp(-before, dim=0)
        line = F.pad(cells.where(inside[diagonal], FAR), (1, 0), value=FAR)
        lines.append(line)
        at_end = line.gather(1, lengths[:, :1]).squeeze(1)
        value = torch.where(ends == diagonal + 2, at_end, value)
        if not with_alignment:
            lines[diagonal] = line[:0]  # nobody looks further back than two lines
    return value, _flow_back(lines, lengths, cost) if with_alignment else None


def _flow_back(lines: list[torch.Tensor], lengths: torch.Tensor, cost: torch.Tensor) -> torch.Tensor:
    """How much each cell moves the value: the share of all paths, weighted, that cross it."""
    num_sequences, num_rows, num_columns = cost.shape
    flows = cost.new_zeros(len(lines), num_sequences, num_rows + 1)
    everyone = torch.arange(num_sequences, device=cost.device)
    flows[lengths.sum(dim=1), everyone, lengths[:, 0]] = 1
    for diagonal in range(len(lines) - 3, -1, -1):
        before = _predecessors(lines, diagonal)
        left, above, corner = torch.softmax(-before, dim=0) * flows[diagonal + 2, :, 1:]
        flows[diagonal + 1, :, 1:] += left
        flows[diagonal + 1, :, :-1] += above
        flows[diagonal, :, :-1] += corner
    # Row i of the matrix lies slanted in the lines: shift it back.
    slanted = flows[2:, :, 1:].permute(1, 2, 0)
    slanted = F.pad(slanted.flatten(1), (0, num_rows))
    return slanted.view(num_sequences, num_rows, num_rows + num_columns)[:, :, :num_columns].contiguous()


def _predecessors(lines: list[torch.Tensor], diagonal: int) -> torch.Tensor:
    """(3, B, N): left, upper and diagonal neighbours of the cells of an anti-diagonal."""
    one_back, two_back = lines[diagonal + 1], lines[diagonal]
    return torch.stack([one_back[:, 1:], one_back[:, :-1], two_back[:, :-1]])


def _allowed(cost: torch.Tensor, lengths: torch.Tensor, band: int) -> torch.Tensor:
    """(B, N, M) bool: inside the sequence's own lengths and the band."""
    rows = torch.arange(cost.shape[1], device=cost.device)[:, None]
    columns = torch.arange(cost.shape[2], device=cost.device)
    inside = (rows < lengths[:, 0, None, None]) & (columns < lengths[:, 1, None, None])
    return inside & ((rows - columns).abs() <= band)


def _by_diagonal(matrix: torch.Tensor) -> torch.Tensor:
    """(N + M - 1, B, N): entry (d, b, i) is matrix[b, i, d - i], 0 outside the matrix."""
    num_sequences, num_rows, num_columns = matrix.shape
    num_diagonals = num_rows + num_columns - 1
    # Rows padded by N and read with rows one shorter: each starts one place further right than the one above.
    padded = F.pad(matrix, (0, num_rows)).flatten(1)[:, : num_rows * num_diagonals]
    return padded.view(num_sequences, num_rows, num_diagonals).permute(2, 0, 1).contiguous()
