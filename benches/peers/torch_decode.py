"""One decode step of a Llama geometry in PyTorch, as `benches/decode` measures it for kcache.

cuBLAS products and SDPA by cuDNN over full K and V, the whole step in one CUDA graph. Prints one
JSON object a line: attention of a layer, and the step, in microseconds (medians).

    python3 torch_decode.py --geometry llama2-7b --batch 7 --length 32768
"""

import argparse
import json
import statistics

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

# layers, hidden, intermediate, query heads, KV heads, head size, vocabulary
GEOMETRIES = {
    "llama2-7b": (32, 4096, 11008, 32, 32, 128, 32000),
    "llama3-8b": (32, 4096, 14336, 32, 8, 128, 128256),
}


def median_us(graph, runs=30):
    """The median time of a graph's replays, in microseconds."""
    for _ in range(3):
        graph.replay()
    times = []
    for _ in range(runs):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) * 1e3)
    return statistics.median(times)


def captured(work):
    """`work` as a graph, after a first run that loads its kernels."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(2):
            work()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph


class Step:
    """Weights, K and V of random numbers, and one decode step over them."""

    def __init__(self, geometry, batch, length, layers):
        total, self.hidden, inner, self.heads, self.kv_heads, self.dim, vocab = geometry
        self.batch, self.layers = batch, layers or total
        options = {"device": "cuda", "dtype": torch.bfloat16}

        def weight(out, into):
            return torch.randn(out, into, **options) / into**0.5

        kv = self.kv_heads * self.dim
        self.blocks = [
            {
                "qkv": weight(self.heads * self.dim + 2 * kv, self.hidden),
                "o": weight(self.hidden, self.heads * self.dim),
                "up": weight(2 * inner, self.hidden),
                "down": weight(self.hidden, inner),
                "k": torch.randn(batch, self.kv_heads, length, self.dim, **options),
                "v": torch.randn(batch, self.kv_heads, length, self.dim, **options),
            }
            for _ in range(self.layers)
        ]
        self.head = weight(vocab, self.hidden)
        self.norm = torch.ones(self.hidden, **options)
        self.x = torch.randn(batch, self.hidden, **options)
        self.length = length

    def attend(self, block, q):
        with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
            return F.scaled_dot_product_attention(
                q, block["k"], block["v"], enable_gqa=self.heads != self.kv_heads
            )

    def attention(self):
        q = torch.randn(self.batch, self.heads, 1, self.dim, device="cuda", dtype=torch.bfloat16)
        # Every layer in turn, so that none finds its K and V in the cache.
        return lambda: [self.attend(block, q) for block in self.blocks]

    def step(self):
        def norm(x):
            return F.rms_norm(x, (self.hidden,), self.norm, 1e-5)

        x = self.x
        for block in self.blocks:
            rows = self.heads * self.dim
            kv = self.kv_heads * self.dim
            q, k, v = F.linear(norm(x), block["qkv"]).split([rows, kv, kv], dim=-1)
            q = q.view(self.batch, self.heads, 1, self.dim)
            block["k"][:, :, -1] = k.view(self.batch, self.kv_heads, self.dim)
            block["v"][:, :, -1] = v.view(self.batch, self.kv_heads, self.dim)
            attended = self.attend(block, q).reshape(self.batch, rows)
            x = x + F.linear(attended, block["o"])
            gate, up = F.linear(norm(x), block["up"]).chunk(2, dim=-1)
            x = x + F.linear(F.silu(gate) * up, block["down"])
        return F.linear(norm(x), self.head)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--geometry", choices=GEOMETRIES, default="llama2-7b")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--length", type=int, default=4096)
    parser.add_argument("--layers", type=int, help="fewer layers than the geometry has")
    args = parser.parse_args()
    torch.manual_seed(1)
    with torch.no_grad():
        step = Step(GEOMETRIES[args.geometry], args.batch, args.length, args.layers)
        attention = median_us(captured(step.attention())) / step.layers
        whole = median_us(captured(step.step))
    print(
        json.dumps(
            {
                "engine": "torch",
                "geometry": args.geometry,
                "layers": step.layers,
                "batch": args.batch,
                "length": args.length,
                "attention_us": round(attention, 1),
                "step_us": round(whole, 1),
                "tokens_per_second": round(args.batch * 1e6 / whole, 1),
                "hbm_gib": round(torch.cuda.max_memory_allocated() / 2**30, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
