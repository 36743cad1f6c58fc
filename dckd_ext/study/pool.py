"""Augmented patches drawn beforehand, with what the teacher says to them, for all arms of a study."""

from __future__ import annotations

import json
import os
import time
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.data.utils import set_rnd
from monai.transforms import Randomizable
from torch import nn
from torch.utils.data import Dataset

from dckd_ext.inferers import AutocastInferer, DistillationInferer
from dckd_ext.utils.disks import out_of_space
from dckd_ext.utils.files import written_whole

__all__ = ["PatchPool", "write_pool"]

_RECORD = "pool.json"
_DTYPES = {
    "image": np.float16,
    "label": np.uint8,
    "teacher_logits": np.float16,
    "teacher_features": np.float16,
    "case_id": np.int64,
}


class PatchPool(Randomizable, Dataset):
    """A training set of patches that `write_pool` has drawn: one item a case, one of its draws at random.

    Items have ``image`` (1DHW), ``label`` (1DHW), ``teacher_logits`` (KDHW), ``teacher_features`` (CDHW), the
    floating-point ones in float16, and ``case_id``. The draw follows the random state, so that `EpochSeed`
    makes it a function of seed and epoch. Ours.

    Args:
        folder: of the pool.

    Raises:
        FileNotFoundError: when there is no finished pool.
    """

    def __init__(self, folder: str | PathLike[str]) -> None:
        self.folder = Path(folder)
        if not (self.folder / _RECORD).is_file():
            raise FileNotFoundError(f"{self.folder} holds no finished pool of patches ({_RECORD} is missing)")
        self.record = json.loads((self.folder / _RECORD).read_text(encoding="utf-8"))
        self.arrays = {
            name: np.load(self.folder / f"{name}.npy", mmap_mode="r") for name in self.record["arrays"]
        }

    def __len__(self) -> int:
        return int(self.record["cases"])

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Draw one of the patches of a case."""
        draw = self.R.randint(self.record["draws"])
        row = {name: np.array(array[index, draw]) for name, array in self.arrays.items()}
        case_id = int(row.pop("case_id"))
        return {**{name: torch.from_numpy(values) for name, values in row.items()}, "case_id": case_id}


def write_pool(parser: ConfigParser, folder: str | PathLike[str], draws: int, seed: int) -> dict[str, Any]:
    """Draw patches as a distillation bundle's train config does, run the teacher on them, and save both.

    Args:
        parser: of the train config; ``train#dataset``, ``teacher``, ``teacher_tap``, ``autocast``
            and ``device`` are used.
        folder: of the pool; one that is finished is taken as it is.
        draws: patches a case.
        seed: of the augmentation.

    Returns:
        The record: cases, draws, bytes, seconds, and how many of them the teacher took.

    Raises:
        ValueError: when the transforms crop several patches a case.
    """
    folder = Path(folder)
    if (folder / _RECORD).is_file():
        return dict(json.loads((folder / _RECORD).read_text(encoding="utf-8")))
    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    ask = _Teacher(parser)
    dataset = parser.get_parsed_content("train#dataset")
    arrays: dict[str, np.memmap] = {}
    for draw in range(draws):
        set_rnd(dataset, seed=int(np.random.SeedSequence([seed, draw]).generate_state(1)[0]))
        for index in range(len(dataset)):
            patch = ask(_one_patch(dataset[index]))
            arrays = arrays or _open(folder, patch, (len(dataset), draws))
            for name, values in patch.items():
                arrays[name][index, draw] = values
    for array in arrays.values():
        array.flush()
    record = {
        "cases": len(dataset),
        "draws": draws,
        "seed": seed,
        "arrays": list(arrays),
        "bytes": sum(array.nbytes for array in arrays.values()),
        "seconds": round(time.monotonic() - started, 1),
        "teacher_seconds": round(ask.seconds, 1),
    }
    with written_whole(folder / _RECORD) as beside:
        beside.write_text(json.dumps(record, indent=4), encoding="utf-8")
    return record


def _one_patch(item: dict[str, Any] | list[dict[str, Any]]) -> dict[str, Any]:
    patches = item if isinstance(item, list) else [item]  # crops give lists
    if len(patches) != 1:
        raise ValueError(f"a pool takes one patch a case, found {len(patches)}: set num_samples to 1")
    return patches[0]


class _Teacher:
    """Adds the teacher's answers to a patch."""

    def __init__(self, parser: ConfigParser) -> None:
        self.device = parser.get_parsed_content("device")
        teacher, tap = (parser.get_parsed_content(name) for name in ("teacher", "teacher_tap"))
        inferer = DistillationInferer(teacher, student_tap=None, teacher_tap=tap)
        self.inferer = AutocastInferer(inferer, parser.get_parsed_content("autocast"))
        self.seconds = 0.0

    @torch.no_grad()
    def __call__(self, patch: dict[str, Any]) -> dict[str, np.ndarray]:
        image = patch["image"][None].to(self.device).float()
        started = time.monotonic()
        output = self.inferer(image, nn.Identity())
        answers = {"teacher_logits": output.teacher_logits[0].cpu().numpy()}
        if output.teacher_features is not None:
            answers["teacher_features"] = output.teacher_features[0].cpu().numpy()
        self.seconds += time.monotonic() - started
        known = {"image": patch["image"].numpy(), "label": patch["label"].numpy()}
        return {**known, **answers, "case_id": np.array(patch["case_id"])}


def _open(folder: Path, patch: dict[str, np.ndarray], rows: tuple[int, int]) -> dict[str, np.memmap]:
    arrays = {}
    for name, values in patch.items():
        file = folder / f"{name}.npy"
        arrays[name] = np.lib.format.open_memmap(
            file, mode="w+", dtype=_DTYPES[name], shape=(*rows, *values.shape)
        )
        _reserve(file)
    return arrays


def _reserve(file: Path) -> None:
    """Take the room of a file from the disk now: a write to a map that finds none would end the process."""
    if not hasattr(os, "posix_fallocate"):
        return  # macOS and Windows
    with open(file, "r+b") as opened:
        try:
            os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)
        except OSError as error:
            raise out_of_space(error, file) or error from None
