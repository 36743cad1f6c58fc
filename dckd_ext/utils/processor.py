"""What the processor computes fast; ``python -m dckd_ext.utils.processor`` prints it for scripts."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import torch

__all__ = ["bfloat16_slowdown", "fast_dtype"]

_BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}  # the last one on ARM


def fast_dtype() -> str:
    """Return what to train in: "bfloat16" with CUDA or a processor that has it, else "float32"."""
    return "bfloat16" if torch.cuda.is_available() or bfloat16_slowdown() is None else "float32"


@cache
def bfloat16_slowdown() -> str | None:
    """Say how much longer 3D convolutions take in bfloat16 than in float32 on this processor.

    None where it has AVX512-BF16, AMX or ARM's bfloat16, or does not say what it has. Measured with a window
    of the hippocampus U-Net, oneDNN held to these instructions by ``ONEDNN_MAX_CPU_ISA``, on an AMD EPYC.
    """
    features = _features()
    if not features or features & _BFLOAT16:
        return None
    return "about twice as long" if features & {"avx512_f", "avx512f"} else "10 to 40 times as long"


def _features() -> set[str]:
    """Names of what the processor has: torch's, which are there from 2.11 on, or those of Linux."""
    if hasattr(torch.cpu, "get_capabilities"):
        return {name for name, there in torch.cpu.get_capabilities().items() if there is True}
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return set()
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    return set(found[1].split()) if found else set()


if __name__ == "__main__":
    print(fast_dtype())
