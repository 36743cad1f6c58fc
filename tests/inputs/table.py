"""The table: every input, and its right outcome on every path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np

from tests.inputs.files import File, claiming_terabytes, damage, emptied, replaced
from tests.inputs.scene import DARK

__all__ = ["INPUTS", "PATHS", "Input"]

PATHS = ("check", "training", "inference", "evaluation", "predict")
SEES_LABELS = ("check", "training", "evaluation")


PLAIN = File()


@dataclass(frozen=True)
class Input:
    """An image with its label, and what has to become of them.

    Attributes:
        name: of the case.
        image: how it is stored.
        label: likewise; None: as the image, but in an ordinary NIfTI file.
        refused: part of the text with which every path refuses the image; empty where none does.
        label_refused: likewise the label, on the paths that see it.
        warned: part of the warning of the image.
        label_warned: likewise of the label.
        check_warns: of what the others refuse when they resample, which `dckd check` does not.
        itk: whether SimpleITK reads the image as well, and puts it where it is.
    """

    name: str
    image: File = PLAIN
    label: File | None = None
    refused: str = ""
    label_refused: str = ""
    warned: str = ""
    label_warned: str = ""
    check_warns: bool = False
    itk: bool = True

    @property
    def label_file(self) -> File:
        """How the label is stored."""
        stored = File(shape=self.image.shape, axcodes=self.image.axcodes, rotation=self.image.rotation)
        return self.label or stored

    def outcome(self, path: str) -> tuple[str, str]:
        """What has to become of it on a path: "right", "refused" or "warned", and a part of the text."""
        sees = path in SEES_LABELS
        refused = self.refused or (self.label_refused if sees else "")
        if refused and not (self.check_warns and path == "check"):
            return "refused", refused
        warned = self.warned or (self.label_warned if sees else "")
        return ("warned", warned) if warned else ("right", "")


def _moved(*by: float) -> np.ndarray:
    return nib.affines.from_matvec(np.eye(3), by)


def _with_value(value: float) -> Any:
    """Put a value into one voxel."""

    def change(voxels: np.ndarray) -> np.ndarray:
        changed = voxels.astype(np.float64)
        changed[tuple(np.array(changed.shape) // 2)] = value
        return changed

    return change


def _colour(voxels: np.ndarray) -> np.ndarray:
    return np.repeat(voxels.astype(np.uint8)[..., None], 3, axis=-1).view([(c, "u1") for c in "RGB"])[..., 0]


SCANNER = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.3, -0.2, 0.1), [9.0, -2, 5])
ONES = {"space directions": np.eye(3), "space origin": np.zeros(3)}
TURNED: dict[str, Any] = {"rotation": (0.3, -0.2, 0.25)}
LITTLE_OFF: dict[str, Any] = {"axcodes": "LPS", "fields": {"pixdim": [1, *[1.0001] * 3, 1, 1, 1, 1]}}
CODES_DIFFER = "its sform (code {}) and its qform put a corner"
ELSEWHERE = "lies elsewhere than "

PLACES = [
    Input("plain"),
    Input("plain_nii", File(".nii")),
    *(
        Input(f"stored_{axcodes}", File(axcodes=axcodes))
        for axcodes in ("LAS", "LPS", "LPI", "PIR", "SLA", "ASR")
    ),
    Input("sform_alone", File(codes=(1, 0))),
    Input("sform_1_pixdim_a_little_off", File(codes=(1, 0), **LITTLE_OFF)),
    Input("sform_4_pixdim_a_little_off", File(codes=(4, 0), **LITTLE_OFF)),
    Input("sform_pixdim_a_little_off_4d", File(codes=(1, 0), change=lambda v: v[..., None], **LITTLE_OFF)),
    Input("qform_alone", File(codes=(0, 1), axcodes="LPS")),
    Input(
        "no_form",
        File(codes=(0, 0), axcodes="LPS"),
        File(codes=(0, 0), axcodes="LPS"),
        warned="neither sform nor qform is set",
    ),
    Input("mni_sform_scanner_qform", File(codes=(4, 1), qform=SCANNER), warned=CODES_DIFFER.format(4)),
    Input("sform_and_another_qform", File(codes=(1, 2), qform=SCANNER), warned=CODES_DIFFER.format(1)),
    Input(
        "pixdim_of_another_size",
        File(codes=(1, 0), fields={"pixdim": [1, 2, 2, 2, 1, 1, 1, 1]}),
        warned="its sform (code 1) and its pixdim put a corner",
    ),
    Input(
        "broken_qform",
        File(codes=(1, 0), fields={"qform_code": 1, "quatern_b": 0.9, "quatern_c": 0.9}),
        warned="its qform cannot be understood",
        itk=False,
    ),
    Input(
        "broken_qform_alone",
        File(codes=(0, 0), fields={"qform_code": 1, "quatern_b": 0.9, "quatern_c": 0.9}),
        refused="cannot be read: w2 should be positive",
    ),
    Input(
        "flat_sform",
        File(codes=(1, 0), fields={"srow_z": [0, 0, 0, 1]}),
        refused="expected an affine that can be inverted",
    ),
    Input(
        "nan_in_sform",
        File(codes=(1, 0), fields={"srow_x": [np.nan, 0, 0, 1]}),
        refused="expected an affine that can be inverted",
    ),
    Input("oblique", File(**TURNED)),
    Input("oblique_stored_PIR", File(axcodes="PIR", **TURNED)),
    Input("halves", File(shape=(63, 95, 63))),
    Input("oblique_halves", File(shape=(63, 95, 63), **TURNED)),
    Input("thick_slices", File(shape=(63, 95, 16))),
    Input("coarse", File(shape=(22, 32, 22))),
    Input("one_slice", File(shape=(32, 48, 1))),
    Input("one_slice_stored_SLA", File(shape=(32, 1, 32), axcodes="SLA")),
]

METRES = File(change=lambda v: v[:16, :16, :16], scale=1000)
UNITS = [
    Input("metres", File(scale=1e-3, fields={"xyzt_units": 1})),
    Input("micrometres", File(scale=1e3, fields={"xyzt_units": 3})),
    Input("micrometres_and_seconds", File(scale=1e3, fields={"xyzt_units": 3 + 8})),
    Input(
        "unknown_unit",
        File(fields={"xyzt_units": 5}),
        warned="xyzt_units has no unit of length of the number 5",
    ),
    *(
        Input(name, stored, stored, refused=refused, warned=warned, check_warns=True)
        for name, stored, refused, warned in (
            (
                "mm_called_metres",
                File(fields={"xyzt_units": 1}),
                "expected at most",
                "extends over 3.2e+04 x",
            ),
            (
                "mm_called_micrometres",
                File(fields={"xyzt_units": 3}),
                "more than one",
                "extends over 0.032 x",
            ),
            ("voxels_of_a_metre", METRES, "16 x 16 x 16 voxels of 1000 x", "extends over 1.6e+04 x"),
        )
    ),
]

NRRD = [
    *(
        Input(f"nrrd_{space}", File(".nrrd", space=space), itk=itk)
        for space, itk in {
            **dict.fromkeys(
                ("left-posterior-superior", "right-anterior-superior", "left-anterior-superior"), True
            ),
            **dict.fromkeys(
                ("right-posterior-inferior", "left-anterior-inferior", "Right-Anterior-Superior"), False
            ),
            **dict.fromkeys(("LPS", "RAS", "LAS", "RPI", "lps"), False),
        }.items()
    ),
    Input("nrrd_stored_PIR", File(".nrrd", axcodes="PIR", **TURNED)),
    Input("nrrd_without_a_space", File(".nrrd", space=None), warned="the NRRD header states no space"),
    Input("nrrd_scanner_xyz", File(".nrrd", fields={"space": "scanner-xyz"}), refused="found scanner-xyz"),
    Input(
        "nrrd_right_handed",
        File(".nrrd", fields={"space": "3D-right-handed"}),
        refused="found 3D-right-handed",
    ),
    Input(
        "nrrd_without_spacing",
        File(".nrrd", fields={"space directions": None, "space origin": None, "space": None}),
        refused="the NRRD header states no spacing",
    ),
    Input(
        "nrrd_of_ones",
        File(".nrrd", axcodes="LPS", fields=ONES),
        File(".nrrd", axcodes="LPS", fields=ONES),
    ),
    Input("nrrd_micrometres", File(".nrrd", scale=1e3, fields={"space units": ["um"] * 3}), itk=False),
    Input("nrrd_raw", File(".nrrd", fields={"encoding": "raw"})),
    Input("nrrd_bzip2", File(".nrrd", fields={"encoding": "bzip2"}), itk=False),
    Input("nhdr", File(".nhdr")),
    Input("nhdr_raw", File(".nhdr", fields={"encoding": "raw"})),
    Input(
        "nhdr_of_data_elsewhere",
        File(".nhdr", harm=replaced(b"data file: ", b"data file: ../elsewhere/")),
        refused="expected a data file in the header's own folder",
    ),
    Input(
        "nhdr_without_its_data",
        File(".nhdr", harm=replaced(b"data file: ", b"data file: no_")),
        refused="is not beside it",
    ),
    Input(
        "nrrd_colour",
        File(".nrrd", change=lambda v: np.stack([v] * 3)),
        refused="found the sizes (3, 32, 48, 32)",
    ),
]

VOXELS = [
    Input("nifti_2", File(kind=nib.Nifti2Image, **TURNED), itk=False),
    Input("big_endian", File(endian=">")),
    Input("uint8", File(change=lambda v: v.astype(np.uint8))),
    Input("int16", File(change=lambda v: (v * -50).astype(np.int16) * -1)),
    Input("float64", File(change=lambda v: v.astype(np.float64))),
    Input("scaled_int16", File(dtype=np.int16, change=lambda v: v / 7)),
    Input("4d_of_one_channel", File(change=lambda v: v[..., None])),
    Input("5d_of_one_channel", File(change=lambda v: v[..., None, None])),
    Input(
        "two_channels",
        File(change=lambda v: np.stack([v] * 2, axis=-1)),
        refused="expected a 3D volume with 1 channel(s), found the shape (32, 48, 32, 2)",
    ),
    Input(
        "a_vector_a_voxel",
        File(change=lambda v: np.stack([v[..., None]] * 3, axis=-1)),
        refused="expected a 3D volume, found the shape",
    ),
    Input("2d", File(change=lambda v: v[..., 0]), refused="expected a 3D volume, found the shape"),
    Input("colour", File(change=_colour), refused="found a colour image (RGB)"),
    Input(
        "complex",
        File(change=lambda v: v.astype(np.complex64)),
        refused="expected one real number a voxel, found complex64",
    ),
    Input("nan", File(change=_with_value(np.nan)), refused="1 voxels are NaN or infinite"),
    Input("infinite", File(change=_with_value(np.inf)), refused="1 voxels are NaN or infinite"),
    Input("too_large_for_float32", File(change=_with_value(1e300)), refused="1 voxels are NaN or infinite"),
    Input("one_value", File(change=lambda v: np.full_like(v, DARK)), warned="all voxels are 100"),
    Input("one_voxel", File(shape=(1, 1, 1)), warned="all voxels are 160"),
]

FILES = [
    Input("NII_GZ_in_capitals", File(".NII.GZ"), File(".NII.GZ")),
    Input("NII_in_capitals", File(".NII")),
    Input("NRRD_in_capitals", File(".NRRD")),
    *(
        Input(f"damaged_{where.replace(' ', '_')}", File(harm=damage(where)), refused="cannot be read: ")
        for where in ("cut", "trailer", "check sum", "length", "byte")
    ),
    Input("empty_file", File(harm=emptied), refused="the file is empty"),
    Input("empty_nrrd", File(".nrrd", harm=emptied), refused="the file is empty"),
    Input(
        "no_volume", File(".nii", harm=lambda path: path.write_text("no volume")), refused="cannot be read: "
    ),
    Input("claims_terabytes", File(harm=claiming_terabytes), refused="more than the file can hold"),
]

LABELS = [
    *(
        Input(f"{image}_image_{label}_label", File(axcodes=image), File(axcodes=label))
        for image, label in (("LAS", "RAS"), ("RAS", "LPS"), ("PIR", "SLA"))
    ),
    Input("oblique_image_LPS_label", File(**TURNED), File(axcodes="LPS", **TURNED)),
    Input("nifti_image_nrrd_label", PLAIN, File(".nrrd")),
    Input("nrrd_image_nifti_label", File(".nrrd", space="RAS"), File(axcodes="LPS")),
    Input("nhdr_label", PLAIN, File(".nhdr")),
    Input("label_a_fifth_of_a_voxel_off", PLAIN, File(move=_moved(0.2, 0, 0))),
    Input("label_half_a_voxel_off", PLAIN, File(move=_moved(0.5, 0, 0)), label_refused=ELSEWHERE),
    Input("label_10_mm_off", PLAIN, File(move=_moved(0, 10, 0)), label_refused=ELSEWHERE),
    Input("label_50_mm_off", PLAIN, File(move=_moved(0, 0, 50)), label_refused=ELSEWHERE),
    Input("label_of_another_direction", PLAIN, File(move=np.diag([-1.0, 1, 1, 1])), label_refused=ELSEWHERE),
    Input("label_of_another_spacing", PLAIN, File(move=np.diag([1.0, 1, 1.1, 1])), label_refused=ELSEWHERE),
    Input(
        "label_of_another_shape",
        File(),
        File(change=lambda v: v[1:]),
        label_refused="has shape (31, 48, 32), expected",
    ),
    Input(
        "label_without_forms",
        File(axcodes="LPS"),
        File(axcodes="LPS", codes=(0, 0)),
        label_refused=ELSEWHERE,
    ),
    Input("label_4d", PLAIN, File(change=lambda v: v[..., None])),
    Input(
        "label_one_hot",
        File(),
        File(change=lambda v: np.eye(3, dtype=np.uint8)[v]),
        label_refused="channels of a one-hot label?",
    ),
    Input(
        "label_value_4",
        File(),
        File(change=_with_value(4)),
        label_refused="found values [4], expected whole numbers from 0 to 2",
    ),
    Input(
        "label_value_minus_1",
        File(),
        File(change=_with_value(-1)),
        label_refused="found values [-1], expected whole",
    ),
    Input(
        "label_value_2.5",
        File(),
        File(change=_with_value(2.5)),
        label_refused="found values [2.5], expected whole",
    ),
    Input(
        "label_nan",
        File(),
        File(change=_with_value(np.nan)),
        label_refused="found values [nan], expected whole",
    ),
    Input("label_float32", PLAIN, File(change=lambda v: v.astype(np.float32))),
    Input("label_scaled", PLAIN, File(dtype=np.int16, change=lambda v: v.astype(np.float32))),
    Input(
        "label_complex",
        File(),
        File(change=lambda v: v.astype(np.complex64)),
        label_refused="found complex64",
    ),
    Input("label_nifti_2", File(**TURNED), File(kind=nib.Nifti2Image, **TURNED)),
    Input("label_damaged", PLAIN, File(harm=damage("check sum")), label_refused="cannot be read: "),
    Input(
        "label_of_two_places", PLAIN, File(codes=(2, 1), qform=SCANNER), label_warned=CODES_DIFFER.format(2)
    ),
]

INPUTS = [*PLACES, *UNITS, *NRRD, *VOXELS, *FILES, *LABELS]
