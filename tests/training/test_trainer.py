from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from narravid.errors import CheckpointError, ConfigError
from narravid.losses.logits import check_logits
from narravid.training import checkpoint
from narravid.training.config import Evaluation, NonFiniteError, TrainerConfig, TrainingData
from narravid.training.logging import read_log
from narravid.training.optim import OptimConfig
from narravid.training.trainer import Trainer


class LineTask(nn.Module):
    """Fits y = 2x; a batch that holds NaN makes its loss NaN."""

    def __init__(self, *, size: int = 1) -> None:
        super().__init__()
        self.line = nn.Linear(size, 1)
        nn.init.zeros_(self.line.weight)
        nn.init.zeros_(self.line.bias)
        self.modes: list[bool] = []
        self.dtypes: list[torch.dtype] = []

    def training_step(self, batch: torch.Tensor) -> dict[str, torch.Tensor]:
        self.modes.append(self.training)
        guess = self.line(batch)
        self.dtypes.append(guess.dtype)
        return {"loss": (guess.float() - 2 * batch).square().mean(), "largest": batch.max()}


def ones(epoch: int, start_batch: int):
    return (torch.ones(4, 1) for _ in range(start_batch, 3))


def make_trainer(run, task, *, optim=None, data=None, evaluation=None, export=None, **config):
    return Trainer(
        task,
        optim or OptimConfig(name="sgd", lr=0.1, momentum=0.0, schedule="constant", warmup_steps=0),
        config=TrainerConfig(**{"num_steps": 6, "log_every_steps": 1, **config}),
        data=data or TrainingData(ones, 3),
        run=run,
        evaluation=evaluation,
        export=export,
    )


def test_gradient_descent_is_done_as_by_hand(tmp_path):
    task = LineTask()
    make_trainer(tmp_path, task, num_steps=2).fit()
    # weight = bias = a; a' = a + 0.1 * 2 * (2 - 2a)
    expected = 0.0
    for _ in range(2):
        expected += 0.1 * 2 * (2 - 2 * expected)
    assert task.line.weight.item() == pytest.approx(expected)
    assert task.line.bias.item() == pytest.approx(expected)


def test_the_log_holds_losses_rates_and_other_scalars_by_step(tmp_path):
    result = make_trainer(tmp_path, LineTask(), log_every_steps=4).fit()
    first, last = read_log(tmp_path)
    assert (first["step"], first["epoch"], first["event"]) == (4, 1, "train")
    assert (last["step"], last["epoch"]) == (6, 1)
    losses = [4 * 0.6 ** (2 * step) for step in range(6)]
    assert first["loss"] == pytest.approx(sum(losses[:4]) / 4)
    assert last["loss"] == pytest.approx(sum(losses[4:]) / 2)
    assert first["largest"] == 1.0
    assert first["lr"] == 0.1
    assert result.step == 6
    assert result.seconds >= last["seconds"] > 0
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_the_learning_rate_of_each_step_is_the_schedules(tmp_path):
    optim = OptimConfig(lr=1e-3, warmup_steps=2, schedule="cosine")
    make_trainer(tmp_path, LineTask(), optim=optim).fit()
    rates = [entry["lr"] for entry in read_log(tmp_path)]
    assert rates[:3] == pytest.approx([5e-4, 1e-3, 1e-3])
    assert rates[3:] == sorted(rates[3:], reverse=True)


def test_epochs_set_the_length_when_steps_do_not(tmp_path):
    assert make_trainer(tmp_path, LineTask(), num_steps=None, num_epochs=2).fit().step == 6


def test_a_lost_number_stops_the_run_before_the_weights_change_and_keeps_the_batch(tmp_path):
    def with_nan(epoch, start_batch):
        for index in range(start_batch, 3):
            yield torch.full((4, 1), math.nan if (epoch, index) == (1, 1) else 1.0)

    task = LineTask()
    with pytest.raises(
        NonFiniteError, match=r"the loss is nan at step 5; the batch is saved in .*step_0+5\.pt"
    ):
        make_trainer(tmp_path, task, data=TrainingData(with_nan, 3)).fit()
    assert math.isfinite(task.line.weight.item())
    batch = torch.load(tmp_path / "failed_batch_step_00000005.pt", weights_only=True)["batch"]
    assert bool(batch.isnan().all())


