#!/usr/bin/env bash
# torch 2.13.0, CPU, float32: which kernel a 3D convolution of ONE volume gets depends on the order of its axes. Up to
# channels x depth x height = 20,480 (the width is not counted) it goes to slow_conv3d, above it to oneDNN, and a batch
# of two always goes to oneDNN. So two volumes can take less time than one, and turning a volume changes the kernel.
# Seen on x86-64: (1,8,64,41,4) oneDNN, the same voxels as (1,8,4,41,64) slow_conv3d, (2,8,4,41,64) oneDNN.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import sys
import time

import torch
from torch.profiler import ProfilerActivity, profile

torch.set_num_threads(1)
convolution = torch.nn.Conv3d(8, 8, 3, padding=1)
KERNELS = {"aten::slow_conv3d_forward": "slow_conv3d", "aten::mkldnn_convolution": "oneDNN"}


def kernel(*shape):
    with torch.inference_mode(), profile(activities=[ProfilerActivity.CPU]) as record:
        convolution(torch.rand(shape))
    return next(name for key, name in KERNELS.items() if key in {event.key for event in record.key_averages()})


def milliseconds(*shape):
    image, times = torch.rand(shape), []
    with torch.inference_mode():
        for _ in range(6):
            start = time.process_time()
            convolution(image)
            times.append(time.process_time() - start)
    return 1e3 * min(times)


found = {shape: kernel(*shape) for shape in [(1, 8, 64, 41, 4), (1, 8, 4, 41, 64), (2, 8, 4, 41, 64)]}
print(torch.__version__, found)
print(f"1 x 8 x 40 x 56 x 40: {milliseconds(1, 8, 40, 56, 40):.1f} ms, two of them: {milliseconds(2, 8, 40, 56, 40):.1f} ms")
sys.exit(list(found.values()) != ["oneDNN", "slow_conv3d", "oneDNN"])
PYTHON
