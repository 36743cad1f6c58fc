"""`dckd taps BUNDLE` prints what the network gives."""

import json
import re

import pytest

from dckd_ext.cli.taps import taps


@pytest.fixture
def bundle(tmp_path):
    def make(spatial_shape=("*", "*", "*"), **config):
        (tmp_path / "configs").mkdir()
        network = {"_target_": "dckd_ext.networks.HRNet3D", "in_channels": 2, "out_channels": 3}
        config["network_def"] = {**network, "channels": 2, "blocks": 1}
        (tmp_path / "configs" / "inference.json").write_text(json.dumps(config))
        inputs = {"image": {"num_channels": 2, "spatial_shape": list(spatial_shape)}}
        metadata = {"network_data_format": {"inputs": inputs}}
        (tmp_path / "configs" / "metadata.json").write_text(json.dumps(metadata))
        return str(tmp_path)

    return make


def test_table(bundle, capsys):
    taps(bundle(), roi_size=[16, 24, 16])
    head, *rows = capsys.readouterr().out.splitlines()
    assert head == "HRNet3D on 2 x 16 x 24 x 16; * suggested tap"
    assert [row.split()[1] for row in rows if row.startswith("*")] == ["neck"]
    assert any(re.fullmatch(r"\* neck +Neck +14 x 8 x 12 x 8", row) for row in rows)
    assert any(re.fullmatch(r"  head +Conv3d +3 x 8 x 12 x 8", row) for row in rows)


@pytest.mark.parametrize(
    "config",
    [
        {"roi_size": [16, 24, 16]},
        {"edges": [16, 24, 16], "patch_size": "@edges"},
        {"inferer": {"_target_": "SlidingWindowInferer", "roi_size": [16, 24, 16]}},
        {"spatial_shape": [16, 24, 16]},
    ],
)
def test_size_of_the_bundle(bundle, capsys, config):
    taps(bundle(**config))
    assert "2 x 16 x 24 x 16;" in capsys.readouterr().out


def test_one_number_is_a_cube(bundle, capsys):
    taps(bundle(), roi_size=[16])
    assert "2 x 16 x 16 x 16;" in capsys.readouterr().out


def test_unknown_size_is_asked_for(bundle):
    with pytest.raises(ValueError, match="--roi_size"):
        taps(bundle())


def test_size_that_does_not_fit_is_refused(bundle):
    with pytest.raises(ValueError, match=r"\[9, 8, 8\]"):
        taps(bundle(), roi_size=[8])


def test_a_large_window_is_tried_smaller(bundle, capsys):
    taps(bundle(inferer={"_target_": "SlidingWindowInferer", "roi_size": [240, 16, 24]}))
    first, head, *_ = capsys.readouterr().out.splitlines()
    assert (
        first
        == "a window of 128 x 16 x 24 in the place of the bundle's 240 x 16 x 24; --roi_size asks for another"
    )
    assert head == "HRNet3D on 2 x 128 x 16 x 24; * suggested tap"