class Met:
    """How many batches a run was given, and what it had when that was written down."""

    def __init__(self, run) -> None:
        self.run = run
        self.num_batches = 0
        self.written: list[tuple[int, int]] = []

    def write(self, others=()) -> None:
        self.written.append((self.num_batches, len(checkpoint.list_checkpoints(self.run))))

    def state_dict(self) -> dict[str, int]:
        return {"num_batches": self.num_batches}

    def load_state_dict(self, state) -> None:
        self.num_batches = state["num_batches"]


def counted(met: Met, *, last_step: int = 99) -> TrainingData[torch.Tensor]:
    def batches(epoch, start_batch):
        for index in range(start_batch, 3):
            if 3 * epoch + index == last_step:
                raise OSError("the disk is gone")
            met.num_batches += 1
            yield torch.ones(4, 1)

    return TrainingData(batches, 3, met)


def test_what_the_data_met_is_written_before_each_checkpoint_and_when_training_ends_or_stops(tmp_path):
    met = Met(tmp_path)
    data = counted(met, last_step=5)
    with pytest.raises(OSError, match="the disk is gone"):
        make_trainer(tmp_path, LineTask(), data=data, checkpoint_every_steps=2).fit()
    assert met.written == [(2, 0), (4, 1), (5, 2)]


@pytest.mark.parametrize("last_step", [1, 2, 3, 5])
def test_what_the_data_met_after_the_checkpoint_is_not_counted_twice(tmp_path, last_step):
    data = counted(Met(tmp_path), last_step=last_step)
    with pytest.raises(OSError, match="the disk is gone"):
        make_trainer(tmp_path, LineTask(), data=data, checkpoint_every_steps=2).fit()
    met = Met(tmp_path)
    make_trainer(tmp_path, LineTask(), data=counted(met), checkpoint_every_steps=2).fit(resume=True)
    assert met.num_batches == 6


def test_what_processes_met_that_are_no_longer_there_stays(tmp_path):
    """Two processes began the run; one goes on with it, is stopped after a checkpoint, and goes on again."""
    first, others = counted(Met(tmp_path), last_step=3), []
    with pytest.raises(OSError, match="the disk is gone"):
        make_trainer(tmp_path, LineTask(), data=first, checkpoint_every_steps=2).fit()
    state = checkpoint.load_checkpoint(checkpoint.checkpoint_path(tmp_path, 2))
    state["random"] *= 2
    state["data"].append({"num_batches": 40})
    checkpoint.save_checkpoint(tmp_path, state)
    for last_step in (5, 99):
        met = Met(tmp_path)
        met.write = others.append
        try:
            make_trainer(
                tmp_path, LineTask(), data=counted(met, last_step=last_step), checkpoint_every_steps=2
            ).fit(resume=True)
        except OSError:
            assert last_step == 5
    assert met.num_batches == 6
    assert others == [[{"num_batches": 40}]] * 4


def test_a_checkpoint_without_a_record_is_gone_on_with(tmp_path):
    make_trainer(tmp_path, LineTask(), num_steps=6, checkpoint_every_steps=2).fit()
    checkpoint.checkpoint_path(tmp_path, 6).unlink()
    met = Met(tmp_path)
    make_trainer(tmp_path, LineTask(), data=counted(met)).fit(resume=True)
    assert met.num_batches == 2


class GrownTask(LineTask):
    def training_step(self, batch):
        check_logits("scores", self.line(batch) + 3e4)
        return {"loss": self.line(batch).mean()}


def test_logits_out_of_range_stop_the_run_as_a_lost_number_does(tmp_path):
    with pytest.raises(NonFiniteError, match=r"scores must lie within ±10000, got 30000.*at step 1;"):
        make_trainer(tmp_path, GrownTask()).fit()
    assert (tmp_path / "failed_batch_step_00000001.pt").is_file()


