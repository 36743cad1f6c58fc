"""Published distillation losses, to be compared with DCKD as terms of the same composite.

Each is written anew from its equations, for volumes and several classes. None comes with a weight: that is
the term's, and one for classification of images seldom fits. At weight 1 the gradient of a term at the
student, as a multiple of the segmentation term's (hippocampus, shipped U-Nets, student untrained / trained),
was: AT 0.0001 / 0.0000, IFVD 0.9 / 0.06, FitNet 1.0 / 1.7, CWD 0.8 / 1.0 on features and 1.3 / 2.5 on logits,
region affinity 2.8 / 0.08, DKD 4.3 / 3.5, CIRKD 12 / 10, beside 1.7 / 0.4 for logits distillation.

All are usable from a config::

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
from dckd_ext.losses.peers.cwd import CWDLoss
from dckd_ext.losses.peers.dkd import DKDLoss
from dckd_ext.losses.peers.fitnet import FitNetLoss
from dckd_ext.losses.peers.ifvd import IFVDLoss

__all__ = ["ATLoss", "CIRKDLoss", "CWDLoss", "DKDLoss", "FitNetLoss", "IFVDLoss", "RegionAffinityLoss"]
