"""`dckd folds BUNDLE`: a network for each fold, which it has not seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dckd_ext.cli.values import ConfigValue, Integers, Texts

__all__ = ["folds"]


def folds(bundle: str, *, out: str, only: Integers = (), overlay: Texts = (), **options: ConfigValue) -> None:
    """Train a bundle's network once for each fold of its split, holding that fold out, one after the other.

    The same command goes on where it was stopped: what is finished is left as it is, the training that was
    stopped continues after its last epoch. At the end the options are printed that let each network teach the
    cases that it has not seen. This runs the code of the bundle: use one that you trust (docs/security.md).

    Args:
        bundle: folder of the bundle.
        out: folder of the results: fold1/model.pt and so on.
        only: folds to train, all that are not in ``--held_out`` by default.
        overlay: config files over its train.yaml, as for `dckd train`.
        options: of its train.yaml, such as ``--dataset_dir DIR --held_out "[0]" --epochs 50``; `dckd train
            BUNDLE --help` lists them.

    Raises:
        FileNotFoundError: if the folder or its train config is missing.
        ValueError: before anything runs, if an option is none of the config or set by this command, or the
            split has no such fold; and what the training refuses.
    """
    import json

    from dckd_ext.cli.workflows import run_workflow
    from dckd_ext.utils.files import check_writable, written_whole

    if own := sorted({"fold", "checkpoint", "output_dir", "resume"} & {*options}):
        raise ValueError(f"--{own[0]}: dckd folds sets it itself, expected --out and --only")
    numbers = _numbers(bundle, options, overlay, only)
    check_writable(Path(out) / "folds.json")
    weights = {}
    for fold in numbers:
        folder = Path(out).resolve() / f"fold{fold}"
        weights[fold] = str(folder / "model.pt")
        finished, asked = folder / "finished.json", {"overlay": list(overlay), **options}
        if finished.is_file() and json.loads(finished.read_text(encoding="utf-8")) == _plain(asked):
            print(f"fold {fold}: finished before, {weights[fold]}", flush=True)
            continue
        print(f"fold {fold}: {folder}", flush=True)
        places = {"fold": fold, "output_dir": str(folder), "checkpoint": weights[fold], "resume": "true"}
        run_workflow("train", bundle, {**options, **places}, overlay)
        with written_whole(finished) as beside:
            beside.write_text(json.dumps(_plain(asked), indent=1) + "\n", encoding="utf-8")
    print(f'--teach held_out --teacher_weights "{weights}"')


def _numbers(
    bundle: str, options: Mapping[str, Any], overlay: Sequence[str], only: Sequence[int]
) -> list[int]:
    """Return the folds to train: those of the split file, which is drawn where there is none."""
    from dckd_ext.cli.workflows import read_options
    from dckd_ext.data import case_list
    from dckd_ext.data.splits import read_split

    given = read_options("train", bundle, options, overlay, ("dataset_dir", "split_file", "held_out", "seed"))
    case_list(given["dataset_dir"], "all", given["split_file"], seed=given["seed"])  # draws a split file
    if not Path(given["split_file"]).is_file():
        raise ValueError(f"{given['dataset_dir']}: found a set that comes split, expected one with folds")
    count = len(read_split(given["split_file"])["folds"])
    unknown = sorted({*only, *given["held_out"]} - {*range(count)})
    if unknown or {*only} & {*given["held_out"]}:
        found = unknown or sorted({*only} & {*given["held_out"]})
        raise ValueError(f"folds: found {found}, expected some of 0 to {count - 1} that are not held out")
    return [fold for fold in only or range(count) if fold not in given["held_out"]]


def _plain(value: Any) -> Any:
    import json

    return json.loads(json.dumps(value, default=str))
