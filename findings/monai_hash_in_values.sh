#!/usr/bin/env bash
# MONAI 1.6.1: every "#" in a value of a bundle's config becomes "::", in values that refer to nothing too: paths, texts, parts of
# lists. "#" is the old separator of ids, and `ConfigParser.resolve_relative_ids` normalises whole values, not the ids in them. So
# a data folder "/data/C#1" is looked for at "/data/C::1", and an absolute bundle_root below a folder with "#" cannot be given. No
# warning; the error that follows names a path that nobody has written.
# Output seen:
#   monai 1.6.1
#   folder: '/data/C#1' is read as '/data/C::1'
#   names: ['#1', 'b#2'] is read as ['::1', 'b::2']
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet numpy==2.3.5 monai==1.6.1 pyyaml==6.0.3

"$folder/venv/bin/python" - <<'PYTHON'
import sys
import warnings

warnings.simplefilter("ignore")
import monai
from monai.bundle import ConfigParser

given = {"folder": "/data/C#1", "names": ["#1", "b#2"]}
expected = {"folder": "/data/C::1", "names": ["::1", "b::2"]}
parser = ConfigParser({"folder": "/data/C#1", "names": ["#1", "b#2"]})
print("monai", monai.__version__)
found = {name: parser.get_parsed_content(name) for name in given}
for name, value in given.items():
    print(f"{name}: {value!r} is read as {found[name]!r}")
sys.exit(0 if found == expected else 1)
PYTHON
