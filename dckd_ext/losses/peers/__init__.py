"""Published distillation losses, to be compared with DCKD as terms of the same composite.

Each is written anew from its equations, for volumes and several classes. None comes with a weight: that is
the term's, and one for classification of images seldom fits. At the same weight their gradients at the
student differ by orders of magnitude (least AT, most CIRKD): compare them with the segmentation's first.

All are usable from a config:

    fitnet:
      _target_: dckd_ext.losses.Term
      weight: 1.0
      ramp: [0.0, 0.1]
      loss:
        _target_: dckd_ext.losses.peers.FitNetLoss
        student_channels: 16
        teacher_channels: 64
"""

from dckd_ext.losses.peers.affinity import RegionAffinityLoss
from dckd_ext.losses.peers.attention import ATLoss
from dckd_ext.losses.peers.cirkd import CIRKDLoss
from dckd_ext.losses.peers.dist import DISTLoss
from dckd_ext.losses.peers.dkd import DKDLoss
from dckd_ext.losses.peers.fitnet import FitNetLoss
from dckd_ext.losses.peers.ifvd import IFVDLoss

__all__ = ["ATLoss", "CIRKDLoss", "DISTLoss", "DKDLoss", "FitNetLoss", "IFVDLoss", "RegionAffinityLoss"]
