"""`dckd report`: intervals against scipy, tables, the page, and what it refuses."""

import csv
import json
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap
from torch.utils.tensorboard import SummaryWriter

from dckd_ext.bundle import student_network
from dckd_ext.cli import main
from dckd_ext.cli.report import report
from dckd_ext.networks import count_macs, count_parameters
from dckd_ext.report import bootstrap_mean

BUNDLE = Path(__file__).parents[2] / "bundles" / "hippocampus_unet_student_segmentation"
CASES = [f"case_{number:02d}" for number in range(12)]
COLUMNS = [
    *("case", "dice_anterior", "dice_posterior", "hd95_anterior", "hd95_posterior"),
    *("dice_mean", "hd95_mean", "seconds"),
]


def rows_of(dice, cases=CASES):
    return [
        dict(zip(COLUMNS, [case, score + 0.1, score - 0.1, 1.5, 2.5, score, 2.0, 0.25], strict=True))
        for case, score in zip(cases, dice, strict=True)
    ]


def write_run(folder, rows, columns=COLUMNS):
    folder.mkdir(exist_ok=True)
    with open(folder / "scores_0.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return folder


@pytest.fixture
def plain(tmp_path):
    return write_run(tmp_path / "plain", rows_of(np.linspace(0.6, 0.8, 12)))


@pytest.fixture
def distilled(tmp_path):
    dice = np.linspace(0.6, 0.8, 12) + np.random.default_rng(1).normal(0.03, 0.02, 12)
    return write_run(tmp_path / "distilled", rows_of(dice.round(5))[::-1])


def test_interval_is_that_of_scipy():
    values = np.random.default_rng(0).beta(8, 2, 50)
    ours = bootstrap_mean(values)
    theirs = bootstrap((values,), np.mean, n_resamples=50_000, method="percentile")
    assert ours.mean == pytest.approx(values.mean())
    assert [ours.low, ours.high] == pytest.approx(list(theirs.confidence_interval), abs=2e-3)


def test_paired_interval_is_that_of_scipy(plain, distilled, tmp_path, capsys):
    report(f"new={distilled}", f"old={plain}", compare=["new-old"], out=str(tmp_path / "r.html"))
    line = next(row for row in capsys.readouterr().out.splitlines() if row.startswith("| new - old"))
    mean, low, high = map(float, re.findall(r"[-+]\d\.\d{4}", line.split("|")[4]))
    new, old = (_column(folder, "dice_mean") for folder in (distilled, plain))
    difference = lambda one, other, axis: (one - other).mean(axis)  # noqa: E731
    theirs = bootstrap(
        (new, old),
        difference,
        paired=True,
        vectorized=True,
        n_resamples=50_000,
        method="percentile",
    )
    assert mean == pytest.approx((new - old).mean(), abs=1e-4)
    assert [low, high] == pytest.approx(list(theirs.confidence_interval), abs=1e-3)


def _column(folder, name):
    with open(folder / "scores_0.csv") as file:
        return np.array(
            [float(row[name]) for row in sorted(csv.DictReader(file), key=lambda row: row["case"])]
        )


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.floats(-5, 5))
def test_interval_holds_the_mean_and_moves_with_it(values, shift):
    one, other = bootstrap_mean(values, 200), bootstrap_mean(np.add(values, shift), 200)
    assert min(values) - 1e-9 <= one.low <= one.high <= max(values) + 1e-9
    assert np.subtract(other, one) == pytest.approx([shift] * 3, abs=1e-9)


def test_interval_of_no_case():
    with pytest.raises(ValueError, match="no cases"):
        bootstrap_mean([])


def test_tables(plain, distilled, tmp_path):
    (plain / "training.json").write_text('{"steps": 120, "seconds": 7200, "device": "cpu", "threads": 2}')
    report(f"plain={plain}", f"distilled={distilled / 'scores_0.csv'}", out=str(tmp_path / "r.html"))
    text = (tmp_path / "r.md").read_text()
    assert "Mean over 12 cases" in text
    assert "| plain | 0.8000 [" in text  # anterior, 0.7 + 0.1
    assert "2.00 [2.00, 2.00]" in text
    assert "| plain | - | - | 0.25 | 120 | 2.0 h | cpu, 2 threads |" in text
    assert "| distilled | - | - | 0.25 | - | - | - |" in text
    assert "<script" not in (tmp_path / "r.html").read_text()


