"""Check the configs of a MONAI bundle without data, weights or network; nothing in them is run."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow, run

from dckd_ext.bundle import importable
from dckd_ext.lint.components import missing_targets, wrong_calls
from dckd_ext.lint.config import COMMAND_LINE, Config, Finding, nearest, shown
from dckd_ext.lint.docs import config_lists, run_ids, unknown_files
from dckd_ext.lint.metrics import absent_metrics
from dckd_ext.lint.names import Names
from dckd_ext.lint.preprocessing import preprocessing_differences
from dckd_ext.lint.properties import USED_FROM_OUTSIDE, trains, wrong_properties
from dckd_ext.lint.references import broken_texts, unreferenced_keys

__all__ = ["Finding", "config_lists", "lint_bundle"]

# Arguments of `python -m monai.bundle run` itself, so that a command can be checked as it is.
_OF_MONAI = {*inspect.signature(run).parameters, *inspect.signature(ConfigWorkflow).parameters} - {"override"}


def lint_bundle(
    bundle: str | PathLike[str],
    config_files: Sequence[str | PathLike[str]] | None = None,
    overrides: Mapping[str, Any] | None = None,
    trust: bool = False,
) -> list[Finding]:
    """Find what is wrong with the configs of a bundle, all at once.

    Found are unknown overrides; keys that nothing refers to; references, macros and names in expressions that
    do not exist; handlers that name an absent metric; mappings that should be a component; targets that
    cannot be found, and arguments that they do not take or miss; missing MONAI properties; and differences
    between the preprocessing of training and of inference, which are notes in a bundle that does not use this
    package. Nothing of the bundle is run: expressions are parsed, its modules are read, and only installed
    packages are imported.

    Args:
        bundle: folder of the bundle.
        config_files: one list to check, as one would give it to ``monai.bundle run``, from here or from the
            bundle; by default train and inference, and every list that a command in the docs uses.
        overrides: values by id, as one would give them to ``monai.bundle run``.
        trust: import the bundle's own modules instead of reading them, which runs their code. Then what
            decorators and calls in them make is checked too.

    Returns:
        What was found, by file and key; empty if nothing.

    Raises:
        FileNotFoundError: if the folder or a config file is missing.
        ValueError: if a file cannot be read.
    """
    root = Path(bundle)
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: there is no such folder")
    lists = [[_file(root, name) for name in config_files]] if config_files else config_lists(root)
    given = {key: value for key, value in (overrides or {}).items() if key not in _OF_MONAI}
    configs = [Config(root, files, given) for files in lists]
    findings = {*_unknown_overrides(configs)}
    if not config_files:
        findings.update(unknown_files(root))
    names = Names(root, trust)
    with importable(root.resolve()) if trust else nullcontext():
        for config in configs:
            findings.update(config.findings, broken_texts(config, names), wrong_calls(config, names))
            for check in (missing_targets, absent_metrics, wrong_properties):
                findings.update(check(config))
    findings.update(_preprocessing(configs))
    findings.update(unreferenced_keys(configs, USED_FROM_OUTSIDE | run_ids(root)))
    return sorted(findings)


def _preprocessing(configs: Sequence[Config]) -> Iterator[Finding]:
    """Compare each training with the inference alone; a foreign bundle may prepare its data elsewhere."""
    inference = next((config for config in configs if not trains(config)), None)
    if inference:
        for training in filter(trains, configs):
            for finding in preprocessing_differences(training, inference):
                yield finding if _uses_this_package(training) else replace(finding, severity="note")


def _uses_this_package(config: Config) -> bool:
    return any(isinstance(node, str) and node.startswith("dckd_ext.") for _, node in config.items())


def _unknown_overrides(configs: Sequence[Config]) -> list[Finding]:
    """Find overrides that no config knows: that one does is enough, since each run takes its own."""
    unknown = set.intersection(*(set(config.unknown) for config in configs))
    known = sorted({shown(at) for config in configs for at, _ in config.items()})
    return [
        Finding(COMMAND_LINE, f"--{shown(at)}", "no config has such a key", nearest(shown(at), known))
        for at in unknown
    ]


def _file(root: Path, name: str | PathLike[str]) -> Path:
    for file in (Path(name), root / name, root / "configs" / name):
        if file.is_file():
            return file
    raise FileNotFoundError(f"{name}: there is no such file here, in {root} or in its configs")