class ExplodingTask(LineTask):
    def training_step(self, batch):
        loss = self.line(batch).mean()
        return {"loss": loss.exp() - loss.exp().detach() + (loss - loss.detach()).abs().sqrt()}


@pytest.mark.parametrize("max_grad_norm", [None, 1.0])
def test_an_infinite_gradient_stops_the_run_before_the_weights_change(tmp_path, max_grad_norm):
    task = ExplodingTask()
    optim = OptimConfig(max_grad_norm=max_grad_norm)
    with pytest.raises(NonFiniteError, match=r"the norm of the gradient is (nan|inf) at step 1"):
        make_trainer(tmp_path, task, optim=optim).fit()
    assert task.line.weight.item() == 0.0


def test_clipping_limits_the_step_and_logs_the_norm(tmp_path):
    task = LineTask()
    optim = OptimConfig(
        name="sgd", lr=1.0, momentum=0.0, schedule="constant", warmup_steps=0, max_grad_norm=0.01
    )
    make_trainer(tmp_path, task, optim=optim, num_steps=1).fit()
    assert math.hypot(task.line.weight.item(), task.line.bias.item()) == pytest.approx(0.01, rel=1e-3)
    assert read_log(tmp_path)[0]["grad_norm"] == pytest.approx(math.hypot(4, 4))


def test_bfloat16_runs_the_forward_pass_under_autocast_with_float32_weights(tmp_path):
    task = LineTask()
    make_trainer(tmp_path / "half", task).fit(dtype="bfloat16")
    assert set(task.dtypes) == {torch.bfloat16}
    assert task.line.weight.dtype == torch.float32
    other = LineTask()
    make_trainer(tmp_path / "full", other).fit()
    assert set(other.dtypes) == {torch.float32}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_type_that_the_processor_imitates_is_warned_of(tmp_path, caplog, dtype):
    make_trainer(tmp_path, LineTask()).fit(dtype=dtype)
    instructions = torch.ops.mkldnn
    kinds = {
        "bfloat16": instructions._is_mkldnn_bf16_supported,
        "float16": instructions._is_mkldnn_fp16_supported,
    }
    assert (f"this processor imitates {dtype}" in caplog.text) != bool(kinds[dtype]())


def scripted(values, task, seen):
    remaining = iter(values)

    def measure():
        seen.append((task.training, torch.is_grad_enabled()))
        return {"R@1": next(remaining), "MedR": 5.0}

    return Evaluation(measure, "R@1")


def test_evaluation_decides_which_model_is_exported_and_which_checkpoints_stay(tmp_path):
    task, seen, exported = LineTask(), [], []
    result = make_trainer(
        tmp_path,
        task,
        evaluation=scripted([0.2, 0.5, 0.3], task, seen),
        export=lambda folder: exported.append((folder, task.line.weight.item(), task.training)),
        evaluate_every_steps=2,
        checkpoint_every_steps=1,
        keep_checkpoints=1,
    ).fit()
    assert seen == [(False, False)] * 3
    assert all(task.modes)
    assert not task.training
    assert result.best_step == 4
    assert result.metrics == {"R@1": 0.3, "MedR": 5.0}
    assert [folder for folder, _, _ in exported] == [tmp_path / "model"] * 2
    assert [training for _, _, training in exported] == [False, False]
    assert exported[1][1] > exported[0][1]
    assert [step for step, _ in checkpoint.list_checkpoints(tmp_path)] == [4, 6]
    evaluations = [entry for entry in read_log(tmp_path) if entry["event"] == "evaluation"]
    assert [(entry["step"], entry["R@1"]) for entry in evaluations] == [(2, 0.2), (4, 0.5), (6, 0.3)]


def test_without_evaluation_the_last_model_is_exported_once(tmp_path):
    exported = []
    make_trainer(tmp_path, LineTask(), export=exported.append, checkpoint_every_steps=2).fit()
    assert exported == [tmp_path / "model"]


