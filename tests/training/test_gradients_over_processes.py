"""Two and four processes, and cached micro-batches, give the gradient of one process, for all objectives."""

from __future__ import annotations

import pytest
import torch

from processes import run_in_processes
from training import gradient_jobs

LARGEST_DIFFERENCE = 1e-9
NAMES = list(gradient_jobs.CASES)


@pytest.fixture(scope="module")
def one():
    return {
        name: gradient_jobs.gradient_of(case, micro_batch_size=None)
        for name, case in gradient_jobs.CASES.items()
    }


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.slow)])
def many(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(f"processes{request.param}")
    return run_in_processes(gradient_jobs.run_all, folder, num_processes=request.param)


def joined(result):
    return torch.cat([tensor.flatten() for name, tensor in result.items() if name.startswith("gradient")])


def check(result, expected):
    assert result.keys() == expected.keys()
    assert float(result["loss"]) == pytest.approx(float(expected["loss"]), rel=1e-6)
    reference = joined(expected)
    assert float(reference.norm()) > 0
    assert float((joined(result) - reference).norm() / reference.norm()) <= LARGEST_DIFFERENCE
    for name, tensor in expected.items():
        if name.startswith("state"):
            torch.testing.assert_close(result[name], tensor, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("size", [None, gradient_jobs.MICRO_BATCH_SIZE])
@pytest.mark.parametrize("name", NAMES)
def test_every_process_has_the_gradient_of_one(one, many, name, size):
    for result in many:
        check(result[f"{name}, micro-batches of {size}"], one[name])


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("name", NAMES)
def test_cached_micro_batches_give_the_gradient_of_the_batch(one, name, size):
    check(gradient_jobs.gradient_of(gradient_jobs.CASES[name], micro_batch_size=size), one[name])


def test_pieces_that_meet_those_of_other_processes_must_be_as_many(many):
    """Otherwise a process would wait for ever."""
    for result in many:
        assert len(result["refusals"]) == 2
        assert all("micro-batches, which must be equal" in said for said in result["refusals"])
