"""safetensors directories as float64 arrays, in and out."""

import json
from pathlib import Path

import numpy as np
from ml_dtypes import bfloat16
from safetensors import deserialize
from safetensors.numpy import save_file

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
TYPES = {"BF16": bfloat16, "F16": np.float16, "F32": np.float32}


def read(folder):
    """Name to array, of all shards in `folder`."""
    folder = Path(folder)
    shards = {SINGLE}
    if (folder / INDEX).exists():
        shards = set(json.loads((folder / INDEX).read_text())["weight_map"].values())
    return {
        name: decode(tensor)
        for shard in shards
        for name, tensor in deserialize((folder / shard).read_bytes())
    }


def decode(tensor):
    stored = np.frombuffer(tensor["data"], TYPES[tensor["dtype"]])
    return stored.reshape(tensor["shape"]).astype(np.float64)


def write(folder, tensors, kind, shards):
    """Writes `tensors` rounded to `kind`, in one file or in `shards` files with an index."""
    stored = {name: array.astype(TYPES[kind]) for name, array in tensors.items()}
    if shards == 1:
        save_file(stored, folder / SINGLE, {"format": "pt"})
        return
    weight_map = {}
    for shard, names in enumerate(np.array_split(list(stored), shards), 1):
        file = f"model-{shard:05}-of-{shards:05}.safetensors"
        weight_map |= {str(name): file for name in names}
        save_file({str(name): stored[name] for name in names}, folder / file, {"format": "pt"})
    total = sum(array.nbytes for array in stored.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / INDEX).write_text(json.dumps(index, indent=1) + "\n")
