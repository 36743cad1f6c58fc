"""What a batch of a distillation passes on to its inferer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from monai.engines import PrepareBatchExtraInput

__all__ = ["PrepareTaughtBatch"]


class PrepareTaughtBatch(PrepareBatchExtraInput):
    """Pass on the numbers of the cases, and the teacher's answers where the batch holds them.

    They are the arguments ``case_ids``, ``teacher_logits`` and ``teacher_features`` of
    `dckd_ext.inferers.DistillationInferer`.
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
        answers = [name for name in ("teacher_logits", "teacher_features") if name in batchdata]
        self.extra_keys = {"case_ids": "case_id", **{name: name for name in answers}}
        return super().__call__(dict(batchdata), device, non_blocking, **kwargs)
