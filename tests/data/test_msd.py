import functools
import hashlib
import json
import tarfile
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from monai.apps import DecathlonDataset, download_and_extract
from monai.apps.utils import HashCheckError

from dckd_ext.data import download_msd, image_files, msd_datalist
from tests.conftest import bundle, make_msd, train


def names(cases) -> set[str]:
    return {case["case"] for case in cases}


def test_sections_are_disjoint_and_complete(msd: Path):
    split = str(msd / "splits.json")
    training = msd_datalist(str(msd), "training", split, fold=1)
    validation = msd_datalist(str(msd), "validation", split, fold=1)
    assert not names(training) & names(validation)
    assert names(training) | names(validation) == names(msd_datalist(str(msd), "all", split))
    assert names(msd_datalist(str(msd), 1, split)) == names(validation)
    assert all(Path(case["image"]).is_file() and Path(case["label"]).is_file() for case in training)


def test_case_ids_do_not_depend_on_the_section(msd: Path):
    split = str(msd / "splits.json")
    ids = {case["case"]: case["case_id"] for case in msd_datalist(str(msd), "all", split)}
    assert sorted(ids.values()) == list(range(6))
    assert all(ids[case["case"]] == case["case_id"] for case in msd_datalist(str(msd), 3, split))


def test_held_out_folds_do_not_train(msd: Path):
    split = str(msd / "splits.json")
    held_out = names(msd_datalist(str(msd), 0, split))
    assert not held_out & names(msd_datalist(str(msd), "training", split, fold=1, held_out=[0]))
    assert held_out <= names(msd_datalist(str(msd), "training", split, fold=1))


@pytest.mark.parametrize("section", ["training", "test", "all"])
def test_missing_cases_are_an_error(msd: Path, tmp_path: Path, section: str):
    split = tmp_path / "splits.json"
    split.write_text(json.dumps({"folds": [["hippocampus_000"], ["nobody"]], "test": ["nowhere", "gone"]}))
    expected = {
        "training": "1 of the 1 .*: nobody",
        "test": "2 of the 2 .*: nowhere, gone",
        "all": "3 of the 4",
    }
    with pytest.raises(ValueError, match=rf"{expected[section]}.*split_file"):
        msd_datalist(str(msd), section, str(split), fold=0)


def test_cases_that_the_split_has_nowhere_are_named(msd: Path, tmp_path: Path, caplog):
    split = tmp_path / "splits.json"
    names = [f"hippocampus_{number:03d}" for number in range(4)]
    split.write_text(json.dumps({"folds": [names[:1], names[1:3]], "test": names[3:]}))
    msd_datalist(str(msd), "training", str(split))
    assert f"2 of 6 cases are not used, since {split} lists them nowhere: hippocampus_004" in caplog.text


@pytest.mark.parametrize("section", [7, "7", "validate", -1])
def test_unknown_section(msd: Path, section):
    with pytest.raises(
        ValueError, match=rf"unknown fold or section '?{section}'?: .*splits.json has the folds 0 to 4"
    ):
        msd_datalist(str(msd), section, str(msd / "splits.json"))


def test_unknown_fold(msd: Path):
    with pytest.raises(ValueError, match="unknown fold or section 9"):
        msd_datalist(str(msd), "training", str(msd / "splits.json"), fold=9)


def test_empty_section(msd: Path, tmp_path: Path):
    split = tmp_path / "splits.json"
    split.write_text(json.dumps({"folds": [["hippocampus_000"], []], "test": []}))
    with pytest.raises(ValueError, match=r"splits\.json lists no case for validation"):
        msd_datalist(str(msd), "validation", str(split), fold=1)


def test_a_split_is_made_once_and_saved(msd: Path, tmp_path: Path, caplog):
    split = tmp_path / "mine.json"
    first = msd_datalist(str(msd), "training", str(split), seed=3)
    assert "made and saved" in caplog.text
    saved = json.loads(split.read_text())
    names = [f"hippocampus_{number:03d}" for number in range(6)]
    assert sorted(name for fold in saved["folds"] for name in fold) == names
    assert msd_datalist(str(msd), "training", str(split), seed=4) == first  # the file counts from now on


