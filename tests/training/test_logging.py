from __future__ import annotations

import json
import math
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

import narravid.training
from narravid.errors import AnnotationError
from narravid.training.logging import MeanWindow, RunLog, iterate_log, read_log, truncate_log


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


def test_truncating_drops_everything_below_the_first_step(tmp_path):
    write(tmp_path, [{"step": 0, "event": "evaluation"}, {"step": 1}])
    truncate_log(tmp_path, 0)
    assert [entry["step"] for entry in read_log(tmp_path)] == [0]
    truncate_log(tmp_path, -1)
    assert (tmp_path / "log.jsonl").read_bytes() == b""
    truncate_log(tmp_path, -1)


def test_truncating_keeps_what_stays_byte_for_byte_and_the_file_itself(tmp_path):
    path = tmp_path / "log.jsonl"
    kept = b'{"step":1,   "odd":"spaces"}\n{"loss":0.10,"step":3}\n'
    path.write_bytes(kept + b'{"step":4}\n')
    inode = path.stat().st_ino
    truncate_log(tmp_path, 3)
    assert path.read_bytes() == kept
    assert path.stat().st_ino == inode
    before = path.stat().st_mtime_ns
    truncate_log(tmp_path, 3)
    assert path.stat().st_mtime_ns == before, "a log with nothing to drop is left alone"


def test_truncating_looks_at_the_tail_only_and_takes_damaged_lines_there_along(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(
        b'nonsense\n{"step":1}\n{"step":2}\n\n{"st\x00\x00\n[]\n{"step":5}\n\x00\x00\n{"loss":1}\n'
    )
    truncate_log(tmp_path, 2)
    assert path.read_bytes() == b'nonsense\n{"step":1}\n{"step":2}\n'


@given(
    steps=st.lists(st.integers(0, 30), max_size=30).map(sorted),
    last_step=st.integers(-1, 31),
    torn=st.sampled_from([b"", b"{", b'{"step": 1}', b'{"step": 1, "text": "\xc3']),
)
def test_truncating_agrees_with_reading_everything(tmp_path_factory, steps, last_step, torn):
    run = tmp_path_factory.mktemp("run")
    write(run, [{"step": step, "line": number} for number, step in enumerate(steps)])
    path = run / "log.jsonl"
    path.write_bytes(path.read_bytes() + torn)
    truncate_log(run, last_step)
    expected = [{"step": step, "line": number} for number, step in enumerate(steps) if step <= last_step]
    assert read_log(run) == expected
    assert path.read_bytes().count(b"\n") == len(expected)
    assert path.read_bytes()[-1:] in (b"", b"\n")


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(entry=st.dictionaries(st.text(), JSON_VALUES, max_size=5))
def test_every_entry_comes_back_as_it_was(tmp_path_factory, entry):
    run = tmp_path_factory.mktemp("run")
    write(run, [entry])
    (again,) = read_log(run)
    assert again == entry
    assert json.dumps(again) == json.dumps(entry), "types and signs of zero, too"


@pytest.mark.parametrize(
    "line", [b"", b'{"a":1},{"b":2}', b'{"a":1', b"1", b"null", b'{"a":"\xff"}', b"[" * 10**5]
)
def test_lines_that_are_no_objects_are_named(tmp_path, line):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"step": 1}\n' + line + b'\n{"step": 2}\n')
    with pytest.raises(AnnotationError, match=r"log\.jsonl, line 2: not a JSON object"):
        read_log(tmp_path)


def test_reading_line_by_line_holds_one_line_at_a_time(tmp_path):
    path = tmp_path / "log.jsonl"
    line = (
        json.dumps({"event": "train", "step": 1, **{f"metric_{number}": 0.5 for number in range(20)}}) + "\n"
    )
    path.write_text(line * 20_000 + line[:50])
    tracemalloc.start()
    try:
        assert sum(1 for _ in iterate_log(tmp_path)) == 20_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20 < path.stat().st_size


def test_reading_is_offered_by_the_package():
    assert narravid.training.read_log is read_log


def test_a_full_disk_is_told_and_not_passed_over(tmp_path):
    resource = pytest.importorskip("resource", reason="limits the size of files as POSIX does")
    entry = {"step": 1, "text": "x" * 100}
    write(tmp_path, [entry])
    size = (tmp_path / "log.jsonl").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 50, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            write(tmp_path, [entry])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "log.jsonl").stat().st_size == size + 50
    assert read_log(tmp_path) == [entry], "the half line is a torn one"


@pytest.mark.slow
def test_a_million_lines_with_a_torn_one_are_read(tmp_path):
    path = tmp_path / "log.jsonl"
    with path.open("w") as file:
        for step in range(1, 10**6 + 1):
            file.write(f'{{"event": "train", "step": {step}, "loss": {1 / step}, "lr": 0.001}}\n')
        file.write('{"event": "train", "st')
    entries = read_log(tmp_path)
    assert len(entries) == 10**6
    assert entries[-1] == {"event": "train", "step": 10**6, "loss": 1e-6, "lr": 0.001}
    assert sum(entry["loss"] for entry in entries) == pytest.approx(sum(1 / k for k in range(1, 10**6 + 1)))
    del entries
    truncate_log(tmp_path, 10**6 - 7)
    *_, last = iterate_log(tmp_path)
    assert last["step"] == 10**6 - 7


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
