"""Networks read from bundles that look like those of the model zoo."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
import torch.nn as nn
from monai.networks.nets import SegResNetDS, UNet

from dckd_ext.bundle import (
    check_compatible,
    class_names,
    in_channels,
    is_distillation,
    load_bundle_config,
    student_network,
    teacher_network,
)
from dckd_ext.networks.taps import Tap, suggest_tap
from tests.conftest import BUNDLES

ROI = (16, 24, 16)
TEACHER_CLASSES = ["Background", "Posterior", "Anterior"]
STUDENT_CLASSES = ["background", "anterior", "posterior"]
SWAP = {0: 0, 1: 2, 2: 1}

SCRIPT = '''
from monai.networks.nets import SegResNetDS


class AllHeads(SegResNetDS):
    """Gives its deep-supervision outputs in eval mode too."""

    def forward(self, x):
        return self._forward_all(x)

    def _forward_all(self, x):
        encoded = self.encoder(x)
        encoded.reverse()
        x, outputs = encoded.pop(0), []
        for level, up in enumerate(self.up_layers):
            x = up["blocks"](up["upsample"](x) + encoded.pop(0))
            if len(self.up_layers) - level <= self.dsdepth:
                outputs.append(up["head"](x))
        return outputs[::-1]
'''


def write_bundle(root: Path, config: dict, classes: list[str], channels: int = 1) -> Path:
    (root / "configs").mkdir(parents=True)
    (root / "models").mkdir()
    (root / "configs" / "inference.json").write_text(json.dumps(config))
    metadata = {
        "network_data_format": {
            "inputs": {"image": {"num_channels": channels, "spatial_shape": list(ROI)}},
            "outputs": {"pred": {"channel_def": {str(i): name for i, name in enumerate(classes)}}},
        }
    }
    (root / "configs" / "metadata.json").write_text(json.dumps(metadata))
    return root


def by_hand() -> SegResNetDS:
    torch.manual_seed(0)
    return SegResNetDS(3, 8, 1, 3, blocks_down=(1, 1, 1), dsdepth=2).eval()


@pytest.fixture
def foreign(tmp_path):
    """A bundle with own code, another class order and outputs in a list."""
    config = {
        "imports": ["$import os", "$import scripts"],
        "bundle_root": "/nowhere",
        "channels": 8,
        "network_def": {
            "_target_": "scripts.nets.AllHeads",
            "spatial_dims": 3,
            "init_filters": "@channels",
            "in_channels": 1,
            "out_channels": "$len(os.listdir(@bundle_root))",
            "blocks_down": [1, 1, 1],
            "dsdepth": 2,
        },
        "network": "$@network_def.to('no such device')",
    }
    root = write_bundle(tmp_path / "foreign", config, TEACHER_CLASSES)
    (root / "scripts").mkdir()
    (root / "scripts" / "__init__.py").write_text("")
    (root / "scripts" / "nets.py").write_text(SCRIPT)
    torch.save(by_hand().state_dict(), root / "models" / "model.pt")
    return root


@pytest.fixture
def student(tmp_path):
    config = {
        "network_def": {
            "_target_": "UNet",
            "spatial_dims": 3,
            "in_channels": 1,
            "out_channels": 3,
            "channels": [2, 4],
            "strides": [2],
        }
    }
    return write_bundle(tmp_path / "student", config, STUDENT_CLASSES)


def image() -> torch.Tensor:
    return torch.randn(2, 1, *ROI, generator=torch.Generator().manual_seed(1))


def save(bundle: Path, state: object) -> None:
    torch.save(state, bundle / "models" / "model.pt")


def test_foreign_teacher_equals_the_network_by_hand(foreign):
    with torch.no_grad():
        expected = by_hand()(image())
    teacher = teacher_network(foreign)
    torch.testing.assert_close(teacher(image()), expected)
    mapped = teacher_network(foreign, label_map=SWAP)
    torch.testing.assert_close(mapped(image()), expected[:, [0, 2, 1]])
    assert not teacher.training
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_features_of_a_foreign_teacher_by_tap(foreign):
    teacher, network = teacher_network(foreign, label_map=SWAP), by_hand()
    name = suggest_tap(teacher, 1, ROI)
    with Tap(teacher, name) as tap:
        teacher(image())
    with Tap(network, name) as expected, torch.no_grad():
        network(image())
    torch.testing.assert_close(tap.output, expected.output)
    assert not tap.output.requires_grad


def test_two_bundles_with_scripts_do_not_clash(foreign, tmp_path):
    other = write_bundle(tmp_path / "other", {"network_def": {"_target_": "scripts.nets.Tiny"}}, ["a", "b"])
    (other / "scripts").mkdir()
    (other / "scripts" / "nets.py").write_text("import torch\n\n\nclass Tiny(torch.nn.Identity):\n    pass\n")
    before = list(sys.path)
    for _ in range(2):
        assert type(student_network(foreign)).__name__ == "AllHeads"
        assert type(student_network(other)).__name__ == "Tiny"
    assert sys.path == before
    assert not any(name.partition(".")[0] == "scripts" for name in sys.modules)


def test_scripts_that_were_loaded_before_stay(foreign, monkeypatch):
    mine = type(sys)("scripts")
    monkeypatch.setitem(sys.modules, "scripts", mine)
    student_network(foreign)
    assert sys.modules["scripts"] is mine
    assert "scripts.nets" not in sys.modules


def test_student_starts_from_random_weights(student):
    first, second = student_network(student), student_network(student)
    assert isinstance(first, UNet)
    assert not all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_config_knows_its_root_and_metadata(student, monkeypatch):
    monkeypatch.chdir(student.parent)
    parser = load_bundle_config("student")
    assert parser["bundle_root"] == str(student.resolve())
    assert parser["_meta_#network_data_format#inputs#image#num_channels"] == 1


@pytest.mark.parametrize("ending", ["yaml", "yml"])
def test_train_config_where_there_is_no_inference_config(student, ending):
    config = student / "configs" / "inference.json"
    config.rename(config.with_name(f"train.{ending}"))  # JSON is YAML
    assert isinstance(student_network(student), UNet)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"model": state},
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {f"module.{key}": value for key, value in state.items()},
        lambda state: {"model": {f"module.{key}": value for key, value in state.items()}},
    ],
    ids=["model", "state_dict", "module.", "both"],
)
def test_wrapped_weights(foreign, wrap):
    save(foreign, wrap(by_hand().state_dict()))
    with torch.no_grad():
        torch.testing.assert_close(teacher_network(foreign)(image()), by_hand()(image()))


def test_half_precision_weights_come_up_in_full_precision(foreign):
    halves = {key: value.half() for key, value in by_hand().state_dict().items() if value.is_floating_point()}
    save(foreign, by_hand().state_dict() | halves)
    loaded = teacher_network(foreign).network.state_dict()
    for key, value in halves.items():
        assert loaded[key].dtype == torch.float32
        assert torch.equal(loaded[key], value.float())


def test_wrong_weights_are_named(foreign):
    state = by_hand().state_dict()
    first, second = list(state)[:2]
    state["stray"] = state.pop(first)
    state[second] = torch.zeros(7)
    save(foreign, state)
    with pytest.raises(ValueError, match=r"model\.pt") as error:
        teacher_network(foreign)
    for part in (
        f"1 missing: {first}",
        "1 unexpected: stray",
        f"1 of another shape: {second} [7] in place of",
    ):
        assert part in str(error.value)


@pytest.mark.parametrize("content", [nn.Conv3d(1, 1, 1), torch.zeros(3), {"epoch": 3}, b"", b"no checkpoint"])
def test_files_without_a_state_dict_are_named(foreign, content):
    file = foreign / "models" / "model.pt"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    with pytest.raises(ValueError, match=r"model\.pt"):
        teacher_network(foreign)


def test_weights_from_another_file(foreign, tmp_path):
    file = foreign / "models" / "model.pt"
    file.rename(tmp_path / "other.pt")
    teacher_network(foreign, tmp_path / "other.pt")
    with pytest.raises(FileNotFoundError, match=r"model\.pt: train the bundle"):
        teacher_network(foreign)


def test_missing_parts_of_a_bundle_are_named(student, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_bundle_config(tmp_path / "nowhere")
    (student / "configs" / "inference.json").write_text('{"net": 1}')
    with pytest.raises(ValueError, match=r"inference\.json has no key 'network_def'.*'net'"):
        student_network(student)
    (student / "configs" / "inference.json").write_text('{"network_def": 1}')
    with pytest.raises(ValueError, match=r"inference\.json.*int"):
        student_network(student)
    (student / "configs" / "metadata.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"metadata\.json"):
        class_names(student)
    (student / "configs" / "inference.json").unlink()
    with pytest.raises(FileNotFoundError, match="no bundle"):
        student_network(student)


def test_class_names_and_channels(foreign):
    assert class_names(foreign) == dict(enumerate(TEACHER_CLASSES))
    assert in_channels(foreign) == 1


def test_incomplete_metadata_is_named(tmp_path):
    bundle = write_bundle(tmp_path / "bundle", {}, ["a"])
    file = bundle / "configs" / "metadata.json"
    file.write_text('{"network_data_format": {"outputs": {}}}')
    with pytest.raises(ValueError, match=r"outputs#pred#channel_def': in place of 'pred' there is \[\]"):
        class_names(bundle)
    file.write_text('{"network_data_format": {"outputs": {"pred": {"channel_def": {"1": "a"}}}}}')
    with pytest.raises(ValueError, match="without a gap"):
        class_names(bundle)
    pred = {"num_channels": 3, "channel_def": {"0": "a", "1": "b"}}
    file.write_text(json.dumps({"network_data_format": {"outputs": {"pred": pred}}}))
    with pytest.raises(ValueError, match="names 2 classes, but 'num_channels' is 3"):
        class_names(bundle)


@pytest.mark.parametrize("content", ["{", "[1]"])
def test_a_broken_config_is_named(tmp_path, content):
    bundle = write_bundle(tmp_path / "bundle", {}, ["a"])
    (bundle / "configs" / "inference.json").write_text(content)
    with pytest.raises(ValueError, match=r"inference\.json: cannot be read as a config: "):
        load_bundle_config(bundle)


@pytest.mark.parametrize("content", ["{", "[1]"])
def test_broken_metadata_is_named(tmp_path, content):
    bundle = write_bundle(tmp_path / "bundle", {}, ["a"])
    (bundle / "configs" / "metadata.json").write_text(content)
    for read in (load_bundle_config, class_names, in_channels):
        with pytest.raises(ValueError, match=r"metadata\.json: expected "):
            read(bundle)


def pair(tmp_path, teacher, student, channels=1):
    write_bundle(tmp_path / "t", {}, teacher, channels)
    write_bundle(tmp_path / "s", {}, student)
    return tmp_path / "t", tmp_path / "s"


@pytest.mark.parametrize(
    ("teacher", "label_map"),
    [
        (STUDENT_CLASSES, None),
        ([name.upper() for name in STUDENT_CLASSES], None),
        (TEACHER_CLASSES, SWAP),
        (TEACHER_CLASSES, {"0": 0, "1": 2, "2": 1}),
        (["background", "head", "tail", "background vessel"], {0: 0, 1: 1, 2: 2, 3: 0}),
        (TEACHER_CLASSES, {"anterior": "anterior", "POSTERIOR": 2}),
        (["background", "liver", "head", "tail"], {"head": "anterior", 3: "posterior"}),
    ],
)
def test_compatible(tmp_path, teacher, label_map):
    check_compatible(*pair(tmp_path, teacher, STUDENT_CLASSES), label_map)


@pytest.mark.parametrize(
    ("teacher", "label_map", "text"),
    [
        (TEACHER_CLASSES, None, r"label_map=\{0: 0, 1: 2, 2: 1\}"),
        (["background", "anterior"], None, "differ"),
        (
            ["background", "anterior", "posterior", "vessel"],
            None,
            r"some of the teacher's .*label_map=\{'anterior': 'anterior', 'posterior': 'posterior'\}",
        ),
        (["background", "anterior", "tail"], None, "differ.*tail.*posterior"),
        (TEACHER_CLASSES, {0: 0, 1: 1, 2: 2}, "mixes up.*Posterior"),
        (TEACHER_CLASSES, {0: 0, 1: 2}, "every student class"),
        (TEACHER_CLASSES, {0: 0, 1: 1, 2: 1}, "every student class"),
    ],
)
def test_incompatible_classes(tmp_path, teacher, label_map, text):
    with pytest.raises(ValueError, match=text):
        check_compatible(*pair(tmp_path, teacher, STUDENT_CLASSES), label_map)


def test_incompatible_channels(tmp_path):
    with pytest.raises(ValueError, match="4 channels, the student of 1"):
        check_compatible(*pair(tmp_path, STUDENT_CLASSES, STUDENT_CLASSES, channels=4))


@pytest.mark.parametrize("family", ["hippocampus", "abus"])
def test_distillation_bundles_are_known_by_their_keys(family: str, tmp_path: Path):
    """A copy by any name is one; another bundle that is called so is not."""
    shipped = {path.name: is_distillation(path) for path in BUNDLES.glob(f"{family}_*")}
    assert {name for name, distils in shipped.items() if distils} == {f"{family}_distillation"}
    assert len(shipped) == 4
    configs = shutil.ignore_patterns("models")
    renamed = shutil.copytree(BUNDLES / f"{family}_distillation", tmp_path / "mine", ignore=configs)
    other = shutil.copytree(
        BUNDLES / f"{family}_teacher_segmentation", tmp_path / "a_distillation", ignore=configs
    )
    assert is_distillation(renamed)
    assert not is_distillation(other)


def test_a_train_config_that_tells_nothing(tmp_path: Path):
    (tmp_path / "configs").mkdir()
    assert not is_distillation(tmp_path)
    for text in ("teacher_bundle: [", "- teacher_bundle", "teacher_bundle: a"):
        (tmp_path / "configs" / "train.yaml").write_text(text)
        assert not is_distillation(tmp_path)
    with pytest.raises(FileNotFoundError, match="No bundle folder"):
        is_distillation(tmp_path / "gone")