def test_folder_without_dataset_json(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"no dataset.json.*--download true"):
        msd_datalist(str(tmp_path), "training", str(tmp_path / "s.json"))


def test_download_refuses_a_folder_of_another_name(tmp_path: Path):
    with pytest.raises(ValueError, match="must end in Task04_Hippocampus"):
        download_msd(str(tmp_path / "data"), "Task04_Hippocampus")


def test_download_leaves_existing_data_alone(tmp_path: Path):
    folder = make_msd(tmp_path / "mine", cases=1)
    before = sorted(folder.rglob("*"))
    download_msd(str(folder), "Task04_Hippocampus")
    assert sorted(folder.rglob("*")) == before


def test_image_files(msd: Path, tmp_path: Path):
    assert len(image_files(str(msd / "imagesTr"))) == 6
    one = msd / "imagesTr" / "hippocampus_000.nii.gz"
    assert image_files(str(one)) == [{"image": str(one), "case": "hippocampus_000"}]
    with pytest.raises(FileNotFoundError, match=r"expected volumes .* or DICOM files, found none"):
        image_files(str(tmp_path))


def test_image_files_of_nrrd(tmp_path: Path):
    for name in ("b.nrrd", "a.nii", ".c.nrrd", "d.nrrd.part", "e.mha"):
        (tmp_path / name).touch()
    names = [Path(entry["image"]).name for entry in image_files(str(tmp_path))]
    assert names == ["a.nii", "b.nrrd"]


def test_two_images_for_one_mask(tmp_path: Path):
    for name in ("a.nii", "a.nii.gz"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"a\.nii and .*a\.nii\.gz cannot be told apart .* the case 'a'"):
        image_files(str(tmp_path))


def write_index(folder: Path, images: list[str]) -> Path:
    entries = [{"image": image, "label": image.replace("image", "label")} for image in images]
    (folder / "dataset.json").write_text(json.dumps({"training": entries}))
    return folder


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        ([f"./imagesTr/hippocampus_{n:03d}.nii.gz" for n in (1, 4)], ["hippocampus_001", "hippocampus_004"]),
        ([f"case{n:03d}/image.nii.gz" for n in range(10)], [f"case{n:03d}" for n in range(10)]),
        (
            [f"{site}/{n}/image.nii.gz" for site in ("oslo", "rome") for n in range(5)],
            [f"{site}_{n}" for site in ("oslo", "rome") for n in range(5)],
        ),
    ],
    ids=["files", "folders", "sites"],
)
def test_no_case_disappears(images: list[str], expected: list[str], tmp_path: Path):
    """One name a case in the list, in the split that is drawn, and in every section."""
    folder, split = str(write_index(tmp_path, images)), tmp_path / "splits.json"
    cases = {case["case"]: case for case in msd_datalist(folder, "all", str(split))}
    assert sorted(cases) == expected
    assert [Path(cases[name]["image"]) for name in expected] == [tmp_path / image for image in images]
    assert sorted(case["case_id"] for case in cases.values()) == list(range(len(images)))
    drawn = json.loads(split.read_text())["folds"]
    assert sorted(name for fold in drawn for name in fold) == expected


@pytest.mark.parametrize(
    "images",
    [["a/1.nii", "a/1.nii.gz", "b/1.nii"], ["a/1.nii", "./a/1.nii"], ["a_b/c.nii", "a/b_c.nii", "b_c.nii"]],
)
def test_cases_that_no_name_tells_apart(images: list[str], tmp_path: Path):
    folder = write_index(tmp_path, images)
    with pytest.raises(ValueError, match=r"dataset\.json: a.*\.nii.* and .*\.nii.* cannot be told apart"):
        msd_datalist(str(folder), "training", str(tmp_path / "splits.json"))
    assert not (tmp_path / "splits.json").exists()


