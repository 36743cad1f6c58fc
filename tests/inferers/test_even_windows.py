import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from dckd_ext.inferers import EvenWindowInferer
from dckd_ext.inferers.even_windows import window_starts
from tests.nnunet.folders import PATCH, windowed


def network(windows: torch.Tensor) -> torch.Tensor:
    """Depends on the place in the window."""
    ramp = torch.linspace(0, 1, windows.shape[-1])
    return torch.cat([windows * ramp, windows.flip(2)], 1)


@pytest.mark.parametrize("size", [(8, 12, 12), (5, 9, 30), (19, 13, 17)])
@pytest.mark.parametrize("batch", [1, 3])
def test_as_plain_loops(size: tuple[int, int, int], batch: int):
    data = np.random.default_rng(0).normal(size=(1, *size)).astype(np.float32)
    inferer = EvenWindowInferer(PATCH, sw_batch_size=batch)
    found = inferer(MetaTensor(torch.from_numpy(data)[None]), network)
    assert isinstance(found, MetaTensor)
    np.testing.assert_allclose(found[0].numpy(), windowed(data, network), atol=1e-3)


def test_a_network_of_several_maps():
    volume = torch.randn(2, 1, 9, 14, 13)
    both = EvenWindowInferer(PATCH)(volume, lambda windows: (network(windows), 2 * windows))
    torch.testing.assert_close(both[0], EvenWindowInferer(PATCH)(volume, network))
    torch.testing.assert_close(both[1], 2 * volume)


def test_steps_are_even():
    assert window_starts(110, 64, 0.5) == [0, 23, 46]  # nnU-Net's own example
    assert window_starts(64, 64, 0.5) == [0]
    with pytest.raises(ValueError, match="step must be above 0 and at most 1, found 0"):
        EvenWindowInferer([8, 8, 8], step=0)
