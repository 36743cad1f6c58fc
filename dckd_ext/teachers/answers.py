"""What teachers say to whole volumes, asked once and kept in files."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from torch import Tensor, nn
from tqdm import tqdm

from dckd_ext.networks.state_dicts import tensors_digest
from dckd_ext.networks.taps import Tap
from dckd_ext.teachers.coding import decode, encode
from dckd_ext.utils.errors import root_cause
from dckd_ext.utils.files import written_whole

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
    """A folder with one file a case: what its teacher says to the volume that the preprocessing makes of it.

    Each file also holds a digest of the voxels that were asked about and of the teacher that answered. So
    another teacher, preprocessing or image under the same name is noticed: `write` asks again, `read`
    refuses. Files are whole or absent; a run that was killed goes on with the cases that are missing. Ours.

    Args:
        folder: of the files.
        teacher_of: the teacher that answers a case, see `dckd_ext.teachers.answering`.
        inferer: runs a network over a volume, ``1CDHW``; a sliding window as a rule.
        tap: the submodule whose output is kept as well, or None. Its map must have the size of the volume.
        device: where the teachers run.

    Raises:
        ValueError: on `read`, when there is no answer for this image; on `write`, when a tap's map has
            another size than the volume.
    """

    def __init__(
        self,
        folder: str | PathLike[str],
        teacher_of: TeacherOf,
        inferer: Inferer,
        tap: str | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.folder = Path(folder)
        self.teacher_of = teacher_of
        self.inferer = inferer
        self.tap = tap
        self.device = torch.device(device)
        self._digests: dict[int, str] = {}

    def check(self, cases: Sequence[str]) -> None:
        """Raise a ValueError if a case, by its name, has no teacher that may answer it."""
        self.teacher_of.check(cases)

    def write(
        self,
        cases: Sequence[Mapping[str, Any]],
        preprocessing: Callable[[Any], Any],
        skip_broken: bool = False,
    ) -> dict[str, str]:
        """Ask for every case that has no answer yet, with a progress bar.

        Args:
            cases: a data list with ``case`` and ``image``.
            preprocessing: makes ``image`` (``CDHW``) of a case, as the training does before it augments.
            skip_broken: leave out a case that cannot be prepared, in place of an error.

        Returns:
            The cases that there is nothing to learn from, by name, and why.
        """
        problems = {}
        for number, case in enumerate(tqdm(cases, desc="teacher's answers", unit="volume", disable=None)):
            name = case["case"]
            try:
                image = _plain(preprocessing(dict(case))["image"])
            except (ValueError, OSError, RuntimeError) as error:
                if not skip_broken:
                    raise
                problems[name] = str(root_cause(error))
                continue
            if not self._has(name, image):
                self._save(name, image, self.ask(name, image))
            if number == 0:
                megabytes = self._file(name).stat().st_size * len(cases) / 2**20
                _logger.info("answers: about %.0f MB for %d volumes, %s", megabytes, len(cases), self.folder)
            if not self.read(name, image).logits.argmax(0).any():
                problems[name] = "the teacher finds nothing in it"
        return problems

    @torch.inference_mode()
    def ask(self, name: str, image: Tensor) -> Answer:
        """Let the case's teacher answer to a volume ``CDHW`` now, without the store."""
        teacher = self.teacher_of(name).to(self.device)
        volume = image[None].float().to(self.device)
        if self.tap is None:
            return Answer(self.inferer(volume, teacher)[0].cpu(), None)
        logits, features = self.inferer(volume, _WithFeatures(teacher, self.tap))
        return Answer(logits[0].cpu(), features[0].half().cpu())

    def read(self, name: str, image: Tensor) -> Answer:
        """Read the answer to this image, ``CDHW``."""
        if not self._has(name, image):
            found = "another teacher's or another image's" if self._file(name).is_file() else "no"
            raise ValueError(f"{self._file(name)}: found {found} answer, expected one to the image of {name}")
        with np.load(self._file(name)) as arrays:
            features = torch.from_numpy(arrays["features"]) if "features" in arrays else None
            return Answer(decode(torch.from_numpy(arrays["codes"])), features)

    def _save(self, name: str, image: Tensor, answer: Answer) -> None:
        arrays: dict[str, Any] = {
            "codes": encode(answer.logits).numpy(),
            "key": np.array(self._key(name, image)),
        }
        if answer.features is not None:
            if answer.features.shape[1:] != image.shape[1:]:
                found, expected = tuple(answer.features.shape[1:]), tuple(image.shape[1:])
                raise ValueError(
                    f"the tap {self.tap!r} gives maps of {found} voxels for a volume of {expected}: features "
                    "that are kept must have the volume's size: choose another tap, or ask for them each step"
                )
            arrays["features"] = answer.features.numpy()
        with written_whole(self._file(name)) as beside, open(beside, "wb") as file:
            np.savez_compressed(file, **arrays)

    def _has(self, name: str, image: Tensor) -> bool:
        file = self._file(name)
        if not file.is_file():
            return False
        with np.load(file) as arrays:
            return str(arrays["key"]) == self._key(name, image)

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.npz"

    def _key(self, name: str, image: Tensor) -> str:
        teacher = self.teacher_of(name)
        if id(teacher) not in self._digests:
            self._digests[id(teacher)] = tensors_digest(teacher.state_dict().values())
        return (
            f"image {tensors_digest([_plain(image)])}, teacher {self._digests[id(teacher)]}, tap {self.tap}"
        )


class _WithFeatures:
    """A network that gives its features at a tap beside its logits."""

    def __init__(self, network: nn.Module, tap: str) -> None:
        self.network, self.tap = network, tap

    def __call__(self, image: Tensor) -> tuple[Tensor, Tensor]:
        with Tap(self.network, self.tap) as tap:
            logits = self.network(image)
        return logits, tap.output


def _plain(image: Tensor) -> Tensor:
    return image.as_tensor() if isinstance(image, MetaTensor) else image
