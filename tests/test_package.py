import subprocess
import sys

import pytest
from monai.bundle import ConfigParser

import dckd_ext
from dckd_ext.losses import RankingLoss
from dckd_ext.networks import HRNet3D


def test_import_is_lazy():
    code = "import sys, dckd_ext; sys.exit('torch' in sys.modules or 'monai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_registered_names_serve_in_configs():
    network = {"_target_": "HRNet3D", "in_channels": 1, "out_channels": 2}
    names = dckd_ext.register()
    assert dckd_ext.register() == names  # twice does no harm
    built = ConfigParser({"network": network, "loss": {"_target_": "RankingLoss"}})
    assert isinstance(built.get_parsed_content("network"), HRNet3D)
    assert isinstance(built.get_parsed_content("loss"), RankingLoss)


def test_register_does_not_hide_what_monai_has(monkeypatch: pytest.MonkeyPatch):
    import monai.losses

    monkeypatch.setattr(monai.losses, "RankingLoss", object, raising=False)
    with pytest.raises(ValueError, match=r"monai\.losses already has another RankingLoss"):
        dckd_ext.register()
