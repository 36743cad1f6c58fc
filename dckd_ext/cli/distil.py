"""`dckd distil BUNDLE`: a teacher's knowledge into a student."""

from __future__ import annotations

from dckd_ext.cli.values import ConfigValue, Texts

__all__ = ["distil"]


def distil(bundle: str, *, overlay: Texts = (), **options: ConfigValue) -> None:
    """Train a student bundle with a teacher bundle; the command for MONAI that does the same is printed.

    This runs the code of the bundles: use those that you trust (docs/security.md).

    Args:
        bundle: folder of a distillation bundle, such as bundles/hippocampus_distillation.
        overlay: config files over its train.yaml, such as dckd.yaml: in its configs, or paths.
        options: of its train.yaml, such as ``--teacher_bundle T --student_bundle S --dataset_dir DIR``;
            `dckd distil BUNDLE --help` lists them.

    Raises:
        FileNotFoundError: if the folder or its train config is missing.
        ValueError: before anything runs, if the bundle does not distil, or an option is none of the config or
            not as it should be.
    """
    from dckd_ext.bundle.config import is_distillation
    from dckd_ext.cli.workflows import run_workflow

    if not is_distillation(bundle):
        raise ValueError(
            f"{bundle}: its train config has no teacher_bundle and student_bundle, expected a distillation "
            "bundle; dckd train trains a bundle without a teacher"
        )
    run_workflow("distil", bundle, options, overlay)