def test_an_evaluation_that_never_gives_a_number_still_leaves_a_model(tmp_path):
    task, exported = LineTask(), []
    evaluation = scripted([math.nan] * 3, task, [])
    result = make_trainer(
        tmp_path, task, evaluation=evaluation, export=exported.append, evaluate_every_steps=2
    ).fit()
    assert result.best_step is None
    assert exported == [tmp_path / "model"]


def test_a_missing_deciding_metric_is_named(tmp_path):
    trainer = make_trainer(tmp_path, LineTask(), evaluation=Evaluation(lambda: {"MedR": 1.0}, "R@1"))
    with pytest.raises(ValueError, match=r"gives \['MedR'\], not 'R@1'"):
        trainer.fit()


def test_a_folder_with_checkpoints_is_not_begun_again(tmp_path):
    make_trainer(tmp_path, LineTask()).fit()
    with pytest.raises(ConfigError, match="narravid resume"):
        make_trainer(tmp_path, LineTask()).fit()


def test_resuming_a_finished_run_trains_no_more_but_makes_up_for_lost_output(tmp_path):
    exported = []
    make_trainer(tmp_path, LineTask(), export=exported.append).fit()
    log = read_log(tmp_path)
    (tmp_path / "curves.png").unlink()
    task = LineTask()
    again = make_trainer(tmp_path, task, export=exported.append).fit(resume=True)
    assert task.modes == []
    assert task.line.weight.item() > 0.9
    assert (again.resumed_at, again.step, again.seconds >= log[-1]["seconds"]) == (6, 6, True)
    assert (tmp_path / "curves.png").exists()
    assert len(exported) == 2
    assert read_log(tmp_path) == log


def test_resuming_with_other_settings_or_another_model_is_refused(tmp_path):
    make_trainer(tmp_path, LineTask()).fit()
    with pytest.raises(CheckpointError, match="made for another schedule"):
        make_trainer(tmp_path, LineTask(), num_steps=7).fit(resume=True)
    with pytest.raises(CheckpointError, match="does not fit this run's model"):
        make_trainer(tmp_path, LineTask(size=2)).fit(resume=True)


def test_training_leaves_the_callers_random_state_alone(tmp_path):
    trainer = make_trainer(tmp_path, LineTask())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        expected = torch.rand(2)
        torch.manual_seed(11)
        trainer.fit(seed=4)
        assert torch.equal(torch.rand(2), expected)


def test_a_plateau_is_looked_for_after_each_epoch_unless_told_otherwise(tmp_path):
    for interval, expected in ((None, [3, 6]), (2, [2, 4, 6])):
        run = tmp_path / str(interval)
        make_trainer(
            run,
            LineTask(),
            optim=OptimConfig(schedule="plateau", warmup_steps=0),
            evaluation=Evaluation(lambda: {"R@1": 0.5}, "R@1"),
            evaluate_every_steps=interval,
        ).fit()
        assert [entry["step"] for entry in read_log(run) if entry["event"] == "evaluation"] == expected


def test_settings_that_do_not_fit_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="dtype must be one of float32, bfloat16, float16, got 'bf16'"):
        make_trainer(tmp_path / "run", LineTask()).fit(dtype="bf16")
    with pytest.raises(ValueError, match="warmup_steps is 9"):
        make_trainer(tmp_path / "run", LineTask(), optim=OptimConfig(warmup_steps=9))
    with pytest.raises(ConfigError, match="this run has none: say what to evaluate on"):
        make_trainer(tmp_path / "run", LineTask(), optim=OptimConfig(schedule="plateau"))
    with pytest.raises(ConfigError, match="does nothing in a compiled network"):
        make_trainer(tmp_path / "run", LineTask(), compile=True, activation_checkpointing=True)
    frozen = LineTask().requires_grad_(False)
    with pytest.raises(ValueError, match="every parameter is frozen"):
        make_trainer(tmp_path / "run", frozen)
    assert not (tmp_path / "run").exists()
