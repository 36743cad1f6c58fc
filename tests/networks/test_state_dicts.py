import pickle
import re
import tarfile
import traceback
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from dckd_ext.networks import check_weights, load_weights, read_state_dict
from dckd_ext.networks.state_dicts import load_plain, not_finite, tensors_digest
from dckd_ext.utils import root_cause


def state(**changes: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"weight": torch.ones(2, 3), "bias": torch.zeros(2), **changes}


def saved(folder: Path, content: object) -> Path:
    torch.save(content, folder / "model.pt")
    return folder / "model.pt"


@pytest.mark.parametrize("wrap", ["model", "state_dict", None])
def test_loads_what_fits(wrap: str | None, tmp_path: Path):
    network = nn.Linear(3, 2)
    before = network.weight.clone()
    file = saved(tmp_path, {wrap: state()} if wrap else {f"module.{k}": v.half() for k, v in state().items()})
    check_weights(network, file)
    assert torch.equal(network.weight, before)
    load_weights(network, file)
    assert torch.equal(network.weight, torch.ones(2, 3))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            state(weight=torch.full((2, 3), torch.nan)),
            "in 1 of 2 tensors, .*: weight",
        ),
        (state(bias=torch.tensor([0, -torch.inf])), "in 1 of 2 tensors, .*: bias"),
        ({name: value * torch.nan for name, value in state().items()}, "in 2 of 2 tensors, .*: weight, bias"),
    ],
)
@pytest.mark.parametrize("read", [check_weights, load_weights, read_state_dict])
def test_broken_values_are_refused_with_the_file(content, expected: str, read, tmp_path: Path):
    file = saved(tmp_path, content)
    with pytest.raises(
        ValueError, match=f"^{re.escape(str(file))} holds values that are NaN or infinite {expected}$"
    ):
        read(file) if read is read_state_dict else read(nn.Linear(3, 2), file)


@pytest.mark.parametrize("use", [check_weights, load_weights])
def test_other_weights_and_none(use, tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"No weights at .*model\.pt"):
        use(nn.Linear(3, 2), tmp_path / "model.pt")
    file = saved(tmp_path, {"weight": torch.ones(2, 3)})
    with pytest.raises(ValueError, match=r"model\.pt are not those of Linear: 1 missing: bias"):
        use(nn.Linear(3, 2), file)


def test_a_digest_is_that_of_the_values():
    tensors = [torch.arange(6.0).reshape(2, 3), torch.tensor(3), torch.ones(2, dtype=torch.bfloat16)]
    turned = [torch.arange(6.0).reshape(2, 3).t().contiguous().t(), *tensors[1:]]
    assert tensors_digest(tensors) == tensors_digest(turned)
    assert tensors_digest(tensors) != tensors_digest([tensors[0] + 1e-6, *tensors[1:]])


def test_whole_numbers_are_finite():
    assert not_finite({"count": torch.tensor(3), "scale": torch.tensor([1.0, torch.nan])}) == ["scale"]


class Code:
    """What a pickle may hold besides tensors."""


def legacy_tar(file: Path) -> None:
    with tarfile.open(file, "w") as archive:
        archive.addfile(tarfile.TarInfo("storages"))


OTHER_FILES = {
    "an object": lambda file: torch.save({"a": Code()}, file),
    "an object, old form": lambda file: torch.save({"a": Code()}, file, _use_new_zipfile_serialization=False),
    "a number of numpy": lambda file: torch.save({"a": np.float64(3)}, file),
    "a network": lambda file: torch.save(nn.Linear(1, 1), file),
    "TorchScript": lambda file: torch.jit.save(torch.jit.script(nn.Linear(1, 1)), str(file)),
    "an old archive": legacy_tar,
    "a pickle": lambda file: file.write_bytes(pickle.dumps({"a": Code()}, protocol=5)),
    "nothing": lambda file: file.write_bytes(b""),
    "text": lambda file: file.write_text("hello"),
    "half a zip": lambda file: file.write_bytes(b"PK\x03\x04" + bytes(100)),
}


@pytest.mark.parametrize("kind", OTHER_FILES)
@pytest.mark.parametrize("read", [check_weights, load_weights, read_state_dict, load_plain])
def test_no_error_advises_to_run_the_file(kind: str, read, tmp_path: Path):
    """Torch's own text does: "re-running with `weights_only` set to `False` will likely succeed"."""
    file = tmp_path / "model.pt"
    OTHER_FILES[kind](file)
    with pytest.raises(ValueError, match=re.escape(str(file))) as caught:
        read(nn.Linear(3, 2), file) if read in (check_weights, load_weights) else read(file)
    shown = "".join(traceback.format_exception(caught.value))
    assert "weights_only" not in shown
    assert root_cause(caught.value) is caught.value
