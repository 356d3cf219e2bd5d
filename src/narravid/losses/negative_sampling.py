"""Drawing negatives from a fixed distribution over all samples of a data set."""

from __future__ import annotations

import torch

__all__ = ["AliasSampler"]


class AliasSampler:
    """Draws indices with given probabilities in constant time each, however many there are.

    The alias method of Walker (1977), tables after Vose (1991): the probabilities are cut into n columns of
    equal weight that hold at most two indices each, so a draw is one column and one comparison.
    torch.multinomial searches the sums over all n for each draw, and takes no more than 2^24 of them.

    Args:
        weights: (n,) floating point >= 0, not all zero; probabilities up to a factor.

    Raises:
        ValueError: If the weights are not such numbers.
    """

    def __init__(self, weights: torch.Tensor) -> None:
        if weights.ndim != 1 or len(weights) == 0 or not weights.is_floating_point():
            raise ValueError(
                f"weights must be (n,) floating point with n >= 1, got {tuple(weights.shape)} {weights.dtype}"
            )
        weights = weights.detach().cpu().double()
        total = float(weights.sum())
        if not (bool((weights >= 0).all()) and 0 < total < float("inf")):
            raise ValueError(f"weights must be finite, at least 0 and not all 0, got a sum of {total}")
        self.probabilities = weights / total
        self._keep, self._alias = _build_tables(self.probabilities)

    def draw(self, shape: tuple[int, ...], *, generator: torch.Generator) -> torch.Tensor:
        """Draw with replacement.

        Args:
            shape: How many, in which arrangement.
            generator: Source of the randomness; its device is where the result lies.

        Returns:
            `shape` int64 in [0, n).
        """
        device = generator.device
        columns = torch.randint(len(self._alias), shape, generator=generator, device=device)
        # float64, since the steps of float32 random numbers are too coarse for very small weights.
        levels = torch.rand(shape, generator=generator, device=device, dtype=torch.float64)
        keep, alias = self._keep.to(device), self._alias.to(device)
        return torch.where(levels < keep[columns], columns, alias[columns])


def _build_tables(probabilities: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """For each column: the share in [0, 1] that its own index keeps, and the index that gets the rest."""
    heights = (probabilities * len(probabilities)).tolist()
    alias = list(range(len(heights)))
    keep = [1.0] * len(heights)
    small = [index for index, height in enumerate(heights) if height < 1]
    large = [index for index, height in enumerate(heights) if height >= 1]
    while small and large:
        receiver, giver = small.pop(), large[-1]
        keep[receiver], alias[receiver] = heights[receiver], giver
        heights[giver] -= 1 - heights[receiver]
        if heights[giver] < 1:
            small.append(large.pop())
    # What is left is full up to rounding and keeps everything.
    return torch.tensor(keep, dtype=torch.float64), torch.tensor(alias)
