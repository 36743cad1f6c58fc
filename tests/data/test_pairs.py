"""Images beside labels, without a list of them."""

import json
from pathlib import Path

import pytest

from dckd_ext.data import case_list
from dckd_ext.data.survey import list_folder


@pytest.fixture
def folder(tmp_path: Path):
    """Returns a function that makes a folder of empty files."""

    def make(*names: str) -> str:
        for name in names:
            file = tmp_path / "set" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        return str(tmp_path / "set")

    return make


def cases(folder: str) -> list[tuple[str, str, str]]:
    root = Path(folder)
    split = str(root / "splits.json")
    return [
        (case["case"], *(str(Path(case[key]).relative_to(root)) for key in ("image", "label")))
        for case in case_list(folder, "all", split)
    ]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            ["images/a.nii.gz", "labels/a.nii.gz", "images/b.nrrd", "labels/b.nii", "images/notes.txt"],
            [("a", "images/a.nii.gz", "labels/a.nii.gz"), ("b", "images/b.nrrd", "labels/b.nii")],
        ),
        (
            ["imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz", "imagesTr/b_0000.nii.gz", "labelsTr/b.nii.gz"],
            [
                ("a", "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz"),
                ("b", "imagesTr/b_0000.nii.gz", "labelsTr/b.nii.gz"),
            ],
        ),
        (
            ["images/oslo/1.nii", "labels/oslo/1.nii", "images/rome/1.nii", "labels/rome/1.nii"],
            [
                ("oslo", "images/oslo/1.nii", "labels/oslo/1.nii"),
                ("rome", "images/rome/1.nii", "labels/rome/1.nii"),
            ],
        ),
        (  # a name that ends like a channel's, with a label of that very name
            ["images/a_0001.nii", "labels/a_0001.nii"],
            None,
        ),
    ],
)
def test_pairs_have_the_same_name(files: list[str], expected: list[tuple[str, str, str]] | None, folder):
    if expected is None:
        expected = [("a_0001", files[0], files[1])]
    assert sorted(cases(folder(*files))) == expected


def test_a_list_of_nnunet_names_no_cases(folder):
    root = folder("imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz")
    content = {
        "channel_names": {"0": "MRI"},
        "labels": {"background": 0},
        "numTraining": 1,
        "file_ending": ".nii.gz",
    }
    (Path(root) / "dataset.json").write_text(json.dumps(content))
    assert [case[0] for case in cases(root)] == ["a"]
    listing = list_folder(root)
    assert [len(found) for found in listing.sections.values()] == [1]
    assert listing.problems == []


@pytest.mark.parametrize(
    ("files", "text"),
    [
        (["images/a.nii", "labels/b.nii"], r"1 images have no label of the same name in .*labels: .*a\.nii"),
        (
            ["images/a.nii", "labels/a.nii", "labels/b.nii"],
            r"1 labels have no image of the same name .*b\.nii",
        ),
        (
            ["images/a.nii", "images/a.nrrd", "labels/a.nii"],
            r"a\.nii and .*a\.nrrd differ in their ending alone",
        ),
        (
            ["images/a_0000.nii", "images/a_0001.nii", "labels/a.nii"],
            r"a_0001\.nii: is channel 1 of an image",
        ),
        (["images/a.nii", "images/a_0000.nii", "labels/a.nii"], r"a\.nii: is the label of two images"),
        (["images/notes.txt", "labels/a.nii"], r"images holds no NIfTI or NRRD file"),
    ],
)
def test_files_without_a_partner_are_named(files: list[str], text: str, folder):
    with pytest.raises(ValueError, match=text):
        cases(folder(*files))
