"""Reports as one self-contained page, and the pictures in them."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from narravid.evaluation.page import Card, Picture, Section, Table, write_page
from narravid.evaluation.pictures import bar_chart, curves, frame_strip, heat_map


def picture_size(data: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(data)).size


def test_page_is_one_file_that_asks_for_nothing_else(tmp_path: Path) -> None:
    picture = Picture(curves({"loss": [(0, 3.0), (1, 2.0)]}, x_label="step", y_label="loss"), "a curve")
    sections = [
        Section(
            "Results",
            paragraphs=["text"],
            tables=[Table(("model", "R@1"), [("trained", "50.0")], "caption")],
            pictures=[picture],
            cards=[Card("a query", "note", good=True, pictures=[picture, picture], right=frozenset({1}))],
            code=["narravid search 'x'"],
        )
    ]
    path = tmp_path / "report.html"
    write_page(path, "Title", sections, summary="Summary.")
    html = path.read_text()
    assert not re.search(r"(src|href)=\"(?!data:)", html)
    assert "url(" not in html
    assert html.count("data:image/png;base64,") == 3
    assert html.count('class="right"') == 1
    for text in ("Title", "Summary.", "Results", "trained", "50.0", "a query", "found"):
        assert text in html


def test_page_escapes_what_videos_and_queries_say(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_page(path, "<script>alert(1)</script>", [Section("a & b", cards=[Card("<b>", good=False)])])
    html = path.read_text()
    assert "<script>" not in html
    assert "a &amp; b" in html
    assert "&lt;b&gt;" in html


def test_table_refuses_rows_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="2 cells, the header 3"):
        Table(("a", "b", "c"), [("1", "2")])


def test_strip_shows_the_frames_in_order() -> None:
    frames = torch.zeros((8, 20, 30, 3), dtype=torch.uint8)
    frames[:, :, :, 0] = (torch.arange(8) * 36).to(torch.uint8)[:, None, None]
    strip = Image.open(io.BytesIO(frame_strip(frames, num_shown=4, height_pixels=40)))
    assert strip.size == (4 * 62 - 2, 40)
    reds = [strip.getpixel((31 + 62 * place, 20))[0] for place in range(4)]
    assert reds == sorted(reds)
    assert reds[0] < 20
    assert reds[-1] > 230


def test_strip_of_a_short_clip_shows_what_there_is() -> None:
    frames = torch.full((2, 20, 30, 3), 100, dtype=torch.uint8)
    assert picture_size(frame_strip(frames, num_shown=4, height_pixels=40)) == (2 * 62 - 2, 40)


def test_heat_map_grows_with_the_matrix() -> None:
    def draw(size: int) -> tuple[int, int]:
        labels = [f"row {number}" for number in range(size)]
        values = np.eye(size)
        return picture_size(heat_map(values, row_labels=labels, column_labels=labels, value_label="cosine"))

    assert draw(36)[0] > draw(4)[0]
    assert min(draw(120)) > 300


def test_charts_refuse_what_they_cannot_draw() -> None:
    with pytest.raises(ValueError, match="no point"):
        curves({"loss": []}, x_label="x", y_label="y")
    with pytest.raises(ValueError, match="same groups"):
        bar_chart({"a": {"colour": 0.5}, "b": {"shape": 0.5}}, y_label="percent")
    with pytest.raises(ValueError, match="does not fit"):
        heat_map(np.zeros((2, 3)), row_labels=["a"], column_labels=["b"] * 3, value_label="v")


def test_bar_chart_is_a_picture() -> None:
    groups = {"trained": {"colour": 1.0, "shape": 0.5}, "chance": {"colour": 0.2, "shape": 0.25}}
    width, height = picture_size(bar_chart(groups, y_label="percent"))
    assert width > height > 200
