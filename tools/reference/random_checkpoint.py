"""Writes the random checkpoints of tests/data/checkpoints/ and their logits.

Small models of every architecture and of every shape that the engine tells
apart, each with the float64 logits of decoder.py.

    pip install numpy==2.4.6 ml_dtypes==0.6.0 safetensors==0.8.0 tokenizers==0.23.3
    python tools/reference/random_checkpoint.py tests/data/checkpoints
"""

import json
import sys
from pathlib import Path

import numpy as np

import byte_level_tokenizer
import safetensors_file
from decoder import Decoder

SEED = 20250101
# More rows than the tokenizer has tokens, as real checkpoints are padded.
VOCABULARY = 320
# Positions whose logits are kept, counted from the end.
LOGIT_ROWS = 3

PROMPT = (
    "The lamp on the quay was lit at seven, and the ferry left the quay at eight. "
    "Nobody on the ferry saw the lamp go out; the keeper saw it, and wrote it down. "
    "Größe, naïveté, 東京 — 12 × 34 = 408?\n"
)

COMMON = {
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "vocab_size": VOCABULARY,
    "use_cache": True,
    "bos_token_id": None,
    "eos_token_id": byte_level_tokenizer.END_OF_TURN,
}
QWEN2 = {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "use_sliding_window": False}
LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}


def shape(layers, hidden, heads, kv_heads, head_dim, intermediate):
    return {
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        # Only where it does not follow from the others.
        **({} if heads * head_dim == hidden else {"head_dim": head_dim}),
        "intermediate_size": intermediate,
    }


# Name to element type, number of files and configuration.
CHECKPOINTS = {
    "qwen2-f32": ("F32", 1, {
        **QWEN2,
        **shape(layers=2, hidden=48, heads=3, kv_heads=1, head_dim=16, intermediate=72),
        "max_position_embeddings": 1024,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1_000_000.0,
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
    }),
    "qwen2-bf16": ("BF16", 1, {
        **QWEN2,
        **shape(layers=2, hidden=64, heads=4, kv_heads=2, head_dim=16, intermediate=96),
        "max_position_embeddings": 1024,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10_000.0,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
    }),
    "llama-mha-linear-rope": ("F16", 1, {
        **LLAMA,
        **shape(layers=2, hidden=64, heads=4, kv_heads=4, head_dim=16, intermediate=80),
        "attention_bias": True,
        "mlp_bias": True,
        "max_position_embeddings": 1024,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10_000.0,
        "rope_scaling": {"rope_type": "linear", "factor": 4.0},
        "tie_word_embeddings": False,
        "torch_dtype": "float16",
    }),
    "llama-gqa-llama3-rope": ("BF16", 2, {
        **LLAMA,
        **shape(layers=3, hidden=48, heads=4, kv_heads=2, head_dim=24, intermediate=112),
        "attention_bias": False,
        "mlp_bias": False,
        "max_position_embeddings": 1024,
        "rms_norm_eps": 1e-5,
        # Newer versions of transformers keep the base here. Of the 12 wavelengths, 3 stay
        # as they are, 3 are blended and 6 are stretched in full.
        "rope_parameters": {
            "rope_type": "llama3",
            "rope_theta": 1000.0,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 128,
        },
        "tie_word_embeddings": True,
        "dtype": "bfloat16",
    }),
}


def random_weights(rng, config):
    """Weights that keep every part alive: scores and logits spread over several
    units, norms and biases are far from their usual ones and zeros."""
    weights = {}
    hidden = config["hidden_size"]
    head_dim = config.get("head_dim") or hidden // config["num_attention_heads"]
    q_size = config["num_attention_heads"] * head_dim
    kv_size = config["num_key_value_heads"] * head_dim
    inner = config["intermediate_size"]
    qkv_bias = config["model_type"] == "qwen2" or config["attention_bias"]
    output_bias, mlp_bias = config.get("attention_bias"), config.get("mlp_bias")

    def linear(name, outputs, inputs, gain, bias=False):
        weights[f"{name}.weight"] = rng.normal(0, gain / np.sqrt(inputs), (outputs, inputs))
        if bias:
            weights[f"{name}.bias"] = rng.normal(0, 0.5, outputs)

    def norm(name):
        weights[f"{name}.weight"] = rng.normal(1, 0.3, hidden)

    linear("model.embed_tokens", VOCABULARY, hidden, gain=3)
    for layer in range(config["num_hidden_layers"]):
        block = f"model.layers.{layer}"
        norm(f"{block}.input_layernorm")
        linear(f"{block}.self_attn.q_proj", q_size, hidden, 1.5, qkv_bias)
        linear(f"{block}.self_attn.k_proj", kv_size, hidden, 1.5, qkv_bias)
        linear(f"{block}.self_attn.v_proj", kv_size, hidden, 1, qkv_bias)
        linear(f"{block}.self_attn.o_proj", hidden, q_size, 1.5, output_bias)
        norm(f"{block}.post_attention_layernorm")
        linear(f"{block}.mlp.gate_proj", inner, hidden, 1.5, mlp_bias)
        linear(f"{block}.mlp.up_proj", inner, hidden, 1.5, mlp_bias)
        linear(f"{block}.mlp.down_proj", hidden, inner, 1, mlp_bias)
    norm("model.norm")
    if not config["tie_word_embeddings"]:
        linear("lm_head", VOCABULARY, hidden, gain=3)
    return weights


def write_checkpoint(folder, rng, tokenizer):
    kind, shards, config = CHECKPOINTS[folder.name]
    config = COMMON | config
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", config)
    ends = [byte_level_tokenizer.END_OF_TURN, byte_level_tokenizer.END_OF_TEXT]
    write_json(folder / "generation_config.json", {
        "eos_token_id": ends, "do_sample": True, "temperature": 0.7, "top_k": 20, "top_p": 0.8,
        "repetition_penalty": 1.05,
    })
    byte_level_tokenizer.write(folder, tokenizer)
    safetensors_file.write(folder, random_weights(rng, config), kind, shards)
    ids = tokenizer.encode(PROMPT).ids
    logits = Decoder(folder).logits(ids)[-LOGIT_ROWS:]
    reference = {"prompt": PROMPT, "prompt_ids": ids, "last_logits": logits.round(9).tolist()}
    (folder / "reference.json").write_text(json.dumps(reference) + "\n")
    print(f"{folder.name}: {len(ids)} tokens, logits of standard deviation {logits.std():.2f}")


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1) + "\n")


def main():
    root = Path(sys.argv[1])
    tokenizer = byte_level_tokenizer.train(PROMPT)
    for number, name in enumerate(CHECKPOINTS):
        write_checkpoint(root / name, np.random.default_rng([SEED, number]), tokenizer)


if __name__ == "__main__":
    main()
