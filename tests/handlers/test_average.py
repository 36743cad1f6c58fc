import copy

import pytest
import torch

from dckd_ext.handlers import WeightAverage, average_of


def test_matches_a_plain_loop():
    torch.manual_seed(0)
    network = torch.nn.Linear(3, 2)
    average = average_of(network, decay=0.9)
    handler = WeightAverage(average, network)
    expected = None
    for step in range(30):
        with torch.no_grad():
            network.weight.add_(torch.randn_like(network.weight))
        handler(None)
        if expected is None:
            expected = network.weight.detach().double().clone()
        else:
            decay = min(0.9, (1 + step) / (10 + step))
            expected = decay * expected + (1 - decay) * network.weight.detach().double()
    torch.testing.assert_close(average.module.weight.double(), expected, rtol=1e-5, atol=1e-6)


def test_continues_from_its_state_dict():
    network = torch.nn.Linear(2, 2)
    first = average_of(network)
    for _ in range(3):
        first.update_parameters(network)
    second = average_of(copy.deepcopy(network))
    second.load_state_dict(first.state_dict())
    with torch.no_grad():
        network.weight.add_(1)
    first.update_parameters(network)
    second.update_parameters(network)
    torch.testing.assert_close(second.module.weight, first.module.weight, rtol=0, atol=0)


def test_refuses_a_decay_of_one():
    with pytest.raises(ValueError, match=r"\[0, 1\), found 1"):
        average_of(torch.nn.Linear(1, 1), decay=1)
