"""Temporal data augmentation: clips in a slightly different order, the likelier the more alike they are."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from narravid.losses.logits import check_logits

__all__ = [
    "TemporalAugmentation",
    "bounded_permutations",
    "draw_permutations",
    "permutation_probabilities",
]

MAX_PERMUTATIONS = 100_000
"""More would cost more than the loss they serve; their number grows about 2.3-fold with every clip."""
PERMUTATIONS_AT_ONCE = 1024
"""Bounds the memory of the distances of long sequences."""


def bounded_permutations(num_clips: int, max_shift: int = 2) -> torch.Tensor:
    """All permutations p of 0 .. num_clips-1 with |p[i] - i| <= max_shift, in lexicographic order.

    Ko et al., VT-TWINS, CVPR 2022, arXiv 2203.16784, temporal data augmentation.

    Args:
        num_clips: Length of a sequence, at least 1.
        max_shift: How far a clip may move, in positions, at least 0.

    Returns:
        (K, num_clips) int64; 400 of them for 8 clips and a shift of 2.

    Raises:
        ValueError: If an argument is too small, or there are more than 100,000.
    """
    if num_clips < 1 or max_shift < 0:
        raise ValueError(
            f"num_clips must be at least 1 and max_shift at least 0, got {num_clips} and {max_shift}"
        )
    starts = torch.zeros(1, 0, dtype=torch.int64)
    for position in range(num_clips):
        clips = torch.arange(max(0, position - max_shift), min(num_clips, position + max_shift + 1))
        longer = torch.cat(
            [starts.repeat_interleave(len(clips), dim=0), clips.repeat(len(starts))[:, None]], dim=1
        )
        possible = (longer[:, :-1] != longer[:, -1:]).all(dim=1)
        if position >= max_shift:  # the clip that may not wait any longer
            possible &= (longer == position - max_shift).any(dim=1)
        starts = longer[possible]
        if len(starts) > MAX_PERMUTATIONS:
            raise ValueError(
                f"{num_clips} clips have more than {MAX_PERMUTATIONS:,} permutations with a shift of at most "
                f"{max_shift}; lower max_shift"
            )
    return starts


@torch.no_grad()
def permutation_probabilities(
    embeddings: torch.Tensor, permutations: torch.Tensor, *, scale: float = 50.0
) -> torch.Tensor:
    """How likely each permutation of each sequence is to be drawn.

    softmin over permutations of scale · ||S - S_p||_F, where S is the self-similarity E E^T of a sequence and
    S_p the same with its rows and columns permuted. Nothing is differentiated through the draw.

    Args:
        embeddings: (B, N, D) floating point, L2-normalised for the published probabilities.
        permutations: (K, N) int64, as `bounded_permutations` gives them.
        scale: How sharply the probability falls with the distance; scale · distance within 1e4.

    Returns:
        (B, K) float32, or float64 for float64 embeddings; rows sum to 1.

    Raises:
        ValueError: If the shapes do not fit, or the scaled distances are out of range.
    """
    if embeddings.ndim != 3 or permutations.ndim != 2 or embeddings.shape[1] != permutations.shape[1]:
        raise ValueError(
            "embeddings must be (B, N, D) and permutations (K, N), "
            f"got {tuple(embeddings.shape)} and {tuple(permutations.shape)}"
        )
    permutations = permutations.to(embeddings.device)
    with torch.autocast(embeddings.device.type, enabled=False):
        embeddings = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
        similarity = embeddings @ embeddings.mT
        distances = [
            (similarity[:, None] - similarity[:, some[:, :, None], some[:, None, :]]).norm(dim=(2, 3))
            for some in torch.split(permutations, PERMUTATIONS_AT_ONCE)
        ]
        scaled = scale * torch.cat(distances, dim=1)
        check_logits("scaled distances of permuted sequences", scaled)
        return torch.softmax(-scaled, dim=1)


def draw_permutations(
    embeddings: torch.Tensor, permutations: torch.Tensor, *, generator: torch.Generator, scale: float = 50.0
) -> torch.Tensor:
    """One permutation for each sequence, drawn by `permutation_probabilities`.

    Args:
        embeddings: (B, N, D) floating point.
        permutations: (K, N) int64.
        generator: Draws; may live on another device than the embeddings.
        scale: As for `permutation_probabilities`.

    Returns:
        (B, N) int64 on the device of the embeddings.
    """
    probabilities = permutation_probabilities(embeddings, permutations, scale=scale)
    drawn = torch.multinomial(probabilities.to(generator.device), 1, generator=generator).squeeze(1)
    return permutations.to(embeddings.device)[drawn.to(embeddings.device)]


@dataclass(frozen=True)
class TemporalAugmentation:
    """Reorders every sequence of a batch by a permutation of its own.

    Args:
        max_shift: How far a clip may move, in positions.
        scale: How sharply the probability of a permutation falls with the distance it makes.
    """

    max_shift: int = 2
    scale: float = 50.0

    def __call__(self, embeddings: torch.Tensor, *, generator: torch.Generator) -> torch.Tensor:
        """The embeddings in the order drawn; gradients flow back to where each came from.

        Args:
            embeddings: (B, N, D) floating point, without padding.
            generator: Draws the permutations.

        Returns:
            (B, N, D) like `embeddings`.
        """
        permutations = bounded_permutations(embeddings.shape[1], self.max_shift)
        order = draw_permutations(embeddings, permutations, generator=generator, scale=self.scale)
        return embeddings.gather(1, order[:, :, None].expand_as(embeddings))
