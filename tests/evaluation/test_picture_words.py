"""Words in pictures: measured, wrapped and shortened."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from narravid.evaluation.picture_words import (
    drawable,
    shortened_in_middle,
    shortened_names,
    text_inches,
    wrapped,
)

LONG = (
    "a robot arm reaches over the table, takes hold of the handle of the upper drawer with two fingers and "
    "pulls it until the drawer is wide open"
)


def test_a_text_becomes_one_line_that_can_be_drawn():
    assert drawable(" opens\n\tthe  drawer ") == "opens the drawer"
    assert drawable("$5 and \\frac{1}{2}") == "$5 and \\frac{1}{2}"
    assert drawable("a\x00b\x07c") == "abc"
    assert drawable("Привет, ½ é الروبوت") == "Привет, ½ é الروبوت"
    assert drawable("bytes \udcff of a name") == "bytes □ of a name"
    assert drawable("") == ""


def test_twice_the_size_or_the_text_is_twice_as_wide():
    width = text_inches("drawer", 8)
    assert text_inches("drawer", 16) == pytest.approx(2 * width)
    assert text_inches("drawerdrawer", 8) == pytest.approx(2 * width, rel=0.02)
    assert text_inches("iii", 8) < text_inches("mmm", 8)
    assert 0.3 < width < 0.5  # six letters of about 0.6 · 8 points


def test_wrapping_loses_no_word_and_no_line_is_too_wide():
    lines = wrapped(LONG, 1.5, 8)
    assert " ".join(lines) == LONG
    assert max(text_inches(line, 8) for line in lines) <= 1.5
    for before, after in pairwise(lines):  # no line could have taken the next word too
        assert text_inches(f"{before} {after.split()[0]}", 8) > 1.49


def test_a_word_wider_than_the_line_is_broken():
    lines = wrapped("see " + "m" * 40 + " now", 1.0, 8)
    assert "".join(lines).replace("see", "").replace("now", "").replace(" ", "") == "m" * 40
    assert max(text_inches(line, 8) for line in lines) <= 1.0


def test_what_is_cut_ends_with_an_ellipsis():
    lines = wrapped(LONG, 1.5, 8, max_lines=3)
    assert len(lines) == 3
    assert lines[:2] == wrapped(LONG, 1.5, 8)[:2]
    assert lines[2].endswith("…")
    assert wrapped("short", 1.5, 8, max_lines=1) == ["short"]


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60), st.floats(0.3, 3))
def test_any_text_can_be_wrapped_and_shortened(text: str, inches: float):
    lines = wrapped(text, inches, 8)
    assert lines
    assert "".join(lines).replace(" ", "") == drawable(text).replace(" ", "")
    assert all(text_inches(line, 8) <= inches + 1e-6 or len(line) == 1 for line in lines)
    assert text_inches(shortened_in_middle(text, inches, 8), 8) <= inches


def test_names_keep_their_beginning_and_end():
    name = "laboratory_of_the_second_floor_episode_0017_camera_left.mp4"
    short = shortened_in_middle(name, 1.5, 8)
    beginning, end = short.split("…")
    assert name.startswith(beginning)
    assert name.endswith(end)
    assert abs(len(beginning) - len(end)) <= 1
    assert shortened_in_middle("short.mp4", 1.5, 8) == "short.mp4"


def test_names_that_differ_in_the_middle_are_still_told_apart():
    names = [
        f"laboratory_of_the_second_floor_episode_{number:03d}_camera_on_the_left" for number in range(12)
    ]
    short = shortened_names(names, 1.5, 8)
    assert len(set(short)) == 12
    assert short[7] == "…07…"
    assert shortened_names(["a", "b"], 1.5, 8) == ["a", "b"]
    assert shortened_names(["same"] * 2, 1.5, 8) == ["same"] * 2
