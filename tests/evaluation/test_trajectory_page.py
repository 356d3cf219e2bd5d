"""The page of trajectories' scores: each video with its frames and scores, all of it escaped."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from made_scores import made_scores, made_timeline, scored
from narravid.evaluation.heat_map_layout import lay_out
from narravid.evaluation.page import Bar
from narravid.evaluation.picture_parts import new_axes, png
from narravid.evaluation.reward_diagnostics import diagnose
from narravid.evaluation.trajectory_files import write_scores
from narravid.evaluation.trajectory_page import _bars, _in_rows, _shown
from narravid.evaluation.trajectory_report import ScoreReport
from narravid.inference.trajectory_baseline import Baseline


def strips(html: str) -> list[str]:
    """The part of each video."""
    return html.split('<div class="strip">')[1:]


def labels(part: str) -> list[tuple[str, str, bool]]:
    """Prompt, score and whether it is marked as the best, of each bar."""
    found = re.findall(
        r'<div class="bar( best)?"><span class="label" dir="auto">(.*?)</span>.*?class="value">(.*?)</span>',
        part,
    )
    return [(label, value, bool(best)) for best, label, value in found]


def test_each_video_stands_beside_its_scores_and_the_best_is_marked(tmp_path: Path):
    scores = made_scores([[0.1, 0.4], [0.3, -0.2], [0.2, 0.2]], ["a", "b", "c"], ["opens", "closes"])
    html = write_scores(scores, tmp_path, experiment="e").page.read_text(encoding="utf-8")
    first, second, third = strips(html)
    assert labels(first) == [("opens", "0.100", False), ("closes", "0.400", True)]
    assert labels(second) == [("opens", "0.300", True), ("closes", "−0.200", False)]
    assert [best for *_, best in labels(third)] == [False, False]
    assert "videos/a.mp4" in first
    assert "4 frames of 4, 0.0 to 0.3 s" in first
    assert "3 trajectories against 2 prompts: cosine similarity." in html


def test_with_many_prompts_the_best_are_seen_and_the_others_folded(tmp_path: Path):
    cosines = np.linspace(0.1, 0.5, 12)[::-1].tolist()
    scores = made_scores([cosines], ["a"], [f"prompt {number}" for number in range(12)])
    (part,) = strips(write_scores(scores, tmp_path, experiment="e").page.read_text(encoding="utf-8"))
    seen, folded = part.split("<details>")
    assert [label for label, *_ in labels(seen)] == [f"prompt {number}" for number in range(5)]
    assert "the other 7 prompts" in folded
    assert [label for label, *_ in labels(folded)] == [f"prompt {number}" for number in range(5, 12)]


def test_bars_begin_at_zero():
    bars = _bars(np.array([0.5, -0.25]), ["a", "b"], room=(-0.25, 0.75), decimals=2)
    assert [(bar.start, bar.end) for bar in bars] == [(0.25, 0.75), (0.0, 0.25)]
    assert [bar.best for bar in bars] == [True, False]
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        Bar("a", "0.1", 0.6, 0.5)


@pytest.mark.parametrize(("num_frames", "in_first"), [(1, 1), (8, 8), (9, 5), (16, 8)])
def test_long_strips_are_broken_between_frames(num_frames: int, in_first: int):
    seen = scored("a", num_frames=num_frames)
    picture = Image.open(io.BytesIO(_in_rows(seen)))
    assert picture.size[0] == pytest.approx(in_first * 130, abs=2)
    assert picture.size[1] == (96 if in_first == num_frames else 194)
    # the middles of the frames, row by row, are those of the video, from dark to bright
    middles = [(65 + 130 * (n % in_first), 48 + 98 * (n // in_first)) for n in range(num_frames)]
    greys = [picture.convert("L").getpixel(middle) for middle in middles]
    assert greys == pytest.approx(np.linspace(20, 235, num_frames), abs=3)


def test_a_short_video_says_that_frames_were_seen_again(tmp_path: Path):
    scores = made_scores([[0.1]], ["a"], ["opens"])
    short = replace(scores.trajectories[0], frame_numbers=(0, 0, 1, 1), num_video_frames=2)
    files = write_scores(replace(scores, trajectories=(short,)), tmp_path, experiment="e")
    assert "2 frames of 2, 0.0 to 0.3 s; it has too few, 2 frames seen again" in files.page.read_text()


@pytest.mark.slow
def test_everything_else_is_on_the_page_and_everything_is_escaped(tmp_path: Path):
    evil = "<script>alert('1')</script> & \"x\""
    scores = made_scores(
        [[0.1, 0.4], [0.3, -0.2]],
        [evil, "b"],
        [evil, "closes"],
        groups=((evil, None), (None, None)),
        baseline=Baseline("a scene"),
    )
    scores.bad.add(f"/videos/{evil}.mp4", evil)
    report = ScoreReport(f"narravid score -e '{evil}'", (f"A remark: {evil}",), normalise=True)
    page = write_scores(
        scores,
        tmp_path,
        experiment="e <b>",
        timelines=[made_timeline([[0.1], [0.2]], [0, 1], name=evil, reason=f"one window: {evil}")],
        diagnostics=[diagnose(evil, [0.1, 0.2, 0.3], [1, 3, 2])],
        report=report,
    ).page
    html = page.read_text(encoding="utf-8")
    assert "<script" not in html
    assert "<b>alert" not in html
    assert "e &lt;b&gt;" in html
    assert not re.search(r"(src|href)=\"(?!data:)", html)
    titles = re.findall(r"<h2>(.*?)</h2>", html)
    assert titles == [
        "Scores",
        "Each video",
        "Groups",
        "Groups, normalised",
        "Over time",
        "Scores and true returns",
        "Left out",
        "How it was done",
    ]
    assert "score, projected with α = 0.5" in html
    assert "rank correlation 0.50" in html
    assert "a &amp; b" in html  # the model on the card
    assert "narravid score -e" in html
    pictures = re.findall(r'src="data:image/(?:png|jpeg);base64,(.*?)"', html)
    assert len(pictures) == 1 + 2 + 2 + 1 + 1
    assert all(Image.open(io.BytesIO(base64.b64decode(data))).size for data in pictures)


@pytest.mark.parametrize(
    ("num_rows", "num_columns"), [(1, 1), (2, 2), (12, 8), (20, 30), (60, 40), (100, 60)]
)
def test_the_labels_of_a_heat_map_are_readable_on_the_page(num_rows: int, num_columns: int):
    rows, columns = (
        [f"{kind} {n}" for n in range(num)] for kind, num in (("a", num_rows), ("b", num_columns))
    )
    layout = lay_out(rows, columns, [["0.123"]], title="", note="")
    size = (round(layout.width * layout.dots_per_inch), round(layout.height * layout.dots_per_inch))
    drawn = io.BytesIO()
    Image.new("1", size).save(drawn, "PNG", dpi=(layout.dots_per_inch, layout.dots_per_inch))
    shown = _shown(drawn.getvalue(), "a picture").width_pixels
    assert shown is not None
    assert min(layout.names.points, layout.prompts.points) / 72 * shown / layout.width >= 9


@pytest.mark.parametrize("num_colours", [None, 32])
def test_pictures_tell_the_page_how_large_they_are(num_colours: int | None):
    figure, _ = new_axes(5.0, 2.0)
    assert _shown(png(figure, dots_per_inch=50, num_colours=num_colours), "").width_pixels == 500


def test_a_video_without_a_timeline_is_not_left_out(tmp_path: Path):
    scores = made_scores([[0.1]], ["a"], ["opens"])
    scores.bad.add("videos/a.mp4", "over time: no frame could be read")
    scores.bad.add("videos/gone.mp4", "it has no video stream")
    html = write_scores(scores, tmp_path, experiment="e").page.read_text(encoding="utf-8")
    *_, left_out, no_timeline, _ = html.split("<h2>")
    assert left_out.startswith("Left out")
    assert ("gone.mp4" in left_out, "a.mp4" in left_out) == (True, False)
    assert no_timeline.startswith("No timeline")
    assert ("gone.mp4" in no_timeline, "a.mp4" in no_timeline) == (False, True)
