"""Serve bundles in MONAI Label on this machine.

    .venv-label/bin/python label/serve.py bundles/NAME ... --studies DIR [--app DIR] [--port 8000]

The bundles are copied under the app, so that fine-tuning changes the copies and never what is given. A copy
that is there already is served as it is, with the weights that fine-tuning has left in it.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from guards import guards
from monailabel.config import settings
from monailabel.main import Main
from monailabel.utils.others.generic import init_log_config
from routes import make_app

from dckd_ext.distribution.contents import packed_files


def main() -> None:
    """Read the command line, put the bundles under the app, and serve until interrupted."""
    options = _options()
    studies, app = options.studies.resolve(), options.app.resolve() / "monaibundle"
    if not app.is_dir():
        label = Main()
        command = ["apps", "--download", "--name", app.name, "--output", str(app.parent)]
        label.action_apps(label.args_parser().parse_args(command))
    for bundle in options.bundles:
        _put(bundle, app / "model" / bundle.resolve().name)
    names = ",".join(bundle.resolve().name for bundle in options.bundles)
    hosts = {"127.0.0.1", "localhost", "[::1]", options.host, *options.allow_host}
    with _private_folder():
        _set_up(app, studies, names, options.port)
        uvicorn.run(
            make_app(guards(hosts, options.allow_origin, options.max_upload * 2**20)),
            host=options.host,
            port=options.port,
            log_config=init_log_config(None, str(app), "app.log", "INFO"),
            access_log=False,
        )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundles", nargs="+", type=Path, help="folders of bundles with models/model.pt")
    parser.add_argument("--studies", required=True, type=Path, help="folder of volumes; labels go to labels/")
    parser.add_argument("--app", default=Path("runs/label"), type=Path, help="folder of app and copies")
    parser.add_argument("--host", default="127.0.0.1", help="MONAI Label asks nobody for a password")
    parser.add_argument("--port", default=8000, type=int)
    parser.add_argument(
        "--allow_host", nargs="+", default=[], help="more names or addresses that clients call this server by"
    )
    parser.add_argument(
        "--allow_origin", nargs="+", default=[], help="web pages of viewers that may use it: http://HOST:PORT"
    )
    parser.add_argument("--max_upload", default=1024, type=int, help="MiB of the largest request")
    options = parser.parse_args()
    if not options.studies.is_dir():
        parser.error(f"--studies: there is no folder {options.studies}")
    for bundle in options.bundles:
        if not (bundle / "models" / "model.pt").is_file():
            parser.error(f"{bundle} has no models/model.pt: train or fetch it first")
    for origin in options.allow_origin:
        if not re.fullmatch(r"https?://[^/*]+", origin):
            parser.error(f"--allow_origin: found {origin!r}, expected http://HOST:PORT, as browsers send it")
    return options


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


@contextmanager
def _private_folder() -> Iterator[None]:
    """Work in an empty folder, with that of uploads and sessions beside it; both go when the server stops.

    MONAI Label takes the name of a volume for a file first if there is one of this name where it runs.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # else its default ends the process at once
    with tempfile.TemporaryDirectory(prefix="dckd-label-") as private:
        here, uploads = Path(private, "here"), Path(private, "uploads")
        here.mkdir()
        uploads.mkdir()
        os.chdir(here)
        os.environ["TMPDIR"] = tempfile.tempdir = str(uploads)
        settings.MONAI_LABEL_SESSION_PATH = str(uploads / "sessions")
        yield
        os.chdir(private)


def _set_up(app: Path, studies: Path, models: str, port: int) -> None:
    """Make MONAI Label's settings those of its own command `start_server`."""
    command = ["start_server", "--app", str(app), "--studies", str(studies), "--port", str(port)]
    command += ["--conf", "models", models]
    command += ["--conf", "zoo_source", "local"]  # otherwise it looks for the bundles on the network
    command += ["--conf", "sam2", "false"]
    label = Main()
    arguments = label.args_parser().parse_args(command)
    label.start_server_validate_args(arguments)
    label.start_server_init_settings(arguments)


if __name__ == "__main__":
    main()
