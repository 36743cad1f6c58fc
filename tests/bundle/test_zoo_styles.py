"""Small networks in bundles that are written as those of the model zoo, and teachers that are no bundle."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import save_net_with_metadata
from monai.networks.nets import UNet
from torch import nn

from dckd_ext.bundle import check_compatible, class_map, class_names, student_network, teacher_network
from dckd_ext.bundle.config import load_bundle_config
from dckd_ext.bundle.networks import weights_file
from dckd_ext.bundle.transforms import has_regions, named_transforms
from dckd_ext.networks import Teacher
from tests.bundle.test_bundle import write_bundle

NETWORK = {
    "_target_": "UNet",
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": "@classes",
    "channels": [2, 4],
    "strides": [2],
}
CLASSES = ["background", "liver", "spleen"]
REGIONS = ["Tumor core", "Whole tumor", "Enhancing tumor"]
SIGMOID = {"transforms": [{"_target_": "Activationsd", "keys": "pred", "sigmoid": True}]}
IMAGE = torch.randn(1, 1, 8, 8, 8, generator=torch.Generator().manual_seed(1))


def unet(seed: int = 0, classes: int = 3) -> UNet:
    torch.manual_seed(seed)
    return UNet(3, 1, classes, channels=[2, 4], strides=[2]).eval()


def zoo_bundle(root: Path, classes: list[str] = CLASSES, weights: str = "models/model.pt", **keys) -> Path:
    bundle = write_bundle(root, {"classes": len(classes), "network_def": NETWORK, **keys}, classes)
    torch.save(unet(classes=len(classes)).state_dict(), bundle / weights)
    return bundle


def answers(teacher: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return teacher(IMAGE)


@pytest.mark.parametrize("as_handler", [True, False], ids=["handlers", "checkpointloader"])
def test_weights_are_those_that_the_checkpoint_loader_names(tmp_path, as_handler):
    loader = {
        "_target_": "CheckpointLoader",
        "load_path": "$@bundle_root + '/models/' + @name",
        "load_dict": {"model": "@network"},
    }
    keys = (
        {"handlers": [{"_target_": "StatsHandler"}, loader]} if as_handler else {"checkpointloader": loader}
    )
    bundle = zoo_bundle(tmp_path / "b", weights="models/dynunet_FT.pt", name="dynunet_FT.pt", **keys)
    torch.testing.assert_close(answers(teacher_network(bundle)), answers(unet()))
    (bundle / "models" / "dynunet_FT.pt").rename(bundle / "models" / "model.pt")
    assert weights_file(bundle).name == "model.pt"
    (bundle / "models" / "model.pt").unlink()
    with pytest.raises(FileNotFoundError, match=r"dynunet_FT\.pt"):
        teacher_network(bundle)


def test_switches_of_the_config_are_followed(tmp_path):
    loader = {"_target_": "CheckpointLoader", "load_path": "$@bundle_root + '/models/' + @modelname"}
    bundle = zoo_bundle(
        tmp_path / "b",
        weights="models/model_lowres.pt",
        displayable_configs={"highres": True},
        modelname="$'model.pt' if @displayable_configs#highres else 'model_lowres.pt'",
        checkpointloader=loader,
    )
    with pytest.raises(FileNotFoundError, match=r"model\.pt"):
        teacher_network(bundle)
    for config in ({"displayable_configs": {"highres": False}}, {"displayable_configs#highres": False}):
        torch.testing.assert_close(answers(teacher_network(bundle, config=config)), answers(unet()))


def test_overrides_reach_the_network(tmp_path):
    bundle = zoo_bundle(tmp_path / "b")
    assert len(student_network(bundle, {"channels": [2, 4, 8], "strides": [2, 2]}).channels) == 3
    assert student_network(bundle, {"network_def": {"channels": [4, 8]}}).channels == [4, 8]
    assert student_network(bundle, {"network_def#channels": [6, 8]}).channels == [6, 8]
    (bundle / "configs" / "inference.json").write_text('{"network_def": "$torch.nn.Identity()"}')
    with pytest.raises(ValueError, match="has no key 'chanels'"):
        load_bundle_config(bundle, {"chanels": 1})


def test_a_removed_argument_is_named_with_the_way_out(tmp_path):
    network = {
        "_target_": "SwinUNETR",
        "img_size": 32,
        "in_channels": 1,
        "out_channels": 3,
        "feature_size": 12,
    }
    bundle = write_bundle(tmp_path / "b", {"network_def": network}, CLASSES)
    with pytest.raises(ValueError, match=r"no 'img_size' .*--teacher_config#img_size null"):
        student_network(bundle)
    assert type(student_network(bundle, {"img_size": None})).__name__ == "SwinUNETR"


def test_causes_in_one_line(tmp_path):
    bundle = write_bundle(tmp_path / "b", {"network_def": {**NETWORK, "out_channels": "$1 / 0"}}, CLASSES)
    with pytest.raises(
        ValueError, match=r"inference\.json cannot be built: ZeroDivisionError: division by zero"
    ):
        student_network(bundle)


def test_arrays_beside_tensors_and_cuda_in_the_config(tmp_path):
    """As the searched networks of the zoo: an architecture of NumPy arrays, read to CUDA."""
    bundle = zoo_bundle(
        tmp_path / "b",
        code="$torch.load(@bundle_root + '/models/code.pt', map_location=torch.device('cuda'))",
        where="$torch.device('cuda:0')",
        network_def={**NETWORK, "channels": "$[int(n) for n in @code['channels']]"},
    )
    code = {"channels": np.array([2, 4]), "node": torch.ones(2), "scale": np.float64(1), "names": ["a"]}
    torch.save(code, bundle / "models" / "code.pt")
    torch.testing.assert_close(answers(teacher_network(bundle)), answers(unet()))
    if not torch.cuda.is_available():
        assert load_bundle_config(bundle)["where"] == "$torch.device('cpu')"


def test_what_is_loaded_in_a_config_runs_no_code(tmp_path):
    bundle = zoo_bundle(
        tmp_path / "b", network_def="$torch.load(@bundle_root + '/models/net.pt', map_location='cuda')"
    )
    torch.save(unet(), bundle / "models" / "net.pt")
    with pytest.raises(ValueError, match="cannot be built: UnpicklingError"):
        student_network(bundle)


def test_label_def_in_the_place_of_channel_def(tmp_path):
    bundle = zoo_bundle(tmp_path / "b")
    file = bundle / "configs" / "metadata.json"
    file.write_text(file.read_text().replace("channel_def", "label_def"))
    assert class_names(bundle) == dict(enumerate(CLASSES))


class Promptable(nn.Module):
    def forward(self, input_images, point_coords=None, class_vector=None):
        return input_images


def test_networks_that_answer_to_prompts_are_refused(tmp_path):
    config = {"network_def": {"_target_": f"{__name__}.Promptable"}}
    with pytest.raises(ValueError, match=r"a prompt asks for \(class_vector, point_coords\)"):
        student_network(write_bundle(tmp_path / "b", config, CLASSES))


@pytest.mark.parametrize(
    ("transforms", "classes", "regions"),
    [
        ([{"_target_": "Activationsd", "sigmoid": True}], CLASSES, True),
        ([{"_target_": "AsDiscreted", "threshold": 0.5}], CLASSES, True),
        ([{"_target_": "AsDiscreted", "argmax": [True, False]}], REGIONS, False),
        ([{"_target_": "Activationsd", "softmax": True, "sigmoid": False}], REGIONS, False),
        ([{"_target_": "Activationsd", "sigmoid": True, "_disabled_": True}], CLASSES, False),
        ([], REGIONS, True),
        ([], CLASSES, False),
    ],
)
@pytest.mark.parametrize("by_expression", [True, False])
def test_regions_are_known_by_their_postprocessing(tmp_path, transforms, classes, regions, by_expression):
    listed = "$@post + @more" if by_expression else transforms
    config = {"post": transforms, "more": [], "postprocessing": {"_target_": "Compose", "transforms": listed}}
    bundle = write_bundle(tmp_path / "b", config, classes)
    assert has_regions(bundle) is regions
    active = [one for one in transforms if not one.get("_disabled_")]
    assert len(named_transforms(load_bundle_config(bundle), "postprocessing")) == len(active)


def pair(tmp_path, teacher, student, teacher_keys=None, student_keys=None):
    return (
        zoo_bundle(tmp_path / "t", teacher, **(teacher_keys or {})),
        zoo_bundle(tmp_path / "s", student, **(student_keys or {})),
    )


def test_regions_do_not_teach_classes_without_an_order(tmp_path):
    bundles = pair(
        tmp_path, REGIONS, ["background", "edema", "core", "enhancing"], {"postprocessing": SIGMOID}
    )
    with pytest.raises(
        ValueError, match=r"regions that may overlap, the student's exclude .*a later one wins"
    ):
        check_compatible(*bundles)
    order = {"Whole tumor": "edema", "Tumor core": "core", "Enhancing tumor": "enhancing"}
    check_compatible(*bundles, order)
    found = answers(teacher_network(bundles[0], label_map=class_map(*bundles, order))).softmax(1)
    core, whole, enhancing = answers(unet()).sigmoid().unbind(1)
    no_later = (1 - enhancing) * (1 - core)
    torch.testing.assert_close(found[:, 1], whole * no_later)
    torch.testing.assert_close(found[:, 0], (1 - whole) * no_later)
    torch.testing.assert_close(found[:, 3], enhancing)


def test_regions_teach_regions_and_classes_teach_regions(tmp_path):
    sigmoid = {"postprocessing": SIGMOID}
    teacher, student = pair(tmp_path / "1", REGIONS, REGIONS, sigmoid, sigmoid)
    same = class_map(teacher, student)
    assert same.to_regions
    torch.testing.assert_close(same(answers(unet())), answers(unet()))
    assert Teacher(unet(), same).regions
    teacher, student = pair(tmp_path / "2", ["background", "edema", "core"], ["whole", "core"], None, sigmoid)
    with pytest.raises(ValueError, match="The classes differ"):
        check_compatible(teacher, student)
    regions = class_map(teacher, student, {"edema": "whole", "core": ["whole", "core"]})
    p = answers(unet()).softmax(1)
    torch.testing.assert_close(
        regions(answers(unet())).sigmoid(), torch.stack([p[:, 1] + p[:, 2], p[:, 2]], 1)
    )


def test_the_training_has_to_be_one_of_regions(tmp_path):
    sigmoid = {"postprocessing": SIGMOID}
    bundles = pair(tmp_path, REGIONS, REGIONS, sigmoid, sigmoid)
    check_compatible(*bundles, regions=True)
    with pytest.raises(ValueError, match=r"add configs/regions\.yaml"):
        check_compatible(*bundles, regions=False)


def test_a_subset_by_names_leaves_the_rest_to_the_background(tmp_path):
    many = ["background", *[f"organ {number}" for number in range(1, 104)], "spleen"]
    teacher, student = pair(tmp_path, many, ["Background", "Spleen"])
    with pytest.raises(ValueError, match=r"Pass label_map=\{'spleen': 'Spleen'\}"):
        check_compatible(teacher, student)
    found = answers(
        teacher_network(teacher, label_map=class_map(teacher, student, {"spleen": "spleen"}))
    ).softmax(1)
    torch.testing.assert_close(found[:, 1], answers(unet(classes=105)).softmax(1)[:, 104])


@pytest.mark.parametrize(
    ("label_map", "text"),
    [
        ({"splen": "spleen"}, r"teacher class 'splen', expected .* such as \['spleen'\]"),
        ({"spleen": "splen"}, "student class 'splen'"),
        ({"spleen": 7}, "student class 7"),
        ({"spleen": ["spleen", "liver"]}, "several classes"),
        ({"liver": "spleen", "spleen": "liver"}, "mixes up"),
    ],
)
def test_label_maps_that_name_no_class(tmp_path, label_map, text):
    with pytest.raises(ValueError, match=text):
        check_compatible(*pair(tmp_path, CLASSES, CLASSES), label_map)


def scripted(file: Path, metadata: dict | None = None) -> Path:
    save_net_with_metadata(torch.jit.script(unet()), str(file), meta_values=metadata or {})
    return file


def test_torchscript_teaches_by_its_logits(tmp_path):
    student = zoo_bundle(tmp_path / "s")
    described = {
        "network_data_format": {
            "inputs": {"image": {"num_channels": 1}},
            "outputs": {"pred": {"channel_def": {"0": "background", "1": "spleen", "2": "liver"}}},
        }
    }
    file = scripted(tmp_path / "net.ts", described)
    with pytest.raises(ValueError, match=r"label_map=\{0: 0, 1: 2, 2: 1\}"):
        check_compatible(file, student)
    swapped = class_map(file, student, {1: 2, 2: 1})
    torch.testing.assert_close(
        answers(teacher_network(file, label_map=swapped)), answers(unet())[:, [0, 2, 1]]
    )
    plain = scripted(tmp_path / "plain.ts")
    check_compatible(plain, student)
    torch.testing.assert_close(answers(teacher_network(plain)), answers(unet()))


def test_a_bundle_with_torchscript_alone_teaches_by_it(tmp_path):
    bundle = zoo_bundle(tmp_path / "b")
    (bundle / "models" / "model.pt").unlink()
    scripted(bundle / "models" / "model.ts")
    torch.testing.assert_close(answers(teacher_network(bundle)), answers(unet()))


def test_onnx_teaches_by_its_logits(tmp_path):
    pytest.importorskip("onnxruntime")
    file = tmp_path / "net.onnx"
    torch.onnx.export(unet(), (IMAGE,), str(file), dynamo=False)
    torch.testing.assert_close(answers(teacher_network(file)), answers(unet()), atol=1e-4, rtol=1e-4)


def test_a_function_that_returns_a_network(tmp_path, monkeypatch):
    name = f"{__name__}:unet"
    torch.testing.assert_close(answers(teacher_network(name)), answers(unet()))
    torch.save(unet(3).state_dict(), tmp_path / "other.pt")
    torch.testing.assert_close(answers(teacher_network(name, tmp_path / "other.pt")), answers(unet(3)))
    with pytest.raises(ValueError, match=r"nets:gone should return a network: ModuleNotFoundError"):
        teacher_network("nets:gone")
    (tmp_path / "nets.py").write_text("def nothing(): return 1\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="found int"):
        teacher_network("nets:nothing")


def test_files_that_are_no_network(tmp_path):
    for name in ("net.ts", "net.onnx", "net.txt"):
        file = tmp_path / name
        with pytest.raises(FileNotFoundError, match=name):
            teacher_network(file)
        file.write_text("no network")
        with pytest.raises(ValueError, match=name):
            teacher_network(file)
    with pytest.raises(ValueError, match="holds its weights"):
        teacher_network(scripted(tmp_path / "net.ts"), tmp_path / "model.pt")


def test_unnamed_classes_have_to_be_as_many(tmp_path):
    student = zoo_bundle(tmp_path / "s", ["background", "spleen"])
    file = scripted(tmp_path / "net.ts")
    with pytest.raises(ValueError, match="2 teacher classes, the teacher gives 3"):
        answers(teacher_network(file, label_map=class_map(file, student)))
    with pytest.raises(ValueError, match="nothing tells the names"):
        check_compatible(file, student, {"liver": 1})
    merged = class_map(file, student, {0: 0, 1: 0, 2: 1})
    assert answers(teacher_network(file, label_map=merged)).shape[1] == 2
    assert json.loads((student / "configs" / "metadata.json").read_text())
