"""`dckd fetch NAME`: a released bundle, verified, ready to run."""

from __future__ import annotations

import shlex
from pathlib import Path

__all__ = ["fetch"]


def fetch(
    name: str,
    *,
    version: str | None = None,
    source: str | None = None,
    bundle_dir: str = ".",
    force: bool = False,
    max_gb: float = 2.0,
) -> None:
    """Fetch a bundle, verify it before anything is unpacked, and print the next command.

    Args:
        name: of the bundle.
        version: X.Y.Z, the newest by default.
        source: a folder or address with model_info.json and the zips, a zip with SHA256SUMS beside it,
            hub:owner/repo, or github:owner/repo@tag; the project's own release by default.
        bundle_dir: folder that gets the bundle's folder.
        force: keep an existing bundle aside instead of refusing.
        max_gb: refuse a bundle that is larger, in 2^30 bytes, before or while it is sent.

    Raises:
        ValueError: if something is not as it should be; nothing is left then.
        OSError: if the source cannot be reached, or the bundle exists.
    """
    from dckd_ext.distribution import fetch_bundle

    fetched = fetch_bundle(name, source, version, bundle_dir, force, max_gb)
    if fetched.kept:
        print(f"kept:    the earlier bundle, as {fetched.kept}")
    print(f"fetched: {name} {fetched.version}, {fetched.size / 2**20:.1f} MB, SHA-256 verified")
    print(f"from:    {fetched.url}")
    print(f"folder:  {fetched.folder}")
    print(f"next:    {_next(fetched.folder)}")


def _next(folder: Path) -> str:
    """Suggest the next command: a bundle with weights segments; one without trains."""
    if (folder / "models" / "model.pt").is_file():
        run, config, more = "run", "inference", "--dataset_dir IMAGES --output_dir MASKS"
    else:
        run, config, more = "run training", "train", "--dataset_dir DATA"
    config_file = next((folder / "configs").glob(f"{config}.*"), folder / "configs" / f"{config}.yaml")
    places = f"--config_file {shlex.quote(str(config_file))} --bundle_root {shlex.quote(str(folder))}"
    return f"python -m monai.bundle {run} {places} {more}"
