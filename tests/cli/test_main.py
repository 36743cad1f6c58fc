"""The command line as a whole: what it lists, loads, refuses and reads, and where the extras are missing."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from importlib import import_module
from inspect import getdoc
from keyword import iskeyword
from pathlib import Path
from typing import Any

import pytest

from dckd_ext import __version__
from dckd_ext.cli import _EXTRAS, COMMANDS, command_line, main
from dckd_ext.cli.workflows import WORKFLOWS

ROOT = Path(__file__).parents[2]
TEACHER = ROOT / "docs" / "results" / "hippocampus" / "teacher"
HEAVY = ("torch", "monai", "scipy", "numpy", "nibabel", "onnxruntime", "openvino")
LEAST = {
    "import": ["nnunet", "DIR", "--out", "OUT"],
    "fetch": ["NAME"],
    "folds": ["BUNDLE", "--out", "DIR"],
    "pack": ["BUNDLE", "--out", "DIR"],
    "predict": ["BUNDLE", "IN", "--out", "DIR"],
    "report": ["NAME=RUN"],
    "segment": ["BUNDLE", "IN", "--out", "DIR"],
}
FRONTS = ("lint", "folds", *WORKFLOWS)  # they take whatever a config has


def run(*arguments: str, missing: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, where some modules are not installed."""
    code = f"import runpy, sys; sys.modules.update(dict.fromkeys({list(missing)}))\n"
    code += "runpy.run_module('dckd_ext', run_name='__main__')"
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)


def stopped(monkeypatch: pytest.MonkeyPatch, *words: str) -> Any:
    """Run the command line here; the code or the text that it ends with."""
    monkeypatch.setattr(sys, "argv", ["dckd", *words])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code


def function(name: str) -> Any:
    own = f"{name}_" if iskeyword(name) else name
    return getattr(import_module(f"dckd_ext.cli.{own}"), own)


def parsed(line: str) -> tuple[str, dict[str, Any]]:
    """Read a command line without running it: the command, and its arguments by name."""
    command, bound, _ = command_line().parse_args(shlex.split(line), print_error=False, exit_on_error=False)
    return command.__name__.rstrip("_"), bound.arguments


