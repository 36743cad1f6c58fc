"""Teachers' stored answers, beside the image that they are to."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, Protocol

import torch
from monai.data import MetaTensor
from monai.transforms import MapTransform

from dckd_ext.utils.labels import UNLABELLED

__all__ = ["TeacherAnswersd", "TeacherLabeld"]


class _Store(Protocol):
    def read(self, name: str, image: torch.Tensor) -> Any: ...


class TeacherAnswersd(MapTransform):
    """Add the stored answer to an image, to be cropped and augmented together with it.

    Place it after all that is done to a volume, before what is random. ``teacher_answers`` are the logits
    and, where the store has them, the features below, float16, ``(K + C)DHW``: one volume, since what is done
    to one takes less time than what is done to two. ``teacher_classes`` is K.

    Args:
        store: a `dckd_ext.teachers.AnswerStore`, or None: the data stay as they are.
        image_key: image, ``CDHW``, of the case that ``case`` names.
    """

    def __init__(self, store: _Store | None, image_key: str = "image"):
        super().__init__([image_key])
        self.store, self.image_key = store, image_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return ``data`` with the answer."""
        if self.store is None:
            return dict(data)
        image = data[self.image_key]
        answer = self.store.read(data["case"], image)
        maps = [answer.logits.half(), *([] if answer.features is None else [answer.features])]
        affine = image.affine if isinstance(image, MetaTensor) else None
        answers = MetaTensor(torch.cat(maps), affine=affine)
        return {**data, "teacher_answers": answers, "teacher_classes": len(answer.logits)}


class TeacherLabeld(MapTransform):
    """Put the teacher's classes in the place of a label that there is not, to measure agreement with them.

    Args:
        store: a `dckd_ext.teachers.AnswerStore`, or None: the data stay as they are.
        image_key: image, ``CDHW``, of the case that ``case`` names.
        label_key: label, ``1DHW``; only one that is filled with `UNLABELLED` is replaced.
    """

    def __init__(self, store: _Store | None, image_key: str = "image", label_key: str = "label"):
        super().__init__([image_key, label_key])
        self.store, self.image_key, self.label_key = store, image_key, label_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return ``data`` with a label."""
        label = data[self.label_key]
        if self.store is None or not bool((label == UNLABELLED).all()):
            return dict(data)
        logits = self.store.read(data["case"], data[self.image_key]).logits
        classes = logits.argmax(0, keepdim=True).to(label.dtype)
        return {**data, self.label_key: MetaTensor(classes, meta=label.meta)}