def test_an_index_that_is_none(tmp_path: Path):
    (tmp_path / "dataset.json").write_text('{"training": [{"image": "a.nii.gz"}]}')
    with pytest.raises(ValueError, match=r"dataset\.json: expected .*found KeyError: 'label'"):
        msd_datalist(str(tmp_path), "training", str(tmp_path / "s.json"))


def test_shipped_split_names_every_case_once():
    split = json.loads((bundle("teacher_segmentation") / "configs" / "splits.json").read_text())
    numbers = [[int(name.split("_")[1]) for name in part] for part in (*split["folds"], split["test"])]
    assert sum(map(len, numbers)) == 260 == len({number for part in numbers for number in part})
    assert len(split["folds"]) == 5
    assert len(split["test"]) == 50


@pytest.fixture
def served(tmp_path: Path, msd: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The small set as an archive at a local address that MONAI takes for the hippocampus set's."""
    archive = tmp_path / "served" / "Task04_Hippocampus.tar"
    archive.parent.mkdir()
    with tarfile.open(archive, "w") as tar:
        tar.add(msd, "Task04_Hippocampus")
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(archive.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/{archive.name}"
        monkeypatch.setitem(DecathlonDataset.resource, "Task04_Hippocampus", address)
        digest = hashlib.md5(archive.read_bytes()).hexdigest()
        monkeypatch.setitem(DecathlonDataset.md5, "Task04_Hippocampus", digest)
        yield archive
        server.shutdown()


def test_download_fetches_checks_and_unpacks(served: Path, msd: Path, tmp_path: Path):
    folder = tmp_path / "new" / "Task04_Hippocampus"
    download_msd(str(folder), "Task04_Hippocampus")
    assert {file.name for file in (folder / "imagesTr").iterdir()} == {
        file.name for file in (msd / "imagesTr").iterdir()
    }
    assert msd_datalist(str(folder), "training", str(folder / "splits.json"))


def test_the_other_download_that_the_error_names_has_what_it_needs(served: Path, tmp_path: Path):
    address = DecathlonDataset.resource["Task04_Hippocampus"]
    download_and_extract(address, output_dir=tmp_path / "new")  # what DecathlonDataset calls
    assert (tmp_path / "new" / "Task04_Hippocampus" / "dataset.json").is_file()


def test_download_of_another_archive_is_refused(served: Path, tmp_path: Path):
    served.write_bytes(served.read_bytes() + b"more")
    folder = tmp_path / "new" / "Task04_Hippocampus"
    with pytest.raises(HashCheckError, match="md5 hash check of downloaded file failed"):
        download_msd(str(folder), "Task04_Hippocampus")
    assert not folder.exists()


def test_a_folder_appears_when_all_is_unpacked(served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / "new" / "Task04_Hippocampus"

    def stops_midway(archive: Path, target: str) -> None:
        (Path(target) / folder.name).mkdir()
        (Path(target) / folder.name / "dataset.json").write_text("{}")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("monai.apps.extractall", stops_midway)
        with pytest.raises(KeyboardInterrupt):
            download_msd(str(folder), "Task04_Hippocampus")
    assert [file.name for file in folder.parent.iterdir()] == ["Task04_Hippocampus.tar"]
    download_msd(str(folder), "Task04_Hippocampus")
    assert (folder / "dataset.json").stat().st_size > 2


def test_download_does_not_touch_other_files(served: Path, tmp_path: Path):
    folder = tmp_path / "Task04_Hippocampus"
    folder.mkdir()
    (folder / "mine.txt").write_text("x")
    with pytest.raises(ValueError, match=r"has no dataset.json but is not empty"):
        download_msd(str(folder), "Task04_Hippocampus")
    assert not (tmp_path / "Task04_Hippocampus.tar").exists()


@pytest.mark.slow
def test_a_training_that_downloads_its_data(served: Path, tmp_path: Path):
    train(
        "unet_student_segmentation",
        tmp_path / "out",
        tmp_path / "Task04_Hippocampus",
        download="true",  # as on the command line
        split_file=str(tmp_path / "splits.json"),
    )
    assert (tmp_path / "out" / "model.pt").is_file()
    assert (tmp_path / "splits.json").is_file()
