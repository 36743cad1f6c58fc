"""Seconds of training steps, of waiting for data and of inference, with what the shipped configs build.

Weights are random and volumes synthetic: time depends on neither. The bank is full, as it is for nearly all
of a training.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from monai.bundle import ConfigParser
from monai.data.utils import set_rnd
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from dckd_ext.bundle import student_network
from dckd_ext.engines import PrepareTaughtBatch
from dckd_ext.losses import DistillationLoss
from dckd_ext.losses.bank import ReferenceBank, References
from tests.conftest import bundle, ellipsoids, make_msd

STUDENTS = ("unet_student", "hrnet_student")
LOGITS = str(Path(__file__).parents[1] / "experiments" / "arms" / "logits.yaml")
TAUGHT = {"kd": (LOGITS, 1), "cwd": (None, 1), "dckd": ("dckd.yaml", 1), "cwd_five_teachers": (None, 5)}
"""What is compared with plain training: an overlay over train.yaml, and how many teachers have answered."""
VOLUME = (36, 50, 35)  # voxels of 1 mm, the size of a hippocampus volume


class Batch(NamedTuple):
    image: Tensor
    label: Tensor
    case_ids: Tensor
    teacher_logits: Tensor | None = None
    teacher_features: Tensor | None = None


def steps(student: str, family: str, device: str, rounds: int, folder: Path) -> dict[str, list[float]]:
    """Seconds of a distillation step and of its parts' sum, in turns and in changing order.

    The baseline is a forward pass of the teacher, and a step of the same student by its own train.yaml.
    """
    distillation = _train_config(f"{family}_distillation", device, folder, student)
    plain = _train_config(f"{family}_{student}_segmentation", device, folder)
    batch = _batch(distillation, device)
    inferer = plain.get_parsed_content("train#inferer")
    teacher = distillation.get_parsed_content("teacher").to(device)
    distil_step, plain_step = _stepper(distillation), _stepper(plain)

    def teacher_forward(batch: Batch) -> None:
        with torch.no_grad():
            inferer(batch.image, teacher)

    work = {"distillation": distil_step, "teacher_forward": teacher_forward, "plain_step": plain_step}
    times: dict[str, list[float]] = {name: [] for name in work}
    for index in range(rounds + 2):
        for name in list(work) if index % 2 else reversed(work):
            times[name].append(_timed(device, work[name], batch))
    return {name: seconds[2:] for name, seconds in times.items()}


def taught_steps(student: str, device: str, rounds: int, folder: Path) -> dict[str, list[float]]:
    """Seconds of a step with its batch: plain training, and distillation from answers that are stored.

    They take turns, in changing order, and the same places of the same augmentation. On one CPU thread it is
    that thread's own time, since other processes on the machine count less in it.
    """
    data = folder / "Task04_Hippocampus_taught"
    if not data.exists():
        make_msd(data, 10, VOLUME)
    places = {"dataset_dir": str(data), "split_file": str(data / "splits.json")}
    plain = _train_config(f"hippocampus_{student}_segmentation", device, folder, **places)
    loops = {"plain": _Loop(plain, device)}
    for name, (overlay, teachers) in TAUGHT.items():
        config = _train_config(
            "hippocampus_distillation", device, folder, student, overlay, **places, answers="all"
        )
        config["output_dir"] = str(folder / f"taught_{teachers}")
        config["teacher_weights"] = [config["teacher_weights"]] * teachers
        loops[name] = _Loop(config, device)
    times: dict[str, list[float]] = {name: [] for name in loops}
    for index in range(rounds + 2):
        for name in list(loops) if index % 2 else reversed(loops):
            times[name].append(loops[name](index))
    return {name: seconds[2:] for name, seconds in times.items()}


class _Loop:
    """A training, step by step."""

    def __init__(self, config: ConfigParser, device: str) -> None:
        self.device, self.step = device, _stepper(config)
        self.loader = config.get_parsed_content("train#dataloader")
        self.batches: Iterator[Any] = iter(())

    def __call__(self, number: int) -> float:
        set_rnd(self.loader.dataset, number)
        return _timed(self.device, self._next)

    def _next(self) -> None:
        try:
            batch = next(self.batches)
        except StopIteration:
            self.batches = iter(self.loader)
            batch = next(self.batches)
        *_, named = PrepareTaughtBatch()(batch, self.device)
        answers = {name: named.get(name) for name in ("teacher_logits", "teacher_features")}
        image, label = (batch[key].to(self.device) for key in ("image", "label"))
        self.step(Batch(image, label, torch.as_tensor(named["case_ids"]), **answers))


def loader_wait(
    student: str, device: str, folder: Path, cases: int, epochs: int, workers: int
) -> dict[str, float]:
    """The part of training that is spent in ``next(iterator)`` of the shipped, cached loader.

    The iterator's start counts as waiting, since workers start anew at every epoch. The first epoch does not
    count.
    """
    data = folder / f"Task04_Hippocampus_{cases}"
    if not data.exists():
        make_msd(data, cases, VOLUME)
    override = {"dataset_dir": str(data), "split_file": str(data / "splits.json"), "num_workers": workers}
    config = _train_config("hippocampus_distillation", device, folder, student, **override)
    loader, step = config.get_parsed_content("train#dataloader"), _stepper(config)
    waits: list[float] = []
    works: list[float] = []
    for epoch in range(epochs + 1):
        if epoch == 1:
            waits, works = [], []
        start = time.perf_counter()
        for item in loader:
            waits.append(time.perf_counter() - start)
            batch = Batch(*(item[key].to(device) for key in ("image", "label", "case_id")))
            works.append(_timed(device, step, batch))
            start = time.perf_counter()
    waited, worked = sum(waits), sum(works)
    return {"wait_s": waited / len(waits), "step_s": worked / len(works), "share": waited / (waited + worked)}


def inference(kind: str, device: str, rounds: int) -> list[float]:
    """Seconds of the shipped sliding window on a volume, from image to logits."""
    root = bundle(f"{kind}_segmentation")
    config = _config(root, ["inference.yaml"], device)
    network = config.get_parsed_content("network").eval()
    inferer = config.get_parsed_content("inferer")
    image = torch.from_numpy(ellipsoids(VOLUME, seed=0)[0])[None, None].to(device)
    with torch.inference_mode():
        return [_timed(device, inferer, image, network) for _ in range(rounds + 1)][1:]


def fill_bank(bank: ReferenceBank) -> None:
    """Fill all rings with random vectors of 200 cases."""
    device = bank.voxels.features.device
    for rings in (bank.voxels, bank.regions):
        rows = bank.num_classes * rings.features.shape[1]
        features = F.normalize(torch.randn(rows, bank.channels, device=device), dim=1)
        row = torch.arange(rows, device=device)
        region = torch.full((rows,), rings.region, device=device)
        bank.enqueue(References(features, row % bank.num_classes, row % 200, row % 3 > 0, region))


def _config(root: Path, names: list[str], device: str, **override: Any) -> ConfigParser:
    config = ConfigParser()
    config.read_config([str(root / "configs" / name) for name in names])
    autocast = "bfloat16" if device == "cuda" else "float32"
    config.update({"bundle_root": str(root), "device": f"$torch.device('{device}')", "autocast": autocast})
    config.update(override)
    return config


def _train_config(
    name: str,
    device: str,
    folder: Path,
    student: str | None = None,
    overlay: str | None = "dckd.yaml",
    **override: Any,
) -> ConfigParser:
    root, names = bundle(name.partition("_")[2], name.partition("_")[0]), ["train.yaml"]
    if student is not None:
        names += [overlay] if overlay else []
        weights = folder / f"{name}_teacher.pt"
        teacher = root.with_name(root.name.replace("distillation", "teacher_segmentation"))
        if not weights.exists():
            torch.save(student_network(teacher).state_dict(), weights)
        students = root.with_name(root.name.replace("distillation", f"{student}_segmentation"))
        override |= {"student_bundle": str(students), "teacher_weights": str(weights)}
    return _config(root, names, device, is_main=False, **override)


def _batch(config: ConfigParser, device: str) -> Batch:
    """Random patches with all classes, as the loader gives them."""
    size, cases = config.get_parsed_content("patch_size"), config.get_parsed_content("batch_size")
    pairs = [ellipsoids(tuple(size), seed) for seed in range(cases)]
    image, label = (torch.stack([torch.from_numpy(pair[i])[None].float() for pair in pairs]) for i in (0, 1))
    classes = config.get_parsed_content("out_channels")
    image = (image - image.mean()) / image.std()
    return Batch(
        image.to(device), label.clamp(max=classes - 1).to(device), torch.arange(cases, device=device)
    )


def _stepper(config: ConfigParser) -> Callable[[Batch], None]:
    """A training step with the config's networks, inferer, loss (past its ramps) and optimizer."""
    network: nn.Module = config.get_parsed_content("network")
    loss: DistillationLoss = config.get_parsed_content("loss")
    optimizer, inferer = (config.get_parsed_content(key) for key in ("optimizer", "train#inferer"))
    loss.progress, distils = 1.0, "teacher" in config
    if loss.pairs is not None and loss.pairs.bank is not None:
        fill_bank(loss.pairs.bank)

    def step(batch: Batch) -> None:
        optimizer.zero_grad()
        extra = {} if not distils else dict(zip(Batch._fields[2:], batch[2:], strict=True))
        loss(inferer(batch.image, network, **extra), batch.label).backward()
        optimizer.step()

    return step


def _timed(device: str, work: Callable[..., Any], *given: Any) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    clock = time.thread_time if device == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    work(*given)
    if device == "cuda":
        torch.cuda.synchronize()
    return clock() - start
