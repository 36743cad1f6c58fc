"""The options of the bundles, checked by name before anything is done."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from inspect import signature
from typing import Any

import torch
from fire.parser import DefaultParseValue
from monai.bundle import ConfigParser, ConfigWorkflow, run

from dckd_ext.bundle import kinds
from dckd_ext.bundle.kinds import Kind
from dckd_ext.inferers.autocast import DTYPES
from dckd_ext.utils.command_line import changed_by_fire, is_run, say_cause_last, typed_options
from dckd_ext.utils.files import check_writable

__all__ = ["OPTIONS", "check_options", "is_true", "unknown_options"]

OPTIONS: Mapping[str, Kind] = {
    "bundle_root": kinds.PATH,
    "teacher_bundle": kinds.PATHS,
    "student_bundle": kinds.PATH,
    "dataset_dir": kinds.PATH,
    "split_file": kinds.PATH,
    "checkpoint": kinds.PATH,
    "output_dir": kinds.PATH,
    "scores": kinds.PATH,
    "teacher_weights": kinds.PATHS_BY_FOLD.or_null(),
    "unlabelled_dir": kinds.PATH.or_null(),
    "unlabelled_share": kinds.BETWEEN,
    "min_confidence": kinds.SHARE,
    "mirrored_axes": kinds.AXES,
    "teach": kinds.one_of("all", "held_out"),
    "own_preprocessing": kinds.FLAG,
    "answers": kinds.one_of("live", "logits", "all"),
    "download": kinds.FLAG,
    "resume": kinds.FLAG,
    "save_masks": kinds.FLAG,
    "probabilities": kinds.FLAG,
    "epochs": kinds.COUNT,
    "val_interval": kinds.COUNT,
    "batch_size": kinds.COUNT,
    "sw_batch_size": kinds.COUNT,
    "limit": kinds.COUNT.or_null(),
    "fold": kinds.INDEX,
    "seed": kinds.INDEX,
    "num_workers": kinds.INDEX,
    "held_out": kinds.FOLDS,
    "split": kinds.SECTION,
    "learning_rate": kinds.POSITIVE,
    "average_decay": kinds.BELOW_ONE,
    "overlap": kinds.BELOW_ONE,
    "cache_rate": kinds.SHARE,
    "min_teacher_dice": kinds.SHARE,
    "patch_size": kinds.VOXELS,
    "spacing": kinds.MILLIMETRES,
    "nrrd_spacing": kinds.MILLIMETRES.or_null(),
    "max_extent": kinds.MILLIMETRES.or_null(),
    "crop_ratios": kinds.RATIOS,
    "select": kinds.one_of("last", "best"),
    "weights_dtype": kinds.one_of("float32", "float16", "bfloat16"),
    "autocast": kinds.one_of(*DTYPES),
    "device": kinds.DEVICE,
    "label_map": kinds.CLASS_MAP.or_null(),
    "regions": kinds.VALUES.or_null(),
    "teacher_config": kinds.VALUES,
}
"""The kind of every option of the shipped bundles."""


def is_true(value: bool | str) -> bool:
    """Return whether a switch is on; the command line gives `--resume false` as a text.

    Raises:
        ValueError: when it is neither true nor false.

    Examples:
        >>> is_true(True), is_true("False")
        (True, False)
    """
    switch = kinds.FLAG.convert(value)
    if not kinds.FLAG.fits(switch):
        raise ValueError(f"found {value!r}, expected {kinds.FLAG.expected}")
    return bool(switch)


def check_options(**options: Any) -> dict[str, Any]:
    """Check the options of a workflow, all at once, and return them; texts become true and false.

    What `OPTIONS` does not name, such as an option that a copy of a bundle adds, is returned as it is. From
    here on errors of a `python -m monai.bundle` end with what went wrong: `dckd_ext.utils.command_line`.

    Args:
        options: their values by name.

    Raises:
        ValueError: with the name of every option that is not as it should be, what was found and what is
            expected.

    Examples:
        >>> check_options(resume="true", epochs=80)
        {'resume': True, 'epochs': 80}
        >>> check_options(resume="yes", select=1)
        Traceback (most recent call last):
        ValueError: resume: found 'yes', expected true or false; select: found 1, expected one of last, best
    """
    say_cause_last()
    checked = {
        name: OPTIONS[name].convert(value) if name in OPTIONS else value for name, value in options.items()
    }
    problems = [text for name, value in checked.items() for text in _problem(name, value)]
    problems += unknown_options(options)
    if problems := problems or list(_together(checked)) or list(_unwritable(checked)):
        raise ValueError("; ".join(problems))
    return checked


def unknown_options(known: Collection[str]) -> Iterator[str]:
    """Yield what was typed as an option of a `python -m monai.bundle`, but changes nothing in its configs.

    MONAI adds such a key to the config, where nothing refers to it, and says nothing.

    Args:
        known: options beside the keys of the configs and MONAI's own.
    """
    typed = {name: value for name, value in typed_options().items() if name.isidentifier()}
    if not is_run("monai.bundle.__main__") or "config_file" not in typed:
        return
    keys = ConfigParser.load_config_files(DefaultParseValue(typed["config_file"]))
    taken = {*known, *signature(run).parameters, *signature(ConfigWorkflow).parameters}
    taken |= {key.lstrip("+~").partition("#")[0].partition("::")[0] for key in keys}
    for name in sorted(typed.keys() - taken):
        near = ", ".join(get_close_matches(name, taken, 1))
        yield f"{name}: there is no such option{near and f', nearest: {near}'}"


def _problem(name: str, value: Any) -> Iterator[str]:
    kind = OPTIONS.get(name)
    if kind is None:
        return
    typed = changed_by_fire(name, value) if kind.as_typed else None
    if typed is not None:
        advice = "" if "#" in typed else f": write ./{typed}"
        yield f"{name}: found {typed}, read as {value!r}, expected {kind.expected}{advice}"
    elif not kind.fits(value):
        yield f"{name}: found {value!r:.80}, expected {kind.expected}"


def _together(options: Mapping[str, Any]) -> Iterator[str]:
    """Yield which options do not go together."""
    device = torch.device(options.get("device", "cpu"))
    if options.get("autocast") == "float16" and device.type == "cpu":
        yield "autocast: found 'float16' on a CPU, expected float32 or bfloat16 there"
    epochs, interval = options.get("epochs"), options.get("val_interval")
    if options.get("select") == "best" and epochs and interval and interval > epochs:
        yield f"val_interval: found {interval}, expected at most {epochs}, the epochs, to select the best of"
    yield from _taught_together(options)


def _unwritable(options: Mapping[str, Any]) -> Iterator[str]:
    """Yield that a training could not write its weights; comes last, since it makes their folder."""
    if "epochs" in options and "checkpoint" in options:
        try:
            check_writable(options["checkpoint"])
        except OSError as error:
            yield f"checkpoint: {error.strerror}"


def _taught_together(options: Mapping[str, Any]) -> Iterator[str]:
    archive, live = options.get("unlabelled_dir") is not None, options.get("answers") == "live"
    labelled = str(options.get("dataset_dir")) not in ("None", "null")
    if options.get("teach") == "held_out":
        if live:
            yield "answers: found 'live', expected logits or all with teach held_out"
        if isinstance(weights := options.get("teacher_weights"), str | list | tuple):
            folds = "one file for each fold that a teacher held out, such as {0: fold0.pt, 1: fold1.pt}"
            yield f"teacher_weights: found {weights!r:.80}, expected {folds}, with teach held_out"
    if not labelled and "unlabelled_dir" in options:
        if not archive:
            yield "dataset_dir: found null, expected a folder of labelled cases, or an unlabelled_dir"
        elif live:
            yield "answers: found 'live', expected logits or all without labelled cases"
    if labelled and archive and options.get("batch_size") == 1:
        yield "batch_size: found 1, expected 2 or more for labelled and unlabelled cases"
