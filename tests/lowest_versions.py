"""Print constraints for pip: lowest versions that pyproject.toml promises; tools as in constraints.txt."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
TOOLS = {"docs", "test", "dev"}  # extras that promise nothing

project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
promised = list(project["dependencies"])
for extra, lines in project["optional-dependencies"].items():
    promised += [] if extra in TOOLS else lines
lowest = dict(re.findall(r"^([\w-]+)[^>]*>=([\w.]+)", "\n".join(promised), flags=re.MULTILINE))
pinned = dict(re.findall(r"^([\w-]+)==(.+)$", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE))
promised_names = {name.lower() for name in lowest}
tools = {name: version for name, version in pinned.items() if name.lower() not in promised_names}
print(*(f"{name}=={version}" for name, version in {**lowest, **tools}.items()), sep="\n")
