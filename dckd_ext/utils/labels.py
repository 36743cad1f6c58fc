"""How a volume without a label is marked."""

from __future__ import annotations

__all__ = ["UNLABELLED"]

UNLABELLED = 255  # fills the label of a volume without one; fits into uint8, and no class has it
