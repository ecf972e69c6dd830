"""Writes the golden blocks of models/tests/data/quant/.

Random blocks of every supported type and what the reference implementation in
ggml's Python package makes of them. One file a type: the blocks, then their
elements as little-endian float32.

    pip install gguf==0.19.0
    python tools/reference/quant_blocks.py models/tests/data/quant
"""

import sys
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as Type
from gguf.quants import dequantize

SEED = 20250101

# Blocks to write, and where their f16 scales and minima begin (in bytes).
TYPES = {
    Type.F32: (64, []),
    Type.F16: (64, [0]),
    Type.BF16: (64, []),
    Type.Q8_0: (5, [0]),
    Type.Q4_0: (5, [0]),
    Type.Q4_1: (5, [0, 2]),
    Type.Q5_0: (5, [0]),
    Type.Q5_1: (5, [0, 2]),
    Type.Q4_K: (2, [0, 2]),
    Type.Q5_K: (2, [0, 2]),
    Type.Q6_K: (2, [208]),
}


def random_blocks(rng, kind):
    """Random bytes, with finite numbers where the type stores a float."""
    count, halves = TYPES[kind]
    _, size = GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (count, size), dtype=np.uint8)
    for at in halves:
        values = rng.normal(0, 1, count) * 2.0 ** rng.integers(-20, 5, count)
        blocks[:, at : at + 2] = values.astype("<f2").view(np.uint8).reshape(count, 2)
    if kind == Type.F32:
        blocks = rng.normal(0, 1, count).astype("<f4").view(np.uint8).reshape(count, 4)
    if kind == Type.BF16:
        blocks[:, 1] &= 0xBF  # below 2: no infinity, no NaN
    return blocks


def main(folder):
    for index, kind in enumerate(TYPES):
        blocks = random_blocks(np.random.default_rng([SEED, index]), kind)
        values = dequantize(blocks, kind).astype("<f4")
        assert np.isfinite(values).all(), kind
        (folder / f"{kind.name}.bin").write_bytes(blocks.tobytes() + values.tobytes())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
