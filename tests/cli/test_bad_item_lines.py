"""The list of bad items on the screen."""

from pathlib import Path

from narravid.bad_items import BadItems
from narravid.cli.bad_item_lines import MAX_LISTED, bad_item_lines


def listed(num_items):
    bad = BadItems()
    for number in range(num_items):
        bad.add(f"{number:02}.mp4", "empty file" if number % 3 else "no video")
    return bad_item_lines(bad, "not packed", table=Path("bad.csv"))


def test_few_are_all_named():
    assert listed(0) == []
    assert listed(2) == ["not packed: 00.mp4: no video", "not packed: 01.mp4: empty file"]
    assert len(listed(MAX_LISTED)) == MAX_LISTED


def test_of_many_the_rest_is_counted():
    assert listed(MAX_LISTED + 4)[MAX_LISTED - 1 :] == [
        "not packed: 19.mp4: empty file",
        "and 4 more, in bad.csv; by reason:",
        "  16 x empty file",
        "  8 x no video",
    ]
