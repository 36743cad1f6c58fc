"""Handlers that name a metric which their engine does not compute."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from monai.bundle import ConfigComponent, ConfigExpression

from dckd_ext.lint.config import Config, Finding, join, nearest, walk
from dckd_ext.lint.expressions import parse, references

__all__ = ["absent_metrics"]

_METRICS = ("key_train_metric", "key_val_metric", "key_metric", "additional_metrics")
_HANDLERS = ("train_handlers", "val_handlers", "handlers")
_NAMING = ("key_metric_name", "score_name", "metric_name", "metrics", "metric_details")


def absent_metrics(config: Config) -> Iterator[Finding]:
    """Find metric names of handlers that their engine's key and additional metrics do not define.

    Names are arguments of MONAI's `CheckpointSaver` and `MetricsSaver` and of ignite's `Checkpoint`, that of
    `stopping_fn_from_metric(...)`, and `metrics['...']` in expressions. An engine whose metrics an expression
    makes is left out.
    """
    for at, node in config.items():
        if not ConfigComponent.is_instantiable(node) or not any(key in node for key in _HANDLERS):
            continue
        defined = _defined(config, at, node)
        if defined is None:
            continue
        for handler_id, handler in _handlers(config, at, node):
            for place, name in _named(handler_id, handler):
                if name not in defined:
                    text = f"names the metric {name!r}, which the engine does not compute"
                    yield config.finding(place, text, nearest(name, sorted(defined)))


def _defined(config: Config, at: str, engine: dict[str, Any]) -> set[str] | None:
    """Names of an engine's metrics; None if they are known only when the config is run."""
    names: set[str] = set()
    for key in _METRICS:
        _, metrics = config.definition(join(at, key))
        if metrics is None:
            continue
        if not isinstance(metrics, dict) or ConfigComponent.is_instantiable(metrics):
            return None
        names |= {str(name) for name in metrics}
    return names


def _handlers(config: Config, at: str, engine: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Collect the handlers of an engine, also where an expression puts several lists together."""
    for key in _HANDLERS:
        if key not in engine:
            continue
        place, value = config.definition(join(at, key))
        lists = references(place, value) if ConfigExpression.is_expression(value) else [place]
        for list_id in lists:
            list_id, items = config.definition(list_id)
            for index in range(len(items) if isinstance(items, list) else 0):
                handler_id, handler = config.definition(join(list_id, str(index)))
                if ConfigComponent.is_instantiable(handler):
                    yield handler_id, handler


def _named(at: str, handler: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for key in _NAMING:
        value = handler.get(key)
        for name in value if isinstance(value, list) else [value]:
            if isinstance(name, str) and name[:1] not in ("@", "$", "%", "*"):
                yield join(at, key), name
    for place, text in walk(at, handler):
        if ConfigExpression.is_expression(text):
            try:
                yield from ((place, name) for name in _in_expression(parse(place, text)))
            except SyntaxError:
                continue  # reported where texts are checked


def _in_expression(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Name(id=called) | ast.Attribute(attr=called), args=[ast.Constant(value=str(name))]
            ):
                if called == "stopping_fn_from_metric":
                    yield name
            case ast.Subscript(value=ast.Attribute(attr="metrics"), slice=ast.Constant(value=str(name))):
                yield name
