"""One composite of named, weighted and ramped terms, for plain and distilled training alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from monai.data import MetaTensor
from torch import Tensor, nn

from dckd_ext.inferers.distillation import DistillationOutput
from dckd_ext.losses.precision import in_float32
from dckd_ext.losses.sampler import PairSampler
from dckd_ext.losses.unlabelled import confident_classes, labelled_samples

__all__ = ["DistillationLoss", "Term"]

INPUTS = ("logits", "label", "classes", "teacher_logits", "features", "teacher_features", "pairs")


@dataclass(frozen=True)
class Term:
    """One term of a composite loss.

    Args:
        loss: a module that takes the inputs in order and returns a scalar.
        weight: its weight after the ramp; a term of weight 0 is switched off.
        ramp: fractions of the training between which the weight rises linearly from 0, or None.
        inputs: what the loss is called with, from "logits", "label", "classes", "teacher_logits",
            "features", "teacher_features" and "pairs". Default: the loss's own ``inputs``, else logits and
            label, which is what MONAI's losses take. A term that takes the label is computed on the samples
            that have one; "classes" are the label or, of a sample without one, the teacher's confident
            classes.

    Raises:
        ValueError: when weight, ramp or inputs are out of range.
    """

    loss: nn.Module
    weight: float = 1.0
    ramp: Sequence[float] | None = None
    inputs: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if not self.weight >= 0:
            raise ValueError(f"The weight of a term must not be negative, got {self.weight}")
        if self.ramp is not None and not (len(self.ramp) == 2 and 0 <= self.ramp[0] <= self.ramp[1] <= 1):
            raise ValueError(f"A ramp must be (start, end) with 0 <= start <= end <= 1, got {self.ramp}")
        if unknown := [name for name in self.input_names if name not in INPUTS]:
            raise ValueError(f"Unknown inputs {unknown} of a term: choose from {list(INPUTS)}")

    @property
    def input_names(self) -> Sequence[str]:
        """Names of what the loss is called with."""
        if self.inputs is not None:
            return self.inputs
        return getattr(self.loss, "inputs", ("logits", "label"))

    def weight_at(self, progress: float) -> float:
        """Return the weight after a fraction of the training."""
        if self.ramp is None:
            return self.weight
        start, end = self.ramp
        if progress >= end:
            return self.weight
        return self.weight * (progress - start) / (end - start) if progress > start else 0.0


class DistillationLoss(nn.Module):
    """The weighted sum of named terms, in float32 whatever the networks ran in.

    That segmentation, contrastive and ranking terms are added up follows from the abstract; weights, ramps
    and further terms are our decisions. Trainable projectors and the bank are part of this module: give its
    parameters to the optimiser and its state dict to the resume checkpoint.

    Args:
        terms: the terms by name; None in the place of one leaves it out, as an overlay of a config may.
        pairs: draws the pairs for the terms that take them. It runs at every step, also while these terms
            ramp up from 0, so that the bank fills and all ranks stay in step under DDP.
        min_confidence: least probability of the teacher's class for it to stand for a label that there is
            not; voxels below it have no class. 0: all have one, as hard pseudo labels.

    Attributes:
        progress: fraction of the training that is done, in [0, 1], for the ramps; a handler sets it.
        values: after a forward pass the unweighted value of every computed term, and "total". In a step
            without a labelled sample the terms that take the label are left out.

    Raises:
        ValueError: when there is no term, a term takes pairs and there is no sampler, or the confidence is
            not in [0, 1].

    Examples:
        >>> import torch
        >>> from monai.losses import DiceCELoss
        >>> loss = DistillationLoss({"segmentation": Term(DiceCELoss(to_onehot_y=True, softmax=True))})
        >>> value = loss(torch.rand(1, 2, 8, 8, 8), torch.ones(1, 1, 8, 8, 8))
        >>> list(loss.values)
        ['segmentation', 'total']
    """

    def __init__(
        self,
        terms: Mapping[str, Term | None],
        pairs: PairSampler | None = None,
        min_confidence: float = 0.9,
    ) -> None:
        super().__init__()
        if not 0 <= min_confidence <= 1:
            raise ValueError(f"min_confidence must be in [0, 1], got {min_confidence}")
        self.min_confidence = min_confidence
        self.terms = {name: term for name, term in terms.items() if term is not None}
        if not self.terms:
            raise ValueError("A distillation loss needs at least one term")
        self.losses = nn.ModuleDict({name: term.loss for name, term in self.terms.items()})
        self.pairs = pairs
        self.progress = 0.0
        self.values: dict[str, Tensor] = {}
        for name, term in self._active().items():
            if "pairs" in term.input_names and pairs is None:
                raise ValueError(
                    f"Term {name!r} takes pairs, but the loss was given no pair sampler: "
                    "the teacher gives no features, or loss_def#pairs is null"
                )

    @in_float32
    def forward(self, output: DistillationOutput | Tensor, label: Tensor) -> Tensor:
        """Return the total as a scalar.

        Args:
            output: of a DistillationInferer; bare logits ``BCDHW`` will do where no term needs more.
            label: class of each voxel, ``B1DHW``; that of a sample without one is filled with `UNLABELLED`.

        Raises:
            ValueError: when the output lacks what a term takes; the message names the term.
        """
        given = _given(output, label)
        if "teacher_logits" in given:
            given["classes"] = confident_classes(given["label"], given["teacher_logits"], self.min_confidence)
        self._check(given)
        labelled = labelled_samples(given["label"])
        total = given["logits"][:0].sum()  # attached to the graph, also while all terms ramp up from 0
        values = {}
        if self.pairs is not None and self._take_pairs():
            output = DistillationOutput(*(given[key] for key in DistillationOutput._fields))
            pairs = self.pairs(output, given["classes"])
            given["pairs"] = pairs if isinstance(pairs, list) else [pairs]
            total = total + sum(each.zero for each in given["pairs"])
        for name, term in self._active().items():
            weight = term.weight_at(self.progress)
            if weight > 0 and ("label" not in term.input_names or labelled.any()):
                value = _mean_over_taps(self.losses[name], term, given, labelled)
                values[name] = value.detach()
                total = total + weight * value
        self.values = {**values, "total": total.detach()}
        return total

    @property
    def takes_features(self) -> bool:
        """Whether a term takes features, so that taps are needed."""
        names = {name for term in self._active().values() for name in term.input_names}
        return bool(names & {"features", "teacher_features", "pairs"})

    def _active(self) -> dict[str, Term]:
        return {name: term for name, term in self.terms.items() if term.weight > 0}

    def _take_pairs(self) -> bool:
        return any("pairs" in term.input_names for term in self._active().values())

    def _check(self, given: Mapping[str, Any]) -> None:
        for name, term in self._active().items():
            needed = {*term.input_names} - {"pairs"}
            if "pairs" in term.input_names:
                needed |= {*DistillationOutput._fields}
            if missing := sorted(needed - given.keys()):
                raise ValueError(
                    f"Term {name!r} takes {missing}, but there is only {sorted(given)}: a "
                    "DistillationInferer adds the teacher's logits, and features where its taps are set"
                )


def _mean_over_taps(loss: nn.Module, term: Term, given: Mapping[str, Any], labelled: Tensor) -> Tensor:
    """Compute a term, from the pairs of each tap if it takes pairs; losses on maps take lists of these."""
    if "pairs" not in term.input_names:
        return loss(*_inputs(term, given, labelled))
    values = [loss(*_inputs(term, {**given, "pairs": pairs}, labelled)) for pairs in given["pairs"]]
    return torch.stack(values).mean() if len(values) > 1 else values[0]


def _inputs(term: Term, given: Mapping[str, Any], labelled: Tensor) -> list[Any]:
    """Collect what a term takes; of the samples with a label alone, if it takes that."""
    inputs = [given[key] for key in term.input_names]
    if "label" in term.input_names and not labelled.all():
        return [_each(maps, lambda volume: volume[labelled]) for maps in inputs]
    return inputs


def _each(maps: Any, function: Callable[[Any], Any]) -> Any:
    """Apply a function to a map, or to each of a list of them."""
    return [function(each) for each in maps] if isinstance(maps, list) else function(maps)


def _given(output: DistillationOutput | Tensor, label: Tensor) -> dict[str, Any]:
    """Name what there is, as plain tensors."""
    named = output._asdict() if isinstance(output, DistillationOutput) else {"logits": output}
    return {
        key: _each(value, lambda volume: volume.as_tensor() if isinstance(volume, MetaTensor) else volume)
        for key, value in {**named, "label": label}.items()
        if value is not None
    }
