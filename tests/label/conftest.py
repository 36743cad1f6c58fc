"""A real MONAI Label server, from packed bundles alone; `make test-label` builds its environment."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from dckd_ext.bundle import student_network
from tests.conftest import BUNDLES, ellipsoids, write_volume
from tests.label.client import Client

PYTHON = os.environ.get("DCKD_LABEL_PYTHON", "")
STUDENTS = ["hippocampus_unet_student_segmentation", "hippocampus_hrnet_student_segmentation"]
ABUS = "abus_unet_student_segmentation"


def run(*command: str | Path) -> str:
    """Run a command that must succeed, and return its output."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def dckd(*arguments: str | Path) -> str:
    return run(sys.executable, "-c", "from dckd_ext.cli import main; main()", *arguments)


def own_masks(bundle: Path, volumes: Path, out: Path) -> Path:
    """Masks of the bundle's own inference, in the environment without MONAI Label."""
    config = ("--config_file", bundle / "configs" / "inference.yaml", "--bundle_root", bundle)
    run(sys.executable, "-m", "monai.bundle", "run", *config, "--dataset_dir", volumes, "--output_dir", out)
    return out


@dataclass
class Server:
    """A server, and the folders that it works on."""

    client: Client
    process: subprocess.Popen
    studies: Path
    volumes: Path
    """The volumes of the studies as they were before the server saw them."""
    labels: Path
    models: Path
    """Where it has put the bundles."""
    uploads: Path
    """Where it keeps uploads for as long as it needs them."""


@pytest.fixture(scope="session")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The students as a user gets them: packed, then fetched into an empty folder."""
    release, here = tmp_path_factory.mktemp("release"), tmp_path_factory.mktemp("fetched")
    dckd("pack", *(BUNDLES / name for name in STUDENTS), "--out", release)
    for name in STUDENTS:
        dckd("fetch", name, "--source", release, "--bundle_dir", here)
    return here


@pytest.fixture(scope="session")
def server(fetched: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Both students and an ABUS student with random weights, served side by side."""
    folder = tmp_path_factory.mktemp("label")
    _write_volumes(folder / "volumes", folder / "labels")
    shutil.copytree(folder / "volumes", folder / "studies")
    abus = folder / ABUS
    shutil.copytree(BUNDLES / ABUS, abus, ignore=shutil.ignore_patterns("models"))
    (abus / "models").mkdir()
    torch.manual_seed(0)
    torch.save(student_network(str(abus)).state_dict(), abus / "models" / "model.pt")

    port = _free_port()
    command = [PYTHON, BUNDLES.parent / "label" / "serve.py", *(fetched / name for name in STUDENTS), abus]
    command += ["--studies", folder / "studies", "--app", folder / "app", "--port", port]
    log, private = folder / "server.log", folder / "private"
    private.mkdir()
    with log.open("w") as file:
        process = subprocess.Popen(
            list(map(str, command)),
            stdout=file,
            stderr=file,
            cwd=folder,
            start_new_session=True,
            env={**os.environ, "TMPDIR": str(private)},
        )
    client = Client(port)
    try:
        _wait_until_served(client, process, log)
        models = folder / "app" / "monaibundle" / "model"
        (uploads,) = private.glob("dckd-label-*/uploads")
        folders = (folder / name for name in ("studies", "volumes", "labels"))
        yield Server(client, process, *folders, models, uploads)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
    assert not list(private.glob("dckd-label-*")), "what was uploaded goes when the server stops"


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait_until_served(client: Client, process: subprocess.Popen, log: Path, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        try:
            if client.send("GET", "/info/")[0] == 200:
                return
        except OSError:
            time.sleep(0.5)
    raise RuntimeError(f"the server did not start in {seconds} s:\n{log.read_text()[-4000:]}")


def _write_volumes(volumes: Path, labels: Path) -> None:
    """Straight, anisotropic and flipped, oblique; other sizes and file types."""
    turn = np.array([[np.cos(0.3), -np.sin(0.3), 0], [np.sin(0.3), np.cos(0.3), 0], [0, 0, 1]])
    oblique = np.eye(4)
    oblique[:3, :3] = turn @ np.diag([1.0, 0.9, 1.4])
    oblique[:3, 3] = [10, -20, 30]
    geometries = {
        "straight": (np.eye(4), (34, 46, 32), np.float32),
        "flipped": (np.diag([-0.8, 1.2, 2.0, 1.0]), (42, 40, 18), np.int16),
        "oblique": (oblique, (35, 51, 30), np.float32),
        "small": (np.diag([1.0, 1.0, 1.0, 1.0]), (20, 24, 16), np.uint8),
    }
    for number, (name, (affine, shape, dtype)) in enumerate(geometries.items()):
        image, label = ellipsoids(shape, number)
        ending = ".nii" if name == "flipped" else ".nii.gz"
        write_volume(volumes / f"{name}{ending}", image.astype(dtype), affine)
        write_volume(labels / f"{name}{ending}", label, affine)
