from __future__ import annotations

import json
import math

import pytest
from PIL import Image

from narravid.errors import AnnotationError
from narravid.training.logging import MeanWindow, RunLog, draw_curves, read_log, truncate_log


def write(run, entries):
    with RunLog(run / "log.jsonl") as log:
        for entry in entries:
            log.write(entry)


def test_what_is_written_is_read_back_in_order_and_appended_to(tmp_path):
    write(tmp_path, [{"step": 1, "loss": 0.5}])
    write(tmp_path, [{"step": 2, "loss": 0.25}])
    assert read_log(tmp_path) == [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25}]
    assert read_log(tmp_path / "log.jsonl") == read_log(tmp_path)


def test_numbers_json_does_not_have_become_null(tmp_path):
    write(tmp_path, [{"step": 1, "R@1": math.nan, "loss": math.inf}])
    assert read_log(tmp_path) == [{"step": 1, "R@1": None, "loss": None}]


def test_a_torn_last_line_is_left_out_but_another_fault_is_named(tmp_path):
    write(tmp_path, [{"step": 1}, {"step": 2}])
    path = tmp_path / "log.jsonl"
    path.write_bytes(path.read_bytes() + b'{"step": 3, "lo')
    assert [entry["step"] for entry in read_log(tmp_path)] == [1, 2]
    path.write_text('{"step": 1}\nnonsense\n{"step": 3}\n')
    with pytest.raises(AnnotationError, match=r"log\.jsonl, line 2: not a JSON object"):
        read_log(tmp_path)
    path.write_text("[1]\n")
    with pytest.raises(AnnotationError, match="line 1"):
        read_log(tmp_path)


def test_an_absent_log_is_empty_and_truncating_it_makes_none(tmp_path):
    assert read_log(tmp_path) == []
    truncate_log(tmp_path, 3)
    assert list(tmp_path.iterdir()) == []


def test_truncating_drops_later_steps_and_the_torn_line(tmp_path):
    write(tmp_path, [{"step": step, "text": "è"} for step in range(1, 6)])
    path = tmp_path / "log.jsonl"
    path.write_bytes(path.read_bytes() + b"{")
    truncate_log(tmp_path, 3)
    assert [json.loads(line)["step"] for line in path.read_text("utf-8").splitlines()] == [1, 2, 3]
    write(tmp_path, [{"step": 4}])
    assert len(read_log(tmp_path)) == 4


def test_mean_window_averages_what_came_since_it_was_taken_and_survives_a_checkpoint():
    window = MeanWindow()
    window.add({"loss": 1.0, "grad_norm": 4.0})
    state = window.state_dict()
    window.add({"loss": 3.0})
    assert window.take() == {"loss": 2.0, "grad_norm": 4.0}
    assert window.take() == {}
    again = MeanWindow()
    again.load_state_dict(state)
    again.add({"loss": 3.0})
    assert again.take() == {"loss": 2.0, "grad_norm": 4.0}


def test_curves_are_drawn_for_every_metric_and_none_without_any(tmp_path):
    draw_curves([], tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()
    entries = [{"event": "train", "step": step, "loss": 1 / step, "seconds": 1.0} for step in range(1, 60)]
    draw_curves(entries, tmp_path / "one.png")
    entries += [{"event": "evaluation", "step": 59, "R@1": 0.5, "MedR": None}]
    draw_curves(entries, tmp_path / "two.png")
    with Image.open(tmp_path / "one.png") as one, Image.open(tmp_path / "two.png") as two:
        assert two.width > one.width
        colours = one.convert("RGB").getcolors(maxcolors=10**6)
    assert colours is not None
    assert len(colours) > 10
