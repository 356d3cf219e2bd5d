"""The training loop: any task with a `training_step`, a run folder, and exact resume.

The loop knows nothing of videos, models or command lines. What it needs is handed to it: a task, a function
that gives the batches of an epoch from any position, and optionally how to evaluate and how to export.
Under `torchrun` every process runs it on its share of each batch; the first one writes and evaluates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic, cast, get_args

import torch
from torch import nn

from narravid import distributed
from narravid.errors import CheckpointError, ConfigError, LogitRangeError
from narravid.training import checkpoint
from narravid.training.best_model import BestModel
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
from narravid.training.curves import draw_curves
from narravid.training.logging import MeanWindow, iterate_log, truncate_log
from narravid.training.network import prepare_network
from narravid.training.optim_config import OptimConfig
from narravid.training.optimisation import Optimisation
from narravid.training.reports import Reports
from narravid.training.run import MODEL_FOLDER, lock_run
from narravid.training.run_progress import RunProgress
from narravid.training.saved_state import (
    Stateful,
    load_parts,
    newest_state,
    restore_own_share,
    shares_of_processes,
)
from narravid.training.step import StepFailedError, TrainingStep
from narravid.training.weight_average import WeightAverage

__all__ = ["Trainer"]


class Trainer(Generic[BatchT]):
    """Trains a task in a run folder.

    Leaves in the folder: `log.jsonl`, `checkpoints/`, `curves.png`, and `model/` when `export` is given: the
    model of the best evaluation, or the last one where nothing evaluates.

    Args:
        task: Module with a `training_step`. Training runs on the device of its weights.
        optim: Optimiser and schedule.
        config: Length of the run, how batches pass through the network, and what to keep.
        data: The batches; under `torchrun` this process's share of them.
        run: The run folder; made when absent.
        evaluation: How to judge the model, if at all.
        export: Writes the model into the folder it is given; must replace what lies there.

    Attributes:
        num_steps: Steps in the whole run.

    Raises:
        ConfigError: If the settings ask for what the task or the device does not have.
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
        if optim.schedule == "plateau" and config.evaluate_every_steps is None:
            config = replace(config, evaluate_every_steps=data.steps_per_epoch)
        self.num_steps = config.num_steps or config.num_epochs * data.steps_per_epoch
        network = cast(nn.Module, task)
        prepare_network(network, config)
        self._task = task
        self._config = config
        self._data = data
        self._run = run
        self._evaluation = evaluation
        self._optimisation = Optimisation(
            network,
            optim,
            num_steps=self.num_steps,
            steps_per_epoch=data.steps_per_epoch,
            evaluation=evaluation if config.evaluate_every_steps else None,
        )
        self._device = next(network.parameters()).device
        self._average = None if config.ema_decay is None else WeightAverage(network, decay=config.ema_decay)
        self._best = BestModel(
            evaluation, export=export, folder=run / MODEL_FOLDER, weights=self._judged_weights
        )
        self._window = MeanWindow()
        self._progress = RunProgress()
        self._met_by_others: list[Mapping[str, Any]] = []
        self._met_by_former: list[Mapping[str, Any]] = []

    def _judged_weights(self) -> AbstractContextManager[None]:
        return nullcontext() if self._average is None else self._average.applied()

    @property
    def step(self) -> int:
        """Steps taken so far."""
        return self._progress.step

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
        self._run.mkdir(parents=True, exist_ok=True)
        is_first = distributed.rank() == 0
        if not resume and is_first and checkpoint.list_checkpoints(self._run):
            raise ConfigError(
                f"{self._run} holds checkpoints of a run: go on with `narravid resume {self._run}`"
                " or choose another folder"
            )
        step = TrainingStep(
            self._task,
            self._optimisation.optimizer,
            config=self._config,
            dtype=dtype,
            max_grad_norm=self._optimisation.max_grad_norm,
        )
        devices = [self._device] if self._device.type == "cuda" else []
        with lock_run(self._run) if is_first else nullcontext(), torch.random.fork_rng(devices):
            torch.manual_seed(seed + distributed.rank())
            if resume:
                self._restore(step)
            resumed_at = self.step
            self._progress.start_clock()
            with Reports(
                self._run,
                self._config.trackers,
                device=self._device,
                steps=range(self.step, self.num_steps),
                resumed_at=self.step if resume else None,
            ) as reports:
                self._loop(step, reports, seed)
            self._finish()
        return self._progress.result(resumed_at=resumed_at)

    def _loop(self, step: TrainingStep[BatchT], reports: Reports, seed: int) -> None:
        if self._config.evaluate_at_start and self._evaluation is not None and self.step == 0:
            self._task.eval()
            with reports.meter.pausing():
                metrics = self._best.measure()
            reports.write({**self._place("evaluation"), **metrics})
        self._task.train()
        with ExitStack() as at_the_end, closing(self._data.stream(self.step)) as batches:
            at_the_end.callback(self._record)
            while self.step < self.num_steps:
                lr = self._optimisation.begin_step(self.step)
                with reports.meter.waiting():
                    batch = next(batches)
                self._window.add(self._train_on(batch, step, seed))
                reports.meter.count(len(batch) * distributed.world_size())
                self._progress.step += 1
                if self._is_due(self._config.log_every_steps):
                    entry = {**self._window.take(), "lr": lr, "seconds": round(self._progress.seconds, 3)}
                    reports.write({**self._place("train"), **entry, **reports.meter.take()})
                reports.advance()
                with reports.meter.pausing():
                    self._keep(step, reports)

    def _train_on(self, batch: BatchT, step: TrainingStep[BatchT], seed: int) -> dict[str, float]:
        begin_step, end_step = (getattr(self._task, name, None) for name in ("begin_step", "end_step"))
        if begin_step is not None:
            begin_step(self.step, seed=seed)
        try:
            numbers = step(batch)
        except (LogitRangeError, StepFailedError) as error:
            path = checkpoint.save_failed_batch(self._run, batch, step=self.step + 1, rank=distributed.rank())
            raise NonFiniteError(
                f"{error} at step {self.step + 1}; the batch is saved in {path}."
                " Try a lower lr, a longer warm-up, max_grad_norm, or dtype float32"
            ) from error
        if end_step is not None:
            end_step()
        if self._average is not None:
            self._average.update()
        return numbers

    def _is_due(self, interval: int | None) -> bool:
        return self.step == self.num_steps or (interval is not None and self.step % interval == 0)

    def _place(self, event: str) -> dict[str, Any]:
        epoch = max(0, self.step - 1) // self._data.steps_per_epoch
        return {"event": event, "step": self.step, "epoch": epoch}

    def _keep(self, step: TrainingStep[BatchT], reports: Reports) -> None:
        """Evaluate and save where this step is due for it; a new best model is always saved."""
        improved = self._is_due(self._config.evaluate_every_steps) and self._evaluate(reports)
        if not improved and not self._is_due(self._config.checkpoint_every_steps):
            return
        shares = shares_of_processes(self._data.record)
        if distributed.rank() == 0:
            shares["data"] += self._met_by_former
            self._met_by_others = [met for met in shares["data"][1:] if met is not None]
            self._record()
            checkpoint.save_checkpoint(self._run, {**self._state(step), **shares})
            checkpoint.prune_checkpoints(
                self._run,
                step=self.step,
                keep_last=self._config.keep_checkpoints,
                best_step=self._progress.best_step,
            )

    def _record(self) -> None:
        if self._data.record is not None and distributed.rank() == 0:
            self._data.record.write(self._met_by_others)

    def _evaluate(self, reports: Reports) -> bool:
        """Measure, log, and export when the model is the best so far; says whether it is."""
        if self._evaluation is None:
            return False
        self._task.eval()
        metrics = self._best.measure()
        reports.write({**self._place("evaluation"), **metrics})
        value = self._best.judge(metrics, self._progress)
        self._task.train()
        if value is not None:
            self._optimisation.note_evaluation(value)
        return self._progress.best_step == self.step

    def _finish(self) -> None:
        self._task.eval()
        if self._progress.best_step is None:
            self._best.export()
        if distributed.rank() == 0:
            draw_curves(iterate_log(self._run), self._run / "curves.png")

    def _parts(self, step: TrainingStep[BatchT]) -> dict[str, Stateful]:
        parts: dict[str, Stateful] = {
            "model": cast(nn.Module, self._task),
            "optimisation": self._optimisation,
            "scaler": step.scaler,
            "window": self._window,
        }
        return parts if self._average is None else {**parts, "average": self._average}

    def _state(self, step: TrainingStep[BatchT]) -> dict[str, Any]:
        epoch, batch = divmod(self.step, self._data.steps_per_epoch)
        return {
            **{name: part.state_dict() for name, part in self._parts(step).items()},
            "schedule": self._optimisation.settings(),
            "step": self.step,
            "epoch": epoch,
            "batch": batch,
            "progress": self._progress.state_dict(),
        }

    def _restore(self, step: TrainingStep[BatchT]) -> None:
        """Go back to the newest checkpoint and forget what was logged after it."""
        state = newest_state(self._run)
        if distributed.rank() == 0:
            truncate_log(self._run, -1 if state is None else state["step"])
        if state is None:
            return
        path = checkpoint.checkpoint_path(self._run, state["step"])
        now = self._optimisation.settings()
        if state["schedule"] != now:
            raise CheckpointError(
                path, f"made for another schedule: {state['schedule']}, the run now says {now}"
            )
        load_parts(self._parts(step), state, path)
        self._progress.load_state_dict(state["progress"], step=state["step"])
        self._met_by_others, self._met_by_former = restore_own_share(state, self._data.record)
