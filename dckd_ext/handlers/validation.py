"""When a training validates."""

from __future__ import annotations

from ignite.engine import Engine, Events
from monai.engines import Evaluator
from monai.handlers import ValidationHandler

__all__ = ["LastValidationHandler"]


class LastValidationHandler(ValidationHandler):
    """MONAI's ``ValidationHandler``, at the last epoch as well, whatever the interval.

    Args:
        interval: epochs between two validations.
        validator: the evaluator.
    """

    def __init__(self, interval: int, validator: Evaluator) -> None:
        super().__init__(interval, validator, epoch_level=True)

    def attach(self, engine: Engine) -> None:
        """Register at the end of the epochs whose turn it is."""

        def its_turn(engine: Engine, epoch: int) -> bool:
            return epoch % self.interval == 0 or epoch == engine.state.max_epochs

        engine.add_event_handler(Events.EPOCH_COMPLETED(event_filter=its_turn), self)
