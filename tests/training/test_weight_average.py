from __future__ import annotations

import io

import pytest
import torch
from torch import nn

from narravid.training.weight_average import WeightAverage


def make_net():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    net[2].bias.requires_grad_(False)
    return net


def change(net, step):
    """Other weights, and other statistics of the batch normalisation."""
    generator = torch.Generator().manual_seed(step)
    with torch.no_grad():
        for tensor in (*net.parameters(), net[1].running_mean, net[1].running_var):
            tensor.add_(torch.randn(tensor.shape, generator=generator).abs())
    net[1].num_batches_tracked += 1


def snapshot(net):
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def fail_within(average, net, own):
    with average.applied():
        assert not torch.equal(net[0].weight, own["0.weight"])
        net[0].weight.data.zero_()
        raise KeyError


def test_the_average_follows_the_formula_with_its_warm_up():
    net = make_net()
    average = WeightAverage(net, decay=0.3)
    expected = {name: tensor.double() for name, tensor in snapshot(net).items()}
    # (1 + n) / (10 + n) is 0.1, 2/11, 0.25 for n = 0, 1, 2; from n = 3 on it is above 0.3.
    for step, decay in enumerate([0.1, 2 / 11, 0.25, 0.3, 0.3]):
        change(net, step)
        average.update()
        for name, tensor in net.state_dict().items():
            expected[name] = decay * expected[name] + (1 - decay) * tensor
    own = snapshot(net)
    with average.applied():
        inside = snapshot(net)
    for name in own:
        if name in ("2.bias", "1.num_batches_tracked"):
            assert torch.equal(inside[name], own[name]), "frozen weights and counts stay"
        else:
            torch.testing.assert_close(inside[name].double(), expected[name], rtol=1e-5, atol=1e-6)
            assert not torch.equal(inside[name], own[name])


def test_the_own_weights_come_back_bit_for_bit_also_after_an_error():
    net = make_net()
    average = WeightAverage(net, decay=0.9)
    change(net, 1)
    average.update()
    own = snapshot(net)
    with pytest.raises(KeyError):
        fail_within(average, net, own)
    assert all(torch.equal(tensor, own[name]) for name, tensor in net.state_dict().items())
    with average.applied():
        first = snapshot(net)
    with average.applied():
        assert all(torch.equal(tensor, first[name]) for name, tensor in net.state_dict().items())


def test_applying_counts_as_a_change_of_the_weights_and_keeps_the_tensors():
    net = make_net()
    average = WeightAverage(net, decay=0.9)
    pointer, version = net[0].weight.data_ptr(), net[0].weight._version
    with average.applied():
        assert net[0].weight._version > version
        assert net[0].weight.data_ptr() == pointer
        assert net[0].weight.requires_grad


def test_while_it_is_applied_it_can_be_neither_updated_nor_applied_again():
    net = make_net()
    average = WeightAverage(net, decay=0.9)
    with average.applied():
        with pytest.raises(RuntimeError, match="averaged weights are in the module now"):
            average.update()
        with pytest.raises(RuntimeError, match="in the module already"), average.applied():
            pass
    average.update()


def test_a_kept_state_goes_on_bit_for_bit():
    whole, cut = make_net(), make_net()
    averages = {"whole": WeightAverage(whole, decay=0.5), "cut": WeightAverage(cut, decay=0.5)}
    for step in range(3):
        change(whole, step)
        change(cut, step)
        averages["whole"].update()
        averages["cut"].update()
    file = io.BytesIO()
    torch.save({"net": cut.state_dict(), "average": averages["cut"].state_dict()}, file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    resumed = make_net()
    resumed.load_state_dict(state["net"])
    average = WeightAverage(resumed, decay=0.5)
    average.load_state_dict(state["average"])
    for net, own in ((whole, averages["whole"]), (resumed, average)):
        change(net, 9)
        own.update()
    with averages["whole"].applied(), average.applied():
        for left, right in zip(whole.parameters(), resumed.parameters(), strict=True):
            assert torch.equal(left, right)


def test_states_of_other_models_and_settings_out_of_range_are_refused():
    state = WeightAverage(nn.Linear(3, 4), decay=0.9).state_dict()
    with pytest.raises(ValueError, match="of another model: bias, weight"):
        WeightAverage(nn.Linear(3, 5), decay=0.9).load_state_dict(state)
    with pytest.raises(ValueError, match="of another model: bias"):
        WeightAverage(nn.Linear(3, 4, bias=False), decay=0.9).load_state_dict(state)
    for decay in (0.0, 1.0, -0.5):
        with pytest.raises(ValueError, match="decay must lie between 0 and 1"):
            WeightAverage(nn.Linear(3, 4), decay=decay)
    with pytest.raises(ValueError, match="every parameter is frozen"):
        WeightAverage(nn.Linear(3, 4).requires_grad_(False), decay=0.5)
