"""One run of a study, in a process of its own: `python -m dckd_ext.study.run JOB.json`.

With `--end-with-parent` it ends with the study that has started it. A job is what `dckd_ext.study.runner`
writes: either a pool to draw, or a training with its evaluation.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.handlers import BasicTimeProfiler
from monai.bundle import ConfigWorkflow

from dckd_ext.study.pool import write_pool
from dckd_ext.utils.children import end_with_parent
from dckd_ext.utils.files import written_whole

__all__ = ["draw", "evaluate", "main", "train"]

Job = Mapping[str, Any]


def main(file: str) -> None:
    """Do what a job file says, and write what came out beside it as result.json."""
    job = json.loads(Path(file).read_text(encoding="utf-8"))
    result = draw(job) if job["kind"] == "pool" else {**train(job), **evaluate(job)}
    with written_whole(Path(file).with_name("result.json")) as beside:
        beside.write_text(json.dumps(result, indent=4), encoding="utf-8")


def draw(job: Job) -> dict[str, Any]:
    """Check the teacher on the validation cases, then draw a pool of patches."""
    workflow = _workflow(job, "train", job["overlays"])
    workflow.parser.get_parsed_content("check_teacher")
    return write_pool(workflow.parser, job["folder"], job["draws"], job["seed"])


def train(job: Job) -> dict[str, Any]:
    """Train one student; continues where an earlier call was stopped."""
    workflow = _workflow(job, "train", job["overlays"])
    trainer = workflow.parser.get_parsed_content("train#trainer")
    profiler = BasicTimeProfiler()
    profiler.attach(trainer)
    workflow.run()
    workflow.finalize()
    record = json.loads((Path(job["folder"]) / "training.json").read_text(encoding="utf-8"))
    times = profiler.get_results()
    return {
        "steps": record["steps"],
        "train_seconds": record["seconds"],
        "step_seconds": _mean_seconds(times["processing_stats"]),
        "loader_seconds": _mean_seconds(times["dataflow_stats"]),
        "peak_mb": round(_peak_bytes(trainer.state.device) / 2**20),
        "device": record["device"],
        "threads": record["threads"],
    }


def _mean_seconds(statistics: Mapping[str, Any]) -> float:
    """Of the steps of this process, which may have continued another's; NaN if it did fewer than two."""
    return round(float(statistics.get("mean", "nan")), 4)


def evaluate(job: Job) -> dict[str, Any]:
    """Score what was trained with the student bundle's own evaluation."""
    _workflow(job, "evaluate", []).run()
    (Path(job["folder"]) / "resume.pt").unlink(missing_ok=True)
    return {"scores": str(_scores(job))}


def _workflow(job: Job, kind: str, overlays: list[str]) -> ConfigWorkflow:
    """Read configs, override, initialise."""
    root = Path(job["workflow"] if kind == "train" else job["student"])
    names = ["train"] if kind == "train" else ["inference", "evaluate"]
    files = [str(root / "configs" / f"{name}.yaml") for name in names]
    workflow = ConfigWorkflow(
        config_file=[*files, *overlays],
        meta_file=str(root / "configs" / "metadata.json"),
        logging_file=False,
        run_id="evaluating" if kind == "evaluate" else "training",
        workflow_type="train",
        bundle_root=str(root),
        **_overrides(job, kind),
    )
    if kind == "train" and job.get("pool"):
        _train_on_pool(workflow, job["pool"])
    workflow.initialize()
    return workflow


def _overrides(job: Job, kind: str) -> dict[str, Any]:
    common = {
        "dataset_dir": job["dataset_dir"],
        "split_file": job["split_file"],
        "checkpoint": f"{job['folder']}/model.pt",
        "output_dir": job["folder"],
        **({"device": f"$torch.device('{job['device']}')"} if job["device"] else {}),
    }
    if kind == "evaluate":
        return {**common, "split": job["fold"], "scores": str(_scores(job)), **job["evaluate"]}
    return {
        **common,
        "teacher_bundle": job["teacher"],
        "student_bundle": job["student"],
        "teacher_weights": job["teacher_weights"],
        "fold": job["fold"],
        "seed": job["seed"],
        "resume": True,
        **job["options"],
    }


def _train_on_pool(workflow: ConfigWorkflow, pool: str) -> None:
    """Let the training take patches and the teacher's answers from a pool."""
    parser = workflow.parser
    parser["train#dataset"] = {"_target_": "dckd_ext.study.PatchPool", "folder": pool}
    parser["train#dataloader"] |= {"sampler": None, "shuffle": True}
    parser.update({"check_teacher": None, "check_cases": None})  # both were done when the pool was drawn


def _scores(job: Job) -> Path:
    return Path(job["folder"]) / "scores.csv"


def _peak_bytes(device: torch.device) -> int:
    """Highest memory: allocated on a GPU, else of this process, which includes the libraries."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    if "--end-with-parent" in sys.argv[2:]:
        end_with_parent()
    main(sys.argv[1])