def test_network_is_counted(plain, tmp_path, capsys):
    network = student_network(BUNDLE)
    report(f"plain={plain},{BUNDLE}", out=str(tmp_path / "r.html"))
    row = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| plain |")][-1]
    parameters, macs = row.split(" | ")[1:3]
    assert parameters == f"{count_parameters(network) / 1e6:.2f} M"
    assert re.fullmatch(r"[\d.]+ \(32 x 48 x 32\)", macs)
    assert float(macs.split()[0]) == pytest.approx(count_macs(network, [32, 48, 32]) / 1e9, abs=0.01)


def test_curves_and_pictures(plain, distilled, tmp_path):
    rng = np.random.default_rng(0)
    data = tmp_path / "data"
    for folder in (data / "imagesTr", data / "labelsTr"):
        folder.mkdir(parents=True)
    for case in CASES:
        _save(rng.random((20, 24, 16)), data / "imagesTr" / f"{case}.nii.gz")
        mask = np.zeros((20, 24, 16), np.uint8)
        mask[5:12, 6:12, 4:9] = 1
        _save(mask, data / "labelsTr" / f"{case}.nii.gz")
        _save(mask, plain / f"{case}_seg.nii.gz")
    _write_index(data)
    with SummaryWriter(str(plain)) as writer:
        for step in range(250):
            writer.add_scalar("segmentation", 1 / (step + 1), step)
    report(f"plain={plain}", f"no masks={distilled}", dataset_dir=str(data), out=str(tmp_path / "r.html"))
    html = (tmp_path / "r.html").read_text()
    assert html.count("data:image/png;base64,") == 4  # every case, curves, median and worst case
    assert 'alt="case_00"' in html
    assert "src=" not in html.replace('src="data:', "")


def _write_index(data):
    entries = [{"image": f"imagesTr/{case}.nii.gz", "label": f"labelsTr/{case}.nii.gz"} for case in CASES]
    (data / "dataset.json").write_text(json.dumps({"training": entries}))


def _save(volume, path):
    nib.save(nib.Nifti1Image(volume, np.diag([-1.0, 2.0, 1.0, 1.0])), path)


def test_mask_of_another_shape(plain, tmp_path):
    for folder, shape in (("imagesTr", (8, 8, 8)), ("labelsTr", (8, 8, 8)), ("../plain", (8, 8, 9))):
        (tmp_path / "data" / folder).mkdir(parents=True, exist_ok=True)
        for case in CASES:
            name = f"{case}_seg" if folder == "../plain" else case
            _save(np.ones(shape, np.uint8), tmp_path / "data" / folder / f"{name}.nii.gz")
    _write_index(tmp_path / "data")
    with pytest.raises(
        ValueError, match=r"mask of plain .*: has shape \(8, 8, 9\), expected that of image .*: \(8, 8, 8\)"
    ):
        report(f"plain={plain}", dataset_dir=str(tmp_path / "data"), out=str(tmp_path / "r.html"))
    assert not (tmp_path / "r.html").exists()


def test_other_cases(plain, tmp_path):
    fewer = write_run(tmp_path / "fewer", rows_of(np.ones(11), CASES[:-1]))
    with pytest.raises(ValueError, match=r"plain.scores_0.csv and .*fewer.* 12 and 11, .*case_11"):
        report(f"plain={plain}", f"fewer={fewer}")


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        ([], COLUMNS, "has no case"),
        (rows_of(np.ones(12)), COLUMNS[:-1], r"lacks the columns \['seconds'\]"),
        (rows_of(np.ones(12)), [c for c in COLUMNS if c != "hd95_posterior"], r"\['hd95_posterior'\]"),
        (rows_of(np.ones(12), ["same"] * 12), COLUMNS, r"twice: \['same'\]"),
        (rows_of([np.nan] * 12), COLUMNS, "not finite"),
        ([{**rows_of([1.0], CASES[:1])[0], "seconds": "fast"}], COLUMNS, "column seconds .*'fast'"),
    ],
)
def test_bad_scores(tmp_path, rows, columns, message):
    run = write_run(tmp_path / "bad", rows, columns)
    with pytest.raises(ValueError, match=message) as error:
        report(f"bad={run}")
    assert "scores_0.csv" in str(error.value)


