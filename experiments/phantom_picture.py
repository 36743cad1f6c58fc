"""Make docs/pictures/phantom.png: a malignant and a benign synthetic lesion in the three planes.

Run it from the root of the repository: `python experiments/phantom_picture.py`.
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from dckd_ext.phantom import Phantom, make_phantom
from dckd_ext.utils.files import written_whole

PICTURE = Path("docs/pictures/phantom.png")
SEEDS = {"malignant": 4, "benign": 8}
PLANES = ("coronal (parallel to the skin)", "sagittal", "transverse")


def draw(phantoms: dict[str, Phantom]) -> Figure:
    """Draw one row a phantom: the planes through its lesion, each without and with the outlined truth."""
    figure = Figure(figsize=(14, 2.1 * len(phantoms) + 0.5), layout="constrained")
    panels = figure.subplots(len(phantoms), 6, squeeze=False)
    for row, (name, phantom) in zip(panels, phantoms.items(), strict=True):
        for number, axis in enumerate((2, 0, 1)):
            index = round(phantom.lesions[0].centre[axis])
            down, across = (1, 0) if axis == 2 else (1, 2) if axis == 0 else (0, 2)
            for panel in row[2 * number : 2 * number + 2]:
                grey, mask = (np.take(array, index, axis) for array in (phantom.image, phantom.mask))
                if down > across:
                    grey, mask = grey.T, mask.T
                aspect = phantom.spacing[down] / phantom.spacing[across]
                panel.imshow(grey, cmap="gray", vmin=0, vmax=200, aspect=aspect, interpolation="bilinear")
                panel.set(xticks=[], yticks=[])
            panel.contour(mask, levels=[0.5], colors="gold", linewidths=1.2)
            row[2 * number].set_title(PLANES[2 - number], fontsize=10)
        row[0].set_ylabel(f"{name}, {phantom.lesions[0].ml:.1f} ml")
    figure.suptitle("synthetic ABUS phantoms, lesion outlined")
    return figure


if __name__ == "__main__":
    figure = draw({name: make_phantom(seed) for name, seed in SEEDS.items()})
    with written_whole(PICTURE) as beside:
        figure.savefig(beside, dpi=75)
    print(f"{PICTURE}: {PICTURE.stat().st_size / 1000:.0f} kB")
