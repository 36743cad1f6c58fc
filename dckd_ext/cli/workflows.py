"""What the commands that run a bundle's own workflow share: its files, its options, and MONAI's call."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["WORKFLOWS", "bundle_options", "read_options", "run_workflow"]

WORKFLOWS: Mapping[str, Sequence[str]] = {
    "train": ("train",),
    "distil": ("train",),
    "evaluate": ("inference", "evaluate"),
    "segment": ("inference",),
}
"""The config files that a command merges, by the command."""

_RUN_IDS = {"train": "training", "distil": "training", "evaluate": "evaluating", "segment": "run"}
_COMMENT = re.compile(r"^(\w+):.*?\s#\s+(.*)$", re.MULTILINE)


def run_workflow(command: str, bundle: str, options: Mapping[str, Any], overlays: Sequence[str] = ()) -> None:
    """Run a workflow of a bundle as `python -m monai.bundle run` does, after this has been printed.

    Args:
        command: of `WORKFLOWS`.
        bundle: folder of the bundle.
        options: values of its config, by id.
        overlays: config files over the bundle's own, by their names in its configs or by path.

    Raises:
        FileNotFoundError: if the bundle lacks a file.
        ValueError: before anything runs, if an option is none of the config; and what the workflow refuses.
    """
    from monai.bundle import create_workflow

    from dckd_ext.bundle.config import importable

    root, files, config = _checked(command, bundle, options, overlays)
    run_id = _RUN_IDS[command] if _RUN_IDS[command] in config else "run"
    given = {"bundle_root": str(root), **options}
    print(_typed(run_id, files, given), flush=True)
    with importable(root):
        workflow = create_workflow(
            config_file=[str(file) for file in files], workflow_type="train", run_id=run_id, **given
        )
        workflow.run()
        workflow.finalize()


def read_options(
    command: str, bundle: str, options: Mapping[str, Any], overlays: Sequence[str], names: Sequence[str]
) -> dict[str, Any]:
    """Return what the configs of a command say for some of their keys, with these options given.

    Raises:
        FileNotFoundError: if the bundle lacks a file.
        ValueError: if an option, or one of the names, is none of the config.
    """
    from monai.bundle import ConfigParser

    from dckd_ext.bundle.config import importable

    root, files, _ = _checked(command, bundle, {**dict.fromkeys(names), **options}, overlays)
    parser = ConfigParser()
    parser.read_config([str(file) for file in files])
    parser.update({"bundle_root": str(root), **options})
    with importable(root):
        return {name: parser.get_parsed_content(name) for name in names}


def bundle_options(words: Sequence[str]) -> str:
    """Describe what the config at the top of a command line's bundle lets one set, for its help.

    The options of a config are its first keys, up to the first component. Nothing is evaluated, and neither
    torch nor monai is loaded.

    Args:
        words: of the command line, such as ``train BUNDLE --help``.

    Returns:
        A table in Markdown; a sentence where no word is a bundle; nothing for other commands.
    """
    if not words or words[0] not in WORKFLOWS or not {"--help", "-h"} & set(words):
        return ""
    try:
        root = next(Path(word) for word in words[1:] if (Path(word) / "configs").is_dir())
        files = _config_files(root, words[0])
    except (StopIteration, FileNotFoundError):
        return f"`dckd {words[0]} BUNDLE --help` lists the options of a bundle."
    rows = {name: row for file in files for name, *row in _first_keys(file)}
    lines = [f"| --{name} | {default} | {text} |" for name, (default, text) in rows.items()]
    names = " and ".join(file.name for file in files)
    return "\n".join([f"Options of {names}:\n", "| option | default | |", "| --- | --- | --- |", *lines])


def _checked(
    command: str, bundle: str, options: Mapping[str, Any], overlays: Sequence[str]
) -> tuple[Path, list[Path], Any]:
    """Return root, files and config of a command's bundle, if it has all the options."""
    from dckd_ext.bundle.config import bundle_root
    from dckd_ext.lint.config import Config

    root = bundle_root(bundle)
    files = [*_config_files(root, command), *(_overlay(root, name) for name in overlays)]
    config = Config(root, files, options)
    if config.unknown:
        raise ValueError(_unknown(config.unknown[0], files, list(config.top())))
    return root, files, config


def _config_files(root: Path, command: str) -> list[Path]:
    files = []
    for name in WORKFLOWS[command]:
        found = [root / "configs" / f"{name}.{suffix}" for suffix in ("yaml", "json", "yml")]
        try:
            files.append(next(file for file in found if file.is_file()))
        except StopIteration:
            raise FileNotFoundError(
                f"{root} has no configs/{name}.yaml or .json, which dckd {command} runs"
            ) from None
    return files


def _overlay(root: Path, name: str) -> Path:
    for file in (root / "configs" / name, Path(name)):
        if file.is_file():
            return file.resolve()
    raise FileNotFoundError(f"overlay: found {name!r}, expected a file in {root / 'configs'} or a path")


def _unknown(option: str, files: Sequence[Path], known: Sequence[str]) -> str:
    import difflib

    option = option.replace("::", "#")
    close = difflib.get_close_matches(option, known, n=1)
    hint = f", did you mean --{close[0]}?" if close else ""
    return f"unknown option --{option}: no key of {', '.join(map(str, files))}{hint}"


def _typed(run_id: str, files: Sequence[Path], options: Mapping[str, Any]) -> str:
    """Return the command for MONAI's own command line."""
    configs = repr([str(file) for file in files]) if len(files) > 1 else str(files[0])
    words = ["python", "-m", "monai.bundle", "run", *([run_id] if run_id != "run" else [])]
    words += ["--config_file", configs]
    for name, value in options.items():
        words += [f"--{name}", value if isinstance(value, str) else repr(value)]
    return " ".join(
        f'"{word}"' if "'" in word and not set(word) & set('"$`\\!') else shlex.quote(word) for word in words
    )


def _first_keys(file: Path) -> Iterator[tuple[str, str, str]]:
    """Yield name, value and comment of the keys before the first component."""
    import yaml

    text = file.read_text(encoding="utf-8")
    comments = dict(_COMMENT.findall(text))
    for name, value in yaml.safe_load(text).items():
        if isinstance(value, dict) or "#" in name:
            return
        if name not in ("imports", "bundle_root"):
            default = value if isinstance(value, str) else json.dumps(value)
            yield name, _cell(default), _cell(comments.get(name, ""))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