@pytest.mark.parametrize(
    ("runs", "options", "error", "message"),
    [
        ([], {}, ValueError, "no runs given"),
        (["plain"], {}, ValueError, "expected NAME=RUN"),
        (["plain=nowhere"], {}, FileNotFoundError, "there is no file or folder nowhere"),
        (["plain={plain}"], {"dataset_dir": "data"}, FileNotFoundError, "case_06_seg.nii.gz: evaluate with"),
        (["plain={plain}"], {"compare": ["plain-x"]}, ValueError, r"'plain-x': .*\['plain'\]"),
    ],
)
def test_bad_arguments(plain, tmp_path, runs, options, error, message):
    with pytest.raises(error, match=message):
        report(*(run.format(plain=plain) for run in runs), out=str(tmp_path / "r.html"), **options)


def test_command_line(plain, tmp_path, monkeypatch, capsys):
    arguments = ["dckd", "report", f"one={plain}", f"two={plain}", "--compare", "two-one"]
    monkeypatch.setattr("sys.argv", [*arguments, "--out", str(tmp_path / "r.html")])
    main()
    assert "| two - one | +0.0000 [+0.0000, +0.0000] |" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["dckd", "report", "one=nowhere"])
    with pytest.raises(SystemExit, match=r"^dckd: there is no file or folder nowhere"):
        main()


def test_lesions_and_froc_are_shown_where_a_run_has_them(plain, distilled, tmp_path):
    lesions = {
        "lesions": {"number": 12, "found": 9},
        "false_positives_per_volume": 0.25,
        "froc": {"score": 0.7},
    }
    for name in ("dice", "dice_when_found", "recall", "precision"):
        lesions[name] = {"mean": 0.61, "median": 0.72}
    (plain / "summary_0.json").write_text(json.dumps(lesions))
    (plain / "froc_0.csv").write_text(
        "threshold,false_positives_per_volume,sensitivity\n0.5,1,0.75\ninf,0,0\n"
    )
    report(f"plain={plain}", f"distilled={distilled}", out=str(tmp_path / "r.html"))
    text, html = (tmp_path / "r.md").read_text(), (tmp_path / "r.html").read_text()
    row = "| plain | 9 of 12 | 0.250 | 0.720 | 0.610 | 0.610 | 0.610 | 0.700 |"
    assert row in text
    assert text.count("9 of 12") == 1
    assert 'alt="FROC curves"' in html


@pytest.mark.parametrize("name", ["scores_0", "unet-cwd-fold0-seed0", "my_scores", "scores"])
def test_any_name_of_the_scores(name, plain, tmp_path, capsys):
    """What else belongs to a run is found by the name of its split; the scores are never taken for it."""
    folder = tmp_path / "scores"
    folder.mkdir()
    file = (plain / "scores_0.csv").rename(folder / f"{name}.csv")
    report(f"a={file}", out=str(tmp_path / "r.html"))
    assert 'alt="FROC curves"' not in (tmp_path / "r.html").read_text()
    (folder / "training.json").write_text('{"steps": 120, "seconds": 7200, "device": "cpu", "threads": 2}')
    split = name.removeprefix("scores_")
    (folder / f"froc_{split}.csv").write_text(
        "threshold,false_positives_per_volume,sensitivity\n0.5,1,0.75\ninf,0,0\n"
    )
    report(f"a={file}", out=str(tmp_path / "r.html"))
    assert 'alt="FROC curves"' in (tmp_path / "r.html").read_text()
    assert "| a | - | - | 0.25 | 120 | 2.0 h | cpu, 2 threads |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("training.json", "{", "training.json: expected JSON"),
        ("summary_0.json", "[]", "summary_0.json: expected names with values, found list"),
        ("froc_0.csv", "x,y\n1,2\n", "froc_0.csv: lacks the columns"),
        (
            "froc_0.csv",
            "threshold,false_positives_per_volume,sensitivity\na,b,c\n",
            "froc_0.csv: expected numbers",
        ),
    ],
)
def test_broken_files_are_named(name, content, expected, plain, tmp_path):
    (plain / name).write_text(content)
    with pytest.raises(ValueError, match=re.escape(expected)):
        report(f"plain={plain}", out=str(tmp_path / "r.html"))
    assert not (tmp_path / "r.html").exists()


def test_depth_points_down_in_ultrasound():
    from dckd_ext.report.pictures import PLANES, _slice

    volume = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    for plane in PLANES["abus"]:
        slice_ = _slice(volume, plane, 1)
        assert slice_.shape == (volume.shape[plane.upright], volume.shape[plane.across])
        if plane.upright == 1:
            assert plane.origin == "upper"
    np.testing.assert_array_equal(_slice(volume, PLANES["abus"][0], 1), volume[:, :, 1].T)
    np.testing.assert_array_equal(_slice(volume, PLANES["abus"][1], 1), volume[1])
