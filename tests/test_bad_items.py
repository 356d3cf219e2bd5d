from __future__ import annotations

import csv

import pytest

from narravid.bad_items import BadItems, TooManyBadItemsError
from narravid.errors import AnnotationError


def test_items_are_counted_by_path_and_by_reason():
    bad = BadItems()
    assert bad.add("b.mp4", "empty file")
    assert bad.add("a.mp4", "empty file")
    assert bad.add("c.mp4", "cut short")
    assert not bad.add("b.mp4", "empty file")
    assert (len(bad), bad.num_met) == (3, 4)
    assert bad.summary() == "2 x empty file, 1 x cut short"


def test_the_first_items_are_named_with_their_reasons():
    bad = BadItems()
    assert bad.named() == ""
    for name in "abcd":
        bad.add(f"{name}.mp4", "empty file")
    assert bad.named(4).endswith("c.mp4: empty file; d.mp4: empty file")
    assert bad.named(2) == "a.mp4: empty file; b.mp4: empty file; and 2 more"


def test_reasons_that_differ_in_figures_and_paths_only_are_counted_together():
    bad = BadItems()
    bad.add("a.mp4", "cut short: ends at 1.5 of 10.0 s")
    bad.add("b.mp4", "cut short: ends at 20 of 31.25 s")
    bad.add("c.mp4", "/corpus/c.vtt, line 3: no time")
    bad.add("d.mp4", "/corpus/d.vtt, line 14: no time")
    bad.add("e.mp4", "decoder crashed (signal 11)")
    bad.add("f.mp4", "decoder crashed (signal 11)")
    assert bad.by_reason() == {
        "cut short: ends at … of … s": 2,
        "… line …: no time": 2,
        "decoder crashed (signal 11)": 2,
    }


def test_the_table_is_read_back_as_it_was(tmp_path):
    bad = BadItems()
    bad.add('odd, "name"\n.mp4', "line one\nline two")
    bad.add("a.mp4", "empty file")
    bad.add("a.mp4", "cut short")
    bad.write(tmp_path / "bad_items.csv")
    with (tmp_path / "bad_items.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["path", "reason", "times"],
        ["a.mp4", "cut short", "2"],
        ['odd, "name"\n.mp4', "line one\nline two", "1"],
    ]

    assert BadItems.read(tmp_path / "bad_items.csv").times == bad.times
    assert BadItems.read(tmp_path / "none.csv") == BadItems()


def test_names_that_are_no_text_are_written_too(tmp_path):
    bad = BadItems()
    bad.add("caf\udce9.mp4", "caf\udce9.vtt: no header")  # a name in Latin-1, as the system gives it
    bad.write(tmp_path / "bad_items.csv")
    assert list(BadItems.read(tmp_path / "bad_items.csv").reasons) == ["caf\\udce9.mp4"]


def test_a_table_that_is_none_is_refused(tmp_path):
    (tmp_path / "bad_items.csv").write_text("path,reason\na.mp4,cut short\n")
    with pytest.raises(AnnotationError, match=r"bad_items\.csv.*times"):
        BadItems.read(tmp_path / "bad_items.csv")


def test_a_table_without_bad_items_says_so(tmp_path):
    BadItems().write(tmp_path / "bad_items.csv")
    assert (tmp_path / "bad_items.csv").read_text() == "path,reason,times\n"


@pytest.mark.parametrize(
    ("num_bad", "num_items", "num_expected", "stops"),
    [
        (1, 1, 100, False),
        (5, 5, 100, False),
        (6, 6, 100, True),
        (50, 60, 10**6, False),
        (51, 60, 10**6, True),
        (200, 4000, 10**6, False),
        (201, 4000, 10**6, True),
        (1, 1, 1, True),
    ],
)
def test_a_job_stops_when_the_share_of_what_can_be_judged_is_exceeded(
    num_bad, num_items, num_expected, stops
):
    bad = BadItems()
    for number in range(num_bad):
        bad.add(f"{number}.mp4", "empty file")
    if stops:
        with pytest.raises(TooManyBadItemsError, match=rf"{num_bad} of {num_items} .*5%.*empty file.*\.mp4"):
            bad.check_share(num_items, num_expected=num_expected)
    else:
        bad.check_share(num_items, num_expected=num_expected)
    bad.check_share(num_items, num_expected=num_expected, max_share=1.0)


def test_a_share_of_one_never_stops_a_job_though_an_item_be_met_again_and_again():
    bad = BadItems()
    for _ in range(3):
        bad.add("a.mp4", "empty file")
    bad.check_share(2, num_expected=2, max_share=1.0)