def test_describing_and_refusing_loads_nothing_heavy():
    """Of all commands in one process, where anything heavy cannot be imported."""
    lines = [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)]
    lines += [[name, *LEAST.get(name, ["FILE"]), "--zzz", "cpu"] for name in COMMANDS if name not in FRONTS]
    code = f"""
import sys
sys.modules.update(dict.fromkeys({HEAVY}))
from dckd_ext.cli import main
for words in {lines}:
    sys.argv = ["dckd", *words]
    try:
        main()
        print("code 0")
    except SystemExit as end:
        print("code", end.code)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    codes = re.findall(r"^code (.+)$", found.stdout, re.MULTILINE)
    assert codes == ["0"] * (2 + len(COMMANDS)) + ["2"] * (len(COMMANDS) - len(FRONTS))
    assert found.stderr == "dckd: Unknown option: --zzz\n" * (len(COMMANDS) - len(FRONTS))


def test_help_lists_all_commands(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setattr(sys, "argv", ["dckd", "--help"])
    main()
    listed = capsys.readouterr().out
    for name in COMMANDS:
        first_line = function(name).__doc__.splitlines()[0]
        assert re.search(rf"\b{name} +{re.escape(first_line)}", listed)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_describes_every_argument(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setattr(sys, "argv", ["dckd", name, "--help"])
    main()
    shown = capsys.readouterr().out
    described = dict(re.findall(r"^    ([a-z_]+): ([\w ]+)", getdoc(function(name)), re.MULTILINE))
    assert described.keys() == function(name).__annotations__.keys() - {"return"}
    for argument, text in described.items():
        written = "KEYWORD" if argument in ("overrides", "options") else rf"--{argument}|{argument.upper()}"
        assert re.search(rf"({written}).*{re.escape(text)}", shown)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("study FILE --dataset-dri DIR", "Unknown option: --dataset-dri. Did you mean --dataset_dir?"),
        ("stduy FILE", 'Unknown command "stduy". Did you mean "study"?'),
        ("predict BUNDLE IN", "--out"),
        ("phantom DIR --count many", "Invalid value for --count: found 'many', expected a whole number"),
        ("study FILE --jobs 1.5", "Invalid value for --jobs: "),
        ("check DIR --classes 2.0", "Invalid value for --classes: "),
        ("phantom DIR --lesions 1.5", "Invalid value for --lesions: "),
        ("phantom DIR --shape 64,64,big", "Invalid value for --shape: "),
        ("check DIR OTHER", "OTHER"),
        ("lint BUNDLE --trainer.epochs 3", "--trainer.epochs: a key of a config has no dot"),
    ],
)
def test_a_wrong_command_line_is_one_line(
    line: str, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert stopped(monkeypatch, *shlex.split(line)) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert re.fullmatch(rf"dckd: .*{re.escape(text)}.*(?<!\.)\n", shown.err)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("check a#b", "dataset_dir a#b has neither dataset.json"),
        ("check 20240101", "dataset_dir 20240101 has neither dataset.json"),
        ("check DIR --classes 1", "classes: found 1, expected at least 2"),
        ("check DIR --channels 0", "channels: found 0, expected a whole number above 0"),
        ("study FILE --jobs 0", "jobs: found 0, expected a whole number above 0"),
    ],
)
def test_what_a_command_refuses_is_named(line: str, text: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.argv", ["dckd", *shlex.split(line)])
    with pytest.raises(SystemExit, match=f"^dckd: {text}"):
        main()


def test_what_a_config_raises_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """MONAI wraps it in an error of its own, about its debugger."""
    configs = tmp_path / "bundle" / "configs"
    configs.mkdir(parents=True)
    (configs / "metadata.json").write_text("{}")
    network = {"_target_": "dckd_ext.networks.HRNet3D", "in_channels": 1, "out_channels": 2, "stem_stride": 3}
    (configs / "inference.json").write_text(json.dumps({"network_def": network}))
    monkeypatch.setattr("sys.argv", ["dckd", "taps", str(tmp_path / "bundle"), "--roi_size", "16"])
    with pytest.raises(SystemExit, match=r"^dckd: .*stem_stride must be 1 or 2, got 3$"):
        main()


def test_version_of_the_module():
    found = run("--version")
    assert (found.returncode, found.stdout, found.stderr) == (0, f"{__version__}\n", "")


@pytest.mark.parametrize("sizes", ["16,24,16", "[16,24,16]", "[16, 24, 16]", "(16,24,16)"])
@pytest.mark.parametrize("written", ["--roi_size '{}'", "--roi_size='{}'", "--roi-size '{}'"])
def test_numbers_are_written_in_several_ways(sizes: str, written: str):
    name, arguments = parsed(f"taps BUNDLE {written.format(sizes)}")
    assert (name, arguments) == ("taps", {"bundle": "BUNDLE", "roi_size": (16, 24, 16)})


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("taps BUNDLE --roi_size 16", {"bundle": "BUNDLE", "roi_size": (16,)}),
        ("phantom --out DIR --lesions None", {"out": "DIR", "lesions": None}),
        ("phantom DIR --lesion_ml 0.5,6", {"out": "DIR", "lesion_ml": (0.5, 6.0)}),
        ("report a=b c=d,e --compare a-c,c-a", {"runs": ("a=b", "c=d,e"), "compare": ("a-c", "c-a")}),
        ("fetch NAME --version 0.1.0 --force", {"name": "NAME", "version": "0.1.0", "force": True}),
        ("fetch NAME --force=false", {"name": "NAME", "force": False}),
        ("study FILE --devices cuda:0,cuda:1", {"file": "FILE", "devices": ("cuda:0", "cuda:1")}),
        ("pack 01 02 --out 03", {"bundles": ("01", "02"), "out": "03"}),  # folders, not numbers
        (
            "predict BUNDLE IN IN2 --out DIR --overlap 0.25",
            {"model": "BUNDLE", "inputs": ("IN", "IN2"), "out": "DIR", "overlap": 0.25},
        ),
        (
            "lint BUNDLE --config_file \"['a.yaml','b.yaml']\" --epochs 5 --train#trainer#max_epochs=3",
            {
                "bundles": ("BUNDLE",),
                "config_file": ("a.yaml", "b.yaml"),
                "overrides": {"epochs": 5, "train#trainer#max_epochs": 3},
            },
        ),
        (
            "lint BUNDLE --trust --config_file a.yaml,b.yaml --size '[1,2]' --path '$@a' --on true",
            {
                "bundles": ("BUNDLE",),
                "config_file": ("a.yaml", "b.yaml"),
                "trust": True,
                "overrides": {"size": [1, 2], "path": "$@a", "on": "true"},
            },
        ),
    ],
)
def test_values(line: str, expected: dict[str, Any]):
    assert parsed(line)[1] == expected


def documented() -> list[str]:
    """Command lines in the documentation: of code blocks and scripts, and those with options in the text."""
    files = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("bundles/*/docs/README.md")]
    scripts = [*ROOT.glob("demo/*.sh"), *ROOT.glob("experiments/*.sh")]
    texts = [file.read_text(encoding="utf-8").replace("\\\n", " ") for file in (*files, *scripts)]
    lines = re.findall(r"^ *(?:RESULTS=\S+ +)?dckd (.+)", "\n".join(texts), re.MULTILINE)
    found = {*lines, *re.findall(r"`dckd ([a-z]+ [^`]*--[^`]+)`", "\n".join(texts))}
    return sorted(line for line in found if not line.endswith("--help"))


@pytest.mark.parametrize("line", documented())
def test_documented_command_lines_are_read(line: str):
    words = shlex.split(line, comments=True)
    assert words[0] in COMMANDS
    assert parsed(shlex.join(words))[0] == words[0]


def test_commands_of_the_documentation_are_found():
    assert {line.split()[0] for line in documented()} == {*COMMANDS}


@pytest.mark.parametrize(
    ("arguments", "module", "extra"),
    [
        (["report", f"teacher={TEACHER}", "--out", "OUT/report.html"], "matplotlib", "report"),
        (["study", "absent.yaml"], "matplotlib", "report"),
        (["export", "absent"], "onnxruntime", "export"),
    ],
)
def test_a_missing_extra_is_named_and_nothing_written(
    arguments: list[str], module: str, extra: str, tmp_path: Path
):
    found = run(*(text.replace("OUT", str(tmp_path)) for text in arguments), missing=list(_EXTRAS))
    assert found.returncode == 1
    assert f"dckd: {module} is not installed; in the source tree: pip install '.[{extra}]'" in found.stderr
    assert "Traceback" not in found.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_ends_a_command_in_order(name: str, status: int, tmp_path: Path):
    """In the middle of a file: nothing of it is left, and the folder is free."""
    usual = "signal.default_int_handler" if name == "SIGINT" else "signal.SIG_DFL"
    code = f"""
import os, signal, sys, time
signal.signal(signal.{name}, {usual})  # who starts the tests may ignore it, as nohup does
import dckd_ext.cli.lint
from dckd_ext.cli import main
from dckd_ext.utils import claimed, written_whole
def lint(folder):
    with claimed(folder), written_whole(folder + "/report.html") as beside:
        beside.write_text("half")
        os.kill(os.getpid(), signal.{name})
        time.sleep(60)
dckd_ext.cli.lint.lint = lint
main()
"""
    command = [sys.executable, "-c", code, "lint", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert done.returncode == status
    assert done.stderr == ("dckd: interrupted\n" if name == "SIGINT" else "")
    assert list(tmp_path.iterdir()) == []
