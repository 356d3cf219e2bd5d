"""The training loop: any task with a `training_step`, a run folder, and exact resume.

The loop knows nothing of videos, models or command lines. What it needs is handed to it: a task, a function
that gives the batches of an epoch from any position, and optionally how to evaluate and how to export.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Generic, get_args

import torch
from torch import nn

from narravid.errors import CheckpointError, ConfigError, LogitRangeError
from narravid.progress import ProgressBar, progress_bar
from narravid.training import checkpoint
from narravid.training.config import (
    BatchT,
    Evaluation,
    NonFiniteError,
    Precision,
    TrainableTask,
    TrainerConfig,
    TrainingData,
    TrainingResult,
)
from narravid.training.logging import LOG_NAME, MeanWindow, RunLog, draw_curves, read_log, truncate_log
from narravid.training.optim import (
    OptimConfig,
    build_optimizer,
    learning_rate_at,
    num_warmup_steps,
    set_learning_rate,
)
from narravid.training.run import MODEL_FOLDER, lock_run

__all__ = ["Trainer"]


class Trainer(Generic[BatchT]):
    """Trains a task in a run folder.

    Leaves in the folder: `log.jsonl`, `checkpoints/`, `curves.png`, and `model/` when `export` is given: the
    model of the best evaluation, or the last one where nothing evaluates.

    Args:
        task: Module with a `training_step`. Training runs on the device of its weights.
        optim: Optimiser and schedule.
        config: Length of the run and what to keep.
        data: The batches.
        run: The run folder; made when absent.
        evaluation: How to judge the model, if at all.
        export: Writes the model into the folder it is given; must replace what lies there.

    Attributes:
        step: Steps taken so far.
        num_steps: Steps in the whole run.

    Raises:
        ValueError: If the settings do not fit each other or nothing is trainable.
    """

    def __init__(
        self,
        task: TrainableTask[BatchT],
        optim: OptimConfig,
        *,
        config: TrainerConfig,
        data: TrainingData[BatchT],
        run: Path,
        evaluation: Evaluation | None = None,
        export: Callable[[Path], None] | None = None,
    ) -> None:
        self.step = 0
        self.num_steps = config.num_steps or config.num_epochs * data.steps_per_epoch
        num_warmup_steps(optim, self.num_steps)
        self._task = task
        self._optim = optim
        self._config = config
        self._data = data
        self._run = run
        self._evaluation = evaluation
        self._export_model = export
        self._optimizer = build_optimizer(optim, task.parameters())
        self._parameters = [p for group in self._optimizer.param_groups for p in group["params"]]
        self._device = self._parameters[0].device
        self._dtype: Precision = "float32"
        self._window = MeanWindow()
        self._best_value: float | None = None
        self._best_step: int | None = None
        self._last_metrics: dict[str, float] = {}
        self._seconds_before = 0.0
        self._started = 0.0

    def fit(self, *, seed: int = 0, dtype: Precision = "float32", resume: bool = False) -> TrainingResult:
        """Train to the end of the run.

        Args:
            seed: Seed of random layers such as dropout; the caller's own random state is left as it was.
            dtype: Type of the forward pass.
            resume: Go on from the newest checkpoint of the run folder (from the start when it has none yet).
                The result is the same, bit for bit on a CPU, as that of a run never interrupted.

        Returns:
            What came of it. The task is left in eval mode.

        Raises:
            ValueError: If the dtype is not known.
            ConfigError: If the folder holds checkpoints and `resume` is not set.
            CheckpointError: If the checkpoint does not fit the task, the optimiser or the schedule.
            NonFiniteError: If logits, loss or gradient are not finite; the batch is saved in the run folder.
        """
        if dtype not in get_args(Precision):
            raise ValueError(f"dtype must be one of {', '.join(get_args(Precision))}, got {dtype!r}")
        self._dtype = dtype
        self._run.mkdir(parents=True, exist_ok=True)
        if not resume and checkpoint.list_checkpoints(self._run):
            raise ConfigError(
                f"{self._run} holds checkpoints of a run: go on with `narravid resume {self._run}`"
                " or choose another folder"
            )
        devices = [self._device] if self._device.type == "cuda" else []
        with lock_run(self._run), torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            if resume:
                self._restore()
            resumed_at = self.step
            self._started = time.perf_counter()
            with RunLog(self._run / LOG_NAME) as log:
                self._loop(log)
            self._finish()
        return TrainingResult(
            self.step, self._last_metrics, self._best_step, self._seconds(), resumed_at=resumed_at
        )

    def _loop(self, log: RunLog) -> None:
        self._task.train()
        logged_at, logged_step = time.perf_counter(), self.step
        with (
            ExitStack() as at_the_end,
            progress_bar("training", self.num_steps - self.step, unit="steps") as bar,
            closing(self._data.stream(self.step)) as batches,
        ):
            at_the_end.callback(self._record)
            while self.step < self.num_steps:
                lr = learning_rate_at(self._optim, self.step, num_steps=self.num_steps)
                self._window.add(self._train_on(next(batches).to(self._device), lr))
                self.step += 1
                if self._is_due(self._config.log_every_steps):
                    now = time.perf_counter()
                    rate = (self.step - logged_step) / max(now - logged_at, 1e-9)
                    self._log_window(log, bar, lr=lr, rate=rate)
                    logged_at, logged_step = now, self.step
                bar.advance(1)
                self._keep(log)

    def _train_on(self, batch: BatchT, lr: float) -> dict[str, float]:
        set_learning_rate(self._optimizer, lr)
        self._optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._dtype == "bfloat16"):
            try:
                values = self._task.training_step(batch)
            except LogitRangeError as error:
                raise self._stopped(str(error), batch) from error
        numbers = {name: float(value.detach()) for name, value in values.items()}
        if not math.isfinite(numbers["loss"]):
            raise self._stopped(f"the loss is {numbers['loss']}", batch)
        values["loss"].backward()  # type: ignore[no-untyped-call]
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        norm = nn.utils.get_total_norm(gradients, foreach=True)
        numbers["grad_norm"] = float(norm)
        if not math.isfinite(numbers["grad_norm"]):
            raise self._stopped(f"the norm of the gradient is {numbers['grad_norm']}", batch)
        if self._optim.max_grad_norm is not None:
            nn.utils.clip_grads_with_norm_(self._parameters, self._optim.max_grad_norm, norm, foreach=True)
        self._optimizer.step()
        return numbers

    def _stopped(self, what: str, batch: BatchT) -> NonFiniteError:
        path = checkpoint.save_failed_batch(self._run, batch, step=self.step + 1)
        return NonFiniteError(
            f"{what} at step {self.step + 1}; the batch is saved in {path}."
            " Try a lower lr, a longer warm-up, max_grad_norm, or dtype float32"
        )

    def _is_due(self, interval: int | None) -> bool:
        return self.step == self.num_steps or (interval is not None and self.step % interval == 0)

    def _entry(self, event: str) -> dict[str, Any]:
        return {"event": event, "step": self.step, "epoch": (self.step - 1) // self._data.steps_per_epoch}

    def _log_window(self, log: RunLog, bar: ProgressBar, *, lr: float, rate: float) -> None:
        means = self._window.take()
        timing = {"seconds": round(self._seconds(), 3), "steps_per_second": round(rate, 3)}
        log.write({**self._entry("train"), **means, "lr": lr, **timing})
        bar.advance(0, note=f"loss {means['loss']:.4g}")

    def _keep(self, log: RunLog) -> None:
        """Evaluate and save where this step is due for it; a new best model is always saved."""
        improved = self._is_due(self._config.evaluate_every_steps) and self._evaluate(log)
        if improved or self._is_due(self._config.checkpoint_every_steps):
            self._record()
            checkpoint.save_checkpoint(self._run, self._state())
            keep = self._config.keep_checkpoints
            checkpoint.prune_checkpoints(self._run, step=self.step, keep_last=keep, best_step=self._best_step)

    def _record(self) -> None:
        if self._data.record is not None:
            self._data.record.write()

    def _evaluate(self, log: RunLog) -> bool:
        """Measure, log, and export when the model is the best so far; says whether it is."""
        if self._evaluation is None:
            return False
        self._task.eval()
        with torch.no_grad():
            metrics = {name: float(value) for name, value in self._evaluation.measure().items()}
        log.write({**self._entry("evaluation"), **metrics})
        self._last_metrics = metrics
        if self._evaluation.metric not in metrics:
            raise ValueError(f"the evaluation gives {sorted(metrics)}, not {self._evaluation.metric!r}")
        value = metrics[self._evaluation.metric]
        improved = self._evaluation.is_improvement(value, self._best_value)
        if improved:
            self._best_value, self._best_step = value, self.step
            self._export()
        self._task.train()
        return improved

    def _export(self) -> None:
        if self._export_model is not None:
            self._export_model(self._run / MODEL_FOLDER)

    def _finish(self) -> None:
        self._task.eval()
        if self._best_step is None:
            self._export()
        draw_curves(read_log(self._run), self._run / "curves.png")

    def _seconds(self) -> float:
        return self._seconds_before + time.perf_counter() - self._started

    def _schedule(self) -> dict[str, Any]:
        """What the learning rate of a step and its place in the data follow from."""
        return {
            "num_steps": self.num_steps,
            "steps_per_epoch": self._data.steps_per_epoch,
            "optim": dataclasses.asdict(self._optim),
        }

    def _state(self) -> dict[str, Any]:
        epoch, batch = divmod(self.step, self._data.steps_per_epoch)
        return {
            "model": self._task.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule(),
            "step": self.step,
            "epoch": epoch,
            "batch": batch,
            "random": checkpoint.random_state(),
            "best": {"value": self._best_value, "step": self._best_step},
            "metrics": dict(self._last_metrics),
            "window": self._window.state_dict(),
            "data": None if self._data.record is None else self._data.record.state_dict(),
            "seconds": self._seconds(),
        }

    def _restore(self) -> None:
        """Go back to the newest checkpoint and forget what was logged after it."""
        checkpoint.remove_unfinished(self._run)
        state = checkpoint.latest_checkpoint(self._run)
        truncate_log(self._run, 0 if state is None else state["step"])
        if state is None:
            return
        path = checkpoint.checkpoint_path(self._run, state["step"])
        if state["schedule"] != self._schedule():
            raise CheckpointError(
                path, f"made for another schedule: {state['schedule']}, the run now says {self._schedule()}"
            )
        try:
            self._task.load_state_dict(state["model"])
            self._optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError) as error:
            raise CheckpointError(path, f"does not fit this run's model: {error}") from error
        checkpoint.restore_random_state(state["random"])
        self._window.load_state_dict(state["window"])
        if self._data.record is not None and state.get("data") is not None:
            self._data.record.load_state_dict(state["data"])
        self._best_value, self._best_step = state["best"]["value"], state["best"]["step"]
        self._last_metrics = dict(state["metrics"])
        self._seconds_before = state["seconds"]
        self.step = state["step"]
