"""`dckd train BUNDLE`: the training of a bundle."""

from __future__ import annotations

from dckd_ext.cli.values import ConfigValue, Texts

__all__ = ["train"]


def train(bundle: str, *, overlay: Texts = (), **options: ConfigValue) -> None:
    """Train a bundle's network; the command for MONAI that does the same is printed.

    This runs the code of the bundle: use one that you trust (docs/security.md).

    Args:
        bundle: folder of the bundle.
        overlay: config files over its train.yaml, such as multi_gpu_train.yaml: in its configs, or paths.
        options: of its train.yaml, such as ``--dataset_dir DIR --epochs 50``; `dckd train BUNDLE --help`
            lists them.

    Raises:
        FileNotFoundError: if the folder or its train config is missing.
        ValueError: before anything runs, if an option is none of the config, or not as it should be.
    """
    from dckd_ext.cli.workflows import run_workflow

    run_workflow("train", bundle, options, overlay)
