"""A Llama or Qwen2 decoder in float64, as plain as it can be written.

Reads a Hugging Face directory. Shapes: T tokens, D hidden size, H query heads,
G KV heads, d elements of a head, V vocabulary.
"""

import json
from pathlib import Path

import numpy as np

import safetensors_file


class Decoder:
    def __init__(self, folder):
        folder = Path(folder)
        self.config = json.loads((folder / "config.json").read_text())
        self.weights = safetensors_file.read(folder)
        self.heads = self.config["num_attention_heads"]
        self.kv_heads = self.config["num_key_value_heads"]
        self.head_dim = self.config.get("head_dim") or self.config["hidden_size"] // self.heads

    def logits(self, ids):
        """[T, V] logits of the text `ids`."""
        embedding = self.weights["model.embed_tokens.weight"]
        x = embedding[ids]  # [T, D]
        for layer in range(self.config["num_hidden_layers"]):
            block = f"model.layers.{layer}"
            x = x + self.attention(self.norm(x, f"{block}.input_layernorm"), f"{block}.self_attn")
            x = x + self.mlp(self.norm(x, f"{block}.post_attention_layernorm"), f"{block}.mlp")
        x = self.norm(x, "model.norm")
        tied = self.config["tie_word_embeddings"]
        return x @ (embedding if tied else self.weights["lm_head.weight"]).T

    def linear(self, x, name):
        y = x @ self.weights[f"{name}.weight"].T
        bias = self.weights.get(f"{name}.bias")
        return y if bias is None else y + bias

    def norm(self, x, name):
        """RMSNorm (arXiv 1910.07467)."""
        mean_square = np.mean(x * x, axis=-1, keepdims=True)
        return x / np.sqrt(mean_square + self.config["rms_norm_eps"]) * self.weights[f"{name}.weight"]

    def attention(self, x, name):
        """Causal grouped-query attention (arXiv 2305.13245), [T, D] to [T, D]."""
        tokens = len(x)

        def project(part, heads):  # [T, D] to [heads, T, d]
            y = self.linear(x, f"{name}.{part}_proj")
            return y.reshape(tokens, heads, self.head_dim).swapaxes(0, 1)

        q = self.rotate(project("q", self.heads))
        k = self.rotate(project("k", self.kv_heads))
        v = project("v", self.kv_heads)
        group = self.heads // self.kv_heads
        k, v = np.repeat(k, group, axis=0), np.repeat(v, group, axis=0)
        scores = q @ k.swapaxes(1, 2) / np.sqrt(self.head_dim)  # [H, T, T]
        scores[:, np.triu(np.ones((tokens, tokens), bool), 1)] = -np.inf
        mixed = softmax(scores) @ v  # [H, T, d]
        return self.linear(mixed.swapaxes(0, 1).reshape(tokens, -1), f"{name}.o_proj")

    def mlp(self, x, name):
        """Gated SiLU (arXiv 2002.05202)."""
        gate = self.linear(x, f"{name}.gate_proj")
        up = self.linear(x, f"{name}.up_proj")
        return self.linear(gate / (1 + np.exp(-gate)) * up, f"{name}.down_proj")

    def rotate(self, x):
        """Rotary embedding (arXiv 2104.09864) of [heads, T, d]; element i pairs with i + d/2."""
        angles = np.outer(np.arange(x.shape[1]), self.frequencies())  # [T, d/2]
        cos, sin = np.cos(angles), np.sin(angles)
        first, second = np.split(x, 2, axis=-1)
        return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)

    def frequencies(self):
        """The d/2 angular frequencies, in radians a position."""
        rope = self.config.get("rope_parameters") or self.config.get("rope_scaling") or {}
        theta = rope.get("rope_theta") or self.config["rope_theta"]
        plain = theta ** (-np.arange(0, self.head_dim, 2) / self.head_dim)
        kind = rope.get("rope_type", "default")
        if kind == "default":
            return plain
        if kind == "linear":
            return plain / rope["factor"]
        return llama3_frequencies(plain, rope)


def llama3_frequencies(plain, rope):
    """Llama 3.1's stretch: short wavelengths stay, long ones grow, between them a blend."""
    turns = rope["original_max_position_embeddings"] * plain / (2 * np.pi)
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    keep = np.clip((turns - low) / (high - low), 0, 1)
    return plain * (keep + (1 - keep) / rope["factor"])


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)
