"""Lesions found and missed, false positives and the free-response curve, against the label files."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ignite.engine import Engine, Events

from dckd_ext.handlers.scores import classes_of, true_classes
from dckd_ext.metrics.froc import RATES, Froc, draw_froc, froc_curve, write_froc_csv
from dckd_ext.metrics.lesion_summary import summarise
from dckd_ext.metrics.lesions import CaseLesions, Component, score_lesions
from dckd_ext.metrics.scores import score_foreground
from dckd_ext.utils.files import written_whole
from dckd_ext.utils.tables import write_table

__all__ = ["LesionScores"]

_logger = logging.getLogger(__name__)
_VOLUME_COLUMNS = (
    *("case", "dice", "hd95", "recall", "precision", "lesion_ml", "predicted_ml"),
    *("lesions", "found", "missed", "false_positives"),
)
_LESION_COLUMNS = ("case", "lesion", "voxels", "ml", "covered", "found", "dice", "score")
_CANDIDATE_COLUMNS = ("case", "candidate", "voxels", "ml", "score", "result", "lesions")


class _Case(NamedTuple):
    volume: dict[str, Any]
    scored: CaseLesions
    has_candidates: bool


class LesionScores:
    """Score each case by lesions and as one mask of all classes above 0 (rules: `dckd_ext.metrics.lesions`).

    Prediction, label and spacing as for `CaseScores`; place it after that one, whose clock would else count
    this one's time. Written at the end of each run, over the cases of all runs since the handler was made (a
    case that is run again replaces its rows):

    - ``volumes_SPLIT.csv``: a row a case: Dice, HD95 in mm, recall and precision over voxels (empty where
      undefined), numbers of lesions, found, missed, false positives.
    - ``lesions_SPLIT.csv``: a row a true lesion. ``score`` is that of its best candidate, 0 for none.
    - ``candidates_SPLIT.csv``: a row a candidate: a connected component of the probabilities. Its ``result``
      is "found" (it covers enough of a lesion), "false positive" (it hits none) or "hits".
    - ``summary_SPLIT.json``: see `dckd_ext.metrics.summarise`, with the rules and the curve's score.
    - ``froc_SPLIT.csv`` and, with matplotlib, ``froc_SPLIT.png``: see `dckd_ext.metrics.froc`.

    Candidates and curve need the foreground's probability in the output, as made by
    `dckd_ext.transforms.ForegroundProbabilityd`; without it the rest is written, and a warning says so.

    Args:
        path: folder of the files.
        class_names: names of the classes by number, to refuse labels with others; None takes any.
        split: for the names of the files.
        probability: key of the probability in the output.
        candidate_threshold: least probability of a candidate's voxels.
        min_overlap: share of a lesion that has to be covered for it to be found, and of a component that has
            to lie in lesions for it not to be a false positive.
        min_ml: smaller components are not counted as false positives; 0 counts all.
        size_edges_ml: edges of the size bins in the summary.

    Raises:
        ValueError: for thresholds outside (0, 1); on a run, when shapes differ or the label holds a class
            without a name; the error names the file.
    """

    def __init__(
        self,
        path: str,
        class_names: Mapping[int, str] | None = None,
        split: int | str = "all",
        probability: str = "probability",
        candidate_threshold: float = 0.1,
        min_overlap: float = 0.1,
        min_ml: float = 0.0,
        size_edges_ml: Sequence[float] = (0.5, 2.0),
    ) -> None:
        for name, value in (("candidate_threshold", candidate_threshold), ("min_overlap", min_overlap)):
            if not 0 < value < 1:
                raise ValueError(f"{name} must lie between 0 and 1, found {value}")
        if not size_edges_ml or list(size_edges_ml) != sorted(size_edges_ml):
            raise ValueError(f"size_edges_ml must rise, found {list(size_edges_ml)}")
        self.folder, self.split, self.class_names = Path(path), split, class_names
        self.probability, self.candidate_threshold = probability, candidate_threshold
        self.min_overlap, self.min_ml, self.size_edges_ml = min_overlap, min_ml, size_edges_ml
        self.cases: dict[str, _Case] = {}
        self.warned: set[str] = set()

    def attach(self, engine: Engine) -> None:
        """Register on an evaluator."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._score)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _score(self, engine: Engine) -> None:
        state: Any = engine.state
        for case, output in zip(state.batch, state.output, strict=True):
            self.cases[case["case"]] = self._score_case(case["label"], output)

    def _score_case(self, path: str, output: Mapping[str, Any]) -> _Case:
        num_classes = None if self.class_names is None else len(self.class_names)
        label, spacing = true_classes(path, output["pred"], num_classes)
        prediction = classes_of(output["pred"])
        volume: dict[str, Any] = {**score_foreground(prediction, label, spacing)}
        probability = self._probability(output)
        scored = score_lesions(
            prediction, label, spacing, probability, self.candidate_threshold, self.min_overlap
        )
        found = sum(lesion.found for lesion in scored.lesions)
        volume |= {
            "lesions": len(scored.lesions),
            "found": found,
            "missed": len(scored.lesions) - found,
            "false_positives": len(self._false_positives(scored.components)),
        }
        return _Case(volume, scored, probability is not None)

    def _probability(self, output: Mapping[str, Any]) -> np.ndarray | None:
        if self.probability in output:
            return classes_of(output[self.probability])
        self._warn_once(
            f"no candidates and no free-response curve: the output has no {self.probability!r}, which "
            "dckd_ext.transforms.ForegroundProbabilityd makes (before AsDiscreted; Invertd needs its key too)"
        )
        return None

    def _warn_once(self, text: str) -> None:
        if text not in self.warned:
            _logger.warning(text)
        self.warned.add(text)

    def _false_positives(self, components: Iterable[Component]) -> list[Component]:
        return [one for one in components if one.false_positive and one.ml >= self.min_ml]

    def _write(self, engine: Engine) -> None:
        if not self.cases:
            return
        curve = self._curve()
        write_table(self._file("volumes.csv"), _VOLUME_COLUMNS, map(_text, self._volumes()))
        write_table(self._file("lesions.csv"), _LESION_COLUMNS, map(_text, self._lesions()))
        if any(case.has_candidates for case in self.cases.values()):
            write_table(self._file("candidates.csv"), _CANDIDATE_COLUMNS, map(_text, self._candidates()))
        if curve is not None:
            write_froc_csv(curve, self._file("froc.csv"))
            self._draw()
        summary = self._summary(curve)
        with written_whole(self._file("summary.json")) as beside:
            beside.write_text(json.dumps(summary, indent=4))
        _log(summary, self._file("summary.json"))

    def _file(self, name: str) -> Path:
        stem, ending = name.split(".")
        return self.folder / f"{stem}_{self.split}.{ending}"

    def _volumes(self) -> list[dict[str, Any]]:
        return [{"case": name, **case.volume} for name, case in self.cases.items()]

    def _lesions(self) -> list[dict[str, Any]]:
        return [
            {"case": name, **lesion._asdict(), "lesion": lesion.number}
            for name, case in self.cases.items()
            for lesion in case.scored.lesions
        ]

    def _candidates(self) -> list[dict[str, Any]]:
        return [
            {
                "case": name,
                **one._asdict(),
                "candidate": one.number,
                "result": "found" if one.found else "false positive" if one.false_positive else "hits",
                "lesions": " ".join(map(str, one.hits)),
            }
            for name, case in self.cases.items()
            for one in case.scored.candidates
        ]

    def _curve(self) -> Froc | None:
        if not all(case.has_candidates for case in self.cases.values()):
            return None
        cases = [case.scored for case in self.cases.values()]
        return froc_curve(
            [lesion.score for case in cases for lesion in case.lesions],
            [one.score for case in cases for one in self._false_positives(case.candidates)],
            len(cases),
        )

    def _draw(self) -> None:
        try:
            figure = draw_froc({f"{self.split}, {len(self.cases)} volumes": self._file("froc.csv")})
        except ImportError as error:
            self._warn_once(f"no picture of the curve: {error} (pip install 'dckd-ext[report]')")
            return
        if figure is not None:
            with written_whole(self._file("froc.png")) as beside:
                figure.savefig(beside, dpi=120)

    def _summary(self, curve: Froc | None) -> dict[str, Any]:
        froc = curve and {
            "score": round(curve.score, 5),
            "sensitivity_at": {f"{rate:g}": round(curve.at(rate), 5) for rate in RATES},
        }
        rules = {
            "min_overlap": self.min_overlap,
            "candidate_threshold": self.candidate_threshold,
            "min_ml_of_false_positives": self.min_ml,
            "connectivity": 26,
        }
        return {
            **summarise(self._volumes(), self._lesions(), self.size_edges_ml),
            "froc": froc,
            "rules": rules,
        }


def _text(row: Mapping[str, Any]) -> dict[str, Any]:
    """Write a row for a CSV file: five decimals, nothing for NaN, 1 and 0 for yes and no."""
    texts = {}
    for name, value in row.items():
        if isinstance(value, bool | np.bool_):
            value = int(value)
        elif isinstance(value, float):
            value = "" if np.isnan(value) else round(value, 5)
        texts[name] = value
    return texts


def _log(summary: Mapping[str, Any], path: Path) -> None:
    lesions = summary["lesions"]
    _logger.info(
        "%d cases: Dice mean %s, median %s; when found %s (%d cases); %d of %d lesions found; "
        "%s false positives a volume; %d cases with an empty prediction; all: %s",
        summary["cases"],
        summary["dice"]["mean"],
        summary["dice"]["median"],
        summary["dice_when_found"]["mean"],
        summary["cases_with_a_lesion_found"],
        lesions["found"],
        lesions["number"],
        summary["false_positives_per_volume"],
        summary["cases_with_empty_prediction"],
        path,
    )
