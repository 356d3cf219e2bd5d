from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from narravid.training.optim_config import OptimConfig
from narravid.training.schedules import PlateauState, learning_rate_at, num_warmup_steps


@given(
    num_steps=st.integers(2, 500),
    share=st.floats(0, 1),
    warmup=st.integers(0, 100),
    lr=st.floats(1e-6, 10),
)
def test_schedule_rises_to_lr_and_never_leaves_its_bounds(num_steps, share, warmup, lr):
    warmup = min(warmup, num_steps - 1)
    config = OptimConfig(lr=lr, final_lr_share=share, warmup_steps=warmup)
    rates = [learning_rate_at(config, step, num_steps=num_steps) for step in range(num_steps)]
    assert all(0 <= rate <= lr * (1 + 1e-12) for rate in rates)
    assert rates[:warmup] == sorted(rates[:warmup])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
    assert rates[max(warmup - 1, 0)] == pytest.approx(lr)


def test_cosine_agrees_with_pytorchs_scheduler():
    config = OptimConfig(name="sgd", lr=0.5, warmup_steps=0, final_lr_share=0.2)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20, eta_min=0.1)
    for step in range(20):
        assert learning_rate_at(config, step, num_steps=20) == pytest.approx(reference.get_last_lr()[0])
        optimizer.step()
        reference.step()


def test_constant_schedule_stays_at_lr_after_the_warm_up():
    config = OptimConfig(lr=2.0, schedule="constant", warmup_steps=4)
    rates = [learning_rate_at(config, step, num_steps=8) for step in range(8)]
    assert rates == [0.5, 1.0, 1.5, 2.0, 2.0, 2.0, 2.0, 2.0]


def test_automatic_warm_up_is_a_tenth_of_the_run_up_to_ten_thousand_steps():
    assert num_warmup_steps(OptimConfig(), 5) == 0
    assert num_warmup_steps(OptimConfig(), 1000) == 100
    assert num_warmup_steps(OptimConfig(), 350_000) == 10_000


def test_a_warm_up_as_long_as_the_run_is_refused():
    with pytest.raises(ValueError, match="warmup_steps is 30 but the run has only 30 steps"):
        num_warmup_steps(OptimConfig(warmup_steps=30), 30)


def reference_rates(make, num_epochs):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
    scheduler = make(optimizer)
    rates = []
    for _ in range(num_epochs):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return rates


def test_step_falls_with_its_epochs_as_pytorchs_scheduler_does():
    config = OptimConfig(lr=0.5, schedule="step", milestones=(2, 3, 5), factor=0.2, warmup_steps=0)
    expected = reference_rates(
        lambda optimizer: torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 3, 5], gamma=0.2), 7
    )
    for step in range(28):
        lr = learning_rate_at(config, step, num_steps=28, steps_per_epoch=4)
        assert lr == pytest.approx(expected[step // 4])


def test_exponential_falls_with_each_epoch_as_pytorchs_scheduler_does():
    config = OptimConfig(lr=0.5, schedule="exponential", factor=0.9, warmup_steps=0)
    expected = reference_rates(lambda optimizer: torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9), 5)
    for step in range(15):
        lr = learning_rate_at(config, step, num_steps=15, steps_per_epoch=3)
        assert lr == pytest.approx(expected[step // 3])


@pytest.mark.parametrize("schedule", ["step", "exponential", "plateau"])
def test_a_fall_within_the_warm_up_takes_effect_at_its_end_and_the_floor_holds(schedule):
    config = OptimConfig(
        lr=1.0, schedule=schedule, milestones=(1, 2, 3), factor=0.5, min_lr_share=0.2, warmup_steps=4
    )
    rates = [
        learning_rate_at(config, step, num_steps=12, steps_per_epoch=3, num_plateaus=step // 3)
        for step in range(12)
    ]
    # Epoch 1 (steps 3 to 5) halves the rate, epoch 2 quarters it, and an eighth lies below the floor.
    assert rates == [0.25, 0.5, 0.75, 1.0, 0.5, 0.5, 0.25, 0.25, 0.25, 0.2, 0.2, 0.2]


@pytest.mark.parametrize("schedule", ["step", "exponential"])
def test_schedules_that_go_by_epochs_ask_for_their_length(schedule):
    config = OptimConfig(schedule=schedule, milestones=(1,), warmup_steps=0)
    with pytest.raises(ValueError, match=f"schedule '{schedule}' goes by epochs: give steps_per_epoch"):
        learning_rate_at(config, 0, num_steps=5)


@given(
    values=st.lists(st.one_of(st.integers(0, 6).map(float), st.just(math.nan)), max_size=40),
    patience=st.integers(0, 4),
    better=st.sampled_from(["higher", "lower"]),
)
def test_plateaus_are_counted_as_pytorchs_scheduler_counts_them(values, patience, better):
    config = OptimConfig(
        lr=0.5, schedule="plateau", factor=0.5, patience=patience, min_lr_share=0.1, warmup_steps=0
    )
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer,
        mode="max" if better == "higher" else "min",
        factor=0.5,
        patience=patience,
        threshold=0.0,
        min_lr=0.05,
    )
    state = PlateauState(patience=patience, better=better)
    for value in values:
        # A checkpoint between any two evaluations changes nothing.
        kept, state = state.state_dict(), PlateauState(patience=patience, better=better)
        state.load_state_dict(kept)
        before = state.num_plateaus
        assert state.update(value) == (state.num_plateaus > before)
        reference.step(value)
        lr = learning_rate_at(config, 3, num_steps=10, num_plateaus=state.num_plateaus)
        assert lr == pytest.approx(optimizer.param_groups[0]["lr"])


def test_the_state_of_plateaus_is_plain_numbers_and_a_negative_patience_is_refused():
    state = PlateauState(patience=1, better="lower")
    assert [state.update(value) for value in (3.0, 3.0, 4.0, 2.0, 2.0)] == [False, False, True, False, False]
    assert state.state_dict() == {"best": -2.0, "num_without_best": 1, "num_plateaus": 1}
    with pytest.raises(ValueError, match="patience must be 0 or more, got -1"):
        PlateauState(patience=-1, better="lower")
