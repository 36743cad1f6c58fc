"""Decoupled contrastive knowledge distillation for 3D medical image segmentation, on MONAI bundles."""
