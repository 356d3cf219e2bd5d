"""How long a video must be for the training sets cut from HowTo100M."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["ALIGNED_CLIP_DURATIONS", "ALIGNMENT_DURATIONS", "DurationLimits"]


@dataclass(frozen=True, slots=True)
class DurationLimits:
    """Which videos are taken by their length; `duration_seconds in limits` asks.

    Attributes:
        longer_than_seconds: A video of this length is left out.
        shorter_than_seconds: A video of this length is left out.

    Raises:
        ValueError: If no length lies between the two.

    >>> 64.0 in ALIGNMENT_DURATIONS, 64.5 in ALIGNMENT_DURATIONS, 1000.0 in ALIGNMENT_DURATIONS
    (False, True, False)
    """

    longer_than_seconds: float
    shorter_than_seconds: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.longer_than_seconds) and self.longer_than_seconds >= 0):
            raise ValueError(f"longer_than_seconds must be at least 0, got {self.longer_than_seconds}")
        if not self.shorter_than_seconds > self.longer_than_seconds:
            raise ValueError(
                f"shorter_than_seconds must exceed longer_than_seconds ({self.longer_than_seconds}), "
                f"got {self.shorter_than_seconds}"
            )

    def __contains__(self, duration_seconds: float) -> bool:
        return self.longer_than_seconds < duration_seconds < self.shorter_than_seconds


ALIGNMENT_DURATIONS = DurationLimits(64.0, 1000.0)
"""Of the temporal alignment network (Han et al. 2022, arXiv 2204.02968, released loader)."""

ALIGNED_CLIP_DURATIONS = DurationLimits(64.0, 2000.0)
"""Of end-to-end training on the automatically aligned HTM-AA (the same paper)."""
