"""Seconds and memory of the loss formulations over the number of references."""

from __future__ import annotations

import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.formulations import FORMULATIONS, draw_pairs
from dckd_ext.losses import Pairs

REFERENCES = (1024, 4096, 16384, 65536)
DEVICES = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
MATRICES = 10  # that `all_pairs` holds at once, in float32: about eight, and some room


def forward_backward(formulation: str, pairs: Pairs) -> float:
    """One forward and backward pass; the loss."""
    pairs.anchors.grad = None
    value = FORMULATIONS[formulation](pairs)
    value.backward()
    return value.item()  # waits for the device


def fits(formulation: str, references: int, device: str) -> bool:
    """Whether the matrices of all pairs take less than three quarters of the memory."""
    if formulation != "all_pairs":
        return True
    vectors = references + 2 * len(draw_pairs(1).anchors)
    if device == "cuda":
        memory = torch.cuda.mem_get_info()[0]
    else:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return MATRICES * 4 * vectors**2 < 0.75 * memory


def seconds(references: int, device: str, rounds: int) -> dict[str, list[float]]:
    """Times of every formulation that fits, in turns, so that a busy machine slows all alike.

    A formulation that needs over 10 s is repeated twice at most.
    """
    pairs = draw_pairs(references, device=device)
    times: dict[str, list[float]] = {
        formulation: [] for formulation in FORMULATIONS if fits(formulation, references, device)
    }
    for _ in range(rounds + 1):
        for formulation, before in times.items():
            if len(before) > 2 and min(before) > 10:
                continue
            start = time.perf_counter()
            forward_backward(formulation, pairs)
            before.append(time.perf_counter() - start)
    return {formulation: before[1:] for formulation, before in times.items()}


def memory(formulation: str, references: int, device: str) -> dict[str, float]:
    """Highest memory of one pass above that before, in GB; to be asked in a fresh process.

    ``allocated_gb`` is what tensors hold, by torch's own count; ``resident_gb``, on a CPU, the growth of the
    process after a pass on a few references has loaded what is loaded once.
    """
    pairs = draw_pairs(references, device=device)
    forward_backward(formulation, draw_pairs(100, device=device))
    if device == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        forward_backward(formulation, pairs)
        return {"allocated_gb": (torch.cuda.max_memory_allocated() - before) * 1e-9}
    resident = _peak_gb()
    forward_backward(formulation, pairs)
    resident = _peak_gb() - resident
    return {"allocated_gb": _allocated_gb(formulation, pairs), "resident_gb": resident}


def summarise(cases: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How many times the package's own is cheaper, and how costs grow: the exponent over the references."""
    by_case = {(c["device"], c["formulation"], c["references"]): c for c in cases}
    ratios = [
        {
            **{key: case[key] for key in ("device", "formulation", "references")},
            "times_slower": case["seconds"] / ours["seconds"],
            "times_memory": case["allocated_gb"] / ours["allocated_gb"],
        }
        for case in cases
        if case["formulation"] != "sampled"
        for ours in [by_case[case["device"], "sampled", case["references"]]]
    ]
    growth = []
    for device, formulation in dict.fromkeys((c["device"], c["formulation"]) for c in cases):
        chosen = [c for c in cases if (c["device"], c["formulation"]) == (device, formulation)]
        if len(chosen) > 1:
            exponents = {key: _exponent(chosen, key) for key in ("seconds", "allocated_gb")}
            growth.append({"device": device, "formulation": formulation, **exponents})
    return {"ratios": ratios, "growth": growth}


def case_of(formulation: str, references: int, device: str, times: list[float], gb: dict[str, float]) -> dict:
    """One row of the results."""
    return {
        "device": device,
        "formulation": formulation,
        "references": references,
        "seconds": statistics.median(times),
        "least_seconds": min(times),
        "rounds": len(times),
        **gb,
        "load": os.getloadavg()[0],
    }


def _allocated_gb(formulation: str, pairs: Pairs) -> float:
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        forward_backward(formulation, pairs)
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        profile.export_chrome_trace(file.name)
        trace = json.load(open(file.name))["traceEvents"]  # noqa: SIM115 the profiler wrote it by name
    events = sorted((e for e in trace if e.get("name") == "[memory]"), key=lambda event: event["ts"])
    before = events[0]["args"]["Total Allocated"] - events[0]["args"]["Bytes"]
    return (max(event["args"]["Total Allocated"] for event in events) - before) * 1e-9


def _exponent(cases: Sequence[dict[str, Any]], key: str) -> float:
    """Slope of the logarithm over that of the references: 1 is linear, 2 quadratic."""
    x = [math.log(case["references"]) for case in cases]
    return statistics.linear_regression(x, [math.log(case[key]) for case in cases]).slope


def _peak_gb() -> float:
    status = Path("/proc/self/status").read_text()  # getrusage would count the parent's memory too
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024e-9
