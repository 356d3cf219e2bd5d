from __future__ import annotations

import math
import sys
import time

import pytest

from narravid.errors import ConfigError, MissingExtraError
from narravid.training.trackers import TENSORBOARD_FOLDER, Trackers, numbers_of, open_trackers

ENTRIES = (
    {"event": "evaluation", "step": 0, "epoch": 0, "R@1": 0.125, "MedR": None},
    {"event": "train", "step": 1, "epoch": 0, "loss": 2.5, "lr": 0.5, "grad_norm": math.inf},
    {"event": "train", "step": 2, "epoch": 0, "loss": 1.5, "lr": 0.25, "grad_norm": 3.0},
    {"event": "train", "step": 3, "epoch": 1, "loss": 0.5, "lr": 0.125, "note": "text", "flag": True},
)


def tell(run, entries, *, resumed_at=None, config=None):
    with open_trackers(["tensorboard"], run, config or {}, resumed_at=resumed_at) as trackers:
        for entry in entries:
            trackers.write(entry)


def read_scalars(run):
    """Tag to its (step, value) pairs, read by TensorBoard itself."""
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    reader = event_accumulator.EventAccumulator(str(run / TENSORBOARD_FOLDER))
    reader.Reload()
    return {tag: [(e.step, e.value) for e in reader.Scalars(tag)] for tag in reader.Tags()["scalars"]}, reader


def test_tensorboard_reads_back_what_was_told(tmp_path):
    pytest.importorskip("tensorboard")
    tell(tmp_path, ENTRIES, config={"recipe": "milnce", "optim": {"lr": 0.5}})
    scalars, reader = read_scalars(tmp_path)
    assert scalars == {
        "evaluation/R@1": [(0, 0.125)],
        "train/loss": [(1, 2.5), (2, 1.5), (3, 0.5)],
        "train/lr": [(1, 0.5), (2, 0.25), (3, 0.125)],
        "train/grad_norm": [(2, 3.0)],
    }
    (text,) = reader.Tensors("config/text_summary")
    assert '"recipe": "milnce"' in text.tensor_proto.string_val[0].decode()


@pytest.mark.parametrize("resumed_at", [0, 2])
def test_a_resumed_run_drops_what_came_after_its_checkpoint(tmp_path, resumed_at):
    pytest.importorskip("tensorboard")
    tell(tmp_path, ENTRIES)
    time.sleep(1 - time.time() % 1)  # TensorBoard puts files of one second into any order
    again = [entry for entry in ENTRIES if entry["step"] > resumed_at or resumed_at == 0]
    tell(tmp_path, again, resumed_at=resumed_at)
    scalars, _ = read_scalars(tmp_path)
    assert scalars["evaluation/R@1"] == [(0, 0.125)]
    assert scalars["train/loss"] == [(1, 2.5), (2, 1.5), (3, 0.5)]


def test_an_entry_is_in_the_file_before_the_tracker_is_closed(tmp_path):
    pytest.importorskip("tensorboard")
    with open_trackers(["tensorboard"], tmp_path, {}) as trackers:
        trackers.write(ENTRIES[1])
        assert read_scalars(tmp_path)[0]["train/loss"] == [(1, 2.5)]


def test_without_names_nothing_is_made(tmp_path):
    with open_trackers([], tmp_path, {}) as trackers:
        trackers.write(ENTRIES[0])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_library_that_is_absent_is_named_with_what_installs_it(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    package = {"tensorboard": r"'narravid\[log\]'", "wandb": "wandb"}[name]
    with pytest.raises(MissingExtraError, match=f"tracker {name} needs {name}.*pip install {package}"):
        open_trackers([name], tmp_path, {})
    assert list(tmp_path.iterdir()) == []


def test_unknown_and_doubled_names_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"'tensorbord' is none of tensorboard, wandb \(did you mean"):
        open_trackers(["tensorbord"], tmp_path, {})
    with pytest.raises(ConfigError, match="each at most once"):
        open_trackers(["wandb", "wandb"], tmp_path, {})


class Recorder:
    """A tracker of a user's own."""

    def __init__(self, *, fails=False):
        self.entries, self.is_closed, self._fails = [], False, fails

    def write(self, entry):
        self.entries.append(entry)

    def close(self):
        self.is_closed = True
        if self._fails:
            raise OSError("no space left")


def test_all_are_told_and_all_are_closed_also_when_one_fails_to():
    first, second = Recorder(), Recorder(fails=True)
    trackers = Trackers([first, second])
    trackers.write(ENTRIES[0])
    with pytest.raises(OSError, match="no space left"):
        trackers.close()
    assert first.entries == second.entries == [ENTRIES[0]]
    assert first.is_closed


def test_only_finite_numbers_are_shown():
    assert [sorted(numbers_of(entry)) for entry in ENTRIES] == [
        ["evaluation/R@1"],
        ["train/loss", "train/lr"],
        ["train/grad_norm", "train/loss", "train/lr"],
        ["train/loss", "train/lr"],
    ]


@pytest.mark.slow
def test_weights_and_biases_works_without_a_network_and_goes_on_after_a_resume(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="belongs to no extra: pip install wandb")
    for name, value in {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}.items():
        monkeypatch.setenv(name, value)
    for folder in ("CACHE", "CONFIG", "DATA"):
        monkeypatch.setenv(f"WANDB_{folder}_DIR", str(tmp_path / folder))
    run = tmp_path / "run"
    run.mkdir()
    ids = []
    for resumed_at in (None, 2):
        with open_trackers(["wandb"], run, {"lr": 0.5}, resumed_at=resumed_at) as trackers:
            for entry in ENTRIES[1:] if resumed_at is None else ENTRIES[3:]:
                trackers.write(entry)
        ids.append((run / "wandb_id.txt").read_text().strip())
    assert ids[0] == ids[1]
    files = sorted((run / "wandb").glob("offline-run-*/*.wandb"))
    assert len(files) >= 1
    assert all(ids[0] in path.name for path in files)
    assert any(b"train/grad_norm" in path.read_bytes() for path in files)
