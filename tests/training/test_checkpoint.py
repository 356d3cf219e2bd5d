from __future__ import annotations

import dataclasses
import pickle

import pytest
import torch

from narravid.errors import CheckpointError
from narravid.training import checkpoint

STATE = {
    "model": {"weight": torch.arange(3.0)},
    "optimisation": {"state": {0: {"step": torch.tensor(2.0)}}, "param_groups": [{"betas": (0.9, 0.99)}]},
    "schedule": {"num_steps": 9},
    "epoch": 1,
    "batch": 2,
    "random": checkpoint.random_state(),
    "progress": {"best_value": None, "best_step": None, "metrics": {}, "seconds": 1.5},
    "window": {"sums": {}, "counts": {}},
    "scaler": {},
}


def save(run, step):
    return checkpoint.save_checkpoint(run, {**STATE, "step": step})


def test_a_checkpoint_comes_back_as_it_was(tmp_path):
    path = save(tmp_path, 12)
    assert path == tmp_path / "checkpoints" / "step_00000012.pt"
    state = checkpoint.load_checkpoint(path)
    assert state["step"] == 12
    assert state["optimisation"]["param_groups"] == [{"betas": (0.9, 0.99)}]
    torch.testing.assert_close(state["model"]["weight"], torch.arange(3.0))
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step_00000012.pt"]


class Malice:
    def __reduce__(self):
        return (pytest.fail, ("code from a checkpoint was run",))


def test_nothing_in_a_checkpoint_is_executed(tmp_path):
    path = tmp_path / "step_00000001.pt"
    torch.save({"format": 2, "model": Malice()}, path)
    with pytest.raises(CheckpointError, match="damaged or not a checkpoint"):
        checkpoint.load_checkpoint(path)
    path.write_bytes(pickle.dumps(Malice()))
    with pytest.raises(CheckpointError, match="damaged or not a checkpoint"):
        checkpoint.load_checkpoint(path)


def test_faulty_files_are_named_with_what_is_wrong(tmp_path):
    path = save(tmp_path, 1)
    with pytest.raises(CheckpointError, match="no such file"):
        checkpoint.load_checkpoint(tmp_path / "absent.pt")
    whole = path.read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match=r"step_00000001\.pt: damaged"):
            checkpoint.load_checkpoint(path)
    torch.save({"format": 99}, path)
    with pytest.raises(CheckpointError, match="not a checkpoint of a Narravid run"):
        checkpoint.load_checkpoint(path)
    torch.save({key: value for key, value in {**STATE, "format": 2}.items() if key != "epoch"}, path)
    with pytest.raises(CheckpointError, match=r"missing keys \(2\): step, epoch"):
        checkpoint.load_checkpoint(path)


def test_the_newest_readable_checkpoint_is_taken_and_damaged_ones_are_named(tmp_path):
    assert checkpoint.latest_checkpoint(tmp_path) is None
    save(tmp_path, 5)
    newest = save(tmp_path, 10)
    state = checkpoint.latest_checkpoint(tmp_path)
    assert state is not None
    assert state["step"] == 10
    newest.write_bytes(b"half")
    with pytest.warns(UserWarning, match=r"passed over: .*step_00000010\.pt"):
        state = checkpoint.latest_checkpoint(tmp_path)
    assert state is not None
    assert state["step"] == 5
    checkpoint.checkpoint_path(tmp_path, 5).write_bytes(b"")
    with (
        pytest.warns(UserWarning, match="passed over"),
        pytest.raises(CheckpointError, match="every checkpoint of this run is damaged"),
    ):
        checkpoint.latest_checkpoint(tmp_path)


def test_pruning_keeps_the_last_and_the_best(tmp_path):
    for step in (10, 20, 30, 100_000_000):
        save(tmp_path, step)
    (tmp_path / "checkpoints" / "step_best.pt").touch()
    checkpoint.prune_checkpoints(tmp_path, step=100_000_000, keep_last=1, best_step=20)
    assert [step for step, _ in checkpoint.list_checkpoints(tmp_path)] == [20, 100_000_000]
    checkpoint.prune_checkpoints(tmp_path, step=100_000_000, keep_last=1, best_step=None)
    assert [step for step, _ in checkpoint.list_checkpoints(tmp_path)] == [100_000_000]


def test_a_damaged_checkpoint_from_before_resuming_does_not_push_out_a_good_one(tmp_path):
    for step in (10, 20, 30):
        save(tmp_path, step)
    checkpoint.prune_checkpoints(tmp_path, step=20, keep_last=1, best_step=None)
    assert [step for step, _ in checkpoint.list_checkpoints(tmp_path)] == [20, 30]


def test_leftovers_of_a_killed_run_are_removed_and_nothing_else(tmp_path):
    path = save(tmp_path, 1)
    (path.parent / ".step_00000002.pt.77.partial").touch()
    (tmp_path / ".curves.png.77.partial").touch()
    for name in (".model.77.partial", ".model.77.previous", "model"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").touch()
    checkpoint.remove_unfinished(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "checkpoints",
        "model",
        "step_00000001.pt",
        "weights",
    ]


def test_a_model_that_was_being_replaced_comes_back(tmp_path):
    (tmp_path / ".model.77.previous").mkdir()
    (tmp_path / ".model.77.previous" / "weights").touch()
    checkpoint.remove_unfinished(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["model", "weights"]


def test_random_state_goes_back_to_where_it_was():
    with torch.random.fork_rng(devices=[]):
        state = checkpoint.random_state()
        first = torch.rand(3)
        checkpoint.restore_random_state(state)
        assert torch.equal(torch.rand(3), first)


@dataclasses.dataclass(frozen=True, slots=True)
class Batch:
    clips: torch.Tensor
    names: tuple[str, ...]


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        (Batch(torch.ones(2), ("a", "b")), {"clips": torch.ones(2), "names": ("a", "b")}),
        ({"x": torch.ones(1)}, {"x": torch.ones(1)}),
        (torch.zeros(2), {"batch": torch.zeros(2)}),
    ],
    ids=["dataclass", "mapping", "tensor"],
)
def test_a_failed_batch_can_be_read_without_its_class(tmp_path, batch, expected):
    path = checkpoint.save_failed_batch(tmp_path, batch, step=7)
    assert path.name == "failed_batch_step_00000007.pt"
    content = torch.load(path, weights_only=True)
    assert content.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.equal(content[key], value) if isinstance(value, torch.Tensor) else content[key] == value
