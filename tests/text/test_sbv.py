"""YouTube's old subtitle format."""

from __future__ import annotations

from pathlib import Path

import pytest

from narravid.errors import AnnotationError
from narravid.text.cues import Cue
from narravid.text.sbv import parse_sbv

PATH = Path("v.sbv")


def test_cues_need_no_blank_line_between_them():
    content = "0:00:01.5,0:00:02.000\r\n<i>add</i> oil\nstir &amp; wait\n1:00:00.000,1:00:01.000\n\n"
    assert parse_sbv(content, PATH) == [Cue(1.5, 2.0, ("add oil", "stir & wait")), Cue(3600.0, 3601.0, ())]


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        (" \n", 1, "empty"),
        ("0:00:01.000,0:00:02.000\na\n\nb\n", 4, "text without a time line: 'b'"),
        ("\n0:00:61.000,0:00:62.000\na\n", 2, "malformed time line"),
        ("0:00:03.000,0:00:02.000\na\n", 1, "ends before it starts"),
    ],
)
def test_faults_name_their_line(content, line, reason):
    with pytest.raises(AnnotationError, match=reason) as caught:
        parse_sbv(content, PATH)
    assert caught.value.line == line


def test_times_with_commas_are_no_text():
    with pytest.raises(AnnotationError, match="malformed time line"):
        parse_sbv("0:00:01,000,0:00:02,000\na\n", PATH)


def test_a_line_that_is_nearly_a_time_line_many_times_over_takes_no_time():
    line = "1:1:x," * 200_000 + " z"  # hours, were each comma tried with all that follows
    assert parse_sbv(f"0:00:01.000,0:00:02.000\n{line}\n", PATH) == [Cue(1.0, 2.0, (line,))]
