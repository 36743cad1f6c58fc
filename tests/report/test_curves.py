import numpy as np
import pytest
from matplotlib.figure import Figure

from dckd_ext.report.curves import _draw_panel


@pytest.mark.parametrize("steps", [[4], [1, 2, 3], [2, 900]])
def test_steps_and_epochs_are_whole_numbers(steps: list[int]):
    panel = Figure().add_subplot()
    values = np.linspace(0.2, 0.8, len(steps))
    _draw_panel(panel, "val_mean_dice", {"run": {"val_mean_dice": (np.array(steps), values)}})
    assert len(panel.get_xticks()) > 0
    assert not [tick for tick in panel.get_xticks() if tick != round(tick)]
