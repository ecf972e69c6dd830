#!/usr/bin/env python3
"""Perplexity of the demo model on *Pride and Prejudice* under several KV policies, as a table.

Needs `make model texts` and `cargo build --release`. The column "study" holds what an independent
float32 engine (numpy, checked against llama.cpp) gave for the same text, model and policy.
"""

import argparse
import json
import math
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / "cache/models/SmolLM2-135M-Instruct.Q4_1.gguf"
TEXT = ROOT / "cache/texts/prideprejudice.txt"
START = "It is a truth universally"

NO_WINDOW = ["--v-window", "0", "--v-sinks", "0"]
RENORMALISED = ["--v-weighting", "renormalised"]


def kcache(n: int, dense: int, *flags: str) -> list[str]:
    return ["--kv", "kcache", "--v-top-n", str(n), "--v-dense-layers", str(dense),
            "--v-hot-rows", str(4 * n), *flags]  # fmt: skip


# What it is, its flags, the study's perplexity.
POLICIES = [
    ("full", ["--kv", "full"], 18.737),
    ("full offload", ["--kv", "full-offload"], 18.737),
    ("**N=128, the default**", ["--kv", "kcache"], 18.96),
    ("N=64", kcache(64, 2), 19.24),
    ("N=32", kcache(32, 2), 19.75),
    ("N=64, no dense layers", kcache(64, 0), 22.08),
    ("N=128, renormalised", kcache(128, 2, *RENORMALISED), 19.30),
    ("N=128, renormalised, no dense layers", kcache(128, 0, *RENORMALISED), 19.42),
    ("N=64, renormalised, no dense layers", kcache(64, 0, *RENORMALISED), 19.89),
    ("N=128, renormalised, no dense layers, by the maximum",
     kcache(128, 0, *RENORMALISED, "--v-group-score", "max"), 19.50),
    ("N=128, renormalised, no dense layers, window or sinks",
     kcache(128, 0, *RENORMALISED, *NO_WINDOW), 19.76),
    ("p=0.95, at most 512 rows", ["--kv", "kcache", "--v-top-p", "0.95"], None),
]  # fmt: skip


def evaluate(run: Path, flags: list[str], arguments: argparse.Namespace) -> dict:
    command = [run, "eval", "-m", MODEL, "-f", TEXT, "--start", START, "--json", "--quiet",
               "--tokens", str(arguments.tokens), "--prefill", str(arguments.prefill),
               "-t", str(arguments.threads), *flags]  # fmt: skip
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=ROOT / "target/release/run")
    parser.add_argument("--tokens", type=int, default=4097)
    parser.add_argument("--prefill", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=1, help="of each run")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    arguments = parser.parse_args()
    print("| policy | perplexity | nats per token over full | study | off by | rows of a set | hit rate |")
    print("|---|---|---|---|---|---|---|")
    full = None
    with ThreadPoolExecutor(arguments.jobs) as pool:
        jobs = [(p, pool.submit(evaluate, arguments.run, p[1], arguments)) for p in POLICIES]
        for (name, _, study), job in jobs:
            result = job.result()
            nll = result["decoded"]["mean_nll"]
            full = nll if full is None else full
            perplexity = math.exp(nll)
            off = "" if study is None else f"{100 * (perplexity / study - 1):+.2f}%"
            rows = result["kv"].get("mean_rows")
            hits = result["kv"].get("hot_row_hit_rate")
            print(f"| {name} | {perplexity:.3f} | {nll - full:+.4f} | {study or ''} | {off} "
                  f"| {'' if rows is None else f'{rows:.0f}'} | {'' if hits is None else f'{hits:.3f}'} |",
                  flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
