"""How a teacher sees volumes: its own preprocessing and window, where they differ from the student's."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from monai.data.utils import affine_to_spacing
from monai.inferers import Inferer
from monai.transforms import SpatialResample
from monai.utils import ImageMetaKey
from nibabel.orientations import aff2axcodes
from scipy.ndimage import gaussian_filter
from torch import Tensor

from dckd_ext.bundle import load_bundle_config
from dckd_ext.bundle.config import StrPath, evaluated
from dckd_ext.utils.errors import first_line

__all__ = ["OwnSight", "own_sight"]

_logger = logging.getLogger(__name__)
_ABSENT = -16.0  # log-probability of other classes than the background outside of what the teacher sees
_SAME = 0.01  # standard deviations; more than what rounding does

Preprocessing = Callable[[dict[str, Any]], Mapping[str, Any]]


class OwnSight(Inferer):
    """Let a teacher answer through its own preprocessing and window, on the grid of the student's volume.

    It takes the place of the student's inferer. The file of the volume is read again and prepared as the
    teacher's inference config says; what the network says is brought onto the grid of the input by the two
    affines, linearly. Outside of what the teacher sees, as after a crop, is background. Ours.

    Args:
        bundle: folder of the teacher's bundle, or nnU-Net's results folder. This runs its code.
        config: values for keys of its config.

    Raises:
        ValueError: if its inference config has no preprocessing and inferer; on a call, when the input
            is no volume
            that was read from a file.
    """

    def __init__(self, bundle: StrPath, config: Mapping[str, Any] | None = None) -> None:
        parser = load_bundle_config(bundle, config)
        if missing := [key for key in ("preprocessing", "inferer") if key not in parser]:
            raise ValueError(f"the inference config of {bundle} has no {' and no '.join(missing)}")
        self.bundle = str(bundle)
        self.preprocessing: Preprocessing = evaluated(parser, "preprocessing")
        self.inferer: Inferer = evaluated(parser, "inferer")
        self.settings = str(parser.get("preprocessing"))

    @property
    def window(self) -> Any:
        """The size of the teacher's window, voxels, or None where its inferer has none."""
        return _window(self.inferer)

    def __call__(self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Answer to a volume ``1CDHW``, by what is known of its file and place; maps are ``1KDHW``."""
        file, affine = _place(inputs)
        own = self.preprocessing({"image": file})["image"]
        volume = own[None].to(device=inputs.device, dtype=torch.float32)
        output = self.inferer(volume, network, *args, **kwargs)
        maps = output if isinstance(output, tuple) else (output,)
        logits, *others = (
            _on_grid(one[0], torch.as_tensor(own.affine), affine, inputs.shape[2:]) for one in maps
        )
        ones = torch.ones_like(maps[0][0, :1])
        outside = _on_grid(ones, torch.as_tensor(own.affine), affine, inputs.shape[2:], "zeros") < 0.5
        logits[1:].masked_fill_(outside, logits[:1].max() + _ABSENT if len(logits) > 1 else 0)
        logits[:1].masked_fill_(outside, logits[:1].max())
        answers = tuple(one[None] for one in (logits, *others))
        return answers if isinstance(output, tuple) else answers[0]


def own_sight(
    bundles: StrPath | Sequence[StrPath],
    preprocessing: Preprocessing,
    inferer: Inferer,
    in_channels: int = 1,
    config: Mapping[str, Any] | None = None,
) -> OwnSight | None:
    """Compare how teacher and student prepare a volume; print it and return the teacher's way if another.

    Both prepare one small volume of noise that is made here, with voxels and axes as no data set has
    them. They
    are the same where grid and values come out the same. The windows are shown, and do not count.

    Args:
        bundles: the teacher's, or several that have to see alike.
        preprocessing: the student's; has to take data without a label.
        inferer: the student's.
        in_channels: of the image.
        config: values for keys of the teachers' configs.

    Returns:
        None where they prepare volumes alike, or nothing tells how the teacher does.

    Raises:
        ValueError: when several teachers see differently.
    """
    folders = [bundles] if isinstance(bundles, str) or not isinstance(bundles, Sequence) else list(bundles)
    sights, seen = [], []
    with tempfile.TemporaryDirectory() as folder:
        file = _noise(Path(folder), in_channels)
        try:
            ours = preprocessing({"image": file, "label": None, "case": "noise"})["image"]
            for bundle in folders:
                sights.append(OwnSight(bundle, config))
                seen.append(sights[-1].preprocessing({"image": file})["image"])
        except Exception as error:  # whatever the teacher's bundle raises
            _logger.warning(
                "teacher: it gets the student's preprocessing, its own is not known: %s",
                first_line(error),
            )
            return None
    if all(_alike(one, ours) for one in seen):
        return None
    _logger.info(
        "teacher and student prepare volumes differently:\n%s", _table(sights[0], seen[0], inferer, ours)
    )
    if not all(_alike(one, seen[0]) for one in seen):
        raise ValueError(
            "the teachers prepare volumes differently from each other: expected teachers of one "
            "preprocessing, or --own_preprocessing false"
        )
    return sights[0]


def _noise(folder: Path, channels: int) -> str:
    """Write a volume with a border of 0, of uneven voxels, with axes that are not RAS."""
    noise = np.random.default_rng(0).normal(size=(34, 40, 28, channels))
    smooth = gaussian_filter(noise, [1.5, 1.5, 1.5, 0])
    voxels = np.round(400 + 150 * smooth / smooth.std())
    voxels[:3] = voxels[:, -2:] = 0
    affine = np.array([[0, -0.9, 0, 11.0], [-1.1, 0, 0, 7], [0, 0, 1.4, -20], [0, 0, 0, 1]])
    file = folder / "noise.nii.gz"
    nib.save(nib.Nifti1Image(np.squeeze(voxels).astype(np.float32), affine), file)
    return str(file)


def _alike(one: MetaTensor, other: MetaTensor) -> bool:
    if one.shape != other.shape or not np.allclose(one.affine.cpu(), other.affine.cpu(), atol=1e-3):
        return False
    ours, theirs = (each.as_tensor().cpu().float() for each in (one, other))
    return float((ours - theirs).abs().max()) <= _SAME * float(theirs.std())


def _table(sight: OwnSight, seen: MetaTensor, inferer: Inferer, ours: MetaTensor) -> str:
    rows: list[Sequence[str]] = [("", "teacher", "student")]
    teacher, student = (_described(one) for one in (seen, ours))
    rows += [(name, teacher[name], student[name]) for name in teacher]
    rows += [["window", *(str(_window(one) or "?") for one in (sight.inferer, inferer))]]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return "\n".join(f"  {name:{widths[0]}}  {left:{widths[1]}}  {right}" for name, left, right in rows)


def _described(image: MetaTensor) -> dict[str, str]:
    values = image.as_tensor().cpu().float()
    spacing = affine_to_spacing(torch.as_tensor(image.affine).cpu(), r=3, suppress_zeros=False)
    return {
        "spacing, mm": " x ".join(f"{edge:.3g}" for edge in spacing.tolist()),
        "axes to": "".join(aff2axcodes(np.asarray(image.affine.cpu()))),
        "voxels of the test volume": " x ".join(map(str, image.shape[1:])),
        "its mean, deviation": f"{values.mean():.3g}, {values.std():.3g}",
        "its range": f"{values.min():.3g} to {values.max():.3g}",
    }


def _window(inferer: Any) -> Any:
    """Return the size of the window of an inferer, or of the one inside it."""
    while inferer is not None:
        if (size := getattr(inferer, "roi_size", None)) is not None:
            return list(size) if isinstance(size, Sequence) else size
        inferer = getattr(inferer, "inferer", None)
    return None


def _place(inputs: Tensor) -> tuple[str, Tensor]:
    """Return the file and the affine of a batch of one volume."""
    name = inputs.meta.get(ImageMetaKey.FILENAME_OR_OBJ) if isinstance(inputs, MetaTensor) else None
    file = name[0] if isinstance(name, list | tuple) else name
    if not isinstance(inputs, MetaTensor) or len(inputs) != 1 or not file:
        raise ValueError(f"expected one volume that was read from a file, found {tuple(inputs.shape)}")
    return str(file), torch.as_tensor(inputs.affine).reshape(-1, 4, 4)[0].cpu()


def _on_grid(
    values: Tensor, affine: Tensor, target: Tensor, size: Sequence[int], padding: str = "border"
) -> Tensor:
    values = values.as_tensor() if isinstance(values, MetaTensor) else values
    resample = SpatialResample(mode="bilinear", padding_mode=padding, align_corners=True, dtype=np.float32)
    moved = resample(MetaTensor(values, affine=affine.cpu()), dst_affine=target, spatial_size=list(size))
    return torch.as_tensor(moved.numpy(force=True)).to(values.device)
