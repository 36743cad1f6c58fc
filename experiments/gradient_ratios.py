"""How strongly each term pulls at the student: the weights of the arms follow from this.

For every term the norm of its gradient at the student over that of the segmentation term: medians
over batches, at some points of a plain training on 20 cases. Usage, from the root:

    python experiments/gradient_ratios.py DATA OUT

writes OUT/gradient_ratios.csv: ratios at weight 1, and the weight that makes the ratio 0.3.
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from monai.bundle import ConfigParser, ConfigWorkflow

from dckd_ext.study.split import write_small_split
from dckd_ext.utils.tables import write_table

ROOT = Path(__file__).parents[1]
WORKFLOW = ROOT / "bundles" / "hippocampus_distillation"
ARMS = ("cirkd", "dkd", "fitnet", "attention", "ifvd", "affinity")
TARGET = 0.3


def main() -> None:
    """Train plainly and measure on the way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, nargs="+", default=[20, 100, 300], help="where to measure")
    parser.add_argument("--batches", type=int, default=10, help="measured from each of these steps on")
    args = parser.parse_args()
    split = args.out / "split.json"
    write_small_split(WORKFLOW / "configs" / "splits.json", split, fold=0, cases=20, seed=0)
    workflow = _workflow(args, split)
    trainer = workflow.parser.get_parsed_content("train#trainer")
    ratios: dict[tuple[int, str], list[float]] = defaultdict(list)
    measured = {step + more: step for step in args.steps for more in range(args.batches)}

    @trainer.on(Events.ITERATION_COMPLETED)
    def measure(engine) -> None:
        step = measured.get(engine.state.iteration)
        if step is not None:
            for name, ratio in _ratios(workflow, engine.state.batch).items():
                ratios[step, name].append(ratio)
        if engine.state.iteration >= max(measured):
            engine.terminate()

    trainer.run()
    _write(args.out / "gradient_ratios.csv", args.steps, ratios)


def _workflow(args: argparse.Namespace, split: Path) -> ConfigWorkflow:
    """Make a training whose loss has every term; all but the segmentation weigh next to nothing."""
    shipped = WORKFLOW / "configs" / "train.yaml"
    overlays = [str(ROOT / "experiments" / "arms" / f"{name}.yaml") for name in ARMS]
    workflow = ConfigWorkflow(
        config_file=[str(shipped), str(WORKFLOW / "configs" / "dckd.yaml"), *overlays],
        meta_file=str(WORKFLOW / "configs" / "metadata.json"),
        workflow_type="train",
        bundle_root=str(WORKFLOW),
        dataset_dir=str(args.data.resolve()),
        split_file=str(split),
        output_dir=str(args.out),
        checkpoint=str(args.out / "model.pt"),
        epochs=1000,
        val_interval=1000,
        **_all_terms(shipped),
        lr_scheduler={
            "_target_": "torch.optim.lr_scheduler.ConstantLR",
            "optimizer": "@optimizer",
            "factor": 1,
        },
    )
    workflow.initialize()
    return workflow


def _all_terms(shipped: Path) -> dict[str, Any]:
    """Options: the terms that the overlays replace are back, and none has a weight to speak of."""
    terms = ConfigParser.load_config_file(shipped)["loss_def"]["terms"]
    contrastive = {"_target_": "dckd_ext.losses.DecoupledContrastiveLoss", "temperature": 0.1}
    for mode in ("infonce", "c2am"):
        terms[mode] = {"_target_": "dckd_ext.losses.Term", "loss": {**contrastive, "mode": mode}}
    del terms["segmentation"]
    names = [*terms, *ARMS, "contrastive", "ranking"]
    return {
        **{f"loss_def#terms#{name}": term for name, term in terms.items()},
        **{f"loss_def#terms#{name}#weight": 1e-12 for name in names},
        **{f"loss_def#terms#{name}#ramp": [0.0, 0.0] for name in names},
    }


def _ratios(workflow: ConfigWorkflow, batch: dict) -> dict[str, float]:
    loss, network = (workflow.parser.get_parsed_content(name) for name in ("loss", "network"))
    inferer = workflow.parser.get_parsed_content("train#inferer")
    output = inferer(batch["image"], network, case_ids=batch["case_id"])
    given = {**output._asdict(), "label": batch["label"], "pairs": loss.pairs(output, batch["label"])}
    norms = {}
    for name, term in loss.terms.items():
        value = loss.losses[name](*(given[key] for key in term.input_names))
        gradients = torch.autograd.grad(
            value, list(network.parameters()), retain_graph=True, allow_unused=True
        )
        norms[name] = float(torch.stack([g.norm() for g in gradients if g is not None]).norm())
    return {name: norm / norms["segmentation"] for name, norm in norms.items()}


def _write(file: Path, steps: list[int], ratios: dict[tuple[int, str], list[float]]) -> None:
    names = sorted({name for _, name in ratios} - {"segmentation"})
    rows = []
    for name in names:
        at = {f"ratio at step {step}": statistics.median(ratios[step, name]) for step in steps}
        texts = {column: f"{ratio:.3g}" for column, ratio in at.items()}
        weight = {f"weight for {TARGET}": f"{TARGET / statistics.median(at.values()):.2g}"}
        rows.append({"term": name, **texts, **weight})
    write_table(file, list(rows[0]), rows)
    print(file.read_text())


if __name__ == "__main__":
    main()
