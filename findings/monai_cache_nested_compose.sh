#!/usr/bin/env bash
# MONAI 1.6.1: CacheDataset caches nothing when its transform is a Compose of Composes, and says nothing. It looks for the first
# random transform at the top alone, and a Compose is itself a RandomizableTrait, deterministic transforms inside or not. So
# Compose([preprocessing, augmentation]) reads and resamples every volume in every epoch; Compose(...).flatten() is cached.
# Output seen (3 items, 10 epochs):
#   monai 1.6.1
#   one list: deterministic part run 3 times while caching, 3 in all
#   nested: deterministic part run 0 times while caching, 30 in all
#   nested, flattened: deterministic part run 3 times while caching, 3 in all
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet monai==1.6.1 numpy==2.3.5

"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import monai
import torch
from monai.data import CacheDataset
from monai.transforms import Compose, Lambda, RandGaussianNoise


def counted(arrange):
    calls = []

    def deterministic(image):
        calls.append(1)
        return image * 2

    before, random = Lambda(deterministic), RandGaussianNoise(prob=1.0)
    images = [torch.full((1, 4, 4), float(value)) for value in range(3)]
    dataset = CacheDataset(images, arrange(before, random), progress=False, num_workers=1)
    while_caching = len(calls)
    for _ in range(10):
        for index in range(3):
            dataset[index]
    return while_caching, len(calls)


arrangements = {
    "one list": lambda before, random: Compose([before, random]),
    "nested": lambda before, random: Compose([Compose([before]), Compose([random])]),
    "nested, flattened": lambda before, random: Compose([Compose([before]), Compose([random])]).flatten(),
}
print("monai", monai.__version__)
found = {name: counted(arrange) for name, arrange in arrangements.items()}
for name, (while_caching, in_all) in found.items():
    print(f"{name}: deterministic part run {while_caching} times while caching, {in_all} in all")
sys.exit(found != {"one list": (3, 3), "nested": (0, 30), "nested, flattened": (3, 3)})
PYTHON
