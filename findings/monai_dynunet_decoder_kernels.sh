#!/usr/bin/env bash
# MONAI 1.6.1's DynUNet, documented as nnU-Net's network, is another network where kernel sizes differ between levels, as
# nnU-Net plans them for thick slices: its decoder takes the kernel of the level below, nnU-Net v2's that of the level that is
# reached. Weights of the one do not fit into the other, and an nnU-Net that is rebuilt from its plans has other kernels.
# Output seen:
#   monai 1.6.1, dynamic_network_architectures 0.4.4
#   last level of the decoder: DynUNet (3, 3, 3), PlainConvUNet (1, 3, 3)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet monai==1.6.1 numpy==2.3.5
"$folder/venv/bin/pip" install --quiet --no-deps dynamic_network_architectures==0.4.4

"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys
import types
from importlib.metadata import version

import monai
import torch
from monai.networks.nets import DynUNet

timm = types.ModuleType("timm.layers")  # only for transformers in that package; it would bring torchvision
timm.__getattr__ = lambda name: None
sys.modules.update({"timm": types.ModuleType("timm"), "timm.layers": timm})
from dynamic_network_architectures.architectures.unet import PlainConvUNet

kernels = [[1, 3, 3], [3, 3, 3], [3, 3, 3]]
strides = [[1, 1, 1], [1, 2, 2], [2, 2, 2]]
features = [4, 8, 16]
ours = DynUNet(3, 1, 2, kernels, strides, strides[1:], filters=features)
theirs = PlainConvUNet(
    1, 3, features, torch.nn.Conv3d, kernels, strides, [2, 2, 2], 2, [2, 2], True,
    torch.nn.InstanceNorm3d, {"affine": True}, nonlin=torch.nn.LeakyReLU,
)
found = tuple(ours.upsamples[-1].conv_block.conv1.conv.weight.shape[2:])
expected = tuple(theirs.decoder.stages[-1].convs[0].conv.weight.shape[2:])
print(f"monai {monai.__version__}, dynamic_network_architectures {version('dynamic_network_architectures')}")
print(f"last level of the decoder: DynUNet {found}, PlainConvUNet {expected}")
sys.exit((found, expected) != ((3, 3, 3), (1, 3, 3)))
PYTHON
