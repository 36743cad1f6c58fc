"""Serve bundles in MONAI Label on this machine.

    .venv-label/bin/python label/serve.py bundles/NAME ... --studies DIR [--app DIR] [--port 8000]

The bundles are copied under the app, so that fine-tuning changes the copies and never what is given. A copy
that is there already is served as it is, with the weights that fine-tuning has left in it.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from monailabel.main import Main

from dckd_ext.distribution.contents import packed_files


def main() -> None:
    """Read the command line, put the bundles under the app, and serve until interrupted."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundles", nargs="+", type=Path, help="folders of bundles with models/model.pt")
    parser.add_argument("--studies", required=True, type=Path, help="folder of volumes; labels go to labels/")
    parser.add_argument("--app", default=Path("runs/label"), type=Path, help="folder of app and copies")
    parser.add_argument("--host", default="127.0.0.1", help="MONAI Label asks nobody for a password")
    parser.add_argument("--port", default=8000, type=int)
    options = parser.parse_args()
    if not options.studies.is_dir():
        parser.error(f"--studies: there is no folder {options.studies}")
    for bundle in options.bundles:
        if not (bundle / "models" / "model.pt").is_file():
            parser.error(f"{bundle} has no models/model.pt: train or fetch it first")

    app = options.app / "monaibundle"
    if not app.is_dir():
        _monailabel("apps", "--download", "--name", app.name, "--output", options.app)
    for bundle in options.bundles:
        _put(bundle, app / "model" / bundle.resolve().name)
    _monailabel(
        *("start_server", "--app", app, "--studies", options.studies),
        *("--host", options.host, "--port", options.port, "--uvicorn_app", "answers:app"),
        *("--conf", "models", ",".join(bundle.resolve().name for bundle in options.bundles)),
        *("--conf", "zoo_source", "local"),  # otherwise it looks for the bundles on the network
        *("--conf", "sam2", "false"),
    )


def _put(bundle: Path, copy: Path) -> None:
    """Copy what a release would hold, whole or not at all."""
    if copy.is_dir():
        print(f"{copy}: served as it is; remove it to serve {bundle} anew")
        return
    partial = copy.with_name(f".partial-{copy.name}")
    shutil.rmtree(partial, ignore_errors=True)
    for path, file in packed_files(bundle).items():
        (partial / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, partial / path)
    partial.rename(copy)
    print(f"{copy}: copied from {bundle}")


def _monailabel(*arguments: object) -> None:
    """Run MONAI Label's own command, here: this folder, which holds `answers`, is then on its path."""
    sys.argv = ["monailabel", *map(str, arguments)]
    Main().run()


if __name__ == "__main__":
    main()
