"""What a volume takes is said once a volume, and the windows are those that MONAI slides."""

import logging
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator
from monai.inferers import SimpleInferer, SlidingWindowInferer, sliding_window_inference

from dckd_ext.engines import run_each_case
from dckd_ext.engines.windows import windows_of
from dckd_ext.inferers import AutocastInferer


@settings(deadline=None, max_examples=30)
@given(
    size=st.tuples(*[st.integers(1, 30)] * 3),
    roi=st.tuples(*[st.integers(2, 12)] * 3),
    overlap=st.floats(0, 0.9),
)
def test_windows_are_those_of_monai(size, roi, overlap):
    seen = []

    def network(windows):
        seen.append(len(windows))
        return windows

    sliding_window_inference(torch.zeros(1, 1, *size), roi, 1, network, overlap)
    assert windows_of(size, roi, overlap) == sum(seen)


def run(inferer) -> None:
    cases = [{"image": torch.rand(1, edge, 9, 9), "name": str(edge)} for edge in (9, 20)]
    dataset = Dataset(cases)
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(dataset, batch_size=1),
        network=torch.nn.Conv3d(1, 2, 3, padding=1),
        inferer=inferer,
        prepare_batch=lambda batch, device, non_blocking, **kwargs: (batch["image"], None),
    )
    run_each_case(evaluator, dataset)


def test_a_volume_is_told_after_its_first_window(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, "dckd_ext.engines.windows"):
        run(AutocastInferer(SlidingWindowInferer((8, 9, 9), overlap=0.5, sw_batch_size=1)))
    told = [text for text in caplog.messages if "window(s)" in text]
    expected = [r"volume 1 of 2: 2 window\(s\), about [\d.]+ s, [\d.]+ GB so far", "volume 2 of 2: 4 window"]
    assert len(told) == 2
    assert all(re.match(pattern, text) for pattern, text in zip(expected, told, strict=True))


def test_others_are_left_alone(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, "dckd_ext.engines.windows"):
        run(SimpleInferer())
    assert not [text for text in caplog.messages if "window(s)" in text]
