"""The operations that `benches/ops --list` prints, in PyTorch: products by cuBLAS, attention by cuDNN.

Reads JSON lines with `id`, `op` and `sizes`, and prints each `id` with the median time in
microseconds. Work runs in a CUDA graph, over operands that the L2 cache does not hold together.

    ops --list | python3 torch_ops.py > peer.jsonl
"""

import json
import math
import statistics
import sys

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

ROTATED_BYTES = 512 << 20

# What a graph takes at least, so that its own start and end do not count.
GRAPH_US = 3000

# Seconds of the same launches before their time is taken: a device that computes at its limit of
# power slows down only after some time.
WARM_UP_S = 0.2


def replayed_us(launches, runs, warm_ups=0):
    """The median time of one of `launches`, which run one after the other in a graph."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for launch in launches:
            launch()
    times = []
    for _ in range(warm_ups + runs):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) * 1e3 / len(launches))
    return statistics.median(times[warm_ups:])


def median_us(launches, runs=21):
    """The median time of a launch in a graph that is long, in microseconds."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for launch in launches[:2]:
            launch()
    torch.cuda.synchronize()
    few = replayed_us(launches, 2)
    many = launches * math.ceil(GRAPH_US / (few * len(launches)))
    return replayed_us(many, runs, math.ceil(WARM_UP_S * 1e6 / (few * len(many))))


def rotated(size_bytes, make):
    """`make()` as often as its operands, of so many bytes, must be there to leave the cache."""
    count = min(max(ROTATED_BYTES // size_bytes, 1), 64)
    sets = [make() for _ in range(count)]
    return [sets[i % count] for i in range(max(count, 8))]


def tensor(*shape, dtype=torch.bfloat16):
    """Numbers from -1 to 1. Drawn as `dtype`, `bfloat16` would have 256 different ones, whose
    products take less power: cuBLAS is 4% faster with them."""
    return (torch.rand(*shape, device="cuda") * 2 - 1).to(dtype)


def product(m, n, k):
    x = tensor(m, k)
    return [lambda w=w: F.linear(x, w) for w in rotated(2 * n * k, lambda: tensor(n, k))]


def joint_product(m, n, n_kv, k):
    return product(m, n + 2 * n_kv, k)


def gated_product(m, n, k):
    x = tensor(m, k)

    def work(w):
        gate, up = F.linear(x, w).chunk(2, dim=-1)
        return F.silu(gate) * up

    return [lambda w=w: work(w) for w in rotated(4 * n * k, lambda: tensor(2 * n, k))]


def attention(rows, q_heads, kv_heads, dim):
    q = tensor(1, q_heads, rows, dim)
    k, v = tensor(1, kv_heads, rows, dim), tensor(1, kv_heads, rows, dim)

    def work():
        with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
            return F.scaled_dot_product_attention(
                q, k, v, is_causal=True, enable_gqa=q_heads != kv_heads
            )

    return [work] * 4


def rms_norm(rows, width):
    weight = torch.ones(width, device="cuda")
    xs = rotated(4 * rows * width, lambda: tensor(rows, width, dtype=torch.float32))
    return [lambda x=x: F.rms_norm(x, (width,), weight, 1e-5) for x in xs]


def swiglu(rows, width):
    pairs = rotated(4 * rows * width, lambda: (tensor(rows, width), tensor(rows, width)))
    return [lambda gate=gate, up=up: F.silu(gate) * up for gate, up in pairs]


def add(rows, width):
    floats = {"dtype": torch.float32}
    pairs = rotated(
        4 * rows * width, lambda: (tensor(rows, width, **floats), tensor(rows, width, **floats))
    )
    return [lambda x=x, y=y: x.add_(y) for x, y in pairs]


OPERATIONS = {
    work.__name__: work
    for work in (product, joint_product, gated_product, attention, rms_norm, swiglu, add)
}


def main():
    torch.manual_seed(1)
    seen = set()
    with torch.no_grad():
        for line in sys.stdin:
            work = json.loads(line)
            if work["id"] in seen:
                continue
            seen.add(work["id"])
            us = median_us(OPERATIONS[work["op"]](*work["sizes"]))
            print(json.dumps({"id": work["id"], "us": round(us, 2)}), flush=True)
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
