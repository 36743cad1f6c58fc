#!/usr/bin/env bash
# MONAI Label 0.8.5: MONAI_LABEL_CORS_ORIGINS, its setting for the pages of other viewers, allows none of them. The addresses
# are pydantic's AnyHttpUrl, whose text ends in a slash since pydantic 2 ("http://localhost:3000/"); browsers send origins
# without one, and Starlette compares texts. Without the setting every page is allowed.
# Output seen:
#   monailabel 0.8.5, pydantic 2.13.4, starlette 1.3.1
#   set to ["http://localhost:3000"]: origins ['http://localhost:3000/']; preflight of http://localhost:3000: 400 Disallowed CORS origin
#   not set: origins ['*']; preflight of http://localhost:3000: 200 OK
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pydantic==2.13.4 pydantic-settings==2.14.1 starlette==1.3.1 httpx==0.28.1
"$folder/venv/bin/pip" install --quiet --no-deps monailabel==0.8.5

cat > "$folder/ask.py" <<'PYTHON'
import ast
from importlib.util import find_spec
from pathlib import Path

from monailabel.config import settings
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.testclient import TestClient

# the line of monailabel/app.py alone, since the app needs some twenty packages more
source = Path(find_spec("monailabel").origin).with_name("app.py").read_text()
line = next(node for node in ast.parse(source).body if ast.unparse(node).startswith("origins ="))
exec(ast.unparse(line))
client = TestClient(Starlette(middleware=[Middleware(CORSMiddleware, allow_origins=origins)]))
page = "http://localhost:3000"
answer = client.options("/", headers={"Origin": page, "Access-Control-Request-Method": "GET"})
print(f"origins {origins}; preflight of {page}: {answer.status_code} {answer.text}")
PYTHON

cd "$folder"
venv/bin/python -c '
from importlib.metadata import version
print(", ".join(f"{name} {version(name)}" for name in ("monailabel", "pydantic", "starlette")))'
given=$(MONAI_LABEL_CORS_ORIGINS='["http://localhost:3000"]' venv/bin/python -W ignore ask.py)
unset=$(venv/bin/python -W ignore ask.py)
echo "set to [\"http://localhost:3000\"]: $given"
echo "not set: $unset"
[[ "$given" == *"400 Disallowed CORS origin" && "$unset" == *"200 OK" ]]
