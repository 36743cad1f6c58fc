#!/usr/bin/env bash
# Build the environment of MONAI Label with this package in it:
#   label/install.sh .venv-label [more arguments of pip for torch and torchvision, such as --index-url URL]
# Variables: PYTHON, TORCH and TORCHVISION, for other builds than the tried ones.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
venv="$1"
shift

"${PYTHON:-python3}" -m venv "$venv"
python="$venv/bin/python"
# a package that both name has MONAI Label's version, as pydicom, which its own reader of segmentations needs older
cat "$here/constraints.txt" "$here/../constraints.txt" | awk -F== '!/^(#|torch==)/ && !seen[$1]++' > "$venv/constraints.txt"

"$python" -m pip install "$@" "${TORCH:-torch==2.13.0}"
# without what they ask for: torchvision would exchange torch, and see requirements.txt for the others
"$python" -m pip install "$@" --no-deps "${TORCHVISION:-torchvision==0.28.0}"
"$python" -m pip install -c "$venv/constraints.txt" --no-deps monailabel monai pydicom-seg
"$python" -m pip install -c "$venv/constraints.txt" -r "$here/requirements.txt" -e "$here/.."

# Only where it is needed: see torchvision_operators.py
problem="$("$python" -c "import torchvision" 2>&1 || true)"
if [[ "$problem" == *"operator torchvision::nms does not exist"* ]]; then
    site="$("$python" -c "import sysconfig; print(sysconfig.get_path('purelib'))")"
    cp "$here/torchvision_operators.py" "$site"
    echo "import torchvision_operators" > "$site/torchvision_operators.pth"
fi
"$python" -c "import torchvision, monailabel.transform.post, dckd_ext"
