"""Gradients of a batch that passes through the network in pieces, against those of the whole batch."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from narravid.losses import InfoNCELoss
from narravid.models.frozen_batch_norm import freeze_batch_norm
from narravid.tasks.task import Task
from narravid.training.cached_gradients import cached_backward
from narravid.training.config import TrainerConfig
from narravid.training.step import StepFailedError, TrainingStep

NUM_ITEMS = 10


class PairTask(Task[torch.Tensor]):
    """Both halves of a vector through a network each, with a learned scale in the objective."""

    def __init__(self, *, dropout: float = 0.0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.left, self.right = (
                nn.Sequential(
                    nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 5)
                )
                for _ in range(2)
            )
            self.right[1].running_mean.uniform_(-1, 1)
        self.log_scale = nn.Parameter(torch.tensor(0.5))
        self.double()
        self.num_embedded: list[int] = []

    def embed(self, batch):
        self.num_embedded.append(len(batch))
        return self.left(batch[:, :3]), self.right(batch[:, 3:])

    def objective(self, embeddings, batch):
        left, right = (nn.functional.normalize(side, dim=1) for side in embeddings)
        loss = InfoNCELoss(temperature=0.3)(left * self.log_scale.exp(), right)
        return {"loss": loss, "largest": batch.max()}


@pytest.fixture
def batch():
    return torch.randn(NUM_ITEMS, 6, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def step_on(task, batch, **config):
    optimizer = torch.optim.SGD(task.parameters(), lr=0.0)
    config = TrainerConfig(**config)
    return TrainingStep(task, optimizer, config=config, dtype="float32", max_grad_norm=None)(batch)


def gradients(task):
    return torch.cat([parameter.grad.flatten() for parameter in task.parameters()])


@pytest.mark.parametrize("size", [1, 3, 4, 10, 64])
def test_pieces_of_any_size_give_the_gradient_of_the_whole(batch, size):
    whole, pieces = PairTask(), PairTask()
    freeze_batch_norm(whole)
    freeze_batch_norm(pieces)
    expected = step_on(whole, batch)
    got = step_on(pieces, batch, micro_batch_size=size)
    assert got == pytest.approx(expected, rel=1e-6)
    difference = (gradients(pieces) - gradients(whole)).norm() / gradients(whole).norm()
    assert float(difference) < 1e-12
    assert max(pieces.num_embedded) <= size
    assert sum(pieces.num_embedded) == 2 * NUM_ITEMS


def test_accumulated_pieces_give_the_mean_of_their_own_gradients(batch):
    task = PairTask()
    freeze_batch_norm(task)
    expected, loss = 0, 0.0
    for piece in batch.split(4):
        numbers = step_on(task, piece)
        expected = expected + gradients(task) * len(piece) / NUM_ITEMS
        loss += numbers["loss"] * len(piece) / NUM_ITEMS
    numbers = step_on(task, batch, micro_batch_size=4, micro_batches="accumulated")
    assert numbers["loss"] == pytest.approx(loss, rel=1e-6)
    torch.testing.assert_close(gradients(task), expected)


def test_each_piece_counts_once_in_the_running_statistics(batch):
    cached, by_hand = PairTask(), PairTask()
    step_on(cached, batch, micro_batch_size=5)
    with torch.no_grad():
        for piece in batch.split(5):
            by_hand.embed(piece)
    for got, expected in zip(cached.buffers(), by_hand.buffers(), strict=True):
        assert torch.equal(got, expected)


def test_a_piece_drops_the_same_units_both_times_and_the_generator_goes_on_as_after_one_pass(batch):
    """With equal draws the gradient is that of a function: it must equal its finite differences."""
    task = PairTask(dropout=0.5)
    freeze_batch_norm(task)
    torch.manual_seed(9)
    step_on(task, batch, micro_batch_size=3)
    after = torch.rand(4)
    slope = float(task.left[0].weight.grad[2, 1])
    losses = []
    with torch.no_grad():
        for change in (1e-5, -1e-5):
            task.left[0].weight[2, 1] += change
            torch.manual_seed(9)
            parts = [task.embed(piece) for piece in batch.split(3)]
            joined = tuple(torch.cat(column) for column in zip(*parts, strict=True))
            losses.append(float(task.objective(joined, batch)["loss"]))
            assert torch.equal(torch.rand(4), after)
            task.left[0].weight[2, 1] -= change
    assert slope == pytest.approx((losses[0] - losses[1]) / 2e-5, rel=1e-5)


def test_what_takes_no_gradient_is_left_alone(batch):
    task = PairTask()
    task.right.requires_grad_(False)
    step = cached_backward(
        task,
        batch.split(4),
        embed=task.embed,
        objective=lambda embeddings: task.objective(embeddings, batch),
        backward=lambda loss: loss.backward(),
    )
    assert step["loss"].isfinite()
    assert all(parameter.grad is None for parameter in task.right.parameters())
    assert all(parameter.grad is not None for parameter in task.left.parameters())


class StepOnly(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def training_step(self, batch):
        return {"loss": (self.weight * batch).exp().mean()}


def test_a_task_without_halves_can_be_accumulated_but_not_cached():
    with pytest.raises(ValueError, match="StepOnly has no embed and objective.*micro_batches to accumulated"):
        step_on(StepOnly(), torch.ones(4, 1), micro_batch_size=2)
    task = StepOnly()
    step_on(task, torch.ones(4, 1), micro_batch_size=2, micro_batches="accumulated")
    assert float(task.weight.grad) == pytest.approx(1.0)


def test_a_task_without_halves_cannot_be_compiled():
    with pytest.raises(ValueError, match="StepOnly has no embed and objective, and embed is what compile"):
        step_on(StepOnly(), torch.ones(4, 1), compile=True)


class WithPenalty(PairTask):
    def training_step(self, batch):
        values = super().training_step(batch)
        return {**values, "loss": values["loss"] + 3 * self.log_scale}


def test_a_step_of_its_own_is_what_a_task_is_trained_on(batch):
    plain, penalised = PairTask(), WithPenalty()
    step_on(plain, batch)
    step_on(penalised, batch)
    assert float(penalised.log_scale.grad - plain.log_scale.grad) == pytest.approx(3.0)


def half_precision_step(task, **config):
    optimizer = torch.optim.SGD(task.parameters(), lr=0.1)
    return TrainingStep(task, optimizer, config=TrainerConfig(**config), dtype="float16", max_grad_norm=None)


def test_float16_leaves_out_a_step_that_overflows_and_goes_on_with_a_smaller_scale():
    task = StepOnly()
    step = half_precision_step(task)
    scale = step.scaler.get_scale()
    numbers = step(torch.full((4, 1), 3e38 / scale * 2))
    assert "grad_norm" not in numbers
    assert numbers["skipped_steps"] == 1
    assert float(task.weight.detach()) == 0
    assert step.scaler.get_scale() == scale / 2
    numbers = step(torch.ones(4, 1))
    assert numbers["grad_norm"] == pytest.approx(1.0)
    assert float(task.weight.detach()) == pytest.approx(-0.1)


class Cliff(StepOnly):
    def training_step(self, batch):
        return {"loss": self.weight.abs().sqrt().sum()}


def test_float16_gives_up_where_no_scale_helps():
    step = half_precision_step(Cliff())
    num_scales = int(math.log2(step.scaler.get_scale()))
    for _ in range(num_scales):
        assert step(torch.ones(1, 1))["skipped_steps"] == 1
    with pytest.raises(StepFailedError, match="the norm of the gradient is nan"):
        step(torch.ones(1, 1))
