"""The rule for the names of cases."""

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dckd_ext.data import naming

NAMED = {
    "files": (["imagesTr/a_001.nii.gz", "imagesTr/a_002.nii.gz"], ["a_001", "a_002"]),
    "one": (["case001/image.nii.gz"], ["image"]),
    "none": ([], []),
    "folders": (["./case001/image.nii.gz", "./case002/image.nii.gz"], ["case001", "case002"]),
    "sites": (["oslo/1.nii", "rome/1.nii", "rome/2.nii"], ["oslo_1", "rome_1", "rome_2"]),
    "sites of folders": (
        ["d/oslo/1/t1.nii", "d/rome/1/t1.nii", "d/rome/2/t1.nii"],
        ["oslo_1", "rome_1", "rome_2"],
    ),
    "sequences": (["1/t1.nii", "1/t2.nii", "2/t1.nii"], ["1_t1", "1_t2", "2_t1"]),
    "depths": (["image.nii", "b/image.nii"], ["image", "b_image"]),
    "above": (["../oslo/t1.nii", "../rome/t1.nii"], ["oslo", "rome"]),
    "absolute": (["/oslo/t1.nii", "/rome/t1.nii"], ["oslo", "rome"]),
    "endings": (["a.v1.nii.gz", "b.v1.NII", "c.nrrd", "d.nhdr"], ["a.v1", "b.v1", "c", "d"]),
}


@pytest.mark.parametrize(("paths", "expected"), NAMED.values(), ids=NAMED)
def test_names(paths: list[str], expected: list[str]):
    assert naming.case_names(paths) == expected


@pytest.mark.parametrize("other", ["a.nii.gz", "a.nrrd", "./a.nii", "../a.nii"])
def test_no_name_tells_them_apart(other: str):
    with pytest.raises(ValueError, match=r"^a\.nii and .*a.* cannot be told apart by a name") as caught:
        naming.case_names(["b.nii", "a.nii", other])
    assert other in str(caught.value)


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=3), max_size=6))
def test_names_are_parts_that_tell_apart(tree: list[list[str]]):
    """Against a search by plain loops from the longest part down to the shortest."""
    paths = [PurePosixPath(*parts).with_suffix(".nii") for parts in tree]
    best = None
    for length in (3, 2, 1):
        for start in (2, 1, 0):
            names = []
            for parts in tree:
                end = len(parts) - start
                names.append("_".join(parts[max(0, end - length) : max(0, end)]))
            if "" not in names and all(names.count(name) == 1 for name in names):
                best = names
    if best is None:
        with pytest.raises(ValueError, match="cannot be told apart"):
            naming.case_names(paths)
    else:
        assert naming.case_names(paths) == best
