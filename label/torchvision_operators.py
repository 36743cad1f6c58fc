"""Lets a torchvision that was built for CUDA load beside a torch for CPUs.

Such a torchvision cannot load its compiled operators: `operator torchvision::nms does not exist`.
MONAI Label uses torchvision's Python parts only, so it is enough to declare the two operators that they refer
to. `label/install.sh` puts this module into the environment, where a `.pth` file imports it at every start of
Python, if torchvision does not load there; matching builds never get it.
"""

import importlib.abc
import sys


class _Declare(importlib.abc.MetaPathFinder):
    """Finds nothing, but declares the operators just before torchvision is imported."""

    def find_spec(self, name, path=None, target=None):
        if name == "torchvision":
            sys.meta_path.remove(self)
            import torch

            self.library = torch.library.Library("torchvision", "DEF")
            for operator in ("nms", "qnms"):
                self.library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            _keep.append(self)
        return None


_keep: list[_Declare] = []  # a library that is collected takes its operators with it
sys.meta_path.insert(0, _Declare())
