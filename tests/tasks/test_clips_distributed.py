"""CPD's tasks: two processes with shares of unequal size equal one process with the whole batch."""

from __future__ import annotations

import pytest
import torch

from processes import run_in_processes
from tasks import clip_jobs

pytestmark = pytest.mark.slow  # tests/training/test_gradients_over_processes.py is the quick one


@pytest.fixture(scope="module")
def shares(tmp_path_factory):
    return run_in_processes(clip_jobs.run_own_share, tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def whole():
    return clip_jobs.run_share(clip_jobs.WHOLE)


@pytest.mark.parametrize("name", ["instance", "classification", "frozen"])
def test_two_processes_give_the_gradients_and_the_state_of_one(shares, whole, name):
    expected = whole[name]
    gradients = [key for key in expected if key.startswith("gradient")]
    assert sum(bool((expected[key] != 0).any()) for key in gradients) >= (6 if name == "frozen" else 60)
    assert all(expected[key].dtype == torch.float64 for key in gradients)
    for share in shares:
        assert share[name].keys() == expected.keys()
        for key, value in expected.items():
            difference = (share[name][key].double() - value.double()).norm()
            assert difference <= 1e-9 * max(float(value.double().norm()), 1e-9), key


def test_all_processes_hold_one_memory(shares):
    first, second = (share["instance"] for share in shares)
    names = [name for name in first if "bank" in name]
    assert len(names) == 4
    assert all(torch.equal(first[name], second[name]) for name in names)
