"""What was met while batches were loaded: counts, bad videos and their table, and when they are too many."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from narravid.bad_items import MAX_BAD_SHARE, BadItems
from narravid.data.drawing import DrawnItem, ItemT, NoUsableVideoError, Replaced

__all__ = ["EpochCount", "LoadingReport"]

_COUNTS = ("num_items", "num_clips", "num_padded_clips")

_log = logging.getLogger(__name__)


@dataclass
class LoadingReport:
    """What became of the items: give one to `load_batches` in each epoch to count over a whole run.

    It is the `DataRecord` of a training run.

    Attributes:
        num_items: Items loaded.
        num_clips: Clips loaded.
        num_padded_clips: Clips that passed the end of their video and were filled with black frames.
        bad: The videos that were replaced; what is in it before, such as videos without a usable transcript,
            stays.
        max_bad_share: Share of the items of an epoch that may meet a bad video before the run stops.
        table: Where `write` puts the bad videos; None for nowhere.
    """

    num_items: int = 0
    num_clips: int = 0
    num_padded_clips: int = 0
    bad: BadItems = field(default_factory=BadItems)
    max_bad_share: float = MAX_BAD_SHARE
    table: Path | None = None
    _found: Counter[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._found = Counter(self.bad.times)

    def add(self, item: DrawnItem) -> None:
        """Count an item, but for the videos that it replaces."""
        self.num_items += 1
        self.num_clips += item.num_clips
        self.num_padded_clips += item.num_padded_clips

    def add_replaced(self, path: str, reason: str) -> None:
        """Count the draw of a bad video; one found bad for the first time is logged as a warning."""
        if self.bad.add(path, reason):
            _log.warning("replaced by another video: %s: %s", path, reason)

    def write(self, others: Sequence[Mapping[str, Any]] = ()) -> None:
        """Write the table of the bad videos.

        Args:
            others: States of the reports of other processes; what they met is added. What was bad before
                loading began, every process has found, and it counts once.
        """
        if self.table is None:
            return
        bad = BadItems(dict(self.bad.reasons), Counter(self.bad.times))
        for state in others:
            for path, (reason, times) in state["bad"].items():
                bad.reasons.setdefault(path, reason)
                bad.times[path] += int(times) - self._found[path]
        bad.write(self.table)

    def state_dict(self) -> dict[str, Any]:
        """The counts as plain values."""
        bad = {path: (reason, self.bad.times[path]) for path, reason in self.bad.reasons.items()}
        return {**{name: getattr(self, name) for name in _COUNTS}, "bad": bad}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to kept counts; bad videos that are not among those kept stay."""
        for name in _COUNTS:
            setattr(self, name, int(state[name]))
        for path, (reason, times) in state["bad"].items():
            self.bad.reasons[path] = reason
            self.bad.times[path] = int(times)

    def summary(self) -> str:
        """One line for the end of a run."""
        parts = [f"drew {self.num_clips} clips in {self.num_items} visits to videos"]
        if self.num_padded_clips:
            parts.append(f"{self.num_padded_clips} clips padded at the end of their video")
        if self.bad:
            parts.append(f"{len(self.bad)} bad videos left out or replaced ({self.bad.summary()})")
        return "; ".join(parts)


class EpochCount:
    """Counts the items of an epoch in their order, and stops it when too many met a bad video.

    Args:
        report: Takes what is counted.
        num_expected: Items in a whole epoch.
    """

    def __init__(self, report: LoadingReport, num_expected: int) -> None:
        self._report = report
        self._num_expected = num_expected
        self._num_items = 0
        self._bad = BadItems()

    def take(self, items: Iterable[ItemT]) -> list[ItemT]:
        """The items of a batch, counted.

        Raises:
            TooManyBadItemsError: If more of the items met a bad video than the report allows.
            NoUsableVideoError: As the items raise it.
        """
        taken = []
        try:
            for item in items:
                self._report.add(item)
                self._count(item.replaced)
                taken.append(item)
        except NoUsableVideoError as error:
            self._count(error.replaced)
            raise
        share = self._report.max_bad_share
        self._bad.check_share(self._num_items, num_expected=self._num_expected, max_share=share)
        return taken

    def _count(self, replaced: Replaced) -> None:
        self._num_items += 1
        for path, reason in replaced:
            self._report.add_replaced(path, reason)
        # Only the video whose turn it was: were the bad ones counted that stood in for it, an archive would
        # have a larger share of them than it has.
        for path, reason in replaced[:1]:
            self._bad.add(path, reason)
