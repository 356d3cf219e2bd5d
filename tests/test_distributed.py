"""Two gloo processes equal one process, to the last gradient."""

import pytest
import torch

import distributed_jobs
from narravid import distributed
from processes import run_in_processes


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return run_in_processes(distributed_jobs.run_all, tmp_path_factory.mktemp("results"))


def test_each_process_knows_its_place(results):
    assert [(r["rank"], r["world_size"], r["initialised"]) for r in results] == [(0, 2, True), (1, 2, True)]


def test_gathering_joins_by_rank(results):
    first = torch.arange(6, dtype=torch.float64).view(3, 2).T
    for result in results:
        assert torch.equal(result["gathered"], torch.cat([first, first + 10]))


def test_gradient_of_a_common_loss_is_world_size_times_that_of_one_process(results):
    first = torch.arange(6, dtype=torch.float64).view(3, 2).T
    whole = torch.cat([first, first + 10]).requires_grad_()
    distributed_jobs.weighted_square(whole).backward()
    for result, expected in zip(results, whole.grad.split(2), strict=True):
        assert torch.equal(result["gathered_gradient"], 2 * expected)


def test_gradients_of_all_processes_are_summed(results):
    for result in results:
        assert torch.equal(result["summed_gradient"], torch.full((2, 3), 3.0, dtype=torch.float64))


def test_unequal_shapes_are_refused_on_every_process(results):
    for result in results:
        assert result["shape_error"] == (
            "every process must bring a tensor of one shape after the first axis, got [(2, 4), (2, 5)]"
        )


def test_a_second_group_is_refused(results):
    for result in results:
        assert "joined a process group already" in result["second_init_error"]


def test_gradients_are_averaged_and_an_absent_one_counts_as_zero(results):
    for result in results:
        assert [gradient.tolist() for gradient in result["averaged"]] == [[1.5, 7.5], [2.0, 4.0]]
        assert result["untouched"]


def test_a_training_step_equals_one_process_with_the_global_batch(results):
    # float64, so that nothing but the order of a few sums can differ.
    whole = distributed_jobs.train_once(
        distributed_jobs.make_batch(0, 2 * distributed_jobs.CLIPS_PER_PROCESS)
    )
    assert {"loss", "positive_share", "logit_scale", "model.log_scale", "model.color.weight"} <= whole.keys()
    assert all(bool((whole[name] != 0).any()) for name in whole if name.startswith("model."))
    for result in results:
        assert result["task"].keys() == whole.keys()
        for name, value in whole.items():
            torch.testing.assert_close(result["task"][name], value, rtol=1e-12, atol=1e-14, msg=name)


def test_alone_everything_is_the_identity(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert not distributed.init_from_torchrun("cpu")
    assert (distributed.rank(), distributed.world_size(), distributed.is_initialised()) == (0, 1, False)
    distributed.barrier()
    tensor = torch.ones(2, 3, requires_grad=True)
    assert distributed.gather_with_gradient(tensor) is tensor
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.grad = torch.tensor([1.0, 2.0])
    distributed.average_gradients([parameter])
    assert parameter.grad.tolist() == [1, 2]
    distributed.shutdown()
