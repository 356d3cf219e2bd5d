"""Results as files: what is written can be read, what is shown is what is there, and print says it all."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from evaluation_results import make_result
from narravid.errors import NarravidError
from narravid.evaluation.pictures import rank_histogram
from narravid.evaluation.published import PUBLISHED
from narravid.evaluation.result import BenchmarkResult, Coverage, Measure, MissingItem
from narravid.evaluation.result_files import read_result, write_result
from narravid.evaluation.result_print import print_result
from narravid.metrics.bootstrap import Outcomes
from narravid.video.watched import WatchedDecoder
from tiny_corpus import write_colour_video


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    write_colour_video(folder / "0.mp4", (200, 30, 30))
    write_colour_video(folder / "1.mp4", (30, 30, 200))
    return folder


@pytest.fixture(scope="module")
def decoder():
    with WatchedDecoder() as decoder:
        yield decoder


def written(folder: Path, decoder: WatchedDecoder, result: BenchmarkResult) -> Path:
    write_result(result, folder, decoder=decoder)
    return folder


def test_everything_is_written_and_read_back(videos, decoder, tmp_path):
    plot = rank_histogram(np.array([1.0, 2.0]), gallery_size=2)
    result = make_result(folder=videos, plots={"ranks": plot})
    folder = written(tmp_path / "new" / "out", decoder, result)
    assert sorted(path.name for path in folder.iterdir()) == [
        "examples.html",
        "outcomes.json",
        "ranks.png",
        "result.json",
        "table.md",
    ]
    assert (folder / "ranks.png").read_bytes() == plot
    for path in (folder, folder / "result.json"):
        again = read_result(path)
        assert again.measures == result.measures
        assert again.card == result.card
        assert again.coverage == result.coverage
        assert again.published == result.published
        assert again.further == result.further
    outcomes = read_result(folder).measures[0].outcomes
    assert outcomes.units == result.measures[0].outcomes.units
    np.testing.assert_array_equal(outcomes.values, result.measures[0].outcomes.values)


def test_outcomes_of_every_kind_come_back(decoder, tmp_path):
    units = ("a", "b", "b", "ü")
    kinds = (
        Outcomes("mean", [1.0, 0.1, 1 / 3, 7.0], units, weights=[1, 2, 1, 0], groups=("x", "x", "y", "x")),
        Outcomes("median", [1.0, 2.5, 3.0, 4.0], units),
        Outcomes("roc_auc", [0.1, 0.2, 0.3, 0.4], units, labels=np.array([True, False, True, True])),
        Outcomes("roc_auc", [0.1, 0.2, 0.3, 0.4], units, labels=np.ones(4, bool)),
    )
    measures = tuple(Measure.of(f"m{number}", one, kind="share") for number, one in enumerate(kinds))
    result = BenchmarkResult("b", "B", measures, {}, {}, Coverage("items", 4, 4))
    again = read_result(written(tmp_path, decoder, result))
    for before, after in zip(result.measures, again.measures, strict=True):
        assert (before.value, before.low) == pytest.approx((after.value, after.low), nan_ok=True)
        for name in ("statistic", "units", "groups"):
            assert getattr(before.outcomes, name) == getattr(after.outcomes, name)
        for name in ("values", "weights", "labels"):
            np.testing.assert_array_equal(getattr(before.outcomes, name), getattr(after.outcomes, name))
    assert Measure.of("m0", again.measures[0].outcomes, kind="share") == measures[0]


def test_the_table_holds_measured_and_published_numbers(decoder, videos, tmp_path):
    table = (written(tmp_path, decoder, make_result(folder=videos)) / "table.md").read_text()
    lines = table.splitlines()
    assert lines[0] == "# MSR-VTT 1k-A: a model"
    assert "| measured | 37.5 [0.0, 75.0] | 3.5 [1.0, 6.5] | 95 % intervals |" in lines
    assert "| chance | 12.5 | 4.5 |  |" in lines
    assert "| MIL-NCE S3D | 9.9 | 29.5 | Miech et al. 2020; batch 8192 |" in lines
    assert "- num_windows: 10" in lines
    assert "- 8 of 10 pairs were measured: the numbers are of 80.0% of the benchmark" in lines


def pictures_of(html: str) -> list[tuple[Image.Image, str]]:
    found = re.findall(r'<img src="data:image/\w+;base64,([^"]+)" alt="([^"]*)"', html)
    return [(Image.open(io.BytesIO(base64.b64decode(data))), caption) for data, caption in found]


def test_the_page_shows_frames_of_each_example_or_says_why_not(videos, decoder, tmp_path):
    html = (written(tmp_path, decoder, make_result(folder=videos)) / "examples.html").read_text()
    assert not re.search(r"(src|href)=\"(?!data:)", html)
    assert "a blue &lt;wall&gt;" in html
    shown = pictures_of(html)
    assert len(shown) == 3
    red, blue, gone = shown
    assert "0.mp4" in red[1]
    assert np.asarray(red[0].convert("RGB")).mean(axis=(0, 1)).argmax() == 0
    assert "1.mp4 1.0–2.0 s" in blue[1]
    assert np.asarray(blue[0].convert("RGB")).mean(axis=(0, 1)).argmax() == 2
    assert "cannot be shown: " in gone[1]
    assert "x.mp4" in gone[1]
    assert red[0].size == blue[0].size == gone[0].size
    assert html.count('class="right"') == 2


def test_a_page_without_examples_or_plots_is_a_page(decoder, tmp_path):
    result = make_result()
    plain = BenchmarkResult("b", "B", result.measures, {}, {}, Coverage("items", 8, 8))
    html = (written(tmp_path, decoder, plain) / "examples.html").read_text()
    assert "all 8 items were measured" in html
    assert "What went" not in html


def printed(result: BenchmarkResult, *, width: int = 120) -> str:
    page = io.StringIO()
    print_result(result, Console(file=page, width=width))
    return page.getvalue()


def test_print_says_what_is_measured_published_missing_and_how():
    text = printed(make_result(model="[bold]m[/bold]"))
    assert "MSR-VTT 1k-A: [bold]m[/bold]" in text
    assert "37.5 [0.0, 75.0]" in text
    assert "29.5" in text
    assert "MIL-NCE S3D: Miech et al. 2020; batch 8192" in text
    assert "video to text" in text
    assert "  clip: fps 10" in text
    assert "8 of 10 pairs were measured: the numbers are of 80.0% of the benchmark" in text
    assert "  videos/x.mp4: no such file" in text


def test_print_warns_of_fits_that_stopped_short():
    fits = [{"split": "split 1", "has_converged": True}, {"split": "split 2", "has_converged": False}]
    text = printed(make_result(fits=fits, **{"fits, the pixels": fits[:1]}))
    assert text.count("warning: ") == 1
    assert "warning: fits, split 2: the fit stopped before it converged" in text


def test_a_narrow_terminal_breaks_no_number():
    first = make_result(hits=(1,) * 20)
    measures = tuple(Measure.of(f"R@{depth}", first.measures[0].outcomes, kind="share") for depth in range(5))
    wide = BenchmarkResult("b", "B", measures, {"video to text": measures}, {}, Coverage("items", 20, 20))
    lines = [line for line in printed(wide, width=84).splitlines() if "│" in line]
    assert max(map(len, lines)) <= 84
    assert sum(line.count("100.0–100.0") for line in lines) == 10
    assert sum(line.count("[100.0, 100.0]") for line in printed(wide, width=200).splitlines()) == 10


def test_what_is_missing_in_masses_is_counted_by_reason():
    first = make_result()
    missing = tuple(MissingItem(f"{number}.mp4", f"cut at {number} s") for number in range(30))
    text = printed(BenchmarkResult("b", "B", first.measures, {}, {}, Coverage("videos", 40, 10, missing)))
    assert "19.mp4" in text
    assert "20.mp4" not in text
    assert "and 10 more; by reason:" in text
    assert "30 x cut at … s" in text


def test_headings_of_many_numbers_have_tables_of_their_own():
    outcomes = Outcomes("mean", [1.0, 0.0], ("a", "b"))
    tasks = tuple(Measure.of(f"task {number}", outcomes, kind="share", chance=0.25) for number in range(18))
    splits = {f"split {number}": tasks[:1] for number in range(3)}
    result = BenchmarkResult("b", "B", tasks[:1], {"by task": tasks, **splits}, {}, Coverage("items", 2, 2))
    text = printed(result)
    assert text.count("task 17 %") == 1
    assert text.count("split 2") == 1
    rows = [line for line in text.splitlines() if "task 17 %" in line]
    assert "25.0" in rows[0]


def test_published_rows_are_shares_and_ranks():
    assert set(PUBLISHED) == {
        "msrvtt",
        "youcook2",
        "lsmdc",
        "ucf101",
        "hmdb51",
        "k400",
        "ucf101-finetuned",
        "hmdb51-finetuned",
        "crosstask",
        "htm-align",
    }
    for rows in PUBLISHED.values():
        for row in rows:
            assert row.source
            for name, value in row.values.items():
                assert (value >= 1) if name == "MedR" else (0 < value < 1)
    milnce = next(row for row in PUBLISHED["msrvtt"] if "8192" in row.model)
    assert milnce.values == {"R@1": 0.099, "R@5": 0.24, "R@10": 0.324, "MedR": 29.5}
    [tan] = [row for row in PUBLISHED["youcook2"] if row.model == "TAN"]
    assert "not the same protocol" in tan.note
    assert PUBLISHED["hmdb51"][0].values == {"top-1": 0.531}


def test_what_is_no_result_is_named(decoder, tmp_path):
    with pytest.raises(NarravidError, match="holds no result: there is no result.json"):
        read_result(tmp_path)
    folder = written(tmp_path / "out", decoder, make_result())
    values = json.loads((folder / "result.json").read_text())
    for damage in ({**values, "format": 7}, {"format": 2}, [1], {**values, "measures": [{}]}):
        (folder / "result.json").write_text(json.dumps(damage))
        with pytest.raises(NarravidError, match="no result that can be read"):
            read_result(folder)
    (folder / "result.json").write_text(json.dumps(values))
    write_result(make_result(hits=(1, 1, 0, 1)), tmp_path / "other", decoder=decoder)
    (folder / "outcomes.json").write_bytes((tmp_path / "other" / "outcomes.json").read_bytes())
    with pytest.raises(NarravidError, match=r"result\.json and outcomes\.json were not written together"):
        read_result(folder)
    (folder / "outcomes.json").unlink()
    with pytest.raises(NarravidError, match="outcomes.json"):
        read_result(folder)
