"""What decides over a run's result, as digests to compare: its settings and its teacher's weights."""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from monai.bundle import ConfigExpression, ConfigParser, ReferenceResolver

from dckd_ext.lint.expressions import parse
from dckd_ext.study.plan import RunSpec, Study

__all__ = ["UNPROVED", "canonical", "run_digests", "settings"]

UNPROVED = "unproved"  # in the place of a teacher's digest: the line's ``config`` is of an older rule
_REFERENCE = re.compile(rf"{ReferenceResolver._vars}\['(.*?)'\]")  # @id, as MONAI has it in an expression
_CLASS = re.compile(r"(?:[a-z_]\w*\.)+[A-Z]\w*")  # package.module.Name


def run_digests(study: Study) -> dict[str, dict[str, str]]:
    """Digest all that decides over the results of a study's runs but the code and the data.

    Returns:
        For the name of each run ``config``, the digest of its `settings`, and ``teacher``, that of its
        teacher's weights: empty for a bundle that has none yet, absent for a file that the study names and
        that is not there.
    """

    @cache
    def teacher(fold: int) -> dict[str, str]:
        named = study.teacher_weights.get(fold)
        weights = named or study.teacher / "models" / "model.pt"
        if weights.is_file():
            return {"teacher": _digest(weights.read_bytes())}
        return {} if named else {"teacher": ""}

    @cache
    def configs(student: str, arm: str) -> dict[str, Any]:
        return _configs(study, student, arm)

    return {
        spec.name: {
            "config": _digest(
                json.dumps(configs(spec.student, spec.arm) | _plan(study, spec), sort_keys=True).encode()
            ),
            **teacher(spec.fold),
        }
        for spec in study.runs()
    }


def settings(study: Study, spec: RunSpec) -> dict[str, Any]:
    """Return what ``config`` digests: the merged configs of training and evaluation, and the study's plan.

    It counts what these say, key by key, with the classes and functions that they name: not comments, the
    order of keys, the spaces in an expression, the modules that hold a name, nor terms of the loss that
    the arm switches off. A key of another name is another configuration, even if it means the same.
    """
    return _configs(study, spec.student, spec.arm) | _plan(study, spec)


def canonical(content: Any, at: str = "") -> Any:
    """Return a config with every class and function by its own name, without the modules that it is in.

    Args:
        content: of a config.
        at: its id.

    Examples:
        >>> canonical({"_target_": "monai.losses.DiceLoss", "batch": True})
        {'_target_': 'DiceLoss', 'batch': True}
        >>> canonical("$torch.device( 'cpu' )"), canonical("$@network.to(@device)")
        ("$device('cpu')", '$@network.to(@device)')
    """
    if isinstance(content, Mapping):
        return {key: canonical(value, f"{at}::{key}".lstrip(":")) for key, value in content.items()}
    if isinstance(content, list):
        return [canonical(value, f"{at}::{number}") for number, value in enumerate(content)]
    if not isinstance(content, str):
        return content
    if ConfigExpression.is_expression(content):
        return _short_expression(content, at)
    if at.endswith("_target_") or _CLASS.fullmatch(content):
        return content.rpartition(".")[2]
    return ReferenceResolver.normalize_id(content) if content.startswith("@") else content


def _short_expression(text: str, at: str) -> str:
    try:
        tree = parse(at, text)
    except SyntaxError:
        return text
    nodes = list(ast.walk(tree))
    bound = {node.arg for node in nodes if isinstance(node, ast.arg)}
    bound |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return "$" + _REFERENCE.sub(r"@\1", ast.unparse(_WithoutModules(bound).visit(tree)))


class _WithoutModules(ast.NodeTransformer):
    """Turns ``package.module.name`` into ``name``, unless the package is a variable of the expression."""

    def __init__(self, bound: set[str]) -> None:
        self.bound = bound

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        root: ast.AST = node
        while isinstance(root, ast.Attribute):
            root = root.value
        if isinstance(root, ast.Name) and root.id not in self.bound:
            return ast.Name(node.attr, ast.Load())
        return self.generic_visit(node)


def _configs(study: Study, student: str, name: str) -> dict[str, Any]:
    arm, configs = study.arms[name], study.students[student] / "configs"
    training = [study.workflow / "configs" / "train.yaml", *arm.overlays]
    evaluation = [configs / "inference.yaml", configs / "evaluate.yaml"]
    return {
        "training": _merged(training, {**study.options, **arm.options}),
        "evaluation": _merged(evaluation, study.evaluate),
    }


def _plan(study: Study, spec: RunSpec) -> dict[str, Any]:
    return {
        "seed": spec.seed,
        "fold": spec.fold,
        "held_out": list(study.held_out),
        "train_cases": study.train_cases,
        "draws": study.draws,
        **({"split": _digest(study.split_file.read_bytes())} if study.split_file else {}),
    }


def _merged(files: Sequence[Path], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what config files and options over them say, without the terms of the loss that are off."""
    parser = ConfigParser()
    parser.read_config([str(file) for file in files])
    parser.update(dict(options))
    if parser.get("autocast") == "auto":  # the same run, whatever the processor
        parser["autocast"] = "bfloat16"
    config = dict(parser.get())
    config.pop("imports", None)
    terms = config.get("loss_def", {}).get("terms", {})
    for name in [name for name, term in terms.items() if term is None or term.get("weight") == 0]:
        del terms[name]
    for transform in config.get("postprocessing", {}).get("transforms", []):
        transform.pop("segmentation", None)  # words in a DICOM SEG: no score depends on them
    return dict(canonical(config))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]
