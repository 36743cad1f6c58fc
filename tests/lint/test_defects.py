"""The shipped bundles are clean; each defect that is put into a copy is found, and nothing else is."""

from pathlib import Path
from typing import Any

import pytest

from dckd_ext.lint import config_lists, lint_bundle
from tests.conftest import BUNDLES
from tests.lint.planting import GONE, plant, the_finding

NAMES = sorted(path.parent.name for path in BUNDLES.glob("*/configs"))


@pytest.mark.parametrize("name", NAMES)
def test_shipped_bundles_are_clean(name: str):
    assert lint_bundle(BUNDLES / name) == []
    distils = [["train.yaml", "dckd.yaml"]] if name.endswith("distillation") else []
    assert [[file.name for file in files] for files in config_lists(BUNDLES / name)] == [
        ["train.yaml"],
        ["inference.yaml"],
        *distils,
        ["train.yaml", "multi_gpu_train.yaml"],
        ["inference.yaml", "evaluate.yaml"],
    ]


HANDLER = "validate#handlers#0"
TRANSFORM = "augmentation#transforms#1"
METRICS_SAVER = {"_target_": "MetricsSaver", "save_dir": "x", "metrics": ["val_mean_dice", "val_dice"]}
CHECKPOINT_SAVER = {
    "_target_": "CheckpointSaver",
    "save_dir": "x",
    "save_dict": {"model": "@network"},
    "key_metric_name": "val_hd95",
}
EARLY_STOP = {
    "_target_": "EarlyStopHandler",
    "patience": 3,
    "score_function": "$monai.handlers.stopping_fn_from_metric('dice')",
    "trainer": "@train#trainer",
}
READS_A_METRIC = "$lambda engine, step: engine.state.metrics['hd'] > 1"

# What is changed, and the key and the text of the one finding. By file:
TRAIN = [
    # keys that nothing refers to
    ({"learning_rat": 0.1}, "learning_rat", "nothing refers to it"),
    ({"optimizer#lr": 0.1}, "learning_rate", "nothing refers to it"),
    ({"train#sampling": {"rate": 3}}, "train#sampling", "nothing refers to it"),
    ({"validate#evaluator#val_handlers": []}, "validate#handlers", "nothing refers to it"),
    # references without a key
    ({"optimizer#weight_decay": "@weight_decy"}, "optimizer#weight_decay", "'weight_decy', which is no key"),
    ({"optimizer#params": "$@netwrok.parameters()"}, "optimizer#params", "nearest: network"),
    ({"train#handlers#1#loss": "@#lss"}, "train#handlers#1#loss", "'train#handlers#1#lss', which is no key"),
    ({"train#handlers#1#loss": "@######loss"}, "train#handlers#1#loss", "is no key"),
    ({"training": "%runn"}, "training", "nearest: run"),
    ({"training": "%training"}, "training", "is no key"),
    ({"training": "%configs/none.yaml#run"}, "training", "expected a file"),
    ({"training": "%configs/inference.yaml#none"}, "training", "a key of it"),
    ({f"{HANDLER}#log_dir": "@output_dir/log"}, f"{HANDLER}#log_dir", "stays a text; expected '@key' alone"),
    # expressions
    ({"limit": "$math.inf"}, "limit", "uses math, which"),
    ({"limit": "$len("}, "limit", "is no Python"),
    ({"imports#2": "$import torhc"}, "imports#2", "not installed"),
    # metrics
    ({HANDLER: METRICS_SAVER}, f"{HANDLER}#metrics", "'val_dice', which the engine does not compute"),
    ({HANDLER: CHECKPOINT_SAVER}, f"{HANDLER}#key_metric_name", "'val_hd95'"),
    ({HANDLER: EARLY_STOP}, f"{HANDLER}#score_function", "'dice'"),
    ({"validate#handlers#0#iteration_log": READS_A_METRIC}, "validate#handlers#0#iteration_log", "'hd'"),
    # components without a target
    ({f"{TRANSFORM}#_target_": GONE}, TRANSFORM, "found a mapping with keys"),
    ({"validate#handlers#0#_target_": GONE}, "validate#handlers#0", "'_target_' is missing"),
    ({"optimizer#_target_": GONE}, "optimizer", "'_target_' is missing"),
    ({"loss_def#_target_": GONE}, "loss_def", "'_target_' is missing"),
    ({"train#dataloader#_target_": GONE}, "train#dataloader", "'_target_' is missing"),
    ({"optimizer#_target_": GONE, "optimizer#_taget_": "x"}, "optimizer", "found '_taget_'"),
    # targets
    ({"train#handlers#1#_target_": "dckd_ext.handlers.Progress"}, "train#handlers#1", "cannot be found"),
    ({f"{TRANSFORM}#_target_": "EnsureChannelFrist"}, TRANSFORM, "cannot be found"),
    # arguments
    ({"optimizer#weight_decy": 0.1}, "optimizer#weight_decy", "nearest: weight_decay"),
]
INFERENCE = [
    ({"circle": {"one": 1, "two": "@circle#one"}}, "circle", "nothing refers to it"),
    ({"dataset#_target_": GONE}, "dataset", "'_target_' is missing"),
    ({"run#0#_target_": GONE}, "run#0", "'_target_' is missing"),
    ({"handlers#0#_target_": GONE, "handlers#0#_disabled_": True}, "handlers#0", "'_target_' is missing"),
    ({"dataloader#_target_": "no_such_package.Loader"}, "dataloader", "cannot be found"),
    ({"inferer#inferer#roi_size": GONE}, "inferer#inferer", "needs roi_size"),
]
MULTI_GPU = [
    ({"/averag#network": "$@network"}, "averag#network", "nothing above it"),
    ({"network#devices": [0]}, "network#devices", "nearest: device_ids"),
]
DEFECTS = {
    "train.yaml": TRAIN,
    "inference.yaml": INFERENCE,
    "multi_gpu_train.yaml": MULTI_GPU,
    "evaluate.yaml": [({"mian": True}, "mian", "nothing refers to it")],
    "metadata.json": [({"monai_version": GONE}, "monai_version", "missing; MONAI expects")],
}


@pytest.mark.parametrize(
    ("file", "changes", "key", "text"), [(file, *defect) for file in DEFECTS for defect in DEFECTS[file]]
)
def test_one_defect(copy: Path, file: str, changes: dict[str, Any], key: str, text: str):
    plant(copy, file, changes)
    the_finding(lint_bundle(copy), file, key, text)


def test_all_at_once(copy: Path):
    plant(
        copy, "train.yaml", {"epohcs": 3, "optimizer#lr": "@lr", "loss_def#_target_": "dckd_ext.losses.Lost"}
    )
    plant(copy, "inference.yaml", {"inferer#_target_": GONE})
    found = {(Path(one.file).name, one.key) for one in lint_bundle(copy, overrides={"devcie": "cpu"})}
    assert found == {
        ("train.yaml", "epohcs"),
        ("train.yaml", "optimizer#lr"),
        ("train.yaml", "learning_rate"),
        ("train.yaml", "loss_def"),
        ("inference.yaml", "inferer"),
        ("command line", "--devcie"),
    }
