#!/usr/bin/env bash
# A gzip file of several members (bgzip's, or files put one behind the other) opens in Python, zcat and
# Node.js 20, but not in Chromium: there the DecompressionStream of the very same name and call rejects it, with the text
# "Failed to fetch" when it is read through a Response. So a page that passes its tests in Node.js refuses such .nii.gz files in
# the browser; nothing of what was decompressed before is returned. Zeros behind the last member do the same.
# Output seen (Node.js 20.20.2, Chromium 156):
#   python  one member: 1000    two members: 2000    one, then zeros: 1000
#   node    one member: 1000    two members: 2000    one, then zeros: 1000
#   browser one member: 1000    two members: TypeError: Failed to fetch    one, then zeros: TypeError: Failed to fetch
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet playwright==1.65.2

"$folder/venv/bin/python" - "${CHROMIUM:-$(command -v chromium)}" <<'PYTHON'
import base64
import gzip
import json
import subprocess
import sys

from playwright.sync_api import sync_playwright

one = gzip.compress(b"a" * 1000)
FILES = {"one member": one, "two members": one + gzip.compress(b"b" * 1000), "one, then zeros": one + bytes(512)}
READ = """async (text) => {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  try { return (await new Response(stream).arrayBuffer()).byteLength; } catch (error) { return String(error); }
}"""
texts = {name: base64.b64encode(content).decode() for name, content in FILES.items()}


def node(text):
    script = f"({READ})({json.dumps(text)}).then((found) => console.log(JSON.stringify(found)))"
    return json.loads(subprocess.run(["node", "-e", script], capture_output=True, text=True, check=True).stdout)


found = {"python": {name: len(gzip.decompress(content)) for name, content in FILES.items()}}
found["node"] = {name: node(text) for name, text in texts.items()}
with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=sys.argv[1], args=["--no-sandbox"])
    page = browser.new_page()
    found["browser"] = {name: page.evaluate(READ, text) for name, text in texts.items()}
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    print(f"Node.js {version}, Chromium {browser.version}")
    browser.close()
for reader, sizes in found.items():
    print(f"{reader:7}", "    ".join(f"{name}: {size}" for name, size in sizes.items()))
assert found["python"] == found["node"] == dict(zip(FILES, (1000, 2000, 1000), strict=True))
assert found["browser"]["one member"] == 1000
assert all("TypeError" in str(found["browser"][name]) for name in list(FILES)[1:])
PYTHON
