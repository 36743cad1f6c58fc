"""What a processor is said to have, against the names that Linux has for it."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from monai.inferers import SimpleInferer

from dckd_ext.inferers import AutocastInferer, autocast
from dckd_ext.utils import processor

OLD = {"architecture": "x86_64", "avx2": True, "avx512_f": False, "avx512_bf16": False, "amx_bf16": False}


@pytest.fixture
def has(monkeypatch: pytest.MonkeyPatch):
    """Set what torch says of the processor."""

    def make(**features: object) -> None:
        processor.bfloat16_slowdown.cache_clear()
        autocast._warn_of_bfloat16.cache_clear()
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {**OLD, **features}, raising=False)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    yield make
    processor.bfloat16_slowdown.cache_clear()
    autocast._warn_of_bfloat16.cache_clear()


@pytest.mark.parametrize(
    ("features", "slowdown", "dtype"),
    [
        ({}, "10 to 40 times as long", "float32"),
        ({"avx512_f": True}, "about twice as long", "float32"),
        ({"avx512_f": True, "avx512_bf16": True}, None, "bfloat16"),
        ({"avx512_f": True, "amx_bf16": True}, None, "bfloat16"),
        ({"architecture": "aarch64", "avx2": False, "bf16": True}, None, "bfloat16"),
    ],
)
def test_bfloat16(features: dict, slowdown: str | None, dtype: str, has, caplog: pytest.LogCaptureFixture):
    has(**features)
    assert processor.bfloat16_slowdown() == slowdown
    assert processor.fast_dtype() == dtype
    inferer = AutocastInferer(SimpleInferer(), "bfloat16")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):  # said once
            inferer(torch.rand(1, 1, 4, 4, 4), torch.nn.Conv3d(1, 2, 1))
    assert [slowdown in text for text in caplog.messages] == ([True] if slowdown else [])


def test_float32_is_not_warned_of(has, caplog: pytest.LogCaptureFixture):
    has()
    AutocastInferer(SimpleInferer(), "float32")(torch.rand(1, 1, 4, 4, 4), torch.nn.Conv3d(1, 2, 1))
    assert caplog.messages == []


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="Linux tells it there")
def test_torch_and_linux_agree(monkeypatch: pytest.MonkeyPatch):
    by_torch = processor._features() & processor._BFLOAT16
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert processor._features()
    assert processor._features() & processor._BFLOAT16 == by_torch


def test_scripts_can_ask():
    command = [sys.executable, "-m", "dckd_ext.utils.processor"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.strip() == processor.fast_dtype()
