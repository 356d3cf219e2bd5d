"""The cue grammar of WebVTT and SubRip, and the unrolling of rolling captions."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narravid.errors import AnnotationError
from narravid.text.cues import Cue, parse_cues, plain_lines, unroll_cues

PATH = Path("talk.vtt")


def read_vtt(body: str) -> list[Cue]:
    return parse_cues(f"WEBVTT\n\n{body}", PATH, cue_format="vtt")


def read_srt(content: str) -> list[Cue]:
    return parse_cues(content, Path("talk.srt"), cue_format="srt")


@pytest.mark.parametrize(
    ("times", "start_seconds", "end_seconds"),
    [
        ("00:01.500 --> 00:02.000", 1.5, 2.0),
        ("01:00:00.001 --> 100:00:00.000", 3600.001, 360000.0),
        ("00:00:01,5 --> 00:00:02,25", 1.5, 2.25),
        ("  00:00:01.000  -->  00:00:01.000  align:start position:0%", 1.0, 1.0),
    ],
)
def test_times_are_read_to_the_millisecond(times, start_seconds, end_seconds):
    assert read_vtt(f"{times}\nhello") == [Cue(start_seconds, end_seconds, ("hello",))]


@pytest.mark.parametrize(
    ("times", "reason"),
    [
        ("00:00:1d.890 --> 00:00:02.000", "malformed"),
        ("00:61.000 --> 00:62.000", "malformed"),
        ("00:00:01.000 -->", "malformed"),
        ("00:00:01.0000 --> 00:00:02.000", "malformed"),
        ("00:00:03.000 --> 00:00:02.000", "ends before it starts"),
    ],
)
def test_a_bad_time_line_is_named(times, reason):
    with pytest.raises(AnnotationError, match=rf"talk\.vtt, line 3: .*{reason}") as caught:
        read_vtt(f"{times}\nhello")
    assert caught.value.line == 3


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r"])
def test_every_kind_of_line_break_ends_a_line(line_break):
    content = line_break.join(["1", "00:00:01,000 --> 00:00:02,000", "one", "", "2", "00:00:x"])
    with pytest.raises(AnnotationError, match="text without a time line: '2'") as caught:
        read_srt(content)
    assert caught.value.line == 5


def test_markup_entities_and_white_space_are_taken_out():
    cue = read_vtt(
        "00:00.000 --> 00:01.000\n<v Roger Bingham>We <c.loud>are</c>  &amp;\u00a0here<00:00:00.500>\n"
        "{\\an8}<i>a < b</i> 3</b>\n \n"
    )
    assert cue[0].lines == ("We are & here", "a < b 3")


def test_a_tag_may_span_lines():
    assert read_vtt("00:00.000 --> 00:01.000\nred <font\ncolor=red>cup</font>")[0].lines == ("red cup",)


def test_comments_styles_and_identifiers_are_not_text():
    cues = read_vtt(
        "NOTE said by\nthe cook\n\nSTYLE\n::cue { color: red }\n\nREGION\nid:a\n\n   \n\nintro\n"
        "00:00.000 --> 00:01.000\nhello\n\nNOTE end"
    )
    assert [cue.lines for cue in cues] == [("hello",)]


def test_missing_blank_lines_between_numbered_cues_are_forgiven():
    cues = read_srt(
        "1\n00:00:01,000 --> 00:00:02,000\n2\n00:00:02,000 --> 00:00:03,000\ntwo\n \n3\n"
        "00:00:03,000 --> 00:00:04,000\nin 1928\n1928"
    )
    assert [cue.lines for cue in cues] == [(), ("two",), ("in 1928", "1928")]


def test_a_number_is_text_where_cues_are_not_numbered():
    cues = read_vtt("00:01.000 --> 00:02.000\nhow many\n7\n00:02.000 --> 00:03.000\nyes")
    assert [cue.lines for cue in cues] == [("how many", "7"), ("yes",)]


def test_text_behind_a_blank_line_belongs_to_the_srt_cue_before_it():
    cues = read_srt(
        "1\n00:00:01,000 --> 00:00:02,000\none\n\nmore of one\n\n2\n00:00:03,000 --> 00:00:04,000\n"
    )
    assert [cue.lines for cue in cues] == [("one", "more of one"), ()]


@pytest.mark.parametrize("head", ["two\nlines", "chapter one"])
def test_text_above_the_first_srt_time_line_is_an_error(head):
    with pytest.raises(AnnotationError, match="text without a time line") as caught:
        read_srt(f"\n{head}\n00:00:01,000 --> 00:00:02,000\nhello")
    assert caught.value.line == 2


@pytest.mark.parametrize("header", ["WEBVTTX", "webvtt", "", "# WEBVTT"])
def test_the_webvtt_header_is_required(header):
    with pytest.raises(AnnotationError, match="starts with WEBVTT"):
        parse_cues(f"{header}\n\n00:00.000 --> 00:01.000\nhello", PATH, cue_format="vtt")


def test_an_empty_file_is_not_an_empty_transcript():
    for cue_format in ("vtt", "srt"):
        with pytest.raises(AnnotationError, match="empty"):
            parse_cues(" \n\n", PATH, cue_format=cue_format)
    assert parse_cues("WEBVTT", PATH, cue_format="vtt") == []


def test_rolling_captions_are_unrolled_and_last_until_they_are_complete():
    rolling = [
        Cue(0.0, 2.0, ("add oil",)),
        Cue(2.0, 2.01, ("add oil",)),
        Cue(2.01, 4.0, ("add oil", "to the pan")),
        Cue(4.0, 4.01, ("to the pan",)),
        Cue(4.01, 5.0, ()),
        Cue(9.0, 10.0, ("stir",)),
    ]
    assert unroll_cues(rolling) == [
        Cue(0.0, 2.01, ("add oil",)),
        Cue(2.01, 4.01, ("to the pan",)),
        Cue(9.0, 10.0, ("stir",)),
    ]


def test_a_line_said_twice_stays_twice():
    said_twice = [Cue(0.0, 1.0, ("no!",)), Cue(1.0, 2.0, ("no!",)), Cue(2.0, 3.0, ("yes",))]
    assert unroll_cues(said_twice) == said_twice
    with_pauses = [Cue(float(n), n + 0.5, ("heave ho",)) for n in range(6)]
    assert unroll_cues(with_pauses) == with_pauses


WORDS = st.lists(st.sampled_from(["add", "oil", "stir", "pan"]), min_size=1, max_size=3).map(" ".join)


@given(st.lists(WORDS, min_size=4, max_size=12))
def test_unrolling_gives_back_the_lines_that_were_rolled(lines):
    lines = [f"{line} {place}" for place, line in enumerate(lines)]
    rolled = [Cue(0.0, 0.9, (lines[0],))]
    for place, (before, line) in enumerate(itertools.pairwise(lines), start=1):
        rolled += [Cue(place - 0.1, place, (before,)), Cue(place, place + 0.9, (before, line))]
    unrolled = unroll_cues(rolled)
    assert [cue.lines for cue in unrolled] == [(line,) for line in lines]
    assert all(cue.start_seconds <= cue.end_seconds for cue in unrolled)


@given(st.text(alphabet="WEBVTT\n\r -->:.,0123456789a<&;", max_size=120), st.sampled_from(["vtt", "srt"]))
def test_no_text_makes_the_reader_fail_otherwise(content, cue_format):
    prefix = "WEBVTT\n\n" if cue_format == "vtt" else ""
    try:
        cues = parse_cues(prefix + content, PATH, cue_format=cue_format)
    except AnnotationError as error:
        cues, line = [], error.line
    else:
        line = 1
    assert line is not None
    assert all(0 <= cue.start_seconds <= cue.end_seconds for cue in cues)


def test_a_character_reference_without_end_is_one_unknown_character():
    assert plain_lines(f"a &#{'9' * 5000}; b &#{'0' * 5000}65 &#65; &#xFFFFFFFF;") == (
        "a \ufffd b \ufffd A \ufffd",
    )


def test_a_wrong_line_of_any_length_is_told_in_short():
    with pytest.raises(AnnotationError, match="malformed time line '--> <") as caught:
        read_vtt("--> " + "<" * 100_000)
    assert len(str(caught.value)) < 300
