"""Make docs/pictures/page_*.png: the page of `dckd export --web` in Chromium, wide and narrow.

Run it from the root of the repository, with the folder of the page of the hippocampus student:
`python experiments/page_pictures.py bundles/hippocampus_unet_student_segmentation/web`.
What it shows is a phantom, two smooth bodies in noise; the mask in it means nothing.
"""

import shutil
import sys
import tempfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import nibabel
import numpy as np
from playwright.sync_api import Browser, sync_playwright
from scipy.ndimage import gaussian_filter

PICTURES = Path("docs/pictures")
SIZES = {"wide_light": (1400, 900), "narrow_dark": (500, 1370)}
FLAGS = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist")
SECONDS = 300


def phantom(file: Path) -> Path:
    """Write two ellipsoids in noise, 36 x 50 x 35 mm."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, edge) for edge in (36, 50, 35)), indexing="ij")
    image = 110 + gaussian_filter(np.random.default_rng(0).normal(0, 40, x.shape), 1)
    for side, grey in ((-0.4, 45), (0.4, 80)):
        image += grey * (((x - side) / 0.35) ** 2 + (y / 0.6) ** 2 + (z / 0.6) ** 2 < 1)
    nibabel.save(nibabel.Nifti1Image(gaussian_filter(image, 0.6).astype(np.float32), np.eye(4)), file)
    return file


def picture(browser: Browser, url: str, volume: Path, name: str) -> None:
    """Segment a volume and take the picture."""
    width, height = SIZES[name]
    scheme = name.rpartition("_")[2]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(SECONDS * 1000)
    page.goto(url)
    page.locator("#files:enabled").wait_for()
    page.set_input_files("#files-input", volume)
    page.locator("#run:enabled").click()
    page.locator("#results:visible").wait_for()
    page.wait_for_timeout(2000)  # the viewer draws after the results are shown
    page.screenshot(path=PICTURES / f"page_{name}.png")
    context.close()


def main(folder: str) -> None:
    """Serve the page and take all pictures."""
    handler = partial(SimpleHTTPRequestHandler, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http, sync_playwright() as playwright:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        volume = phantom(Path(tempfile.mkdtemp()) / "phantom.nii.gz")
        for name in SIZES:
            picture(browser, f"http://127.0.0.1:{http.server_port}/", volume, name)
        browser.close()
        http.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
