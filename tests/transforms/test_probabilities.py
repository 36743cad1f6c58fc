import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import AsDiscreted, Compose, EnsureChannelFirstd, Invertd, Orientationd, Spacingd

from dckd_ext.transforms import ForegroundProbabilityd, ReadVolumed
from tests.conftest import write_volume

OBLIQUE_FLIPPED = np.array([[-1.2, 0.1, 0, 5], [0.1, -0.8, 0, -3], [0, 0, 1.5, 7], [0, 0, 0, 1.0]])


@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("height", [1, 16, 37])
def test_is_one_minus_the_softmax_of_the_background(channels, dtype, height):
    logits = torch.randn(channels, height, 5, 6, generator=torch.Generator().manual_seed(0)).mul(3).to(dtype)
    output = ForegroundProbabilityd("pred", output="p")({"pred": logits})
    powers = np.exp(logits.double().numpy())
    expected = 1 - powers[0] / powers.sum(0)
    assert output["p"].dtype == torch.uint8
    assert output["p"].shape == (1, height, 5, 6)
    found = output["p"][0].numpy().astype(int)
    assert np.all(found / 256 <= expected + 1e-6)
    assert np.all(expected < (found + 1) / 256 + 1e-6)
    assert output["pred"] is logits


@given(st.floats(-0.1, 0.1))
def test_half_and_more_is_128_and_more(difference):
    logits = torch.tensor([0.0, difference], dtype=torch.float32).view(2, 1, 1, 1)
    level = int(ForegroundProbabilityd("pred")({"pred": logits})["probability"])
    assert (level >= 128) == (float(logits.softmax(0)[0]) <= 0.5)


def test_certainty_and_its_opposite():
    logits = torch.tensor([[50.0, -50.0], [-50.0, 50.0]]).view(2, 2, 1, 1)
    assert ForegroundProbabilityd("pred")({"pred": logits})["probability"].flatten().tolist() == [0, 255]


@pytest.mark.parametrize("affine", [np.eye(4), OBLIQUE_FLIPPED], ids=["identity", "oblique and flipped"])
def test_comes_back_with_the_prediction(tmp_path, affine):
    """Through the hippocampus config's inverse: 128 and above is where the classes are not 0."""
    rng = np.random.default_rng(0)
    path = write_volume(tmp_path / "a.nii.gz", rng.normal(size=(21, 18, 13)).astype(np.float32), affine)
    preprocessing = Compose(
        [
            ReadVolumed("image"),
            EnsureChannelFirstd("image"),
            Orientationd("image", axcodes="RAS", labels=None),
            Spacingd("image", pixdim=[1, 1, 1], mode="bilinear"),
        ]
    )
    data = preprocessing({"image": str(path)})
    logits = torch.randn(2, *data["image"].shape[1:], generator=torch.Generator().manual_seed(1))
    data["pred"] = MetaTensor(logits, meta=data["image"].meta)
    postprocessing = Compose(
        [
            ForegroundProbabilityd("pred"),
            AsDiscreted("pred", argmax=True),
            Invertd(["pred", "probability"], transform=preprocessing, orig_keys="image", nearest_interp=True),
        ]
    )
    output = postprocessing(data)
    assert output["probability"].shape == output["pred"].shape == (1, 21, 18, 13)
    probability, prediction = output["probability"].numpy(), output["pred"].numpy()
    np.testing.assert_array_equal(probability, probability.round())
    assert len(np.unique(probability)) > 100
    inside = probability > 0  # oblique: the inverse pads with zeros
    assert inside.mean() > 0.5
    np.testing.assert_array_equal(probability[inside] >= 128, prediction[inside] == 1)
    np.testing.assert_allclose(output["probability"].affine, affine, atol=1e-5)


@pytest.mark.parametrize(
    "logits",
    [torch.zeros(1, 2, 2, 2), torch.zeros(2, 2, 2, 2, dtype=torch.uint8)],
    ids=["one channel", "classes"],
)
def test_refuses_what_are_no_logits(logits):
    with pytest.raises(ValueError, match=r"pred: found shape .*before AsDiscreted"):
        ForegroundProbabilityd("pred")({"pred": logits})


def test_keys():
    with pytest.raises(ValueError, match="one key"):
        ForegroundProbabilityd(["a", "b"])
    assert ForegroundProbabilityd("pred", allow_missing_keys=True)({"image": 1}) == {"image": 1}
    with pytest.raises(KeyError):
        ForegroundProbabilityd("pred")({"image": 1})
