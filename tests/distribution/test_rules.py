"""Each rule, violated in turn, is the one that is named."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dckd_ext.distribution import violations
from dckd_ext.distribution.metadata import metadata_problems, name_problems
from tests.conftest import BUNDLES, bundle
from tests.distribution.examples import change_metadata, make_bundle, metadata, tensor, weights, write_json


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_bundle(tmp_path)


def formats(**outputs: object) -> dict[str, object]:
    pred = {**tensor(["background", "lesion"]), **outputs}
    return {"network_data_format": {"inputs": {"image": tensor(["image"])}, "outputs": {"pred": pred}}}


def without(key: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        write_json(root / "configs/metadata.json", {k: v for k, v in metadata().items() if k != key})

    return change


def save(state: object) -> Callable[[Path], None]:
    return lambda root: torch.save(state, root / "models/model.pt")


class Payload:
    """Would run code if it were unpickled."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('the pickle was run')",))


def test_a_whole_bundle(root: Path):
    assert violations(root) == []


def test_no_folder(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="No bundle folder"):
        violations(tmp_path / "absent")


@pytest.mark.parametrize(
    "path",
    ["LICENSE", "docs/README.md", "docs/data_license.txt", "configs/metadata.json", "models/model.pt"],
)
def test_missing_files(root: Path, path: str):
    (root / path).unlink()
    assert [problem for problem in violations(root) if problem.startswith(f"{path}: is missing")]


def test_missing_inference_config(root: Path):
    (root / "configs/inference.json").rename(root / "configs/evaluate.json")
    assert violations(root) == ["configs/inference.yaml (or .json): is missing"]


def test_two_inference_configs(root: Path):
    (root / "configs/inference.yaml").write_text((root / "configs/inference.json").read_text())
    (found,) = violations(root)
    assert found.startswith("configs/inference.json and configs/inference.yaml: expected one")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda root: (root / "LICENSE").write_text(""), "LICENSE: is missing or empty"),
        (lambda root: (root / "docs/scan.nii.gz").write_bytes(b"x"), "docs/scan.nii.gz: files of this kind"),
        (
            lambda root: (root / "models/checkpoint.pt").write_bytes(b"x"),
            "models/checkpoint.pt: files of this",
        ),
        (
            lambda root: (root / "more").mkdir() or (root / "more/a.py").touch(),
            "more/a.py: files of this kind",
        ),
        (lambda root: (root / "docs/link.md").symlink_to("README.md"), "docs/link.md: is a symbolic link"),
        (lambda root: (root / "scripts").symlink_to("docs"), "scripts: is a symbolic link"),
        (lambda root: (root / "docs/a.pdf").write_bytes(bytes(26 * 2**20)), "docs/a.pdf: has 26.0 MB"),
        (lambda root: (root / "docs/a.md").write_bytes(b"\xff"), "docs/a.md: is not text in UTF-8"),
        (
            lambda root: (root / "docs/a.md").write_text("x\n/home/ann/weights y"),
            "docs/a.md: line 2 has a personal path, /home/ann/weights",
        ),
        (
            lambda root: (root / "a.py").write_text('x = r"C:\\Users\\ann"'),
            "a.py: line 1 has a personal path",
        ),
        (
            lambda root: (root / "a.py").write_text("'/Users/ann/x'"),
            "a.py: line 1 has a personal path, /Users/ann/x",
        ),
        (
            lambda root: (root / "docs/README.md").write_text("# Data"),
            "docs/README.md: has no section 'Training",
        ),
        (lambda root: (root / "configs/train.json").write_text("{"), "configs/train.json: is not JSON"),
        (
            lambda root: (root / "configs/train.json").write_text(json.dumps({"a": 1}, indent=2)),
            "configs/train.json: expected JSON as json.dumps(..., indent=4)",
        ),
        (
            lambda root: change_metadata(root, version="0.1", changelog={"0.1": "x"}),
            "version: '0.1' does not match '^[0-9]\\\\.[0-9]\\\\.[0-9]$' (X.Y.Z with single digits",
        ),
        (
            lambda root: change_metadata(root, version="0.10.0", changelog={"0.10.0": "x"}),
            "configs/metadata.json: version: '0.10.0' does not match",
        ),
        (
            lambda root: change_metadata(root, version="0.2.0"),
            "'0.2.0' is not in 'changelog', which has ['0.1.0']",
        ),
        *[
            (without(key), f"configs/metadata.json: {key!r} is a required property")
            for key in metadata()
            if key not in ("version", "network_data_format")  # these break other rules too
        ],
        (lambda root: change_metadata(root, authors=""), "authors: '' should be non-empty (who made"),
        (
            lambda root: change_metadata(root, changelog=["0.1.0"]),
            "changelog: ['0.1.0'] is not of type 'object'",
        ),
        (lambda root: change_metadata(root, references="a"), "references: 'a' is not of type 'array'"),
        (
            lambda root: change_metadata(root, teacher_data_format={"inputs": {"image": tensor(["a"])}}),
            "teacher_data_format: 'outputs' is a required property",
        ),
        (
            lambda root: change_metadata(root, **formats(channel_def={"0": "background"})),
            "pred: channel_def names channels ['0'], but num_channels is 2",
        ),
        (
            lambda root: change_metadata(root, **formats(channel_def={"1": "a", "2": "b"})),
            "pred: channel_def names channels ['1', '2']",
        ),
        (
            lambda root: change_metadata(root, **formats(format=None)),
            "network_data_format#outputs#pred#format: None is not of type 'string' (such as magnitude",
        ),
        (
            lambda root: change_metadata(root, **formats(value_range=[0])),
            "#pred#value_range: [0] is too short ([minimum, maximum], or [] where unknown)",
        ),
        (
            lambda root: change_metadata(root, **formats(channel_def={"zero": "a", "1": "b"})),
            "#pred#channel_def: 'zero' does not match",
        ),
        (
            lambda root: change_metadata(root, **formats(**tensor(["a", "b", "c"]))),
            "output channel number `2` doesn't match: `3`",
        ),
        (
            save({**weights(), "bias": torch.tensor([0.0, float("nan")])}),
            "values that are NaN or infinite in 1 of 2 tensors, expected finite weights: bias",
        ),
        (
            save({**weights(), "bias": torch.zeros(1000)[:2]}),
            "holds 3992 bytes that belong to none of its tensors",
        ),
        (save({"model": weights()}), "holds a OrderedDict at 'model', expected a flat dict"),
        (save({**weights(), "epoch": 3}), "holds a int at 'epoch'"),
        (save([torch.zeros(1)]), "holds a list, expected plain tensors"),
        (save({**weights(), "teacher.weight": torch.zeros(3)}), "1 unexpected: teacher.weight"),
        (save({"weight": weights()["weight"]}), "1 missing: bias"),
        (save({**weights(), "bias": torch.zeros(3)}), "1 of another shape: bias [3] in place of [2]"),
        (save({"code": Payload()}), "holds pickled objects"),
        (
            lambda root: (root / "models/model.pt").write_bytes(pickle.dumps(Payload())),
            "holds pickled objects",
        ),
        (lambda root: (root / "models/model.pt").write_bytes(b"PK\x03\x04 no"), "cannot be read as tensors"),
        (
            lambda root: write_json(root / "configs/inference.json", {"bundle_root": "."}),
            "has no key 'network_def'",
        ),
    ],
)
def test_one_violation(root: Path, change: Callable[[Path], object], expected: str):
    change(root)
    (found,) = violations(root)
    assert expected in found


