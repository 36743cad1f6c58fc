"""From a teacher's classes to a student's, where either may be regions that overlap."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

__all__ = ["ClassMap", "plain_class_map"]


@dataclass(frozen=True)
class ClassMap:
    """Turns a teacher's logits into logits of the student's classes, by adding up probabilities.

    Exclusive classes have a softmax, regions that overlap a sigmoid each. Of exclusive classes the
    probabilities add up. Regions become exclusive classes in the order of `pairs`, where a later region wins,
    as in nnU-Net's ``regions_class_order``: a class has the probability that its region holds and none of the
    later ones does, each taken as independent of the others; background is what no region holds. A region of
    several regions holds where one of them does. The combinations are our decisions.

    Args:
        pairs: a class or region of the teacher, and those of the student that it belongs to; one, unless the
            student's are regions.
        given: number of the teacher's.
        wanted: number of the student's; class 0 is the background of exclusive ones.
        from_regions: whether the teacher's overlap.
        to_regions: whether the student's overlap.
    """

    pairs: Sequence[tuple[int, Sequence[int]]]
    given: int
    wanted: int
    from_regions: bool = False
    to_regions: bool = False

    def __call__(self, logits: Tensor) -> Tensor:
        """Return the student's logits, ``BKDHW``, from the teacher's.

        Raises:
            ValueError: if the teacher gives another number of classes.
        """
        if logits.shape[1] != self.given:
            raise ValueError(
                f"expected logits of {self.given} teacher classes, the teacher gives {logits.shape[1]}"
            )
        if self.from_regions and self.to_regions:
            return _each(self, lambda sources: _any_region(logits[:, sources]))
        if self.from_regions:
            return self._exclusive(logits)
        if self.to_regions:
            return _each(self, lambda sources: _odds(logits, sources))
        return _each(self, lambda sources: logits[:, sources].logsumexp(1, keepdim=True))

    def sources(self, target: int) -> list[int]:
        """Return the teacher's classes that belong to one of the student's."""
        return sorted(source for source, targets in self.pairs if target in targets)

    def _exclusive(self, logits: Tensor) -> Tensor:
        of_class: list[list[Tensor]] = [[] for _ in range(self.wanted)]
        left = torch.zeros_like(logits[:, :1])  # log-probability that no later region holds
        for source, (target,) in reversed(self.pairs):
            region = logits[:, [source]]
            of_class[target].append(left + logsigmoid(region))
            left = left + logsigmoid(-region)
        of_class[0].append(left)
        return torch.cat([torch.cat(parts, 1).logsumexp(1, keepdim=True) for parts in of_class], 1)


def plain_class_map(label_map: Mapping[int, int]) -> ClassMap:
    """Return the map of exclusive classes that names every teacher class; keys may be strings, as in JSON.

    Raises:
        ValueError: if the map leaves a gap in the teacher's or the student's classes.
    """
    targets = {int(teacher): int(student) for teacher, student in label_map.items()}
    classes = sorted(set(targets.values()))
    if not targets or sorted(targets) != list(range(len(targets))) or classes != list(range(len(classes))):
        raise ValueError(
            "label_map must name every teacher class and reach every student class, each numbered from 0 "
            f"without a gap, got {dict(label_map)}"
        )
    return ClassMap([(source, [target]) for source, target in targets.items()], len(targets), len(classes))


def _each(classes: ClassMap, of_sources: Callable[[list[int]], Tensor]) -> Tensor:
    return torch.cat([of_sources(classes.sources(target)) for target in range(classes.wanted)], 1)


def _any_region(regions: Tensor) -> Tensor:
    """Log-odds that one of several independent regions holds."""
    if regions.shape[1] == 1:
        return regions
    none = -logsigmoid(-regions).sum(1, keepdim=True)
    return none + (-torch.expm1(-none)).clamp(min=torch.finfo(none.dtype).tiny).log()


def _odds(logits: Tensor, sources: Sequence[int]) -> Tensor:
    """Log-odds of some exclusive classes against the others."""
    others = [index for index in range(logits.shape[1]) if index not in sources]
    return logits[:, sources].logsumexp(1, keepdim=True) - logits[:, others].logsumexp(1, keepdim=True)
