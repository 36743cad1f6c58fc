from __future__ import annotations

import pytest
import torch

from dckd_ext.engines import PrepareTaughtBatch


@pytest.mark.parametrize("answers", [(), ("teacher_logits",), ("teacher_logits", "teacher_features")])
def test_passes_on_what_the_batch_holds(answers: tuple[str, ...]):
    batch = {name: torch.rand(2, 1, 3, 3, 3) for name in ("image", "label", *answers)}
    image, label, positional, named = PrepareTaughtBatch()({**batch, "case_id": [3, 4], "case": ["a", "b"]})
    assert image is batch["image"]
    assert label is batch["label"]
    assert positional == ()
    assert named == {"case_ids": [3, 4], **{name: batch[name] for name in answers}}
