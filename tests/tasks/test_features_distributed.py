"""Tasks on features: two processes with uneven shares equal one process with the whole batch."""

from __future__ import annotations

import pytest
import torch

from processes import run_in_processes
from tasks import feature_jobs

OBJECTIVES = ("ranking", "mil-nce", "stage 1", "stage 2", "head")

pytestmark = pytest.mark.slow  # tests/training/test_gradients_over_processes.py is the quick one


@pytest.fixture(scope="module")
def shares(tmp_path_factory):
    return run_in_processes(feature_jobs.run_own_share, tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def whole():
    return feature_jobs.run_share(slice(0, 6))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_two_processes_give_the_gradients_of_one(shares, whole, objective):
    expected = whole[objective]
    assert "loss" in expected
    gradients = [name for name in expected if name.startswith("gradient")]
    assert len(gradients) > 5
    assert sum(bool((expected[name] != 0).any()) for name in gradients) > 5
    for share in shares:
        assert share[objective].keys() == expected.keys()
        for name, value in expected.items():
            difference = (share[objective][name] - value).norm()
            assert difference <= 1e-9 * max(float(value.norm()), 1e-9), name


def test_embedding_piece_by_piece_gives_the_same_gradients(whole):
    task, batch = feature_jobs.alignment_task(), feature_jobs.window_batch(slice(0, 6))
    task.begin_step(11, seed=3)
    pieces = [task.embed(piece) for piece in batch.split(2)]
    joined = tuple(torch.cat(parts) for parts in zip(*pieces, strict=True))
    task.objective(joined, batch)["loss"].backward()
    for name, parameter in task.named_parameters():
        if parameter.grad is not None:
            expected = whole["stage 1"][f"gradient {name}"]
            assert (parameter.grad - expected).norm() <= 1e-9 * max(float(expected.norm()), 1e-9), name
