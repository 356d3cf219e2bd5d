"""How long calls take, while they are made."""

from __future__ import annotations

import threading
from collections import deque

import numpy as np

__all__ = ["LatencyMeter"]

NUM_RECENT = 1000
"""Calls of which the single times are kept, for median and percentile; a training run makes millions."""


class LatencyMeter:
    """Counts calls and what they worked on, and how long they took; several threads may record.

    Attributes:
        calls: Calls so far.
        episodes: Episodes, or windows of episodes, that they scored.
        frames: Frames that the network saw for that.
        seconds: What all calls took together.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self.clear()

    def clear(self) -> None:
        """Forget everything, to measure from here on."""
        with self._turn:
            self.calls = 0
            self.episodes = 0
            self.frames = 0
            self.seconds = 0.0
            self._recent: deque[float] = deque(maxlen=NUM_RECENT)

    def record(self, seconds: float, *, episodes: int, frames: int) -> None:
        """Count one call.

        Args:
            seconds: How long it took.
            episodes: How many episodes it scored.
            frames: How many frames the network saw.
        """
        with self._turn:
            self.calls += 1
            self.episodes += episodes
            self.frames += frames
            self.seconds += seconds
            self._recent.append(seconds)

    @property
    def mean_seconds(self) -> float:
        """Per call, over all calls; 0 before the first."""
        return self.seconds / self.calls if self.calls else 0.0

    @property
    def median_seconds(self) -> float:
        """Per call, over the last thousand; 0 before the first."""
        return self._quantile(0.5)

    @property
    def percentile_95_seconds(self) -> float:
        """What 95 % of the last thousand calls stay below; 0 before the first."""
        return self._quantile(0.95)

    @property
    def frames_per_second(self) -> float:
        """Frames seen by the network per second of calls; 0 before the first."""
        return self.frames / self.seconds if self.seconds else 0.0

    def _quantile(self, share: float) -> float:
        with self._turn:  # another thread may not add to what is being read
            recent = list(self._recent)
        return float(np.quantile(recent, share)) if recent else 0.0

    def __str__(self) -> str:
        if not self.calls:
            return "no calls yet"
        return (
            f"{self.calls} calls of {self.episodes / self.calls:.3g} episodes: "
            f"median {1000 * self.median_seconds:.3g} ms, 95 % within "
            f"{1000 * self.percentile_95_seconds:.3g} ms; {self.frames_per_second:.4g} frames per second"
        )
