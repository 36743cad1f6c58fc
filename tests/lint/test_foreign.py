"""A bundle in another style (JSON, own scripts, macros, relative references) gives no false alarm."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import create_workflow

from dckd_ext.lint import config_lists, lint_bundle
from tests.bundle.test_bundle import SCRIPT, TEACHER_CLASSES, write_bundle
from tests.lint.planting import GONE, plant, the_finding

SAME = {"_target_": "scripts.nets.same", "_mode_": "callable"}
DICE = {"_target_": "MeanDice", "output_transform": "$monai.handlers.from_engine(['pred', 'label'])"}
STATS = {"_target_": "StatsHandler", "_requires_": "@device", "output_transform": "$lambda x: None"}
CONFIG = {
    "imports": ["$import os", "$import scripts", "$from pathlib import Path as Folder"],
    "bundle_root": ".",
    "_comment": "nothing refers to this",
    "device": "$torch.device('cpu')",
    "dataset_dir": "$@bundle_root + '/images'",
    "datalist": "$[{'image': str(path)} for path in Folder(@dataset_dir).glob('*.nii.gz')]",
    "channels": 8,
    "common": {"keys": "image", "range": {"low": 0, "high": "$@#low + 1"}},
    "network_def": {
        "_target_": "scripts.nets.AllHeads",
        "spatial_dims": 3,
        "init_filters": "@channels",
        "in_channels": 1,
        "out_channels": 3,
        "blocks_down": [1, 1, 1],
        "dsdepth": 2,
    },
    "network": "$@network_def.to(@device)",
    "steps": [
        {"_target_": "LoadImaged", "keys": "@common#keys"},
        {"_target_": "ScaleIntensityd", "keys": "@##0#keys", "minv": "@#maxv", "maxv": "%common#range#high"},
        {"_target_": "Lambdad", "keys": "%common#keys", "func": SAME},
        {"_target_": "$monai.transforms.EnsureTyped", "keys": "image"},
    ],
    "preprocessing": {"_target_": "Compose", "transforms": "%steps"},
    "dataset": {"_target_": "Dataset", "data": "@datalist", "transform": "@preprocessing"},
    "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1},
    "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [16, 16, 16]},
    "handlers": [
        {
            "_target_": "CheckpointLoader",
            "_disabled_": "$not os.path.exists(@bundle_root + '/models/model.pt')",
            "load_path": "$@bundle_root + '/models/model.pt'",
            "load_dict": {"model": "@network"},
        },
        {"_target_": "MetricsSaver", "save_dir": "$@bundle_root", "metrics": "*"},
    ],
    "more_handlers": [STATS],
    "key_metric": {"dice": DICE},
    "evaluator": {
        "_target_": "SupervisedEvaluator",
        "device": "@device",
        "val_data_loader": "@dataloader",
        "network": "@network",
        "inferer": "@inferer",
        "key_val_metric": "@key_metric",
        "val_handlers": "$@handlers + @more_handlers",
    },
    "evaluating": ["$@evaluator.run()"],
    "inference": "%evaluating",
}
OTHER_HANDLERS = {"evaluator#val_handlers": "@more_handlers", "evaluator#event_names": "$list(@handlers)"}
VERSIONS = {
    "version": "0.1.0",
    "monai_version": "1.6.1",
    "pytorch_version": "2.13.0",
    "numpy_version": "2.0.0",
}


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    root = write_bundle(tmp_path / "foreign", CONFIG, TEACHER_CLASSES)
    metadata = root / "configs" / "metadata.json"
    metadata.write_text(json.dumps(VERSIONS | json.loads(metadata.read_text())))
    (root / "scripts").mkdir()
    (root / "scripts" / "__init__.py").write_text("")
    (root / "scripts" / "nets.py").write_text(f"{SCRIPT}\n\ndef same(x):\n    return x\n")
    return root


def test_no_false_alarm(foreign: Path, monkeypatch: pytest.MonkeyPatch):
    before = list(sys.path)
    assert lint_bundle(foreign) == []
    monkeypatch.chdir(foreign)
    assert lint_bundle(".") == []
    assert sys.path == before
    assert not any(name.partition(".")[0] == "scripts" for name in sys.modules)


def test_monai_takes_it_too(foreign: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(foreign))
    flow = create_workflow(
        config_file=str(foreign / "configs" / "inference.json"),
        workflow_type="inference",
        bundle_root=str(foreign),
    )
    assert flow.check_properties() == []
    for name in [name for name in sys.modules if name.partition(".")[0] == "scripts"]:
        del sys.modules[name]  # monkeypatch would bring it back


def test_nothing_is_evaluated(foreign: Path, tmp_path: Path):
    trace = tmp_path / "evaluated"
    plant(foreign, "inference.json", {"datalist": f"$[open({str(trace)!r}, 'w'), @dataset_dir]"})
    assert lint_bundle(foreign) == []
    assert not trace.exists()


@pytest.mark.parametrize(
    ("changes", "key", "text"),
    [
        ({"network_def#init_filtres": 8}, "network_def#init_filtres", "nearest: init_filters"),
        ({"network_def#_target_": "scripts.nets.AllHaeds"}, "network_def", "cannot be found"),
        ({"steps#1#keys": "@##9#keys"}, "steps#1#keys", "'steps#9#keys'"),
        ({"inference": "%evaluatin"}, "inference", "nearest: evaluating"),
        ({"handlers#1#metrics": ["iou"]}, "handlers#1#metrics", "'iou'"),
        ({"more_handlers#0#name": "$@evaluator.state.metrics['iou']"}, "more_handlers#0#name", "'iou'"),
        (OTHER_HANDLERS, "evaluator#val_handlers", "refers to 'more_handlers', expected 'handlers'"),
        ({"dataset_dir": GONE, "datalist": []}, "dataset_dir", "missing; MONAI expects"),
    ],
)
def test_one_defect(foreign: Path, changes: dict[str, Any], key: str, text: str):
    plant(foreign, "inference.json", changes)
    the_finding(lint_bundle(foreign), "inference.json", key, text)


def test_a_script_that_cannot_be_imported(foreign: Path):
    (foreign / "scripts" / "nets.py").write_text("import no_such_package\n")
    found = lint_bundle(foreign)
    assert {one.key for one in found} == {"network_def", "steps#2#func"}
    assert "No module named 'no_such_package'" in str(found[0])


def test_metrics_that_an_expression_makes(foreign: Path):
    """They are known only when the config is run, so no handler is blamed."""
    plant(
        foreign,
        "inference.json",
        {"evaluator#key_val_metric": "$dict(@key_metric)", "handlers#1#metrics": ["other"]},
    )
    assert lint_bundle(foreign) == []


def test_config_lists_of_the_docs(foreign: Path):
    assert [[file.name for file in files] for files in config_lists(foreign)] == [["inference.json"]]
    for name in ("one.json", "two.yaml", "search.yaml"):
        (foreign / "configs" / name).write_text("{}")
    (foreign / "docs").mkdir()
    (foreign / "docs" / "README.md").write_text(
        "python -m monai.bundle run evaluating \\\n"
        "    --config_file=\"['configs/inference.json', 'configs/one.json']\"\n"
        "python -m monai.bundle run --config_file $B/configs/two.yaml --channels 8\n"
        "python -m scripts.search run --config_file configs/search.yaml\n"
    )
    assert [[file.name for file in files] for files in config_lists(foreign)] == [
        ["inference.json"],
        ["inference.json", "one.json"],
        ["two.yaml"],
    ]


def test_an_option_that_does_nothing_is_found_though_the_docs_name_it(foreign: Path):
    plant(foreign, "inference.json", {"modality": "MR"})
    (foreign / "docs").mkdir()
    (foreign / "docs" / "README.md").write_text("`--modality CT` is shown in the viewer")
    the_finding(lint_bundle(foreign), "inference.json", "modality", "nothing refers to it")
