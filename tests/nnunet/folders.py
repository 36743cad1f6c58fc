"""Results folders in nnU-Net's form, and what nnU-Net does, in plain numpy and torch."""

import json
from itertools import pairwise, product
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK
import torch
import torch.nn.functional as F  # noqa: N812
from scipy import ndimage

STRIDES = [[1, 1, 1], [1, 2, 2], [2, 2, 2]]
KERNELS = [[1, 3, 3], [3, 3, 3], [3, 3, 3]]
FEATURES = [4, 6, 8]
PATCH = [8, 12, 12]
CLASSES = {"background": 0, "liver": 2, "kidney": 1}  # in another order than their numbers
STATISTICS = {"mean": 40.0, "std": 30.0, "percentile_00_5": -60.0, "percentile_99_5": 150.0}
RESAMPLING = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}


def plans() -> dict:
    configuration = {
        "preprocessor_name": "DefaultPreprocessor",
        "patch_size": PATCH,
        "spacing": [3.0, 0.8, 0.9],
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": dict(RESAMPLING),
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": {**RESAMPLING, "order": 1},
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": {
                "n_stages": 3,
                "features_per_stage": FEATURES,
                "conv_op": "torch.nn.modules.conv.Conv3d",
                "kernel_sizes": KERNELS,
                "strides": STRIDES,
                "n_conv_per_stage": [2, 2, 2],
                "n_conv_per_stage_decoder": [2, 2],
                "conv_bias": True,
                "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
                "norm_op_kwargs": {"eps": 1e-05, "affine": True},
                "dropout_op": None,
                "dropout_op_kwargs": None,
                "nonlin": "torch.nn.LeakyReLU",
                "nonlin_kwargs": {"inplace": True},
            },
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
    }
    return {
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 2, 1],
        "transpose_backward": [0, 2, 1],
        "configurations": {"3d_fullres": configuration, "2d": {**configuration, "patch_size": [8, 8]}},
        "foreground_intensity_properties_per_channel": {"0": STATISTICS},
    }


def weights(seed: int) -> dict[str, torch.Tensor]:
    """Random weights of a PlainConvUNet, by its own names, with what it lists twice and its training "
    "heads."""
    generator = torch.Generator().manual_seed(3 + seed)  # with masks of all classes
    state: dict[str, torch.Tensor] = {}

    def block(name: str, inputs: int, outputs: int, kernel: list[int]) -> None:
        for number, count in enumerate([inputs, outputs]):
            for layer, key in (
                ("conv", "conv"),
                ("all_modules.0", "conv"),
                ("norm", "norm"),
                ("all_modules.1", "norm"),
            ):
                shape = (outputs, count, *kernel) if key == "conv" else (outputs,)
                first = f"{name}.convs.{number}.{key}"
                for kind, size in (("weight", shape), ("bias", (outputs,))):
                    value = state.get(f"{first}.{kind}")
                    if value is None:
                        value = 0.4 * torch.randn(size, generator=generator) + (
                            kind == "weight" and key == "norm"
                        )
                    state[f"{name}.convs.{number}.{layer}.{kind}"] = value

    for level, (inputs, outputs) in enumerate(pairwise([1, *FEATURES])):
        block(f"encoder.stages.{level}.0", inputs, outputs, KERNELS[level])
    state |= {f"decoder.encoder.{key.removeprefix('encoder.')}": value for key, value in state.items()}
    for number, level in enumerate([1, 0]):
        stride = STRIDES[level + 1]
        shape = (FEATURES[level + 1], FEATURES[level], *stride)
        state[f"decoder.transpconvs.{number}.weight"] = torch.randn(shape, generator=generator)
        state[f"decoder.transpconvs.{number}.bias"] = torch.randn(FEATURES[level], generator=generator)
        block(f"decoder.stages.{number}", 2 * FEATURES[level], FEATURES[level], KERNELS[level])
        head = (len(CLASSES), FEATURES[level], 1, 1, 1)
        state[f"decoder.seg_layers.{number}.weight"] = torch.randn(head, generator=generator)
        state[f"decoder.seg_layers.{number}.bias"] = torch.randn(len(CLASSES), generator=generator)
    return state


