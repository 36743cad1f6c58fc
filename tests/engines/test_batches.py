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
    assert named == {"case_ids": [3, 4], "cases": ["a", "b"], **{name: batch[name] for name in answers}}


@pytest.mark.parametrize("features", [0, 5])
def test_takes_stored_answers_apart(features: int):
    answers = torch.rand(2, 3 + features, 3, 3, 3)
    batch = {"image": torch.rand(2, 1, 3, 3, 3), "label": torch.rand(2, 1, 3, 3, 3), "case_id": [3, 4]}
    batch |= {"teacher_answers": answers, "teacher_classes": torch.tensor([3, 3])}
    *_, named = PrepareTaughtBatch()(batch)
    assert named["teacher_logits"].equal(answers[:, :3])
    if features:
        assert named["teacher_features"].equal(answers[:, 3:])
    else:
        assert set(named) == {"case_ids", "teacher_logits"}
