"""How the items that a job could not use are listed on the screen."""

from __future__ import annotations

from pathlib import Path

from narravid.bad_items import BadItems

__all__ = ["MAX_LISTED", "bad_item_lines"]

MAX_LISTED = 20


def bad_item_lines(bad: BadItems, label: str, *, table: Path) -> list[str]:
    """The first items by path, and of what is more the counts by reason.

    Args:
        bad: The items.
        label: What they are, at the beginning of each line, such as "bad".
        table: Where all of them are listed.
    """
    lines = [f"{label}: {path}: {bad.reasons[path]}" for path in sorted(bad.reasons)[:MAX_LISTED]]
    if len(bad) > MAX_LISTED:
        lines.append(f"and {len(bad) - MAX_LISTED:,} more, in {table}; by reason:")
        lines += [f"  {count:,} x {reason}" for reason, count in bad.by_reason().most_common(MAX_LISTED)]
    return lines
