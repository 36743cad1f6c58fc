"""What teachers say to whole volumes, asked once and kept in files."""

from __future__ import annotations

import errno
import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple, Protocol
from zipfile import BadZipFile
from zlib import crc32

import numpy as np
import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from monai.metrics import compute_dice
from monai.networks import one_hot
from torch import Tensor, nn
from tqdm import tqdm

from dckd_ext.networks.state_dicts import tensors_digest
from dckd_ext.networks.taps import Tap
from dckd_ext.networks.wrappers import unwrap
from dckd_ext.teachers.coding import decode, encode
from dckd_ext.teachers.ensemble import Ensemble
from dckd_ext.utils.errors import root_cause
from dckd_ext.utils.files import check_writable, written_whole

__all__ = ["Answer", "AnswerStore", "TeacherOf"]

_logger = logging.getLogger(__name__)


class Answer(NamedTuple):
    """What a teacher says to one volume.

    Attributes:
        logits: float32, ``KDHW``; the softmax of them are its probabilities.
        features: at the tap, float16, ``CDHW``, or None where none were asked for.
    """

    logits: Tensor
    features: Tensor | None


class TeacherOf(Protocol):
    """Says which teacher answers a case, by the case's name, see `dckd_ext.teachers.answering`."""

    def __call__(self, case: str) -> nn.Module:
        """Return the teacher."""

    def check(self, cases: Sequence[str]) -> None:
        """Raise a ValueError if a case has none."""


