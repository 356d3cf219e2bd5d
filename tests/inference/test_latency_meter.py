"""How long calls take: totals over all, quantiles over the last ones, nothing before the first."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from narravid.inference.latency_meter import NUM_RECENT, LatencyMeter


def test_sums_means_and_quantiles():
    meter = LatencyMeter()
    for milliseconds in range(1, 102):
        meter.record(milliseconds / 1000, episodes=2, frames=64)
    assert (meter.calls, meter.episodes, meter.frames) == (101, 202, 6464)
    assert meter.seconds == pytest.approx(5.151)
    assert meter.mean_seconds == pytest.approx(0.051)
    assert meter.median_seconds == pytest.approx(0.051)
    assert meter.percentile_95_seconds == pytest.approx(0.096)
    assert meter.frames_per_second == pytest.approx(6464 / 5.151)
    assert str(meter) == ("101 calls of 2 episodes: median 51 ms, 95 % within 96 ms; 1255 frames per second")


def test_nothing_is_known_before_the_first_call_and_after_clearing():
    meter = LatencyMeter()
    meter.record(1.0, episodes=1, frames=4)
    meter.clear()
    assert (meter.calls, meter.mean_seconds, meter.median_seconds, meter.frames_per_second) == (0, 0, 0, 0)
    assert str(meter) == "no calls yet"


def test_single_times_are_kept_of_the_last_calls_only():
    meter = LatencyMeter()
    for seconds in [9.0] * NUM_RECENT + [1.0] * NUM_RECENT:
        meter.record(seconds, episodes=1, frames=1)
    assert meter.median_seconds == meter.percentile_95_seconds == 1.0
    assert meter.mean_seconds == pytest.approx(5.0)


def test_calls_of_several_threads_all_count():
    meter = LatencyMeter()

    def record(_: int) -> float:
        for _ in range(200):
            meter.record(0.5, episodes=2, frames=8)
        return meter.median_seconds

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(record, range(8))) == [0.5] * 8
    assert (meter.calls, meter.episodes, meter.frames, meter.seconds) == (1600, 3200, 12800, 800.0)
