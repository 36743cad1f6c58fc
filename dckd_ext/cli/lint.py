"""`dckd lint BUNDLE`: what is wrong with the configs of a bundle, before a run finds it out."""

from __future__ import annotations

import sys
from pathlib import Path

from dckd_ext.cli.values import ConfigValue, Texts

__all__ = ["lint"]


def lint(
    *bundles: str, config_file: Texts | None = None, trust: bool = False, **overrides: ConfigValue
) -> None:
    """Check the configs of bundles, print one line a finding, and exit with 1 if there is any but notes.

    No data, weights or network are needed, and nothing of a bundle is run, unless `--trust` is given;
    `dckd_ext.lint.lint_bundle` says what counts.
    The options of a command for `python -m monai.bundle run` can be given as they are.

    Args:
        bundles: folders.
        config_file: one config file, or a list that is merged; by default train and inference, and every list
            that a command in the bundle's docs uses.
        trust: import the bundle's `scripts` too, which runs their code; else they are read.
        overrides: as for a run, ``--key value``; a key that no config has is a finding.

    Raises:
        FileNotFoundError: if a folder or a file is missing.
        ValueError: if there is no bundle, or a file cannot be read.
        SystemExit: with code 1 when there are findings other than notes.
    """
    from dckd_ext.lint import config_lists, lint_bundle

    if not bundles:
        raise ValueError("expected the folder of a bundle: dckd lint BUNDLE")
    files = None if config_file is None else list(config_file)
    findings = []
    for bundle in bundles:
        lists = [files] if files else config_lists(Path(bundle))
        print(f"{bundle}:", "; ".join(" + ".join(Path(file).name for file in names) for names in lists))
        findings += lint_bundle(bundle, files, overrides, trust)
    errors = [finding for finding in findings if finding.severity == "error"]
    notes = [finding for finding in findings if finding.severity == "note"]
    print(f"\n{len(errors)} finding(s)", *errors, *notes, sep="\n")
    if errors:
        sys.exit(1)
