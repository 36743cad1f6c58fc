"""Several teachers as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

__all__ = ["Ensemble"]


class Ensemble(nn.Module):
    """Average the probabilities of several teachers, optionally over mirrored axes.

    Soft labels from an ensemble as in Noothout et al. (J. Med. Imaging 9(5), 2022). Features cannot be
    averaged, since channels of different networks mean different things: a tap records those of one member
    (`tapped`), another one after each call; `AnswerStore` keeps those of one member a case (our decision).

    Args:
        members: trained teachers with the same classes.
        mirrored_axes: spatial axes, 0 to 2, along which the image is mirrored as well; each member then
            answers to every combination of them.

    Attributes:
        of_case: the teacher that answers a case, by its name, where not all may; the inferer asks that one.

    Raises:
        ValueError: when there is no member, or an axis is none of 0, 1 and 2.
    """

    def __init__(self, members: Sequence[nn.Module], mirrored_axes: Sequence[int] = ()) -> None:
        super().__init__()
        if not members:
            raise ValueError("an ensemble needs at least one teacher")
        if unknown := sorted({*mirrored_axes} - {0, 1, 2}):
            raise ValueError(f"mirrored_axes must be among 0, 1 and 2, found {unknown}")
        self.members = nn.ModuleList(members)
        self.flips = _combinations(sorted({*mirrored_axes}))
        self.turn = 0
        self.of_case: Callable[[str], nn.Module] | None = None
        self.regions = any(getattr(member, "regions", False) for member in members)
        self.requires_grad_(False).train(False)

    @property
    def tapped(self) -> nn.Module:
        """The member whose features a tap records at the next call."""
        return self.members[self.turn]

    def train(self, mode: bool = True) -> Ensemble:
        """Stay in eval mode, whatever `mode` says."""
        return super().train(False)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits of the mean probabilities, ``BKDHW``, for an image ``BCDHW``."""
        answers = []
        for member in self.members:
            for flip in self.flips:  # none of the axes comes last: what a tap records is not mirrored
                answers.append(member(image.flip(flip)).flip(flip))
        self.turn = (self.turn + 1) % len(self.members)
        logits = torch.stack(answers)
        if self.regions:  # each holds or not
            return logsigmoid(logits).logsumexp(0) - logsigmoid(-logits).logsumexp(0)
        return logits.log_softmax(2).logsumexp(0).log_softmax(1)


def _combinations(axes: Sequence[int]) -> list[tuple[int, ...]]:
    """All sets of these axes of a volume ``BCDHW``, the empty one last."""
    sets: list[tuple[int, ...]] = [()]
    for axis in axes:
        sets = [(*each, axis + 2) for each in sets] + sets
    return sets
