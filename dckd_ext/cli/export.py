"""`dckd export BUNDLE...`: networks as TorchScript and ONNX, and `predict.py`, which needs no torch."""

from __future__ import annotations

from pathlib import Path

__all__ = ["export"]


def export(
    *bundles: str,
    out: str | None = None,
    web: bool = False,
    training_volumes: str | None = None,
    network_only: bool = False,
) -> None:
    """Export bundles with weights, each checked against its own network at five sizes.

    Writes `models/model.ts`, `models/model.onnx` (which holds the settings of the inference config) and
    `predict.py`, which segments volumes with numpy, nibabel and openvino or onnxruntime. This runs the
    code of the bundles: use those that you trust (docs/security.md).

    Args:
        bundles: folders of bundles.
        out: folder that gets a folder for each bundle; by default the files go into the bundles themselves.
        training_volumes: folder of the images that a network was trained on; their sizes and intensities are
            written to the bundle's metadata, and volumes far from them are warned of (docs/export.md).
        network_only: write the networks without `predict.py`, whatever the inference config does.
        web: also write the folder `web`, a page that segments volumes in the visitor's browser (docs/web.md).

    Raises:
        ValueError: when there is no bundle, or one cannot be exported; see `dckd_ext.export.export_bundle`.
        FileNotFoundError: with `web`, when the page has not been built; see `dckd_ext.export.export_page`.
    """
    from dckd_ext.export import check_page, export_bundle, export_page, record_training_volumes

    if not bundles:
        raise ValueError("Name at least one bundle: dckd export BUNDLE...")
    if web:
        check_page()
    if training_volumes and len(bundles) > 1:
        raise ValueError(f"training_volumes: expected one bundle that they belong to, found {len(bundles)}")
    for bundle in bundles:
        if training_volumes:
            print(f"training volumes: {record_training_volumes(bundle, training_volumes)}")
        folder = Path(out) / Path(bundle).resolve().name if out else None
        report = export_bundle(bundle, folder, network_only)
        files = report["files"]
        for file in files:
            print(f"{file}  {file.stat().st_size / 2**20:.2f} MB")
        for name, reason in report["left_out"].items():
            print(f"no {name}: {reason}")
        for name, rows in report["compared"].items():
            largest = max(row["max_difference"] for row in rows)
            print(f"{name}: logits differ by at most {largest:.1g} at {len(rows)} sizes")
        if files[-1].name == "predict.py":
            print(f"try it:  python {files[-1]} IN... --out DIR")
        if web:
            page = export_page(bundle, files[-1].parent)
            print(f"the page:  python -m http.server 8080 --bind 127.0.0.1 --directory {page}")
            print("           and open http://127.0.0.1:8080")
