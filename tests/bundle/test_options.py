from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser

from dckd_ext.bundle import check_options, is_true
from dckd_ext.bundle.options import OPTIONS, unknown_options

# At least one value of every kind that is taken; what is refused is in tests/bundles/test_refusals.py
TAKEN = [
    *(("resume", value) for value in (True, False)),
    ("epochs", 1),
    ("limit", None),
    ("limit", 3),
    ("fold", 0),
    ("held_out", []),
    ("held_out", (1, 2)),
    ("split", "test"),
    ("split", 0),
    ("learning_rate", 1e-5),
    ("learning_rate", 1),
    ("average_decay", 0),
    ("cache_rate", 1),
    ("cache_rate", 0.0),
    ("overlap", 0.99),
    ("patch_size", [1, 2, 3]),
    ("patch_size", (32, 48, 32)),
    ("spacing", [1, 0.5, 2]),
    ("max_extent", None),
    ("crop_ratios", [0, 1, 0.5]),
    ("select", "best"),
    ("weights_dtype", "bfloat16"),
    ("autocast", "bfloat16"),
    ("device", "cpu"),
    ("device", torch.device("cpu")),
    ("label_map", {0: 0, "1": 2}),
    ("teacher_weights", None),
    ("output_dir", Path("out")),
    ("class_names", {0: "background"}),  # of no known kind
]


@pytest.mark.parametrize(("name", "value"), TAKEN)
def test_taken_as_it_is(name: str, value: Any):
    assert check_options(**{name: value}) == {name: value}


@pytest.mark.parametrize(
    ("name", "value"),
    [("crop_ratios", [0, 0, 0]), ("crop_ratios", [1, 1]), ("crop_ratios", [1, -1, 1]), ("label_map", [0, 1])],
)
def test_more_that_is_refused(name: str, value: Any):
    with pytest.raises(ValueError, match=rf"^{name}: found .*, expected {OPTIONS[name].expected[:20]}"):
        check_options(**{name: value})


def test_long_values_are_cut():
    with pytest.raises(ValueError, match=r"^patch_size: found .{80}, expected three"):
        check_options(patch_size=np.arange(1000).tolist())


@pytest.mark.parametrize("text", ["true", "True", "TRUE", "false", "False"])
def test_texts_become_switches(text: str):
    expected = text.lower() == "true"
    assert check_options(resume=text) == {"resume": expected}
    assert is_true(text) is expected


@pytest.mark.parametrize("value", ["yes", "1", 1, 0, "", None, "truee"])
def test_no_switch(value: Any):
    with pytest.raises(ValueError, match="expected true or false"):
        is_true(value)


def test_paths_that_the_command_line_has_changed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.argv", ["run", "--dataset_dir", "a#b", "--output_dir", "2024"])
    with pytest.raises(ValueError, match=r"^dataset_dir: found a#b, read as 'a', expected .* '#', .*'::'$"):
        check_options(dataset_dir="a")
    with pytest.raises(ValueError, match=r"^output_dir: found 2024, read as 2024, .*: write \./2024$"):
        check_options(output_dir=2024)
    assert check_options(dataset_dir="set since") == {"dataset_dir": "set since"}


def test_a_path_that_monai_has_changed():
    """Its configs turn `#` into `::` everywhere."""
    found = ConfigParser({"output_dir": "/data/C#1"}).get_parsed_content("output_dir")
    with pytest.raises(ValueError, match=r"^output_dir: found '/data/C::1', expected a path without '#'"):
        check_options(output_dir=found)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--devcie", "cpu"], ["devcie: there is no such option, nearest: device"]),
        (
            ["--zzz=1", "--fould", "3"],
            ["fould: there is no such option, nearest: fold", "zzz: there is no such option"],
        ),
        (["--device", "cpu", "--network#in_channels", "2", "--network::x", "1", "--network", "x"], []),
        (["--logging_file", "x.conf", "--run_id", "training", "--fold", "-1", "--epochs=2"], []),
        (["--of-a-caller", "1"], []),
    ],
)
def test_options_that_change_nothing(words, expected, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a.yaml").write_text("device: cpu\nnetwork: {in_channels: 1}\nfold: 0\nhandlers: []\n")
    (tmp_path / "b.yaml").write_text("epochs: 1\n+handlers: []\nnetwork#out_channels: 2\n")
    files = str([str(tmp_path / name) for name in ("a.yaml", "b.yaml")])
    monkeypatch.setattr("sys.argv", ["run", "training", "--config_file", files, *words])
    assert list(unknown_options(["of_a_caller"])) == [], "not the command line of monai.bundle"
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", SimpleNamespace(name="monai.bundle.__main__"))
    assert list(unknown_options(["of_a_caller"])) == expected
