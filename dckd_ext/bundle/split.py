"""The split that a bundle's weights were trained with."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from dckd_ext.utils.documents import read_mapping

__all__ = ["split_file_of"]

_logger = logging.getLogger(__name__)


def split_file_of(checkpoint: str, default: str) -> str:
    """Return the split file that weights were trained with, so that they are not scored on their own cases.

    A training writes a record beside its weights, ``model.json`` of ``model.pt``
    (`dckd_ext.handlers.WeightsWriter`). One of other weights does not count.

    Args:
        checkpoint: file of the weights.
        default: the split file where there is no record, as of weights that come with a bundle.
    """
    weights = Path(checkpoint)
    record = weights.with_suffix(".json")
    if not (weights.is_file() and record.is_file()):
        return default
    content = read_mapping(record)
    split = content.get("options", {}).get("split_file")
    if not split or content.get("sha256") != hashlib.sha256(weights.read_bytes()).hexdigest():
        return default
    if not Path(split).is_file():
        _logger.warning("%s names the split file %s, which is not there: %s is used", record, split, default)
        return default
    _logger.info("split: %s, as %s was trained with", split, weights)
    return str(split)
