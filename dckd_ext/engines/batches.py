"""What a batch of a distillation passes on to its inferer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from monai.engines import PrepareBatchExtraInput

__all__ = ["PrepareTaughtBatch"]


class PrepareTaughtBatch(PrepareBatchExtraInput):
    """Pass on the numbers and names of the cases, and the teacher's answers where the batch holds them.

    They are the arguments ``case_ids``, ``cases``, ``teacher_logits`` and ``teacher_features`` of
    `dckd_ext.inferers.DistillationInferer`; ``teacher_answers`` of the batch hold both, logits first, as
    `dckd_ext.transforms.TeacherAnswersd` makes them.
    """

    def __init__(self) -> None:
        super().__init__({"case_ids": "case_id"})

    def __call__(
        self,
        batchdata: Mapping[str, Any],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Return image, label, no positional and these named arguments."""
        batch = {**batchdata, **_apart(batchdata)}
        answers = [name for name in ("teacher_logits", "teacher_features") if name in batch]
        names = {"cases": "case"} if "case" in batch else {}
        self.extra_keys = {"case_ids": "case_id", **names, **{name: name for name in answers}}
        return super().__call__(batch, device, non_blocking, **kwargs)


def _apart(batch: Mapping[str, Any]) -> dict[str, Any]:
    """Return logits and, if there are any, features of the answers."""
    if "teacher_answers" not in batch:
        return {}
    answers, classes = batch["teacher_answers"], int(batch["teacher_classes"][0])
    parts = {"teacher_logits": answers[:, :classes], "teacher_features": answers[:, classes:]}
    return {name: part for name, part in parts.items() if part.shape[1]}
