"""`dckd evaluate BUNDLE`: scores of a bundle's network, case by case."""

from __future__ import annotations

from dckd_ext.cli.values import ConfigValue

__all__ = ["evaluate"]


def evaluate(bundle: str, **options: ConfigValue) -> None:
    """Score a bundle's network against labels, case by case; the command for MONAI is printed.

    This runs the code of the bundle: use one that you trust (docs/security.md).

    Args:
        bundle: folder of the bundle.
        options: of its inference.yaml and evaluate.yaml, such as ``--dataset_dir DIR --split 0``;
            `dckd evaluate BUNDLE --help` lists them.

    Raises:
        FileNotFoundError: if the folder or one of the two configs is missing.
        ValueError: before anything runs, if an option is none of the configs, or not as it should be.
    """
    from dckd_ext.cli.workflows import run_workflow

    run_workflow("evaluate", bundle, options)
