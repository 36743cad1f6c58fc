"""What is written down about a training: with what, on what, where and how long."""

from __future__ import annotations

import hashlib
import platform
import subprocess
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from monai.engines import Workflow

from dckd_ext.handlers.made_with import case_list_of, describe

__all__ = ["file_digest", "training_record"]

_PACKAGES = ("dckd-ext", "monai", "torch", "numpy", "nibabel", "pytorch-ignite")


def training_record(
    engine: Workflow, evaluator: Workflow | None = None, options: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Describe a training at its end.

    Args:
        engine: the trainer.
        evaluator: of the validation, or None.
        options: of the training, by name, as `dckd_ext.bundle.check_options` returns them.

    Returns:
        Plain values: ``epochs``, ``steps``, ``seconds`` (of all its runs), ``validation`` (last metrics),
        ``cases`` (names of the training and validation cases), ``options``, ``device``, ``threads``,
        ``machine``, ``versions``, ``commit`` (of the bundle's repository; empty outside of one), ``date``.
    """
    started = getattr(engine.state, "started", None)
    metrics = {} if evaluator is None else evaluator.state.metrics
    named = dict(options or {})
    return {
        "epochs": engine.state.epoch,
        "steps": engine.state.iteration,
        "seconds": None if started is None else round(time.monotonic() - started, 1),
        "validation": {name: round(float(value), 5) for name, value in metrics.items()},
        "cases": {
            "training": sorted(set(case_list_of(engine.data_loader))),
            "validation": [] if evaluator is None else case_list_of(evaluator.data_loader),
        },
        "options": {
            name: value for key, option in named.items() for name, value in describe(option, key).items()
        },
        "device": str(engine.state.device),
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "versions": {"python": platform.python_version(), **_versions()},
        "commit": _commit(named.get("bundle_root", ".")),
        "date": time.strftime("%Y-%m-%d %H:%M:%S %z"),
    }


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _commit(folder: Any) -> str:
    try:
        command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):  # no git, or no repository
        return ""
