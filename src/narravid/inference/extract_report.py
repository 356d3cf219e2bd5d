"""What an extraction run did, gathered as it goes on."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from narravid.bad_items import MAX_BAD_SHARE, BadItems
from narravid.inference.extract_item import Outcome
from narravid.progress import ProgressBar

__all__ = ["ExtractionReport", "Tally"]


@dataclass(slots=True)
class ExtractionReport:
    """What a run did.

    Attributes:
        num_done: Videos extracted by this run.
        num_skipped: Videos whose features were there already, or were made by other processes meanwhile.
        bad: Videos that could not be extracted, with reasons.
        refused: (video, reason) where something else lies in the place of the features.
        video_seconds: Seconds of video that this run extracted.
        wall_seconds: How long it took, without loading the model.
        busy_seconds: How long the network worked, of all processes together.
        num_networks: How many processes had a network.
    """

    num_done: int = 0
    num_skipped: int = 0
    bad: BadItems = field(default_factory=BadItems)
    refused: list[tuple[Path, str]] = field(default_factory=list)
    video_seconds: float = 0.0
    wall_seconds: float = 0.0
    busy_seconds: float = 0.0
    num_networks: int = 1

    @property
    def hours_per_hour(self) -> float:
        """Hours of video extracted in an hour."""
        return self.video_seconds / max(self.wall_seconds, 1e-9)

    @property
    def busy_share(self) -> float:
        """Share of the time in which the network worked, in [0, 1]."""
        return min(1.0, self.busy_seconds / max(self.wall_seconds * self.num_networks, 1e-9))


class Tally:
    """Counts outcomes into a report, moves the bar, and stops a run of which too much is bad.

    Args:
        report: Filled. Videos that it holds as bad already belong to the list, too.
        bar: Counts videos.
        num_videos: In the whole list, without those.
        max_bad_share: Share of the videos that may be bad; 1 never stops.
    """

    def __init__(
        self,
        report: ExtractionReport,
        bar: ProgressBar,
        *,
        num_videos: int,
        max_bad_share: float = MAX_BAD_SHARE,
    ) -> None:
        self._report = report
        self._bar = bar
        self._num_bad_before = len(report.bad)
        self._num_videos = num_videos + self._num_bad_before
        self._max_bad_share = max_bad_share
        self._began = time.monotonic()
        self._kinds: Counter[str] = Counter()
        self._read_seconds = 0.0
        self._lock = threading.Lock()

    def note(self, outcome: Outcome) -> None:
        """Count what became of a video; one that another process is at comes again later.

        Raises:
            TooManyBadItemsError: If too many are bad.
        """
        if outcome.kind == "busy":
            return
        report = self._report
        self._kinds[outcome.kind] += 1
        report.num_done = self._kinds["done"]
        report.num_skipped = self._kinds["skipped"]
        report.video_seconds += outcome.video_seconds
        report.wall_seconds = time.monotonic() - self._began
        if outcome.kind == "refused":
            report.refused.append((outcome.item.video, outcome.reason))
        if outcome.kind == "bad":
            report.bad.add(outcome.item.video, outcome.reason)
        with self._lock:
            self._bar.advance(note=self._remark())
        report.bad.check_share(
            self._kinds.total() + self._num_bad_before,
            num_expected=self._num_videos,
            max_share=self._max_bad_share,
        )

    def read(self, seconds: float) -> None:
        """Show that so many more seconds of video were read; called from any thread."""
        with self._lock:
            self._read_seconds += seconds
            self._bar.advance(0.0, note=self._remark())

    def finish(self, busy_seconds: float) -> None:
        """Note how long the run and its network worked."""
        self._report.wall_seconds = time.monotonic() - self._began
        self._report.busy_seconds = busy_seconds

    def _remark(self) -> str:
        num_bad = len(self._report.bad)
        rate = self._read_seconds / max(time.monotonic() - self._began, 1e-9)
        return f"{rate:.1f} h of video per hour" + (f", {num_bad} bad" if num_bad else "")
