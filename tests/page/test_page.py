"""Masks of the page against those of `predict`, what it loads and shows, and what goes wrong."""

import base64
import gzip
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import nrrd
import numpy as np
import pytest

from dckd_ext.data.images import image_paths
from dckd_ext.data.volumes import mask_image
from dckd_ext.export import predict
from tests.conftest import ellipsoids, write_volume
from tests.data import dicom_examples as dicom
from tests.export.test_predict import GRIDS, oblique
from tests.page.conftest import Server, Visitor

pytestmark = pytest.mark.slow
FIRST_LOAD = 40e6  # bytes
SHAPES = {"half": (64, 50, 61), "oblique_half": (64, 50, 61), "thirds": (60, 81, 21)}
SIZE = (37, 42, 29)


def image(shape: tuple[int, int, int] = SIZE, seed: int = 0) -> np.ndarray:
    return ellipsoids(shape, seed)[0]


def on_grid(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        return write_volume(folder / f"{name}.nii.gz", image(SHAPES.get(name, SIZE)), GRIDS[name])

    return make


def saved(name: str, volume: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        nib.save(volume(), folder / name)
        return folder / name

    return make


def nifti(voxels: np.ndarray, affine: np.ndarray | None = None, **header: Any) -> nib.Nifti1Image:
    made = nib.Nifti1Image(voxels, np.eye(4) if affine is None else affine)
    for key, value in header.items():
        made.header[key] = value
    return made


def scaled() -> nib.Nifti1Image:
    made = nifti(image(seed=5), oblique(1, 1, 1))
    made.header.set_data_dtype(np.int16)  # nibabel writes slope and intercept
    return made


def qform_alone() -> nib.Nifti1Image:
    made = nifti(image(), oblique(1.1, 0.9, 1))
    made.set_qform(oblique(1.1, 0.9, 1), code=1)
    made.set_sform(None, code=0)
    return made


def without_forms() -> nib.Nifti1Image:
    made = nifti(image())
    made.set_qform(None, code=0)
    made.set_sform(None, code=0)
    made.header["pixdim"][1:4] = (1.2, 1, 0.8)
    return made


def big_endian() -> nib.Nifti1Image:
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    return nib.Nifti1Image(image().astype(">i2"), GRIDS["flipped"], header)


def nrrd_file(name: str, directions: np.ndarray, **header: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        header["space directions"] = directions
        nrrd.write(str(folder / name), image().astype(np.int16), header, index_order="F")
        return folder / name

    return make


def two_members(folder: Path) -> Path:
    """As bgzip writes it; browsers' own decompression takes one alone."""
    content = nifti(image(), GRIDS["oblique"]).to_bytes()
    (folder / "two.nii.gz").write_bytes(gzip.compress(content[:9000]) + gzip.compress(content[9000:]))
    return folder / "two.nii.gz"


OTHER = {"SeriesNumber": 7, "SeriesDescription": "LOCALIZER", "SeriesInstanceUID": "1.2.3.5"}
TURNED = np.array([[0, 0, -1.0, 30], [1, 0, 0, -7], [0, -1, 0, 12], [0, 0, 0, 1]])
RANGE = image().clip(0, 255)
VOLUMES = {
    **{name: on_grid(name) for name in GRIDS},
    "turned": saved("turned.nii", lambda: nifti(image(), TURNED)),
    "one_slice": saved("slice.nii.gz", lambda: nifti(image((40, 44, 3))[..., :1], GRIDS["oblique"])),
    "tiny": saved("tiny.nii", lambda: nifti(image((11, 9, 40)))),
    "one_channel": saved("channel.nii.gz", lambda: nifti(image()[..., None], GRIDS["flipped"])),
    "uint8": saved("uint8.nii.gz", lambda: nifti(RANGE.astype(np.uint8), GRIDS["oblique"])),
    "int16": saved("int16.nii", lambda: nifti(image().astype(np.int16), GRIDS["anisotropic"])),
    "int64": saved("int64.nii", lambda: nib.Nifti1Image(RANGE.astype(np.int64), np.eye(4), dtype=np.int64)),
    "float64": saved("float64.nii.gz", lambda: nifti(image().astype(np.float64) * 1e5)),
    "slope": saved("slope.nii.gz", scaled),
    "qform": saved("qform.nii.gz", qform_alone),
    "no_forms": saved("noforms.nii.gz", without_forms),
    "big_endian": saved("big.nii", big_endian),
    "metres": saved("metres.nii", lambda: nifti(image(), np.diag([1e-3, 1e-3, 1e-3, 1]), xyzt_units=1)),
    "nifti2": saved("two.nii.gz", lambda: nib.Nifti2Image(image(), GRIDS["oblique"])),
    "members": two_members,
    "nrrd": nrrd_file("raw.nrrd", space="LPS", encoding="raw", directions=np.diag([1.2, 1, 0.9])),
    "nrrd_gzip": nrrd_file(
        "gzip.nrrd",
        space="right-anterior-superior",
        encoding="gzip",
        directions=GRIDS["oblique"][:3, :3].T,
        **{"space origin": [3.0, -4, 5], "space units": ["mm"] * 3},
    ),
}


@pytest.fixture(scope="module")
def network(server: Server) -> tuple[Any, dict[str, Any]]:
    """The network as `predict` runs it, with the fewer windows that the pages of these tests take too."""
    run, settings = predict.load_model(server.folder / "network" / "model.onnx", 1, "onnxruntime")
    settings["window"]["overlap"] = 0.25
    return run, settings


@pytest.fixture(scope="module")
def quick(chromium: Any, server: Server) -> Iterator[Visitor]:
    """A visitor whose page takes fewer windows."""
    context = with_settings(chromium, server, window={"roi_size": [32, 48, 32], "overlap": 0.25})
    yield Visitor(context, server.url)
    context.close()


def with_settings(chromium: Any, server: Server, **settings: Any) -> Any:
    """A browser context in which the page's network has other settings."""
    about = json.loads((server.folder / "network" / "bundle.json").read_text())
    about["settings"] |= settings
    context = chromium.new_context(viewport={"width": 500, "height": 900})
    context.route("**/bundle.json", lambda route: route.fulfill(json=about))
    return context


def undecided(file: Path, network: Any, settings: dict[str, Any]) -> np.ndarray:
    """Where a ten-thousandth more for one logit changes the class: float32 adds up in another order."""

    def more(number: int) -> np.ndarray:
        bias = np.zeros((1, len(settings["classes"]), 1, 1, 1), np.float32)
        bias[:, number] = 1e-4
        return predict.segment(file, lambda windows: network(windows) + bias, settings)[0]

    masks = [more(number) for number in range(len(settings["classes"]))]
    return np.any([mask != masks[0] for mask in masks], axis=0)


@pytest.mark.parametrize("name", VOLUMES)
def test_masks_are_those_of_predict(name: str, quick: Visitor, network: Any, tmp_path: Path):
    file = VOLUMES[name](tmp_path)
    expected, volume = predict.segment(file, *network)
    assert np.unique(expected).size > 1, "a mask without classes compares nothing"
    quick.open(file)
    assert not quick.error
    found = nib.load(quick.segment(tmp_path / "masks"))
    assert Path(found.get_filename()).name == f"{file.name.partition('.')[0]}_seg.nii.gz"
    voxels = np.asarray(found.dataobj)
    assert voxels.dtype == np.uint8
    differing = voxels != expected
    assert differing.sum() <= 1
    if differing.any():
        assert undecided(file, *network)[differing].all()
    same = mask_image(expected, volume.grid, volume.header)
    same = type(same).from_bytes(same.to_bytes())
    np.testing.assert_allclose(found.affine, same.affine, atol=1e-5)
    for key in (
        "qform_code",
        "sform_code",
        "pixdim",
        "xyzt_units",
        "quatern_b",
        "quatern_c",
        "quatern_d",
        "dim",
    ):
        np.testing.assert_allclose(found.header[key], same.header[key], atol=1e-5, err_msg=key)
    edge = abs(np.linalg.det(volume.affine[:3, :3])) / 1000
    rows = [row.split("\t") for row in quick.page.inner_text("#rows").splitlines()]
    for number, (_, ml, count) in enumerate(rows, 1):
        assert int(count.replace(",", "")) == (voxels == number).sum()
        assert float(ml) == pytest.approx((voxels == number).sum() * edge, abs=0.051)


def test_smoothing_resampling_of_native_types_in_stored_order(
    chromium: Any, server: Server, network: Any, tmp_path: Path
):
    """As the ABUS bundles have it: NRRD files without a spacing, uint8, resampled with smoothing."""
    run, settings = network
    steps = [{"step": "resample", "spacing": [1.1, 0.9, 1.3]}, *settings["steps"][-2:]]
    assert [step["step"] for step in steps] == ["resample", "percentiles", "normalize"]
    read = {"dtype": None, "nrrd_spacing": [0.4, 1.2, 1.0], "max_extent": [60.0, 60.0, 60.0]}
    changed = {"steps": steps, "read": read, "window": settings["window"]}
    file = tmp_path / "scan.nhdr"
    nrrd.write(str(file), image((90, 40, 37)).clip(0, 255).astype(np.uint8), {"encoding": "gzip"}, True)
    expected, _ = predict.segment(file, run, settings | changed)
    context = with_settings(chromium, server, **changed)
    visitor = Visitor(context, server.url)
    visitor.open(file)
    assert "its data file scan.raw.gz is not beside it" in visitor.error
    visitor.open(file, tmp_path / "scan.raw.gz")
    assert not visitor.error
    assert "the header states no spacing: taken to have 0.4 x 1.2 x 1 mm" in visitor.warnings[0]
    found = np.asarray(nib.load(visitor.segment(tmp_path / "masks")).dataobj)
    differing = found != expected
    assert np.unique(expected).size > 1
    assert differing.sum() <= 2
    if differing.any():
        assert undecided(file, run, settings | changed)[differing].all()
    visitor.open(write_volume(tmp_path / "large.nii", image((70, 20, 20))))
    assert "large.nii: 70 x 20 x 20 voxels" in visitor.error
    context.close()


def test_dicom_series(quick: Visitor, network: Any, tmp_path: Path):
    """dcm2niix stores the rows the other way round than `predict` reads them; each voxel has its class."""
    affine = dicom.oblique(1.1, 0.9, 1.3)
    folder = dicom.write(tmp_path / "series", dicom.slices(image().astype(np.int16), affine))
    dicom.write(folder, dicom.slices(image((8, 8, 4)).astype(np.int16), affine, **OTHER))
    [path] = image_paths(folder, "3")
    expected, volume = predict.segment(path, *network)
    zipped = Path(shutil.make_archive(str(tmp_path / "series"), "zip", folder))
    quick.open(zipped)
    assert quick.page.locator("#choices option").count() == 2
    quick.open_folder(folder)
    names = quick.page.locator("#choices option").all_inner_texts()
    assert names == ["3_T1_MPRAGE", "7_LOCALIZER"]
    found = nib.load(quick.segment(tmp_path / "masks"))
    places = np.argwhere(np.asarray(found.dataobj) >= 0)
    there = nib.affines.apply_affine(np.linalg.solve(volume.affine, found.affine), places)
    np.testing.assert_allclose(there, there.round(), atol=1e-3)
    same = np.asarray(found.dataobj).ravel() == expected[tuple(there.round().astype(int).T)]
    assert np.unique(expected).size > 1
    assert (~same).sum() <= 1
    quick.page.select_option("#choices", "1")
    quick.page.locator("#name", has_text="7_LOCALIZER").wait_for()
    quick.wait("#run:enabled")
    assert re.findall(r"\d+", quick.page.inner_text("#size"))[:3] == ["8", "8", "4"]


def test_first_load_and_time(visitor: Visitor, server: Server, tmp_path: Path):
    """A volume as in the data set, with all windows of the bundle; the files for a GPU are counted too."""
    assert sum(server.sent.values()) <= FIRST_LOAD
    folder = server.folder
    gpu = [
        folder / "ort" / name
        for name in ("ort.webgpu.bundle.min.mjs", "ort-wasm-simd-threaded.asyncify.wasm")
    ]
    others = [*folder.glob("*.*"), *(folder / "network").iterdir()]
    assert sum(file.stat().st_size for file in (*gpu, *others)) <= FIRST_LOAD
    visitor.open(write_volume(tmp_path / "a.nii.gz", image((36, 50, 35))))
    seconds = []
    for _ in range(2):
        visitor.segment(tmp_path)
        seconds.append(float(visitor.page.inner_text("#state").split()[2]))
    print(f"\n{seconds} s on {visitor.page.inner_text('#runtime')}, {sum(server.sent.values()) / 1e6:.1f} MB")
    assert min(seconds) < 5


def test_nothing_goes_elsewhere(visitor: Visitor, server: Server):
    """Every request was for the page's own files, and neither page nor worker can make another."""
    own = (server.url, "data:", "blob:")
    assert [url for url in visitor.requests if not url.startswith(own)] == []
    assert visitor.errors == []
    reach = "() => fetch('https://example.org/').then(() => 'reached', error => 'refused')"
    blocked = "new Promise(done => self.addEventListener('securitypolicyviolation', e => done(e.blockedURI)))"
    script = f"async () => {{ const found = {blocked}; await ({reach})(); return found }}"
    assert visitor.page.evaluate(script) == "https://example.org/"
    assert visitor.page.workers[0].evaluate(script) == "https://example.org/"
    assert visitor.page.evaluate("crossOriginIsolated")


def test_without_isolation(chromium: Any, server: Server, visitor: Visitor, tmp_path: Path):
    """Where no service worker is allowed the network has one thread, and says the same."""
    file = write_volume(tmp_path / "a.nii.gz", image((36, 50, 35)))
    visitor.open(file)
    expected = nib.load(visitor.segment(tmp_path / "isolated"))
    assert visitor.page.inner_text("#runtime").startswith("WASM")
    context = chromium.new_context(service_workers="block")
    alone = Visitor(context, server.url)
    alone.open(file)
    found = nib.load(alone.segment(tmp_path / "alone"))
    assert alone.page.inner_text("#runtime") == "WASM, 1 thread"
    np.testing.assert_array_equal(np.asarray(found.dataobj), np.asarray(expected.dataobj))
    context.close()


@pytest.mark.parametrize(("size", "notes"), [((36, 50, 35), 0), ((60, 50, 35), 2)])
def test_far_volumes_are_warned_of_as_by_predict(
    size: tuple[int, int, int],
    notes: int,
    quick: Visitor,
    network: Any,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
):
    """Even noise has intensities as the training volumes have them; its eighth power has not."""
    noise = np.random.default_rng(0).uniform(0, 1, size)
    file = write_volume(tmp_path / "volume.nii.gz", noise if not notes else noise**8)
    predict.prepare(file, network[1])
    expected = [record.getMessage() for record in caplog.records]
    assert len(expected) == notes
    quick.open(file)
    quick.segment(tmp_path)
    assert quick.warnings == [text.replace(str(file), file.name) for text in expected]


def test_drop_and_keys(quick: Visitor, tmp_path: Path):
    """A file that is dropped anywhere on the page; the arrows move the crosshair of the viewer."""
    content = write_volume(tmp_path / "dropped.nii.gz", image()).read_bytes()
    data = quick.page.evaluate_handle(
        """async (url) => {
            const bytes = await (await fetch(url)).arrayBuffer();
            const data = new DataTransfer();
            data.items.add(new File([bytes], 'dropped.nii.gz'));
            return data;
        }""",
        f"data:application/gzip;base64,{base64.b64encode(content).decode()}",
    )
    quick.page.dispatch_event("footer", "drop", {"dataTransfer": data})
    quick.page.locator("#name", has_text="dropped.nii.gz").wait_for()
    quick.wait("#run:enabled")
    assert not quick.error
    quick.page.focus("#canvas")
    before = quick.page.inner_text("#place")
    quick.page.keyboard.press("ArrowLeft")
    assert quick.page.inner_text("#place") != before


def test_cancel(visitor: Visitor, tmp_path: Path):
    visitor.open(write_volume(tmp_path / "large.nii.gz", image((80, 100, 80))))
    visitor.page.click("#run")
    visitor.page.click("#cancel", timeout=30000)
    visitor.page.get_by_text("Cancelled").wait_for(timeout=30000)
    assert not visitor.page.is_visible("#results")
    visitor.open(write_volume(tmp_path / "small.nii.gz", image((33, 48, 32))))
    visitor.segment(tmp_path)


def cut_off(folder: Path) -> Path:
    write_volume(folder / "whole.nii.gz", image())
    (folder / "cut.nii.gz").write_bytes((folder / "whole.nii.gz").read_bytes()[:-500])
    return folder / "cut.nii.gz"


def claims_more(folder: Path) -> Path:
    content = gzip.decompress((write_volume(folder / "whole.nii.gz", image())).read_bytes())
    (folder / "more.nii").write_bytes(content[:5000])
    return folder / "more.nii"


def written(name: str, content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


def colours() -> nib.Nifti1Image:
    return nifti(np.zeros(SIZE, [(channel, np.uint8) for channel in "RGB"]))


BAD = {
    "the file is empty": written("empty.nii", b""),
    "gzip stream is damaged or cut off": cut_off,
    "expected 180264 bytes of voxels, found": claims_more,
    "it is no NIfTI file": written("text.nii", b"text" * 200),
    "voxels are NaN or infinite": saved("nan.nii", lambda: nifti(np.full(SIZE, np.nan, np.float32))),
    "with 1 channel(s), found the shape": saved("two.nii", lambda: nifti(np.ones((*SIZE, 2), np.float32))),
    "expected one real number a voxel": saved("rgb.nii", colours),
    "expected NIfTI (.nii, .nii.gz), NRRD (.nrrd, .nhdr) or DICOM files": written("notes.txt", b"no volume"),
}


@pytest.mark.parametrize("text", BAD)
def test_errors_name_the_file(text: str, quick: Visitor, tmp_path: Path):
    file = BAD[text](tmp_path)
    quick.open(file)
    assert quick.error.startswith(f"{file.name}: ")
    assert text in quick.error
    assert not quick.page.is_visible("#results")
    assert quick.page.is_disabled("#run"), "the volume before would be segmented under this name"


def test_broken_network_is_refused(chromium: Any, server: Server):
    """A machine that computes other logits than those of the export segments nothing."""
    context = chromium.new_context()
    about = json.loads((server.folder / "network" / "bundle.json").read_text())
    about["check"]["logits"][7] += 1
    context.route("**/bundle.json", lambda route: route.fulfill(json=about))
    page = context.new_page()
    page.goto(server.url)
    page.locator("#error:visible").wait_for(timeout=60000)
    assert "computes other values here" in page.inner_text("#error")
    assert page.is_disabled("#run")
    assert page.is_disabled("#files")
    context.close()
