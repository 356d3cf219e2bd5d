"""What a long job could not use: counted by reason, named by path, written as a table that can be acted upon.

One bad file must cost one file, but an archive of which much is bad is a mistake to be told at once, not
after days of work on the rest.
"""

from __future__ import annotations

import csv
import io
import re
import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from narravid.annotation_files import read_table
from narravid.errors import NarravidError
from narravid.files import write_text

__all__ = ["BAD_ITEMS_NAME", "MAX_BAD_SHARE", "BadItems", "TooManyBadItemsError"]

BAD_ITEMS_NAME = "bad_items.csv"
COLUMNS = ("path", "reason", "times")
MAX_BAD_SHARE = 0.05
"""Share of the items that may be bad before a job stops, unless it is told otherwise."""

MIN_ITEMS_TO_JUDGE = 1000
"""In long jobs the share is not judged on fewer items than this."""

PARTICULARS = re.compile(r"\S*/\S*|\d+(?:\.\d+)?")
"""What tells one item's reason from another's of the same kind: paths and figures."""


class TooManyBadItemsError(NarravidError):
    """So much of an archive is bad that going on would hide a mistake."""


@dataclass
class BadItems:
    """The bad items of one job. Several threads may add to it.

    Attributes:
        reasons: Path → the reason found last.
        times: Path → how often it was met.
    """

    reasons: dict[str, str] = field(default_factory=dict)
    times: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.reasons)

    @property
    def num_met(self) -> int:
        """How often a bad item was met; one that is met twice counts twice."""
        return self.times.total()

    def add(self, path: str | Path, reason: str) -> bool:
        """Count a bad item.

        Args:
            path: Where it lies.
            reason: What is wrong, in one sentence without the path.

        Returns:
            Whether it is met for the first time.
        """
        with self._lock:
            is_new = str(path) not in self.reasons
            self.reasons[str(path)] = reason
            self.times[str(path)] += 1
        return is_new

    def by_reason(self) -> Counter[str]:
        """How many items each reason made bad.

        Reasons that differ in figures or paths only are one; what differs is shown as an ellipsis.
        """
        groups: defaultdict[str, list[str]] = defaultdict(list)
        for reason in self.reasons.values():
            groups[PARTICULARS.sub("…", reason)].append(reason)
        return Counter(
            {reasons[0] if len(set(reasons)) == 1 else kind: len(reasons) for kind, reasons in groups.items()}
        )

    def summary(self) -> str:
        """The reasons with their counts, most frequent first; empty without bad items."""
        return ", ".join(f"{count} x {reason}" for reason, count in self.by_reason().most_common())

    def named(self, max_named: int = 3) -> str:
        """The first few with their reasons, and how many more there are; empty without bad items."""
        first = [f"{path}: {self.reasons[path]}" for path in list(self.reasons)[:max_named]]
        more = len(self) - len(first)
        return "; ".join([*first, f"and {more:,} more"] if more else first)

    def write(self, path: Path) -> None:
        """Write the table `path,reason,times`, by path; an empty one too, which says that nothing was bad."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([name, self.reasons[name], self.times[name]] for name in sorted(self.reasons))
        # names of files need not be text: what is not is shown by its escape
        write_text(path, text.getvalue().encode("utf-8", "backslashreplace").decode())

    @classmethod
    def read(cls, path: Path) -> BadItems:
        """Read a table back, to go on with a job; where there is no file, nothing was bad.

        Raises:
            AnnotationError: If the file is no such table.
        """
        bad = cls()
        if path.exists():
            for row in read_table(path, COLUMNS):
                name = row.text("path")
                bad.reasons[name] = row.text("reason", may_be_empty=True)
                bad.times[name] = row.integer("times", at_least=1)
        return bad

    def check_share(self, num_items: int, *, num_expected: int, max_share: float = MAX_BAD_SHARE) -> None:
        """Stop a job in which too many items are bad.

        Args:
            num_items: Items met so far, good and bad.
            num_expected: Items in the whole job: a short one is judged as a whole, a long one from its
                thousandth item on, and no sooner unless the share of that many is exceeded already.
            max_share: Share that may be bad; 1 never stops.

        Raises:
            TooManyBadItemsError: If more of them were bad.
        """
        judged = max(num_items, min(num_expected, MIN_ITEMS_TO_JUDGE))
        if max_share < 1 and self.num_met > max_share * judged:
            last = list(self.reasons)[-1]
            raise TooManyBadItemsError(
                f"{self.num_met} of {num_items} items met so far are bad, more than {max_share:.0%}: "
                f"{self.summary()}; the last is {last}"
            )
