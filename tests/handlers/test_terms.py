"""Ramps of terms over a training."""

import pytest
from ignite.engine import Engine
from monai.losses import DiceCELoss

from dckd_ext.handlers import LossProgress
from dckd_ext.losses import DistillationLoss, LogitsDistillationLoss, Term


@pytest.mark.parametrize(("epochs", "idle"), [(1, "logits"), (2, None)])
def test_terms_that_will_never_count_are_named(epochs, idle, caplog):
    loss = DistillationLoss(
        {
            "segmentation": Term(DiceCELoss(to_onehot_y=True, softmax=True)),
            "logits": Term(LogitsDistillationLoss(), ramp=[0.0, 0.1]),
            "off": Term(LogitsDistillationLoss(), weight=0, ramp=[0.0, 0.1]),
        }
    )
    engine = Engine(lambda engine, batch: None)
    LossProgress(loss).attach(engine)
    engine.run([0], max_epochs=epochs)
    said = "epochs: 1 ends before these terms begin to count: logits"
    assert (said in caplog.text) is (idle is not None)
