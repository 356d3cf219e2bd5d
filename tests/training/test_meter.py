from __future__ import annotations

import mmap
from pathlib import Path

import pytest
import torch

from narravid.training.meter import StepMeter, memory_in_use, progress_note


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def fail_within(block, clock, seconds):
    with block:
        clock.now += seconds
        raise KeyError


def figures_without_memory(meter):
    figures = meter.take()
    figures.pop("memory_gib", None)
    return figures


def test_rates_and_the_share_of_waiting_are_of_the_window_since_the_last_look():
    clock = Clock()
    meter = StepMeter(clock=clock)
    for _ in range(3):
        with meter.waiting():
            clock.now += 0.5
        clock.now += 1.5
        meter.count(8)
    # 3 steps of 8 items in 3 * 2 seconds, of which 3 * 0.5 were waited.
    assert figures_without_memory(meter) == {
        "steps_per_second": 0.5,
        "clips_per_second": 4.0,
        "data_wait_share": 0.25,
    }
    clock.now += 4.0
    meter.count(2)
    assert figures_without_memory(meter) == {
        "steps_per_second": 0.25,
        "clips_per_second": 0.5,
        "data_wait_share": 0.0,
    }


def test_a_pause_counts_for_nothing_and_blocks_that_fail_are_counted():
    clock = Clock()
    meter = StepMeter(clock=clock)
    with pytest.raises(KeyError):
        fail_within(meter.pausing(), clock, 50.0)
    with pytest.raises(KeyError):
        fail_within(meter.waiting(), clock, 1.0)
    clock.now += 3.0
    meter.count(8)
    assert figures_without_memory(meter)["clips_per_second"] == 2.0
    clock.now += 1.0
    assert figures_without_memory(meter) == {
        "steps_per_second": 0.0,
        "clips_per_second": 0.0,
        "data_wait_share": 0.0,
    }


def test_a_window_without_time_gives_finite_figures():
    meter = StepMeter(clock=Clock())
    figures = meter.take()
    assert figures["clips_per_second"] == 0.0
    assert figures["data_wait_share"] == 0.0


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads from /proc what is held")
def test_memory_is_what_the_process_holds():
    before = memory_in_use(torch.device("cpu"))
    # Pages of its own: a tensor may be given memory that the process freed earlier and still holds.
    with mmap.mmap(-1, 64 * 2**20) as held:
        for start in range(0, len(held), mmap.PAGESIZE):
            held[start] = 1
        after = memory_in_use(torch.device("cpu"))
        assert 56 * 2**20 < after - before < 80 * 2**20
        assert StepMeter().take()["memory_gib"] == pytest.approx(after / 2**30, abs=0.02)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda_memory_is_the_largest_that_was_allocated():
    held = torch.ones(16 * 2**20, device="cuda")
    del held
    assert memory_in_use(torch.device("cuda")) >= 64 * 2**20


def test_the_note_shows_what_is_there():
    entry = {
        "loss": 1.234567,
        "lr": 0.1,
        "clips_per_second": 12.345,
        "data_wait_share": 0.044,
        "memory_gib": 2.06,
    }
    assert progress_note(entry) == "loss 1.235, 12.3 clips/s, data 4 %, 2.1 GiB"
    assert (
        progress_note({"clips_per_second": 12345.6, "data_wait_share": 1.0}) == "12,346 clips/s, data 100 %"
    )
    assert progress_note({"loss": None}) == ""