class AnswerStore:
    """A folder with what the teachers say to the volumes that the preprocessing makes of the cases.

    ``logits`` holds one file a case, ``features_TAP`` another; so runs that keep other features share the
    logits. Each file also holds a digest of the voxels that were asked about, of the teacher that answered
    and of the window that it looked through. So another teacher, preprocessing or image under the same name
    is noticed: `write` asks again, `read` refuses. Files are whole or absent; a run that was killed goes on
    with the cases that are missing. ``answers.json`` says how much there is, and how well what is stored
    agrees with what was said. Ours.

    Args:
        folder: of the files.
        teacher_of: the teacher that answers a case, see `dckd_ext.teachers.answering`.
        inferer: runs a network over a volume, ``1CDHW``; a sliding window as a rule.
        tap: the submodule whose output is kept as well, or None. Its map must have the size of the volume.
        device: where the teachers run.

    Raises:
        ValueError: for several taps; on `read`, when there is no answer for this image; on `write`, when a
            tap's map has another size than the volume.
        OSError: on `write`, when the folder cannot be written to, or its disk has too little space.
    """

    def __init__(
        self,
        folder: str | PathLike[str],
        teacher_of: TeacherOf,
        inferer: Inferer,
        tap: str | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        if tap is not None and not isinstance(tap, str):
            raise ValueError(f"features are kept of one tap, found {tap!r}: take one, or --answers logits")
        self.folder = Path(folder)
        self.teacher_of = teacher_of
        self.inferer = inferer
        self.tap = tap
        self.device = torch.device(device)
        self._digests: dict[int, str] = {}
        self._stored: dict[str, float] = {}

    def check(self, cases: Sequence[str]) -> None:
        """Raise a ValueError if a case, by its name, has no teacher that may answer it."""
        self.teacher_of.check(cases)

    def write(
        self, cases: Sequence[Mapping[str, Any]], preprocessing: Callable[[Any], Any]
    ) -> dict[str, str]:
        """Ask for every case that has no answer yet, with a progress bar, and say how much that will be.

        Args:
            cases: a data list with ``case``, ``image`` and ``label``; without a label, one that cannot be
                prepared is left out in place of an error.
            preprocessing: makes ``image`` (``CDHW``) of a case, as the training does before it augments.

        Returns:
            The cases without a label that there is nothing to learn from, by name, and why.
        """
        check_writable(self.folder / "answers.json")
        problems = {}
        announced = False
        for number, case in enumerate(tqdm(cases, desc="teacher's answers", unit="volume", disable=None)):
            name, labelled = case["case"], bool(case.get("label"))
            try:
                volume = preprocessing(dict(case))["image"]
            except (ValueError, OSError, RuntimeError) as error:
                if labelled:
                    raise
                problems[name] = str(root_cause(error))
                continue
            key = self._key(name, _plain(volume))
            if missing := [file for file in self._files(name) if _content(file, key) is None]:
                self._save(name, key, self.ask(name, volume), missing)
                if not announced:
                    self._announce(name, len(cases) - number)
                    announced = True
            stored = self._contents(name, key)[0]
            self._stored[name] = float(stored["dice"])
            if not labelled and not stored["codes"].argmin(0).any():
                problems[name] = "the teacher finds nothing in it"
        self._report()
        return problems

    @torch.inference_mode()
    def ask(self, name: str, image: Tensor) -> Answer:
        """Let the case's teacher answer to a volume ``CDHW`` now, without the store."""
        teacher = self.teacher_of(name).to(self.device)
        volume = image[None].float().to(self.device)
        if self.tap is None:
            return Answer(_plain(self.inferer(volume, teacher)[0]).cpu(), None)
        logits, features = self.inferer(volume, _WithFeatures(teacher, _member(teacher, name), self.tap))
        return Answer(_plain(logits[0]).cpu(), _plain(features[0]).half().cpu())

    def read(self, name: str, image: Tensor) -> Answer:
        """Read the answer to this image, ``CDHW``."""
        logits, *features = self._contents(name, self._key(name, _plain(image)))
        maps = torch.from_numpy(features[0]["features"]) if features else None
        return Answer(decode(torch.from_numpy(logits["codes"])), maps)

    def _contents(self, name: str, key: str) -> list[dict[str, Any]]:
        contents = []
        for file in self._files(name):
            if (content := _content(file, key)) is None:
                found = "another teacher's or another image's" if file.is_file() else "no"
                raise ValueError(f"{file}: found {found} answer, expected one to the image of {name}")
            contents.append(content)
        return contents

    def _save(self, name: str, key: str, answer: Answer, files: Sequence[Path]) -> None:
        codes = encode(answer.logits)
        size = tuple(codes.shape[1:])
        if answer.features is not None and (found := tuple(answer.features.shape[1:])) != size:
            raise ValueError(
                f"the tap {self.tap!r} gives maps of {found} voxels for a volume of {size}: features that "
                "are kept must have its size: take another tap, or --answers logits, which asks every step"
            )
        logits, *features = self._files(name)
        if logits in files:
            dice = agreement(decode(codes), answer.logits)
            _write(logits, np.savez_compressed, key=key, codes=codes.numpy(), dice=dice)
        if answer.features is not None and features[0] in files:
            _write(features[0], np.savez, key=key, features=answer.features.numpy())  # hardly any smaller

    def _announce(self, first: str, count: int) -> None:
        """Say, after the first answer, what all will take, and refuse a disk that has not as much."""
        size = sum(file.stat().st_size for file in self._files(first)) * count
        free = shutil.disk_usage(self.folder).free
        text = f"answers: about {size / 2**20:.1f} MB for {count} volumes, in {self.folder}"
        _logger.info(text)
        if size > free:
            raise OSError(
                errno.ENOSPC,
                f"{text}, found {free / 2**20:.1f} MB free on its disk: keep --answers logits alone",
            )

    def _report(self) -> None:
        """Write and log how much is stored, and how well it agrees with the live teacher."""
        if not self._stored:
            return
        size = sum(file.stat().st_size for name in self._stored for file in self._files(name))
        count, megabytes = len(self._stored), round(size / 2**20, 3)
        mean, least = (round(of(self._stored.values()), 5) for of in (fmean, min))
        summary = {
            "volumes": count,
            "megabytes": megabytes,
            "dice_to_live_teacher": {"mean": mean, "least": least},
        }
        with written_whole(self.folder / "answers.json") as beside:
            beside.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
        _logger.info(
            "answers: %d volumes, %.1f MB, Dice to the live teacher %.4f on average and at least %.4f",
            *(count, megabytes, mean, least),
        )

    def _files(self, name: str) -> list[Path]:
        rooms = ["logits"] if self.tap is None else ["logits", f"features_{self.tap}"]
        return [self.folder / room / f"{name}.npz" for room in rooms]

    def _key(self, name: str, image: Tensor) -> str:
        teacher = self.teacher_of(name)
        if id(teacher) not in self._digests:
            self._digests[id(teacher)] = teacher_digest(teacher)
        return (
            f"image {tensors_digest([image])}, teacher {self._digests[id(teacher)]}, {_window(self.inferer)}"
        )


class _WithFeatures:
    """A network that gives, beside its logits, the features at a tap of it or of one inside it."""

    def __init__(self, network: nn.Module, tapped: nn.Module, tap: str) -> None:
        self.network, self.tapped, self.tap = network, tapped, tap

    def __call__(self, image: Tensor) -> tuple[Tensor, Tensor]:
        with Tap(self.tapped, self.tap) as tap:
            logits = self.network(image)
        return logits, tap.output


def _member(teacher: nn.Module, case: str) -> nn.Module:
    """Choose the one of several teachers whose features of a case are kept: by name, so always the same."""
    members = teacher.members if isinstance(teacher, Ensemble) else [teacher]
    return unwrap(members[crc32(case.encode()) % len(members)])


def agreement(logits: Tensor, other: Tensor) -> float:
    """Return the mean Dice of the foreground classes of two answers, ``KDHW``; 1 where both have none."""
    stored, live = (one_hot(each.argmax(0)[None, None], len(each)) for each in (logits, other))
    dice = compute_dice(stored, live, include_background=False)
    return 1.0 if dice.isnan().all() else float(dice.nanmean())


def teacher_digest(teacher: nn.Module) -> str:
    """Digest a teacher's weights, and what else its answers depend on: mirrored axes and mapped classes."""
    settings = [
        (getattr(part, "flips", None), getattr(part, "class_map", None)) for part in teacher.modules()
    ]
    text = str([setting for setting in settings if any(setting)])
    return f"{tensors_digest(teacher.state_dict().values())}{text if len(text) > 2 else ''}"


def _window(inferer: Any) -> str:
    """Name the settings of an inferer, and of the one inside it, that change what a network says."""
    found = {
        name: getattr(inferer, name, None)
        for name in ("settings", "roi_size", "overlap", "step", "mode", "dtype")
    }
    own = ", ".join(f"{name} {value}" for name, value in found.items() if value is not None)
    return own + (f", {_window(inner)}" if (inner := getattr(inferer, "inferer", None)) else "")


def _content(file: Path, key: str) -> dict[str, Any] | None:
    """Read a file if it is whole and has this key."""
    try:
        with np.load(file) as arrays:
            return dict(arrays) if str(arrays["key"]) == key else None
    except (OSError, ValueError, KeyError, BadZipFile, EOFError):
        return None


def _write(file: Path, save: Callable[..., None], **arrays: Any) -> None:
    with written_whole(file) as beside, open(beside, "wb") as stream:
        save(stream, **arrays)


def _plain(image: Tensor) -> Tensor:
    return image.as_tensor() if isinstance(image, MetaTensor) else image