@pytest.mark.parametrize("name", ["toy_v2_segmentation", "Toy_segmentation", "toy", "toy-x_segmentation"])
def test_names_that_monai_does_not_download(tmp_path: Path, name: str):
    (found,) = violations(make_bundle(tmp_path, name))
    assert found.startswith(f"name {name!r}: expected letters")


def test_metadata_that_is_no_object(tmp_path: Path):
    """Named for a distillation bundle too, whose network is not built."""
    root = make_bundle(tmp_path, "toy_distillation")
    (root / "models/model.pt").unlink()
    write_json(root / "configs/metadata.json", [])
    assert violations(root) == ["configs/metadata.json: [] is not of type 'object'"]


@pytest.mark.parametrize("side", ["inputs", "outputs"])
def test_the_tensors_that_monai_reads(root: Path, side: str):
    changed = formats()
    changed["network_data_format"][side] = {"other": tensor(["a"])}
    change_metadata(root, **changed)
    found = violations(root)
    name = {"inputs": "image", "outputs": "pred"}[side]
    assert found[0] == f"configs/metadata.json: network_data_format#{side}: {name!r} is a required property"


def test_all_at_once(root: Path):
    (root / "LICENSE").unlink()
    change_metadata(root, version="0.2.0", authors="")
    save({"bias": torch.zeros(2)})(root)
    assert len(violations(root)) == 4


def test_home_of_whoever_packs(root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/data/people/ann")
    (root / "docs/a.md").write_text("see /data/people/ann/volumes")
    assert violations(root) == ["docs/a.md: line 1 has a personal path, /data/people/ann"]


def test_float16_weights_are_the_teachers(root: Path):
    save({key: value.half() for key, value in weights().items()})(root)
    assert violations(root) == []


def test_a_distillation_bundle_is_a_workflow_without_weights(tmp_path: Path):
    root = make_bundle(tmp_path, "toy_distillation")
    assert violations(root) == [
        "models/model.pt: a distillation bundle has none, the weights it trains are the student bundle's"
    ]
    (root / "models/model.pt").unlink()
    assert violations(root) == []


@pytest.mark.parametrize(
    "kind",
    ["teacher_segmentation", "unet_student_segmentation", "hrnet_student_segmentation", "distillation"],
)
def test_shipped_bundles(kind: str, tmp_path: Path):
    assert violations(BUNDLES / f"hippocampus_{kind}") == []
    # as shipped, whatever was trained in this checkout
    abus = shutil.copytree(
        BUNDLES / f"abus_{kind}", tmp_path / f"abus_{kind}", ignore=shutil.ignore_patterns("models", "output")
    )
    expected = (
        "models/model.pt: is missing; a released bundle has weights, so train it first (docs/README.md)"
    )
    assert violations(abus) == ([] if kind == "distillation" else [expected])


@pytest.mark.parametrize(
    "name", ["spleen_deepedit_annotation", "prostate_mri_anatomy", "renal_CECT_segmentation"]
)
def test_names_of_the_zoo_pass(name: str, tmp_path: Path):
    assert list(name_problems(tmp_path / name)) == []


def test_old_keys_of_metadata_pass(tmp_path: Path):
    """`optional_packages_version` and `label_def`, as older bundles of the zoo have them."""
    root = tmp_path / "old_segmentation"
    (root / "configs").mkdir(parents=True)
    content = json.loads((bundle("unet_student_segmentation") / "configs" / "metadata.json").read_text())
    content["optional_packages_version"] = content.pop("required_packages_version")
    pred = content["network_data_format"]["outputs"]["pred"]
    pred["label_def"] = pred.pop("channel_def")
    (root / "configs" / "metadata.json").write_text(json.dumps(content))
    assert list(metadata_problems(root)) == []
    pred["label_def"].pop("2")
    (root / "configs" / "metadata.json").write_text(json.dumps(content))
    assert "but num_channels is 3" in "".join(metadata_problems(root))
