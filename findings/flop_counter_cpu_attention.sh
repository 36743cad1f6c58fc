#!/usr/bin/env bash
# torch 2.13.0 (2.6.0 too): torch.utils.flop_counter.FlopCounterMode counts 0 for attention on a CPU. Its registry has the fused
# kernels of GPUs, not `_scaled_dot_product_flash_attention_for_cpu`, and not the fast path of nn.MultiheadAttention and
# nn.TransformerEncoderLayer in eval mode (`_native_multi_head_attention`, `_transformer_encoder_layer_fwd`). No warning.
# With SDPBackend.MATH and without the fast path the same calls are counted as written on paper.
# Output seen:
#   torch 2.13.0
#   scaled_dot_product_attention: 0 as it is, 32768 unfused, 32768 on paper
#   TransformerEncoderLayer, eval: 0 as it is, 294912 unfused, 294912 on paper
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet numpy==2.3.5

"$folder/venv/bin/python" - <<'PYTHON'
import sys

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def flops(call):
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


tokens, heads, width, hidden = 16, 4, 32, 64
split = torch.randn(1, heads, tokens, width // heads)
whole = torch.randn(1, tokens, width)
layer = nn.TransformerEncoderLayer(width, heads, hidden, batch_first=True).eval()
attention = 2 * 2 * tokens * tokens * width
encoder = attention + 2 * (4 * tokens * width * width + 2 * tokens * width * hidden)
calls = {
    "scaled_dot_product_attention": (
        lambda: nn.functional.scaled_dot_product_attention(split, split, split),
        attention,
    ),
    "TransformerEncoderLayer, eval": (lambda: layer(whole), encoder),
}

print("torch", torch.__version__.split("+")[0])
seen = True
for name, (call, paper) in calls.items():
    fused = flops(call)
    torch.backends.mha.set_fastpath_enabled(False)
    with sdpa_kernel(SDPBackend.MATH):
        unfused = flops(call)
    torch.backends.mha.set_fastpath_enabled(True)
    print(f"{name}: {fused} as it is, {unfused} unfused, {paper} on paper")
    seen &= (fused, unfused) == (0, paper)
sys.exit(0 if seen else 1)
PYTHON
