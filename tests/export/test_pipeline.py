"""Reading ahead and writing behind: the same results in the same order, one volume of each at a time."""

import threading
import time
from typing import Any

import numpy as np
import pytest

from dckd_ext.export import predict
from dckd_ext.export.memory import fitting_window, window_bytes
from dckd_ext.export.pipeline import Progress, in_line
from tests.conftest import ellipsoids, write_volume
from tests.export.test_predict import CONFIG, bright


@pytest.mark.parametrize("beside", [False, True])
def test_an_item_that_fails_costs_no_other(beside: bool):
    def fails_at(name: str, step: str) -> None:
        if name == step:
            raise OSError(step)

    def read(item: str) -> str:
        fails_at(item, "read")
        return item + "r"

    def compute(item: str, found: str) -> str:
        fails_at(item, "compute")
        return found + "c"

    def write(item: str, found: str) -> str:
        fails_at(item, "write")
        return found + "w"

    items = ["a", "read", "b", "compute", "write", "c"]
    found = {item: outcome for item, outcome, _ in in_line(items, read, compute, write, beside)}
    assert list(found) == items
    assert {
        name: str(outcome) for name, outcome in found.items() if name in ("read", "compute", "write")
    } == {name: name for name in ("read", "compute", "write")}
    assert [found[name] for name in "abc"] == ["arcw", "brcw", "crcw"]
    assert list(in_line([], read, compute, write, beside)) == []


@pytest.mark.parametrize(("beside", "most"), [(False, 1), (True, 3)])
def test_what_is_in_memory(beside: bool, most: int):
    """One that is read ahead, one in the network, one that is written; each step takes 20 ms."""
    lock, alive, peak, threads = threading.Lock(), set(), [0], {}

    def step(name: str) -> Any:
        def work(item: int, *_: Any) -> int:
            with lock:
                threads[name] = threading.current_thread()
                alive.add(item)
                peak[0] = max(peak[0], len(alive))
            time.sleep(0.02)
            if name == "write":
                with lock:
                    alive.discard(item)
            return item

        return work

    start = time.perf_counter()
    outcomes = list(in_line(range(12), step("read"), step("compute"), step("write"), beside))
    spent = time.perf_counter() - start
    assert [outcome for _, outcome, _ in outcomes] == list(range(12))
    assert all(seconds >= 0.06 for _, _, seconds in outcomes)  # of work, whatever was beside
    assert peak[0] <= most
    assert threads["compute"] is threading.main_thread()
    assert (spent < 12 * 0.05) == beside


def test_masks_are_the_same_and_the_memory_is_bounded(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    for number in range(4):
        write_volume(tmp_path / "in" / f"{number}.nii", ellipsoids((20 + number, 21, 22), number)[0])
    settings = {**CONFIG, "window": {"roi_size": [64, 64, 64], "overlap": 0.25}}
    monkeypatch.setattr(
        predict, "load_model", lambda *given: (predict.Network(bright, "numpy"), dict(settings))
    )
    masks = {}
    for threads in (1, 2):
        assert predict.predict([tmp_path / "in"], tmp_path / str(threads), "m", threads) == {}
        masks[threads] = [file.read_bytes() for file in sorted((tmp_path / str(threads)).glob("*.gz"))]
    assert masks[1] == masks[2]
    said = capsys.readouterr().out
    assert "volume 1 of 4: 1 window, about " in said
    assert "volume 2 of 4" not in said  # as the first
    failed = predict.predict([tmp_path / "in" / "0.nii"], tmp_path / "no", "m", 1, max_memory=0.001)
    assert "needs more than --max_memory 0.001 GB: " in next(iter(failed.values()))
    with pytest.raises(ValueError, match="max_memory: expected a number of GB above 0, found 0"):
        predict.predict([tmp_path / "in"], tmp_path / "no", "m", 1, max_memory=0)


def test_windows_become_smaller(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """A network that takes 800 bytes a voxel has two thirds of what a window needs."""
    settings = {**CONFIG, "window": {"roi_size": [64, 64, 64], "overlap": 0.25}}
    monkeypatch.setattr(predict.Network, "bytes_a_voxel", lambda *given: 800.0)
    monkeypatch.setattr(predict, "resident_bytes", lambda: 10**9)
    monkeypatch.setattr(predict, "load_model", lambda *given: (predict.Network(bright, "x"), dict(settings)))
    write_volume(tmp_path / "a.nii", ellipsoids((70, 64, 64), 0)[0])
    assert predict.predict([tmp_path / "a.nii"], tmp_path / "out", "m", 1, max_memory=1.14) == {}
    said = capsys.readouterr().out
    assert "windows of 32 x 64 x 64 in the place of 64 x 64 x 64, for --max_memory" in said
    assert "3 windows" in said


def test_the_memory_of_a_window_is_seen():
    kept = []

    def network(windows: np.ndarray) -> np.ndarray:
        kept.append(np.ones((500, *windows.shape[2:]), np.float32))
        return windows

    assert window_bytes(network, 1, (40, 40, 40)) == pytest.approx(2000, rel=0.1)


def test_windows_that_fit():
    assert fitting_window([96, 128, 96], [1, 1, 1], 100, 1e9) == [96, 128, 96]
    assert fitting_window([96, 128, 96], [1, 1, 1], 1000, 2e8) == [48, 64, 48]
    assert fitting_window([48, 48, 48], [16, 16, 16], 1000, 6e7) == [32, 32, 48]
    assert fitting_window([32, 32, 32], [32, 32, 32], 1000, 1e6) is None
    assert fitting_window([32, 32, 32], [1, 1, 1], 1000, 1e3) is None


def test_a_terminal_sees_the_windows(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    progress = Progress(2)
    progress.begin()
    for done in (1, 2, 3):
        progress.window(done, 3, 0.5)
    captured = capsys.readouterr()
    assert captured.out.startswith("volume 1 of 2: 3 windows, about 0.0 s and 0.5 GB")
    assert "volume 1 of 2: window 2 of 3, 0 s left" in captured.err