def network(image: torch.Tensor, state: dict[str, torch.Tensor]) -> torch.Tensor:
    """PlainConvUNet, layer by layer."""

    def block(name: str, x: torch.Tensor, stride: list[int]) -> torch.Tensor:
        for number in range(2):
            at = f"{name}.convs.{number}"
            kernel = state[f"{at}.conv.weight"]
            padding = [edge // 2 for edge in kernel.shape[2:]]
            x = F.conv3d(x, kernel, state[f"{at}.conv.bias"], stride if number == 0 else 1, padding)
            x = F.instance_norm(x, weight=state[f"{at}.norm.weight"], bias=state[f"{at}.norm.bias"])
            x = F.leaky_relu(x, 0.01)
        return x

    maps = [image]
    for level, stride in enumerate(STRIDES):
        maps.append(block(f"encoder.stages.{level}.0", maps[-1], stride))
    x = maps[3]
    for number, level in enumerate([1, 0]):
        at = f"decoder.transpconvs.{number}"
        x = F.conv_transpose3d(x, state[f"{at}.weight"], state[f"{at}.bias"], STRIDES[level + 1])
        x = block(f"decoder.stages.{number}", torch.cat([x, maps[level + 1]], 1), [1, 1, 1])
    return F.conv3d(x, state["decoder.seg_layers.1.weight"], state["decoder.seg_layers.1.bias"])


def results_folder(
    root: Path, folds: int = 1, changed: dict | None = None, dataset: dict | None = None
) -> Path:
    """Write a results folder; `changed` are other values in the plans of its configuration."""
    folder = root / "Dataset007_Tiny" / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    folder.mkdir(parents=True)
    whole = plans()
    whole["configurations"]["3d_fullres"] |= changed or {}
    described = {"channel_names": {"0": "CT"}, "labels": CLASSES, "file_ending": ".nii.gz"}
    (folder / "plans.json").write_text(json.dumps(whole))
    (folder / "dataset.json").write_text(json.dumps({**described, **(dataset or {})}))
    for fold in range(folds):
        (folder / f"fold_{fold}").mkdir()
        checkpoint = {
            "network_weights": weights(fold),
            "logging": {"ema_fg_dice": [np.float64(0.5)], "lrs": [0.01]},
            "_best_ema": np.float32(0.5),
            "init_args": {"fold": fold, "device": torch.device("cpu")},
            "trainer_name": "nnUNetTrainer",
        }
        torch.save(checkpoint, folder / f"fold_{fold}" / "checkpoint_final.pth")
    return folder


def volume(file: Path, seed: int = 0) -> Path:
    """Write a volume of thick slices, with a border of 0, in an orientation that is not RAS."""
    generator = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(generator.normal(size=(24, 20, 9)), 1.5)
    voxels = np.round(200 * smooth / smooth.std() * 0.3 + 40)
    voxels[:2], voxels[:, -3:] = 0, 0
    affine = np.diag([-0.7, -0.9, 3.5, 1.0])
    affine[:3, 3] = [12, 7, -20]
    nib.save(nib.Nifti1Image(voxels.astype(np.int16), affine), file)
    return file


def sampled(array: np.ndarray, size: list[int], order: int) -> np.ndarray:
    """Values of a spline at the centres of a new grid over the same field, in the range of the array."""
    axes = [(np.arange(new) + 0.5) * old / new - 0.5 for old, new in zip(array.shape, size, strict=True)]
    # scipy's zoom and map_coordinates differ in how they extend the spline; a wide edge makes both the same
    wide = np.pad(array, 12, mode="edge")
    places = np.stack(np.meshgrid(*[axis + 12 for axis in axes], indexing="ij"))
    return ndimage.map_coordinates(wide, places, order=order, mode="nearest").clip(array.min(), array.max())


def resampled(array: np.ndarray, size: list[int], order: int, separate: bool) -> np.ndarray:
    """A volume ``CHWD`` on a new grid; with `separate` axis 0 by nearest slice, the others slice by slice."""
    if not separate:
        return np.stack([sampled(channel, size, order) for channel in array])
    out = np.empty((len(array), *size))
    for channel, target in zip(array, out, strict=True):
        for place in range(size[0]):
            nearest = int(np.clip(np.floor((place + 0.5) * len(channel) / size[0]), 0, len(channel) - 1))
            target[place] = sampled(channel[nearest], size[1:], order)
    return out


def prediction(file: Path, states: list[dict[str, torch.Tensor]]) -> np.ndarray:
    """What nnU-Net's predictor says, without mirroring: classes in the order of nibabel's axes."""
    image = SimpleITK.ReadImage(str(file))
    spacing = np.array(image.GetSpacing())[::-1][[0, 2, 1]]
    array = SimpleITK.GetArrayFromImage(image).astype(float).transpose(0, 2, 1)
    inside = tuple(slice(where.min(), where.max() + 1) for where in np.nonzero(array))
    cropped = np.clip(array[inside], -60, 150)
    cropped = ((cropped - 40) / 30).astype(np.float32).astype(float)
    size = [round(n * s / t) for n, s, t in zip(cropped.shape, spacing, [3.0, 0.8, 0.9], strict=True)]
    data = resampled(cropped[None], size, 3, separate=True).astype(np.float32)
    logits = sum(windowed(data, lambda window, state=state: network(window, state)) for state in states)
    native = resampled(logits, list(cropped.shape), 1, separate=True)
    mask = np.zeros(array.shape, np.uint8)
    mask[inside] = native.argmax(0)
    return mask.transpose(0, 2, 1).transpose(2, 1, 0)


def windowed(data: np.ndarray, net) -> np.ndarray:
    """Average a network over windows at even distances, weighted by a Gaussian."""
    before = [
        (max(0, edge - n) // 2, -(-max(0, edge - n) // 2))
        for edge, n in zip(PATCH, data.shape[1:], strict=True)
    ]
    padded = np.pad(data, [(0, 0), *before])
    weight = np.ones(PATCH)
    for axis, edge in enumerate(PATCH):
        line = np.exp(-0.5 * ((np.arange(edge) - edge // 2) / (edge / 8)) ** 2)
        weight *= line.reshape([-1 if axis == other else 1 for other in range(3)])
    weight = (10 * weight).astype(np.float16).astype(float)
    weight[weight == 0] = weight[weight > 0].min()
    total, sums = np.zeros(padded.shape[1:]), 0.0
    starts = []
    for n, edge in zip(padded.shape[1:], PATCH, strict=True):
        count = int(np.ceil((n - edge) / (edge / 2))) + 1
        starts.append([round(number * (n - edge) / max(count - 1, 1)) for number in range(count)])
    for corner in product(*starts):
        window = tuple(slice(first, first + edge) for first, edge in zip(corner, PATCH, strict=True))
        with torch.no_grad():
            answer = net(torch.from_numpy(padded[(slice(None), *window)].copy())[None].float())[0].numpy()
        if isinstance(sums, float):
            sums = np.zeros((len(answer), *total.shape))
        sums[(slice(None), *window)] += answer * weight
        total[window] += weight
    inside = tuple(slice(low, low + n) for (low, _), n in zip(before, data.shape[1:], strict=True))
    return (sums / total)[(slice(None), *inside)]
