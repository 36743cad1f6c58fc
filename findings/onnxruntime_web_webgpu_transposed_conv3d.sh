#!/usr/bin/env bash
# onnxruntime-web 1.30.0 accepts a transposed 3D convolution for WebGPU and fails when it runs: the session is made without a
# word, and the first run ends with "Only Conv2d or Conv1d are supported". Operators that a provider lacks go to the CPU otherwise,
# and a plain 3D convolution does run on WebGPU; so every 3D U-Net with learnt upsampling loads and then fails. Naming the nodes
# in `forceCpuNodeNames` leaves them to the CPU, and the result is right. Needs Chromium (any; a GPU is computed by SwiftShader).
# Output seen (Chromium 156):
#   Conv on wasm: 64    Conv on webgpu: 64
#   ConvTranspose on wasm: 64
#   ConvTranspose on webgpu: run fails: failed to call OrtRun(). [...] Status Message: Only Conv2d or Conv1d are supported.
#   ConvTranspose on webgpu, forced to the CPU: 64
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet playwright==1.65.2 onnx==1.20.1 numpy==2.3.5
(cd "$folder" && npm pack --silent onnxruntime-web@1.30.0 > /dev/null && tar -xzf onnxruntime-web-1.30.0.tgz)

"$folder/venv/bin/python" - "$folder/package/dist" "${CHROMIUM:-$(command -v chromium)}" <<'PYTHON'
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper
from playwright.sync_api import sync_playwright

folder, chromium = Path(sys.argv[1]), sys.argv[2]


def write(kind):
    """One convolution with kernel and stride 2 of one channel of ones, 4 x 4 x 4 for Conv, 2 x 2 x 2 for the other."""
    weights = onnx.numpy_helper.from_array(np.ones((1, 1, 2, 2, 2), np.float32), "w")
    node = helper.make_node(kind, ["x", "w"], ["y"], "one", kernel_shape=[2, 2, 2], strides=[2, 2, 2])
    size, out = (4, 2) if kind == "Conv" else (2, 4)
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 1, *[e] * 3]) for n, e in (("x", size), ("y", out))]
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], [weights])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / f"{kind}.onnx")
    return size


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


RUN = """async ([kind, size, provider]) => {
  const ort = await import('/ort.webgpu.bundle.min.mjs');
  ort.env.wasm.numThreads = 1;
  let stage = 'session';
  try {
    const session = await ort.InferenceSession.create(`/${kind}.onnx`, {executionProviders: [provider], logSeverityLevel: 4});
    stage = 'run';
    const x = new ort.Tensor('float32', new Float32Array(size ** 3).fill(1), [1, 1, size, size, size]);
    const {y} = await session.run({x});
    return String((await y.getData()).reduce((a, b) => a + b));
  } catch (error) { return `${stage} fails: ${error.message}`; }
}"""

server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
threading.Thread(target=server.serve_forever, daemon=True).start()
(folder / "index.html").write_text("<!doctype html>")
flags = ["--no-sandbox", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan"]
with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=chromium, args=flags)
    print("Chromium", browser.version)

    def run(kind, size, provider):
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        found = page.evaluate(RUN, [kind, size, provider])
        page.close()
        return found

    conv, transposed = write("Conv"), write("ConvTranspose")
    gpu = {"name": "webgpu"}
    plain = [run("Conv", conv, {"name": name}) for name in ("wasm", "webgpu")]
    print(f"Conv on wasm: {plain[0]}    Conv on webgpu: {plain[1]}")
    cpu = run("ConvTranspose", transposed, {"name": "wasm"})
    print(f"ConvTranspose on wasm: {cpu}")
    failed = run("ConvTranspose", transposed, gpu)
    print(f"ConvTranspose on webgpu: {failed}")
    forced = run("ConvTranspose", transposed, {**gpu, "forceCpuNodeNames": ["one"]})
    print(f"ConvTranspose on webgpu, forced to the CPU: {forced}")
    browser.close()
server.shutdown()
assert plain == ["64", "64"]
assert cpu == forced == "64"
assert failed.startswith("run fails:")
assert "Only Conv2d or Conv1d are supported" in failed
PYTHON
